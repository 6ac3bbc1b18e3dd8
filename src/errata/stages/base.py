"""What a stage is given and how it names what it makes.

A stage is an async function over one episode that returns what to add to it. It asks engines and verifiers through its
context, draws randomness from named coordinates, and never sees a backend, another stage or another episode.
"""

import asyncio
import random
from bisect import bisect_left
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, NamedTuple, Protocol

from msgspec.structs import replace

from errata.environments.hosts import Session
from errata.errors import EngineError
from errata.prompts import Prompt
from errata.records.ids import digest, seed
from errata.records.segment import Rule, segment
from errata.records.types import (
    Attempt,
    AttemptKind,
    Call,
    Critique,
    Drop,
    Episode,
    Message,
    Note,
    Outcome,
    Problem,
    Step,
    StepSource,
    Tag,
    Verdict,
)
from errata.verifiers.base import Judgement


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and how it came about."""

    text: str
    complete: bool
    call: Call
    seen: tuple[str, ...]
    """Privileged context that the engine itself brought."""
    logprobs: tuple[float, ...] = ()
    """Natural log-probabilities of the sampled tokens, if they were asked for (errata.engines.base.Reply)."""


class Part(NamedTuple):
    """Log-probability of a part of a text: the sum over its tokens, and how many these are."""

    total: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Scored:
    """How likely a model finds a message that it is given, token by token."""

    tokens: tuple[str, ...]
    """Pieces of the message; joined, they are its text. The end-of-turn token is not among them."""
    logprobs: tuple[float, ...]
    """Natural logarithms of the model's own probabilities (temperature 1), one a token."""
    call: Call

    def parts(self, texts: Sequence[str]) -> tuple[Part, ...]:
        """The sums over the parts of the message, such as the texts of its steps; together they are the whole.

        A token belongs to the part that holds its last character, for white space before a word is the word's own.
        Raises ValueError if the parts, joined, are not the message.
        """
        if "".join(texts) != "".join(self.tokens):
            raise ValueError("the parts are not those of the message that was scored")
        ends = list(accumulate(len(t) for t in texts))
        totals, counts = [0.0] * len(texts), [0] * len(texts)
        end = 0
        for token, value in zip(self.tokens, self.logprobs, strict=True):
            end += len(token)
            at = bisect_left(ends, max(end, 1))
            totals[at] += value
            counts[at] += 1
        return tuple(Part(total, n) for total, n in zip(totals, counts, strict=True))


class Context(Protocol):
    """What a stage may use; made by the runner for one stage of one recipe."""

    stage: str
    """The name of this step in the recipe."""
    run_seed: int

    async def ask(
        self,
        role: str,
        messages: Sequence[Message],
        *,
        seed: int,
        template: str = "",
        schema: str = "",
        sampling: Mapping[str, Any] = {},
        logprobs: bool = False,
    ) -> Answer:
        """One reply of the engine that plays `role`. Raises EngineError if this request failed for good.

        With `logprobs`, an engine that gives none is such a failure: code `no_logprobs`.
        """
        ...

    async def score(self, role: str, messages: Sequence[Message]) -> Scored:
        """How likely the engine that plays `role` finds the assistant's last message after those before it.

        Journaled as any exchange. Raises EngineError: `no_logprobs` of an engine that gives none, `unsupported` where
        its tokens cannot be told apart from the prompt's.
        """
        ...

    async def judge(
        self, problem: Problem, text: str, verifier: str = "", options: Mapping[str, Any] = {}
    ) -> Judgement:
        """What a verifier (the problem's own by default) says of `text`."""
        ...

    def verifier_version(self, problem: Problem, verifier: str = "") -> int:
        """Version of the verifier that `judge` would ask."""
        ...

    def prompt(self, name: str) -> Prompt:
        """A prompt file of errata's or of the recipe's."""
        ...

    async def world(self, problem: Problem, actions: Sequence[str] = ()) -> Session:
        """The problem's world after these actions, as a session of its own. Raises WorldError."""
        ...


class Gathered(NamedTuple):
    """Results that succeeded, in order, and a drop for each that failed."""

    results: list[Any]
    drops: tuple[Drop, ...]


async def gather(episode: Episode, ctx: Context, tasks: Mapping[str, Coroutine[Any, Any, Any]]) -> Gathered:
    """Run tasks side by side; one whose request failed for good becomes a drop of its target, the key."""
    results = await asyncio.gather(*tasks.values(), return_exceptions=True)
    done: list[Any] = []
    drops: list[Drop] = []
    for target, result in zip(tasks, results, strict=True):
        if isinstance(result, EngineError):
            drops.append(quarantined(episode, ctx, target, result.code, str(result)))
        elif isinstance(result, BaseException):
            raise result
        else:
            done.append(result)
    return Gathered(done, tuple(drops))


