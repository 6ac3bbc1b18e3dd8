"""Join a wrong attempt and its correction into one trajectory that shows the mistake and its mending.

The prefix is the student's own, character for character; the wrong step stays visible and is masked from the loss, so
that the student learns to notice and mend it and not to make it (the mask is an option: reports differ on its worth).

    wait     prefix, wrong step, "Wait, <critique>", corrected rest        (S3c-Math's shape)
    marker   prefix, wrong step, "[BACK]", corrected rest                  (the shape of retry data)
    turn     attempt | feedback | whole second attempt                     (SCoRe's two-turn shape)
    verify   attempt, verification "No", whole second attempt, "Yes"        (SPOC's shape, in one turn)
    actions  prefix, wrong step, reflection, corrected rest, and before each the token of the action that it is:
             continue, reflect or explore                                  (Satori's chain of action and thought)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from errata.records.types import Additions, Attempt, Critique, Drop, Episode, Step, StepRole, StepSource, Tag, Verdict
from errata.registry import Count, Most, PromptName, StepName, stage
from errata.stages.base import Context, chosen, error_tags, filtered, located, named, new_id, rng

Mask = Literal["wrong_step", "attempt", "none"]
"""What is kept from the loss: the wrong step (in two turns: the first turn), all of the first attempt, or nothing."""


Style = Literal["wait", "marker", "turn", "verify", "actions"]


@stage(version=1)
async def splice(
    episode: Episode,
    ctx: Context,
    *,
    style: Style = "wait",
    of: StepName = "sample",
    correction: StepName = "revise",
    related: bool = True,
    transitions: tuple[Literal["wrong_to_right", "right_to_right"], ...] = ("wrong_to_right",),
    locations: tuple[str, ...] = ("gold", "forks", "judge", "teacher", "label"),
    lead: str = "Wait, ",
    marker: str = "[BACK]",
    feedback: PromptName = "try_again",
    verifications: StepName = "",
    closing: tuple[str, str] = ("Is this solution correct? No", "Is this solution correct? Yes"),
    actions: tuple[str, str, str] = ("<|continue|>", "<|reflect|>", "<|explore|>"),
    rounds: Count = 1,
    mask: Mask = "wrong_step",
    tags: tuple[str, ...] = (),
    group: StepName = "",
    most: Most = 1,
) -> Additions:
    """Splice attempts of the step `of` with passing ones of `correction`; unrelated ones are paired at random.

    verify: after each solution stands what the step `verifications` says of it, if that is true, and `closing` for a
    wrong or a right one; `rounds` wrong solutions come before the right one. A right-to-right trace of this style, and
    of `actions`, is a single right attempt that is found to be right. `tags` are put on every splice, and with `group`
    the name of the step whose samples of this problem are one group, and the share of them that passes.
    """
    spliced: list[Attempt] = []
    verdicts: list[Verdict] = []
    drops: list[Drop] = []
    words = _Words(lead if style == "wait" else marker, verifications, closing, actions, mask)
    for transition in transitions:
        made = 0
        for firsts, second in _traces(episode, ctx, of, correction, transition, related, style, rounds):
            if most and made >= most:
                break
            first = firsts[0] if firsts else second
            id = new_id(episode, ctx, f"{first.id}:{second.id}", 0)
            if style == "turn":
                critique = next((c for c in episode.critiques if c.id == second.critique), None)
                message = ctx.prompt(feedback).render(episode.problem, first, critique)[-1].content
                joined: Joined | str = Joined(_turns(first, second, message, mask), critique)
            elif style == "verify":
                joined = _verified(episode, (*firsts, second), words)
            elif firsts:
                joined = _inline(episode, first, second, locations, words, style)
            else:
                joined = _confirmed(episode, second, words)
            if isinstance(joined, str):
                drops.append(filtered(episode, ctx, id, joined, f"{first.id} with {second.id}"))
                continue
            made += 1
            bare = _attempt(ctx, id, firsts, second, joined)
            labels = (*named(tags), *_group(episode, group), *_errors(episode, firsts, joined.fork_step))
            spliced.append(replace(bare, style=style, tags=labels))
            if style == "verify":
                verdicts.append(_of_last(episode, ctx, id, second))
    return Additions(attempts=tuple(spliced), verdicts=tuple(verdicts), drops=tuple(drops))


def _attempt(ctx: Context, id: str, firsts: Sequence[Attempt], second: Attempt, joined: "Joined") -> Attempt:
    # Who cut here knew where the error is, and who is quoted may have known more.
    known = [x.seen for x in (joined.critique, joined.place, *joined.also) if x]
    seen = {name for names in (second.seen, *(a.seen for a in firsts), *known) for name in names}
    return Attempt(
        id=id, stage=ctx.stage, index=0, kind="spliced", steps=joined.steps,
        parent=firsts[0].id if firsts else second.id, other=second.id if firsts else None,
        fork_step=joined.fork_step, critique=joined.critique.id if joined.critique else None,
        seen=tuple(sorted(seen)),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Words:
    """What is put between the parts of a splice."""

    lead: str
    verifications: str
    closing: tuple[str, str]
    actions: tuple[str, str, str]
    mask: Mask


def _group(episode: Episode, step: str) -> tuple[Tag, ...]:
    known = [o for a in chosen(episode, of=step, outcome="any") if (o := episode.outcome(a.id)) != "unknown"]
    if not step or not known:
        return ()
    rate = known.count("pass") / len(known)
    return (Tag(name="group", value=f"{episode.id}:{step}"), Tag(name="group_rate", value=f"{rate:.4f}"))


def _errors(episode: Episode, firsts: Sequence[Attempt], step: int | None) -> tuple[Tag, ...]:
    return error_tags(episode, firsts[0], step) if firsts and step is not None else ()


def _of_last(episode: Episode, ctx: Context, id: str, last: Attempt) -> Verdict:
    """The verdict of the solution that the trace ends with: words of the verification after it are no answer."""
    name, version = episode.problem.verifier, ctx.verifier_version(episode.problem)
    outcome, evidence = episode.outcome(last.id), f"the verdict of its last solution, {last.id}"
    return Verdict(target=id, stage=ctx.stage, verifier=name, version=version, outcome=outcome, evidence=evidence)


@dataclass(frozen=True, slots=True)
class Joined:
    """The steps of a splice, the critique that is quoted in it, and the one that tells where the wrong step is."""

    steps: tuple[Step, ...]
    critique: Critique | None
    place: Critique | None = None
    also: tuple[Critique, ...] = ()
    """Other critiques that are quoted."""

    @property
    def fork_step(self) -> int | None:
        """Index of the wrong step; None where the whole attempt is answered by another."""
        return self.place.first_error if self.place else None


def _traces(
    episode: Episode, ctx: Context, of: str, correction: str, transition: str, related: bool, style: Style, rounds: int
) -> list[tuple[tuple[Attempt, ...], Attempt]]:
    """(what is corrected, in order; the solution that the trace ends with)."""
    if style in ("verify", "actions") and transition == "right_to_right":
        return [((), a) for a in chosen(episode, of=of, outcome="pass")]
    pairs = _pairs(episode, ctx, of, correction, transition, related)
    if style != "verify":
        return [((a,), b) for a, b in pairs]
    wrong = list(dict.fromkeys(a.id for a, _ in pairs))
    rows = []
    for i in range(0, len(wrong) - rounds + 1, rounds):
        last = next(b for a, b in pairs if a.id == wrong[i + rounds - 1])
        rows.append((tuple(episode.attempt(id) for id in wrong[i : i + rounds]), last))
    return rows


def _pairs(
    episode: Episode, ctx: Context, of: str, correction: str, transition: str, related: bool
) -> list[tuple[Attempt, Attempt]]:
    """(first, second) attempts; all have a known verdict, so that nothing unknown is taken for wrong."""
    firsts = chosen(episode, of=of, outcome="fail" if transition == "wrong_to_right" else "pass")
    seconds = chosen(episode, of=correction, outcome="pass")
    if related:
        return [(a, b) for a in firsts for b in seconds if b.parent == a.id]
    draw = rng(episode, ctx, transition)
    mixed = list(seconds)
    draw.shuffle(mixed)
    if transition == "right_to_right":
        return _others(firsts, mixed)
    return list(zip(firsts, mixed, strict=False))


def _others(firsts: Sequence[Attempt], ring: Sequence[Attempt]) -> list[tuple[Attempt, Attempt]]:
    """Each attempt with the next one around the ring, in other words if there are any: never with itself."""
    pairs = []
    places = {b.id: i for i, b in enumerate(ring)}
    for i, a in enumerate(firsts):
        start = places.get(a.id, i - 1) + 1
        after = [b for j in range(len(ring)) if (b := ring[(start + j) % len(ring)]).id != a.id]
        pairs += [(a, b) for b in sorted(after, key=lambda b: b.text == a.text)[:1]]
    return pairs


def _inline(
    episode: Episode, first: Attempt, second: Attempt, locations: tuple[str, ...], words: _Words, style: Style
) -> "Joined | str":
    """The one-turn splice, or the reason why there is none."""
    place = located(episode, first, locations)
    if place is None or place.first_error is None:
        return "not_located"
    k = place.first_error
    if k >= len(first.steps):
        return "no_wrong_step"
    if [s.text.strip() for s in first.steps[:k]] != [s.text.strip() for s in second.steps[:k]]:
        return "prefix_differs"
    if len(second.steps) <= k or second.steps[k].text.strip() == first.steps[k].text.strip():
        return "wrong_step_repeated"
    critique = next((c for c in episode.critiques if c.id == second.critique), None)
    quotes = style != "marker"
    if quotes and (critique is None or not critique.text.strip()):
        return "no_critique"
    if quotes and critique and (critique.verdict, critique.first_error) != ("error", k):
        return "critique_elsewhere"
    wrong = replace(first.steps[k], role="reasoning", train=words.mask == "none")
    said = critique.text.strip() if quotes and critique else ""
    mine = tuple(replace(s, train=words.mask != "attempt") for s in first.steps[:k])
    rest = tuple(replace(s, role="answer" if s.role == "answer" else "correction") for s in second.steps[k:])
    if style == "marker":
        steps = (*mine, wrong, _line(wrong, words.lead, "marker", "template"), *rest)
    elif style == "wait":
        steps = (*mine, wrong, _line(wrong, words.lead + said, "reflection", "teacher"), *rest)
    else:
        go_on, _, explore = words.actions
        before = (*_acting(go_on, mine), _action(go_on, words.mask != "attempt"), wrong)
        steps = (*before, *_reflecting(wrong, said, words), _action(explore), rest[0], *_acting(go_on, rest[1:]))
    return Joined(steps, critique if quotes else None, place)


def _line(before: Step, said: str, role: StepRole, source: StepSource) -> Step:
    """A step on a line of its own after another one."""
    return Step(text=f"{said}\n" if before.text.endswith("\n") else f"\n{said}\n", role=role, source=source)


def _action(token: str, train: bool = True) -> Step:
    return Step(text=f"{token} ", role="marker", source="template", train=train)


def _reflecting(before: Step, said: str, words: _Words) -> tuple[Step, Step]:
    token = _line(before, words.actions[1], "marker", "template")
    return replace(token, text=token.text[:-1] + " "), Step(text=f"{said}\n", role="reflection", source="teacher")


def _acting(token: str, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Each step after the token of the action that it is; the token is trained as the step is."""
    return tuple(x for step in steps for x in (_action(token, step.train), step))


