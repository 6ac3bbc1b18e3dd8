"""SFT rows against the definitions of the methods that they follow, row by row."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from errata import prompts
from errata.engines.oracle import Oracle
from errata.exports.base import ExportContext
from errata.exports.rows import conversation
from errata.exports.sft import sft
from errata.records.rows import SftRow
from errata.records.types import Additions, Attempt, Drop, Episode, Estimate, Finding, Note, Outcome, Step
from errata.sources.procedural import procedural
from errata.stages.critique import critique
from errata.stages.filter import filter_
from errata.stages.locate import locate
from errata.stages.pair import pair
from errata.stages.revise import revise
from errata.stages.sample import sample
from errata.stages.splice import splice
from errata.stages.verify import verify
from tests.stages.support import World, attempt, episode, grown, problem, run, user, verdict
from tests.stages.support import critique as criticism

TELLS_NOTHING = "There may be an error\nSolve it again"
WORLD = World({"student": Oracle(skill=0.5), "teacher": Oracle()})


def problems(count: int, seed: int) -> list[Episode]:
    found = procedural(count=count, operations=(3, 5), distractors=(0, 2), seed=seed)
    return [e for e in found if isinstance(e, Episode)]


def rows_of(start: Episode, **options: Any) -> tuple[list[SftRow], list[Drop]]:
    found = list(sft(start, ExportContext("sft", prompts.load), **options))
    return [r for r in found if isinstance(r, SftRow)], [d for d in found if isinstance(d, Drop)]


def star(start: Episode) -> Episode:
    """The steps of pipelines/star_correction.yaml."""
    start = grown(sample, start, WORLD, n=2)
    start = grown(verify, start, name="verify")
    start = grown(revise, start, WORLD, critique="", prompt="chains_try_again", outcome="any", n=2)
    start = grown(verify, start, name="verify_revisions", of="revise")
    both: Any = ("wrong_to_right", "right_to_right")
    start = grown(splice, start, style="turn", feedback="chains_try_again", transitions=both, mask="attempt", most=0)
    return grown(verify, start, name="verify_splices", of="splice")


def test_star_rows_are_two_turn_traces_of_one_policy_kept_where_the_second_is_right() -> None:
    kinds = set()
    for begun in problems(6, seed=3):
        start = star(begun)
        rows, drops = rows_of(start)
        by_id = {a.id: a for a in start.attempts}
        told = set()
        for row in rows:
            first, second = by_id[row.lineage[1]], by_id[row.lineage[2]]
            # The prompt is x, y1 and an instruction that is the same whatever y1 is worth; y2 is its answer.
            assert [m.role for m in row.messages] == ["user", "assistant", "user", "assistant"]
            assert row.messages[: len(start.problem.messages)] == start.problem.messages
            assert [m.content for m in row.messages[1:]] == [first.text, TELLS_NOTHING, second.text]
            told.add(row.messages[2].content)
            # A genuine revision: y2 was sampled with y1 in front of it, and no critique.
            assert second.parent == first.id and second.critique is None and row.lineage[0] in by_id
            # y1 is masked, y2 is trained, both to the last character.
            assert cover(row) == {1: [(0, len(first.text), False)], 3: [(0, len(second.text), True)]}
            # Only right second attempts are kept, and the first one's verdict names the transition.
            assert start.outcome(second.id) == "pass"
            before: dict[Outcome, str] = {"fail": "wrong_to_right", "pass": "right_to_right"}
            assert row.transition == before[start.outcome(first.id)]
            kinds.add(row.transition)
            # It gives nothing away of how right y1 was, nor of the answer.
            assert "wrong" not in row.messages[2].content and str(start.problem.answer) not in row.messages[2].content
        assert told <= {TELLS_NOTHING} and not drops
        allowed = [
            (a.parent, a.id) for a in start.attempts
            if a.kind == "revised" and start.outcome(a.id) == "pass" and start.outcome(str(a.parent)) != "unknown"
        ]  # fmt: skip
        assert sorted((r.lineage[1], r.lineage[2]) for r in rows) == sorted(allowed), "all of them, and no other"
    assert kinds == {"wrong_to_right", "right_to_right"}


def test_pair_sft_rows_are_independent_samples_of_one_policy() -> None:
    kinds = set()
    for begun in problems(6, seed=4):
        start = grown(verify, grown(sample, begun, WORLD, n=4))
        both: Any = ("wrong_to_right", "right_to_right")
        start = grown(
            splice, start, style="turn", correction="sample", related=False, feedback="chains_try_again",
            transitions=both, mask="attempt", most=0,
        )  # fmt: skip
        start = grown(verify, start, name="verify_splices", of="splice")
        rows, _ = rows_of(start)
        by_id = {a.id: a for a in start.attempts}
        for row in rows:
            first, second = by_id[row.lineage[1]], by_id[row.lineage[2]]
            assert {first.stage, second.stage} == {"sample"} and first.id != second.id
            assert first.parent is second.parent is None, "no genuine revision relation"
            assert [m.content for m in row.messages[1:]] == [first.text, TELLS_NOTHING, second.text]
            assert cover(row) == {1: [(0, len(first.text), False)], 3: [(0, len(second.text), True)]}
            assert start.outcome(second.id) == "pass"
            assert (row.transition == "wrong_to_right") == (start.outcome(first.id) == "fail")
            kinds.add(row.transition)
    assert kinds == {"wrong_to_right", "right_to_right"}


def test_an_inline_row_covers_the_assistants_characters_and_nothing_else() -> None:
    made = 0
    for begun in problems(6, seed=5):
        start = grown(verify, grown(sample, begun, WORLD, n=3))
        start = grown(locate, start, method="gold")
        start = grown(critique, start, WORLD, prompt="chains_critique")
        start = grown(revise, start, WORLD, prompt="chains_revise", n=2)
        start = grown(verify, start, name="verify_revisions", of="revise")
        start = grown(splice, start, most=0)
        start = grown(verify, start, name="verify_splices", of="splice")
        start = grown(filter_, start, name="filter", agree=("gold", "teacher"), need=())
        rows, _ = rows_of(start)
        for row in rows:
            made += 1
            assert [m.role for m in row.messages] == ["user", "assistant"] and row.transition == "wrong_to_right"
            text = row.messages[1].content
            spans = [s for s in row.spans if s.message == 1]
            assert spans == list(row.spans) and spans[0].start == 0 and spans[-1].end == len(text)
            assert all(a.end == b.start for a, b in pairwise(spans))
            masked = [text[s.start : s.end] for s in spans if not s.train]
            first = start.attempt(row.lineage[1])
            spliced = start.attempt(row.lineage[0])
            assert spliced.fork_step is not None and masked == [first.steps[spliced.fork_step].text]
            assert row.seen == ("gold_steps",) and spliced.critique in row.lineage
    assert made >= 3


def cover(row: SftRow) -> dict[int, list[tuple[int, int, bool]]]:
    """Runs of equal training by message; fails where a span leaves a gap."""
    found: dict[int, list[tuple[int, int, bool]]] = {}
    for s in row.spans:
        runs = found.setdefault(s.message, [])
        if runs and runs[-1][1] == s.start and runs[-1][2] == s.train:
            runs[-1] = (runs[-1][0], s.end, s.train)
        else:
            runs.append((s.start, s.end, s.train))
    return found


P = problem(10)
FIRST = attempt(P, "amber is 1\nThe answer is 1")


def spliced(*steps: Step, index: int = 0, **fields: Any) -> Attempt:
    made = replace(attempt(P, "x", index, "splice", parent=FIRST.id, kind="spliced", style="wait"), steps=steps)
    return replace(made, **fields)


def said(text: str, role: Any = "reflection") -> Step:
    return Step(text=text, role=role, source="teacher")


RIGHT = Step(text=f"The answer is {P.answer}", role="answer")
WRONG = Step(text="amber is 1\n", train=False)


def start(*attempts: Attempt, first: Outcome = "fail", outcome: Outcome = "pass", more: Any = ()) -> Episode:
    verdicts = (verdict(FIRST, first), *(verdict(a, outcome) for a in attempts), *more)
    return Episode(problem=P).add(Additions(attempts=(FIRST, *attempts), verdicts=verdicts))


def test_privileged_text_is_refused_unless_the_recipe_says_so() -> None:
    leaky = spliced(WRONG, said(f"Wait, the answer is {P.answer}\n"), RIGHT, seen=("reference",))
    rows, drops = rows_of(start(leaky))
    assert not rows and [d.code for d in drops] == ["privileged_text"] and "reference answer" in drops[0].detail
    rows, drops = rows_of(start(leaky), privileged=True)
    assert len(rows) == 1 and not drops and rows[0].seen == ("reference",), "admitted by name, and marked"
    gold = next(s for s in P.solution)
    leaky = spliced(WRONG, said(f"Wait, it goes: {gold}\n"), RIGHT, seen=("gold_steps",))
    assert [d.code for d in rows_of(start(leaky))[1]] == ["privileged_text"]
    # A critic that was shown nothing may be right.
    assert len(rows_of(start(replace(leaky, seen=())))[0]) == 1


def test_feedback_in_a_turn_of_its_own_is_looked_at_too() -> None:
    turns = (
        replace(WRONG, turn=0), replace(said(f"The answer is {P.answer}", "feedback"), train=False, turn=1),
        replace(RIGHT, turn=2),
    )  # fmt: skip
    leaky = spliced(*turns, style="turn", seen=("reference",))
    assert [d.code for d in rows_of(start(leaky))[1]] == ["privileged_text"]


@pytest.mark.parametrize(
    ("first", "transition"), [("fail", "wrong_to_right"), ("pass", "right_to_right"), ("unknown", "none")]
)
def test_transitions(first: Outcome, transition: str) -> None:
    rows, _ = rows_of(start(spliced(WRONG, RIGHT), first=first))
    assert [r.transition for r in rows] == [transition]


def test_a_plain_sample_has_no_transition() -> None:
    rows, _ = rows_of(start(first="pass"), of=("sample",))
    assert [(r.transition, r.style, r.lineage) for r in rows] == [("none", "", (FIRST.id,))]
    assert rows[0].metrics[0].name == "trained_share" and rows[0].metrics[0].value == 1.0


@pytest.mark.parametrize("outcome", ["fail", "unknown"])
def test_what_is_not_proven_is_no_row(outcome: Outcome) -> None:
    rows, drops = rows_of(start(spliced(WRONG, RIGHT), outcome=outcome))
    assert not rows and [(d.code, d.kind) for d in drops] == [("not_accepted", "filtered")]


def test_what_a_filter_rejects_or_a_limit_cut_is_no_row() -> None:
    a = spliced(WRONG, RIGHT)
    rejected = verdict(a, "fail", "filter", "filter")
    assert [d.code for d in rows_of(start(a, more=(rejected,)))[1]] == ["not_accepted"]
    assert [d.code for d in rows_of(start(replace(a, complete=False)))[1]] == ["not_accepted"]


def test_a_row_that_trains_nothing_is_refused() -> None:
    masked = spliced(WRONG, replace(RIGHT, train=False))
    assert [d.code for d in rows_of(start(masked))[1]] == ["nothing_trained"]
    assert [d.code for d in rows_of(start(spliced(WRONG, Step(text=""))))[1]] == ["nothing_trained"]


def test_most_rows_a_problem_and_every_attempt_accounted_for() -> None:
    several = [spliced(WRONG, RIGHT, index=i, id=f"{i:032x}") for i in range(4)]
    rows, drops = rows_of(start(*several), most=2)
    assert [r.lineage[0] for r in rows] == [several[0].id, several[1].id]
    assert [d.code for d in drops] == ["enough", "enough"]
    assert len({r.id for r in rows} | {d.target for d in drops}) == 4


def test_rows_are_the_same_each_time_and_named_by_their_config() -> None:
    one = start(spliced(WRONG, RIGHT))
    assert list(sft(one, ExportContext("sft", prompts.load))) == list(sft(one, ExportContext("sft", prompts.load)))
    assert (
        next(iter(sft(one, ExportContext("other", prompts.load)))).id
        != next(iter(sft(one, ExportContext("sft", prompts.load)))).id
    )


def test_the_split_and_a_system_prompt_come_from_the_problem() -> None:
    p = user("What?", split="test")
    p = replace(p, messages=(replace(p.messages[0], role="system", content="Be brief"), *p.messages))
    a = attempt(p, "yes")
    one = Episode(problem=p).add(Additions(attempts=(a,), verdicts=(verdict(a, "pass", verifier=p.verifier),)))
    rows, _ = rows_of(one, of=("sample",))
    assert rows[0].split == "test" and [m.role for m in rows[0].messages] == ["system", "user", "assistant"]
    assert [(s.message, s.start, s.end) for s in rows[0].spans] == [(2, 0, 3)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 3), st.booleans()), max_size=8))
def test_spans_cover_exactly_the_assistants_turns(parts: list[tuple[str, int, bool]]) -> None:
    steps = tuple(Step(text=t, turn=n, train=b) for t, n, b in sorted(parts, key=lambda p: p[1]))
    messages, spans = conversation(spliced(*steps))
    for number, message in enumerate(messages):
        mine = [s for s in spans if s.message == number]
        assert message.role == ("assistant", "user")[number % 2]
        covered = "".join(message.content[s.start : s.end] for s in mine)
        assert covered == (message.content if number % 2 == 0 else "")
        assert all(s.end > s.start for s in mine)
        trained = "".join(message.content[s.start : s.end] for s in mine if s.train)
        wanted = [s.text for s in steps if s.turn == number and s.train and number % 2 == 0]
        assert trained == "".join(wanted)
    assert "".join(m.content for m in messages) == "".join(s.text for s in steps)


def test_what_a_prompt_shows_of_an_attempt_is_the_models_turn_and_not_trained() -> None:
    p = problem(3)
    first, second = attempt(p, "The answer is 1"), attempt(p, "The answer is 2", stage="revise", kind="revised")
    said = criticism(first, 0, "Step 1 is wrong : look again", seen=("reference",))
    second = replace(second, parent=first.id, critique=said.id)
    start = episode(p, first, second, outcomes=["fail", "pass"], critiques=[said])
    ((row,), _) = rows_of(start, of=("revise",), prompt="chains_revise")
    assert [m.role for m in row.messages] == ["user", "assistant", "user", "assistant"]
    assert [(s.message, s.end - s.start, s.train) for s in row.spans] == [
        (1, len(first.text), False), (3, len(second.text), True),
    ]  # fmt: skip
    assert row.metrics[0].value == pytest.approx(0.5)
    leaky = replace(said, text=f"the answer is {p.answer}")
    told = episode(p, first, second, outcomes=["fail", "pass"], critiques=[leaky])
    assert [d.code for d in rows_of(told, of=("revise",), prompt="chains_revise")[1]] == ["privileged_text"]
    assert len(rows_of(told, of=("revise",), prompt="chains_revise", privileged=True)[0]) == 1
    assert len(rows_of(told, of=("revise",))[0]) == 1, "a prompt that does not show it gives nothing away"


def test_rows_may_bear_tags_and_the_kinds_of_error_that_a_critique_found() -> None:
    p = problem(11)
    first, second = attempt(p, "The answer is 1"), attempt(p, "The answer is 2", 1)
    told = criticism(first, 0, stage="explain", findings=(Finding(kind="order"), Finding(kind="order"), Finding()))
    other = criticism(first, 0, stage="other", findings=(Finding(kind="sign"),))
    start = episode(p, first, second, outcomes=["fail", "fail"], critiques=[told, other])
    rows, _ = rows_of(start, of=("sample",), outcome="fail", tags={"rationale": "incorrect"}, explained="explain")
    assert [[(t.name, t.value) for t in r.tags] for r in rows] == [
        [("rationale", "incorrect"), ("error_kind", "order"), ("explained_by", told.id)],
        [("rationale", "incorrect")],
    ]
    assert {r.tags for r in rows_of(start, of=("sample",), outcome="fail")[0]} == {()}


def test_a_text_may_be_taken_once_a_problem() -> None:
    p = problem(11)
    tries = [attempt(p, f"The answer is {i // 2}", i) for i in range(4)]
    start = episode(p, *tries, outcomes=["pass"] * 4)
    rows, drops = rows_of(start, of=("sample",), distinct=True)
    assert [r.messages[-1].content for r in rows] == ["The answer is 0", "The answer is 1"]
    assert [d.code for d in drops] == ["same_text"] * 2
    assert len(rows_of(start, of=("sample",))[0]) == 4


def test_a_row_carries_the_estimates_that_it_is_told_to_where_there_are_some() -> None:
    of = problem(3)
    made = attempt(of, "The answer is 1")
    told = Estimate(target=made.id, stage="reward", name="reward", value=1.2, n=1)
    start = episode(of, made, outcomes=["pass"]).add(Additions(estimates=(told,)))
    ((row,), _) = rows_of(start, of=("sample",), estimates=("reward", "gain"))
    assert {m.name: m.value for m in row.metrics} == {"trained_share": 1.0, "reward": 1.2}


# ---- episodes of a world, and pairs of attempts


def played(stage: str, index: int, *turns: str, **fields: Any) -> Attempt:
    """A trajectory: an action and what the world answers, by turns."""
    steps = [
        Step(text=text, role="observation", source="environment", train=False, turn=i)
        if i % 2
        else Step(text=text, role="action", turn=i)
        for i, text in enumerate(turns)
    ]
    return attempt(problem(5), "x", index, stage, steps=tuple(steps), **fields)


def noted(start: Episode, **texts: str) -> Episode:
    """With a note `checks` about the attempts of these steps."""
    told = [
        Note(id=a.id[::-1], about=a.id, stage="condition", index=0, kind="checks", text=texts[a.stage])
        for a in start.attempts
        if a.stage in texts
    ]
    return start.add(Additions(notes=tuple(told)))


LOST = played("act", 0, "look", "a hall", "stop")
WON = played("act", 1, "look", "a hall", "take key", "done", seen=("gold_steps",))


def test_the_worlds_last_answer_is_no_message_and_no_answer_of_it_is_trained() -> None:
    (row,), _ = rows_of(episode(problem(5), WON, outcomes=["pass"]), of=("act",))
    assert [(m.role, m.content) for m in row.messages[1:]] == [
        ("assistant", "look"), ("user", "a hall"), ("assistant", "take key"),
    ]  # fmt: skip
    assert [(s.message, s.role, s.train) for s in row.spans] == [(1, "action", True), (3, "action", True)]


def test_a_row_of_a_pair_shows_the_worse_one_and_trains_the_better() -> None:
    start = noted(episode(problem(5), LOST, WON, outcomes=["fail", "pass"]), act="not met")
    start = start.add(run(pair, start, name="pair", rule="outcome", of=("act",)))
    rows, drops = rows_of(start, of=("act",), pairs="pair", prompt="try_episode_again")
    (row,) = rows
    asked = row.messages[0].content
    assert "[1] look\n-> a hall\n[2] stop\n-> " in asked and "take key" not in asked and "not met" in asked
    assert [m.content for m in row.messages[1:]] == ["look", "a hall", "take key"] and not drops
    assert row.lineage == (WON.id, LOST.id) and row.transition == "wrong_to_right"
    assert rows_of(start, of=("other",), pairs="pair", prompt="try_episode_again") == ([], [])
    assert rows_of(start, of=("act",), pairs="other", prompt="try_episode_again") == ([], [])
    (alone,), _ = rows_of(start, of=("act",))
    assert alone.id != row.id and alone.lineage == (WON.id,)


def test_what_the_maker_of_the_shown_attempt_saw_is_told() -> None:
    wrong, right = replace(LOST, seen=("reference",)), replace(WON, seen=("gold_steps",))
    start = noted(episode(problem(5), wrong, right, outcomes=["fail", "pass"]), act="not met")
    start = start.add(run(pair, start, name="pair", rule="outcome", of=("act",)))
    (row,), _ = rows_of(start, of=("act",), pairs="pair", prompt="try_episode_again")
    assert row.seen == ("gold_steps", "reference")


def test_distinct_takes_the_same_words_once_after_each_prompt() -> None:
    other = replace(LOST, id="e" * 32, index=2, steps=(*LOST.steps[:2], replace(LOST.steps[2], text="wait")))
    same = replace(LOST, id="f" * 32, index=3)
    tries = [
        replace(WON, id=f"{i}" * 32, index=i, stage="mend", parent=a.id) for i, a in enumerate((LOST, other, same))
    ]
    start = episode(problem(5), LOST, other, same, *tries, outcomes=[*["fail"] * 3, *["pass"] * 3])  # type: ignore[list-item]
    start = noted(start, act="not met")
    shown, drops = rows_of(start, of=("mend",), prompt="try_episode_again", distinct=True)
    assert [r.lineage[1] for r in shown] == [LOST.id, other.id] and [d.code for d in drops] == ["same_text"]
    assert len(rows_of(start, of=("mend",), distinct=True)[0]) == 1, "after the task alone they are one"


def test_a_row_whose_prompt_shows_a_note_that_nobody_wrote_is_refused() -> None:
    start = episode(problem(5), WON, outcomes=["pass"])
    rows, drops = rows_of(start, of=("act",), prompt="feedback_vector")
    assert not rows and [(d.code, d.detail) for d in drops] == [("no_note", f"{WON.id} has no checks")]
    secret = noted(start, act="met")
    secret = replace(secret, notes=tuple(replace(n, seen=("reference",)) for n in secret.notes))
    assert not rows_of(secret, of=("act",), prompt="feedback_vector")[0], "a note whose writer saw more is not shown"
    assert len(rows_of(noted(start, act="met"), of=("act",), prompt="feedback_vector")[0]) == 1