def request_seed(episode: Episode, ctx: Context, branch: str, k: int) -> int:
    """The seed of sample `k` at a place in an episode."""
    return seed(run=ctx.run_seed, problem=episode.id, stage=ctx.stage, branch=branch, k=k)


def rng(episode: Episode, ctx: Context, branch: str) -> random.Random:
    """Randomness that depends on where it is drawn, and on nothing else."""
    return random.Random(seed(run=ctx.run_seed, problem=episode.id, stage=ctx.stage, branch=branch, k="rng"))


def shared_out(episode: Episode, ctx: Context, share: tuple[float, float]) -> bool:
    """Whether the problem's place from 0 to 1, drawn once a run, lies in `share`: steps can divide the problems so."""
    return share[0] <= random.Random(seed(run=ctx.run_seed, problem=episode.id, share="sample")).random() < share[1]


def new_id(episode: Episode, ctx: Context, branch: str, k: int) -> str:
    """The id of artefact `k` at a place in an episode."""
    return digest(problem=episode.id, stage=ctx.stage, branch=branch, k=k)


def filtered(episode: Episode, ctx: Context, target: str, code: str, detail: str = "") -> Drop:
    """A rule sent `target` away."""
    return Drop(episode=episode.id, stage=ctx.stage, code=code, kind="filtered", target=target, detail=detail)


def quarantined(episode: Episode, ctx: Context, target: str, code: str, detail: str = "") -> Drop:
    """Something failed on `target`."""
    return Drop(episode=episode.id, stage=ctx.stage, code=code, kind="quarantined", target=target, detail=detail)


def steps_of(text: str, rule: Rule, source: StepSource, turn: int = 0) -> tuple[Step, ...]:
    """The steps of a text; the last one is its answer. Joined, they are the text."""
    pieces = segment(text, rule)
    last = len(pieces) - 1
    return tuple(
        Step(text=p, role="answer" if i == last else "reasoning", source=source, turn=turn)
        for i, p in enumerate(pieces)
    )


async def verdict_of(
    episode: Episode, ctx: Context, attempt: Attempt, verifier: str = "", options: Mapping[str, Any] = {}
) -> Verdict:
    """The verdict on an attempt; one that was cut by its length limit is unknown, never wrong."""
    name = verifier or episode.problem.verifier
    version = ctx.verifier_version(episode.problem, verifier)
    if not attempt.complete:
        judged = Judgement(outcome="unknown", evidence="cut by its length limit")
    else:
        judged = await ctx.judge(episode.problem, attempt.final_text, verifier, options)
    return Verdict(
        target=attempt.id, stage=ctx.stage, verifier=name, version=version, outcome=judged.outcome,
        score=judged.score, checks=judged.checks, evidence=judged.evidence,
    )  # fmt: skip


def chosen(episode: Episode, *, of: str, outcome: Outcome | Literal["any"], most: int = 0) -> tuple[Attempt, ...]:
    """Attempts made by the step `of` (empty: any step) with this outcome, at most `most` (0: all), in their order."""
    found = [
        a
        for a in episode.attempts
        if (not of or a.stage == of) and (outcome == "any" or episode.outcome(a.id) == outcome)
    ]
    return tuple(found[: most or None])


def named(tags: Sequence[str]) -> tuple[Tag, ...]:
    """The tags that a recipe puts on what a stage makes: `name=value`, or a name alone, which is then true."""
    return tuple(Tag(name=name, value=value or "true") for name, _, value in (tag.partition("=") for tag in tags))


def located(episode: Episode, attempt: Attempt, sources: Sequence[str]) -> Critique | None:
    """The first critique, by order of `sources`, that names a wrong step of the attempt."""
    for source in sources:
        for critique in episode.critiques:
            if critique.attempt == attempt.id and critique.source == source and critique.verdict == "error":
                return critique
    return None


def sibling(episode: Episode, attempt: Attempt, step: str) -> Attempt | None:
    """The accepted attempt of a step of the recipe that begins with most of this one's steps; None if there is none."""
    words = [s.text.strip() for s in attempt.steps]

    def shared(other: Attempt) -> int:
        pairs = zip(words, (s.text.strip() for s in other.steps), strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(words), len(other.steps)))

    return max((a for a in episode.attempts if a.stage == step and episode.accepts(a)), key=shared, default=None)


class Proof(NamedTuple):
    """A step that is wrong for certain: its index, and what its witnesses had seen."""

    step: int
    seen: tuple[str, ...]