def _quoted(episode: Episode, attempt: Attempt, words: _Words, verdict: str) -> Critique | None:
    """What the step of the verifications says of an attempt, where it says what is true."""
    said = [c for c in episode.critiques if c.attempt == attempt.id and c.stage == words.verifications]
    return next((c for c in said if c.verdict == verdict and c.text.strip()), None)


def _verified(episode: Episode, solutions: Sequence[Attempt], words: _Words) -> "Joined | str":
    """Solutions, all but the last one wrong, each with its verification, in one turn."""
    steps: list[Step] = []
    quoted: list[Critique] = []
    for i, solution in enumerate(solutions):
        last = i == len(solutions) - 1
        found = _quoted(episode, solution, words, "no_error" if last else "error")
        if found is None:
            return "no_verification"
        quoted.append(found)
        for s in solution.steps:
            role = "correction" if last and i and s.role != "answer" else s.role
            steps.append(replace(s, role=role, train=last or words.mask == "none"))
        said = _line(steps[-1], f"{found.text.strip()}\n{words.closing[last]}", "critique", "teacher")
        steps.append(replace(said, text=said.text.rstrip("\n")) if last else said)
    return Joined(tuple(steps), quoted[0], None, tuple(quoted[1:]))


def _confirmed(episode: Episode, right: Attempt, words: _Words) -> "Joined | str":
    """A right solution in steps of action, with a reflection that finds nothing wrong before the answer is given."""
    found = _quoted(episode, right, words, "no_error")
    before, last = right.steps[:-1], right.steps[-1:]
    if found is None or not before:
        return "no_verification"
    go_on = words.actions[0]
    said = _reflecting(before[-1], found.text.strip(), words)
    return Joined((*_acting(go_on, before), *said, *_acting(go_on, last)), found)


def _turns(first: Attempt, second: Attempt, feedback: str, mask: Mask) -> tuple[Step, ...]:
    """The two-turn splice: the first attempt is context and is trained only without a mask."""
    return (
        *(replace(s, train=mask == "none", turn=0) for s in first.steps),
        Step(text=feedback, role="feedback", source="template", train=False, turn=1),
        *(replace(s, role="answer" if s.role == "answer" else "correction", turn=2) for s in second.steps),
    )