def proven(episode: Episode, attempt: Attempt, sources: Sequence[str], forks: str = "") -> Proof | None:
    """Where the attempt is proven to go wrong first; None where it is not.

    Every one of `sources` must have a critique of it, and all of them name the same step: of a fork the one that it
    forks at, of an injected attempt the one that was changed. With `forks`, a step of the recipe that went on from the
    end of the attempt, at least one of those continuations has a verdict and none passes. Without either, an injection
    is proven by the verifier, which fails what came of it.
    """
    said = [c for c in episode.critiques if c.attempt == attempt.id and c.source in sources]
    at = attempt.injection.step if attempt.injection else attempt.fork_step
    if at is None or attempt.kind not in ("forked", "injected"):
        at = next((c.first_error for c in said if c.verdict == "error"), None)
    agree = {c.source for c in said} == set(sources) and all((c.verdict, c.first_error) == ("error", at) for c in said)
    if at is None or at >= len(attempt.steps) or not agree:
        return None
    seen = {name for c in said for name in c.seen}
    if forks:
        ends = [a for a in episode.attempts if a.stage == forks and a.parent == attempt.id]
        known = [o for a in ends if (o := episode.outcome(a.id)) != "unknown"]
        if not known or "pass" in known:
            return None
        seen |= {"reference", *(name for a in ends for name in a.seen)}
    elif not sources and not (attempt.injection and episode.outcome(attempt.id) == "fail"):
        return None
    return Proof(at, tuple(sorted(seen)))


def privileged(episode: Episode, see: Sequence[str]) -> dict[str, Any]:
    """The privileged values that a prompt may use, by name: those of `see`."""
    values = {"reference": episode.problem.answer or "", "gold_steps": list(episode.problem.solution)}
    return {name: values[name] for name in see}


def solved(episode: Episode, steps: Sequence[str]) -> bool:
    """Whether an attempt by one of these steps of the recipe is accepted."""
    return any(a.stage in steps and episode.accepts(a) for a in episode.attempts)


def planned(episode: Episode, steps: Sequence[str]) -> dict[int, list[Note]]:
    """The notes by these steps of the recipe that belong together, by their index; each has one of every step.

    A note that was rejected takes the others of its index with it.
    """
    found: dict[int, list[Note]] = {}
    for note in episode.notes:
        if note.stage in steps and not episode.rejects(note.id):
            found.setdefault(note.index, []).append(note)
    return {k: notes for k, notes in sorted(found.items()) if {n.stage for n in notes} == set(steps)}


def error_tags(episode: Episode, attempt: Attempt, step: int) -> tuple[Tag, ...]:
    """Labels of an attempt's error at `step`, by which a corpus can be balanced.

    `first_error` is the tenth of the attempt that it stands in, 0 to 9; `error_source` says whether it is the student's
    own, injected or made in a continuation (forked); `error_kind`, where gold steps located it there, is its kind.
    """
    source = {"injected": "injected", "forked": "forked"}.get(attempt.kind, "own")
    place = str(min(9, 10 * step // max(1, len(attempt.steps))))
    tags = (Tag(name="first_error", value=place), Tag(name="error_source", value=source))
    for c in episode.critiques:
        if c.attempt == attempt.id and c.source == "gold" and c.first_error == step and ": " in c.text:
            return (*tags, Tag(name="error_kind", value=c.text.partition(": ")[0]))
    return tags


async def ask_attempt(
    episode: Episode, ctx: Context, messages: Sequence[Message], *, kind: AttemptKind, role: str, branch: str, k: int,
    steps: Rule = "lines", source: StepSource = "student", template: str = "", prefix: tuple[Step, ...] = (),
    unfinished: bool = False, sampling: Mapping[str, Any] = {}, logprobs: bool = False, **fields: Any,
) -> Attempt:  # fmt: skip
    """Ask for one attempt. With a `prefix`, the reply continues its steps, and the attempt holds both.

    Where the prefix is `unfinished`, the reply first ends its last step, which stays one step of its own source.
    """
    if prefix:
        messages = (*messages, Message(role="assistant", content="".join(s.text for s in prefix)))
    drawn = request_seed(episode, ctx, branch, k)
    answer = await ctx.ask(role, messages, seed=drawn, template=template, sampling=sampling, logprobs=logprobs)
    made = steps_of((prefix[-1].text if unfinished else "") + answer.text, steps, source)
    if unfinished:
        prefix, made = prefix[:-1], (replace(made[0], source=prefix[-1].source), *made[1:])
    seen = tuple(sorted({*fields.pop("seen", ()), *answer.seen}))
    return Attempt(
        id=new_id(episode, ctx, branch, k), stage=ctx.stage, index=k, kind=kind, steps=(*prefix, *made),
        complete=answer.complete, call=answer.call, seen=seen, logprobs=answer.logprobs, **fields,
    )  # fmt: skip


__all__ = [
    "Answer",
    "Context",
    "Gathered",
    "Part",
    "Proof",
    "Scored",
    "ask_attempt",
    "chosen",
    "error_tags",
    "filtered",
    "gather",
    "located",
    "named",
    "new_id",
    "planned",
    "privileged",
    "proven",
    "quarantined",
    "request_seed",
    "rng",
    "shared_out",
    "sibling",
    "solved",
    "steps_of",
    "verdict_of",
]
