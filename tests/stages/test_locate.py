"""The ways to the first wrong step, each held against errata.chains, which knows it."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from errata import chains
from errata.engines.base import Request, Sampling
from errata.engines.oracle import Oracle
from errata.errors import EngineError
from errata.records.types import Additions, Attempt, Critique, Episode, Estimate, Message, Outcome, Problem, Step
from errata.stages.locate import locate
from tests.stages.support import (
    Says,
    World,
    attempt,
    chain_of,
    codes,
    cut,
    episode,
    faithful,
    problem,
    run,
    slipped,
    user,
    verdict,
)

SLIPS = [k for k in chains.KINDS if k != "format"]
KINDS = [*SLIPS, "format", "missing"]


def wrong(of: Problem, kind: str, seed: int = 0) -> list[str]:
    """A wrong solution: one slip, one line that is no step, or no answer."""
    gold = chains.solve(chain_of(of))
    if kind == "format":
        return [*gold[:2], "now think", *gold[2:-1], "The answer is 12"]
    return gold[:-1] if kind == "missing" else slipped(of, kind, seed)


def truth(of: Problem, a: Attempt) -> int:
    found = chains.first_error(chain_of(of), [s.text for s in a.steps])
    assert found is not None
    return found.step


def only(made: Additions) -> Critique:
    assert len(made.critiques) == 1
    return made.critiques[0]


def values(made: Additions) -> list[Estimate]:
    return [e for e in made.estimates if e.name == "mc_value"]


def cost(made: Additions) -> float:
    found = [e for e in made.estimates if e.name == "location_requests"]
    assert len(found) == 1 and found[0].step is None
    return found[0].value


def place(c: Critique) -> tuple[str, int | None]:
    return c.verdict, c.first_error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_gold_and_a_perfect_judge_find_the_first_error_of_every_kind(kind: str, seed: int) -> None:
    p = problem(seed, operations=5)
    a = attempt(p, wrong(p, kind, seed))
    start = episode(p, a, outcomes=["fail"])
    expected = ("error", truth(p, a))
    gold = only(run(locate, start, method="gold"))
    assert place(gold) == expected and gold.source == "gold" and gold.seen == ("gold_steps",)
    assert gold.attempt == a.id and gold.text.startswith(kind if kind != "missing" else "premature")
    for prompt in ("chains_judge", "judge"):
        made = only(run(locate, start, World({"teacher": Oracle()}), method="judge", role="teacher", prompt=prompt))
        assert place(made) == expected and made.source == "judge" and made.call is not None, prompt


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("format", "order", "missing")])
@pytest.mark.parametrize("seed", range(2))
def test_forks_of_a_student_that_carries_errors_on_find_the_first_error(kind: str, seed: int) -> None:
    """A step out of order, or a line that is no step, spoils no value: forks rightly do not see it."""
    p, a = next(found for k in range(100) if (found := fatal(100 * seed + k, kind)))
    made = run(locate, episode(p, a, outcomes=["fail"]), World({"student": Says(faithful)}), method="forks", forks=2)
    found = only(made)
    assert place(found) == ("error", truth(p, a)) and found.source == "forks" and "reference" in found.seen


def fatal(seed: int, kind: str) -> tuple[Problem, Attempt] | None:
    """A wrong attempt that cannot be saved from its first error on; times 0, for one, saves many."""
    p = problem(seed, operations=5)
    try:
        a = attempt(p, slipped(p, kind, seed))
    except LookupError:
        return None
    return (p, a) if saved(p, a.steps[: truth(p, a) + 1]) is False else None


def saved(p: Problem, prefix: tuple[Step, ...]) -> bool:
    """Whether the values stated in a prefix still lead to the right answer."""
    said = Message(role="assistant", content="".join(s.text for s in prefix))
    request = Request(messages=(*p.messages, said), sampling=Sampling(), seed=0)
    return chains.answer(said.content + faithful(request)) == p.answer


def alive_until(k: int, n: int) -> tuple[Episode, Says, list[int]]:
    """An attempt of n steps whose prefixes of up to k steps can be saved; and the prefix lengths that are asked for."""
    p = replace(user("What?"), answer="right", verifier="exact")
    a = replace(attempt(p, "bad"), steps=tuple(Step(text=f"s{i}\n") for i in range(n)))
    asked: list[int] = []

    def answer(request: Request) -> str:
        at = request.messages[-1].content.count("\n") if request.continues else 0
        asked.append(at)
        return "A: right" if at <= k else "A: bad"

    start = episode(p, a).add(Additions())
    verdicts = tuple(replace(v, verifier="exact") for v in episode(p, a, outcomes=["fail"]).verdicts)
    return start.add(Additions(verdicts=verdicts)), Says(answer), asked


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_bisection_finds_the_first_step_whose_prefix_is_dead(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12))
    k = data.draw(st.integers(0, n - 1))
    start, says, asked = alive_until(k, n)
    made = run(locate, start, World({"student": says}), method="forks", forks=2, options={"after": "A:"})
    assert place(only(made)) == ("error", k)
    tried = sorted(set(asked))
    assert all(asked.count(at) == 2 for at in tried) and 0 in tried
    assert len(tried) <= 1 + max(1, n - 1).bit_length(), "as many as a bisection needs"
    # Each prefix that was tried has its estimate, and its forks are there to be checked.
    assert {(e.step, e.value, e.n, e.name) for e in values(made)} == {
        (at, float(at <= k), 2, "mc_value") for at in tried
    }
    assert len(made.attempts) == len(made.verdicts) == 2 * len(tried)
    first = start.attempts[0]
    for fork in made.attempts:
        at = fork.fork_step or 0
        assert fork.kind == "forked" and fork.parent == first.id
        assert fork.steps[:at] == first.steps[:at], "the prefix is the attempt's own, step for step"
    assert len({f.id for f in made.attempts}) == len({f.index for f in made.attempts}) == len(made.attempts)
    seeds = [f.call.seed for f in made.attempts if f.call]
    assert len(set(seeds)) == len(seeds)


def test_one_fork_that_passes_shows_that_its_prefix_is_alive() -> None:
    start, _, _ = alive_until(3, 6)
    tried: dict[int, int] = {}

    def answer(request: Request) -> str:
        at = request.messages[-1].content.count("\n") if request.continues else 0
        tried[at] = tried.get(at, 0) + 1
        return "A: right" if at <= 3 and tried[at] == 4 else "A: bad"

    made = run(locate, start, World({"student": Says(answer)}), method="forks", forks=4, options={"after": "A:"})
    assert place(only(made)) == ("error", 3)
    assert {e.value for e in values(made)} == {0.0, 0.25}


def test_a_problem_that_the_student_cannot_solve_is_unknown() -> None:
    start, _, _ = alive_until(3, 6)
    made = run(locate, start, World({"student": Says(lambda _: "A: bad")}), method="forks", options={"after": "A:"})
    assert place(only(made)) == ("unknown", None)
    assert [(e.step, e.value) for e in values(made)] == [(0, 0.0)]


def test_forks_without_a_verdict_are_unknown_and_never_dead() -> None:
    start, says, _ = alive_until(6, 6)

    def silent(request: Request) -> Any:
        return cut("A: right") if request.continues else says.answer(request)

    made = run(locate, start, World({"student": Says(silent)}), method="forks", options={"after": "A:"})
    assert place(only(made)) == ("unknown", None)
    assert [e.step for e in values(made)] == [0], "no estimate rests on unknown verdicts"


def test_a_fork_that_failed_is_a_drop_with_the_id_that_it_would_have_had() -> None:
    start, says, asked = alive_until(2, 6)
    whole = run(locate, start, World({"student": says}), method="forks", forks=3, options={"after": "A:"})

    def answer(request: Request) -> Any:
        if len(asked) - before == 4:
            asked.append(-1)
            raise EngineError("timeout", "no answer")
        return says.answer(request)

    before = len(asked)
    made = run(locate, start, World({"student": Says(answer)}), method="forks", forks=3, options={"after": "A:"})
    lost = {a.id for a in whole.attempts} - {a.id for a in made.attempts}
    assert codes(made.drops) == ["timeout"] and {made.drops[0].target} == lost
    assert place(only(made)) == place(only(whole))


@pytest.mark.parametrize(("outcome", "said"), [("pass", "no_error"), ("unknown", "unknown")])
def test_forks_take_only_a_known_failure_for_an_error(outcome: Outcome, said: str) -> None:
    p = problem(4)
    start = episode(p, attempt(p, chains.solve(chain_of(p))), outcomes=[outcome])
    made = run(locate, start, World({"student": Says(faithful)}), method="forks", outcome="any")
    assert place(only(made)) == (said, None) and not made.attempts


def test_no_error_is_an_answer() -> None:
    p = problem(4)
    start = episode(p, attempt(p, chains.solve(chain_of(p))), outcomes=["pass"])
    assert place(only(run(locate, start, method="gold", outcome="any"))) == ("no_error", None)
    judged = run(locate, start, World({"student": Oracle()}), method="judge", outcome="any", prompt="chains_judge")
    assert place(only(judged)) == ("no_error", None)


@pytest.mark.parametrize(
    "reply",
    [
        "", "I cannot say", "{", "[]", "null", "3", "{}", '{"first_error": null}', '{"first_error": "2"}',
        '{"first_error": 2.5}', '{"first_error": true}', '{"first_error": 99}', '{"first_error": 1e400}',
        '{"first_error": ' + "".join(map(str, range(1_500))) + "}",
    ],
)  # fmt: skip
def test_a_judgement_that_cannot_be_read_is_unknown_and_never_an_error(reply: str) -> None:
    p = problem(4)
    start = episode(p, attempt(p, slipped(p, "operand")), outcomes=["fail"])
    made = only(run(locate, start, World({"student": Says(lambda _: reply)}), method="judge"))
    assert place(made) == ("unknown", None) and made.text == reply


def test_a_cut_judgement_is_unknown_even_if_it_can_be_read() -> None:
    p = problem(4)
    start = episode(p, attempt(p, slipped(p, "operand")), outcomes=["fail"])
    made = run(locate, start, World({"student": Says(lambda _: cut('{"first_error": 1}'))}), method="judge")
    assert place(only(made)) == ("unknown", None)


def test_a_judge_may_say_that_the_end_is_missing_but_not_a_step_beyond() -> None:
    p = problem(4)
    a = attempt(p, wrong(p, "missing"))
    start = episode(p, a, outcomes=["fail"])
    for step, said in ((len(a.steps), ("error", len(a.steps))), (len(a.steps) + 1, ("unknown", None))):
        reply = json.dumps({"first_error": step, "reason": ""})
        made = run(locate, start, World({"student": Says(lambda _, r=reply: r)}), method="judge")
        assert place(only(made)) == said


def test_a_judge_that_fails_is_a_drop_and_no_critique() -> None:
    def answer(_: Request) -> str:
        raise EngineError("engine_5xx", "the server answers 500")

    p = problem(4)
    start = episode(p, attempt(p, slipped(p, "operand")), outcomes=["fail"])
    made = run(locate, start, World({"student": Says(answer)}), method="judge")
    assert not made.critiques and codes(made.drops) == ["engine_5xx"]


@pytest.mark.parametrize("method", ["gold", "forks", "judge"])
def test_an_attempt_that_was_cut_has_no_first_error(method: Any) -> None:
    p = problem(4)
    a = replace(attempt(p, slipped(p, "operand")), complete=False)
    says = Says(faithful)
    made = run(locate, episode(p, a, outcomes=["fail"]), World({"student": says}), method=method)
    assert not made.critiques and codes(made.drops) == ["incomplete"] and not says.asked


def test_most_and_outcome_choose_the_attempts() -> None:
    p = problem(4)
    tries = [attempt(p, slipped(p, "operand", i), i) for i in range(3)]
    right = attempt(p, chains.solve(chain_of(p)), 3)
    start = episode(p, *tries, right, outcomes=["fail", "unknown", "fail", "pass"])
    named = {c.attempt for c in run(locate, start, method="gold").critiques}
    assert named == {tries[0].id, tries[2].id}
    assert len(run(locate, start, method="gold", most=1).critiques) == 1
    assert len(run(locate, start, method="gold", outcome="any").critiques) == 4


def test_gold_steps_of_other_problems_prove_right_and_never_wrong() -> None:
    p = user("What is 2 + 3 + 4?", solution=("2 + 3 = 5", "5 + 4 = 9", "A: 9"), answer="9")

    def said(*lines: str) -> tuple[str, int | None]:
        start = episode(p, attempt(p, lines))
        return place(only(run(locate, start, method="gold", outcome="any")))

    assert said("2 + 3 = 5", "5 + 4 = 9", "A: 9") == ("no_error", None)
    assert said("2 + 3  =  5", "A: 9") == ("no_error", None), "spaces do not count"
    assert said("3 + 2 = 5", "5 + 4 = 9", "A: 9") == ("unknown", None), "right, in other words"
    assert said("2 + 3 = 5", "5 + 4 = 9") == ("unknown", None), "the answer is missing"
    assert said("") == ("unknown", None)
    bare = episode(user("What?"), attempt(user("What?"), "a"))
    assert place(only(run(locate, bare, method="gold", outcome="any"))) == ("unknown", None)


def test_steps_that_hold_several_lines_or_none_keep_their_numbers() -> None:
    p = problem(4, operations=4)
    lines = chains.solve(chain_of(p))
    lines[3] = lines[3].rsplit(" ", 1)[0] + " " + str((int(lines[3].split()[-1]) + 1) % 11)
    steps = (f"{lines[0]}\n{lines[1]}\n", "\n", f"{lines[2]}\n{lines[3]}\n", lines[4])
    a = replace(attempt(p, "x"), steps=tuple(Step(text=s) for s in steps))
    assert place(only(run(locate, episode(p, a, outcomes=["fail"]), method="gold"))) == ("error", 2)
    short = replace(a, steps=a.steps[:1])
    assert place(only(run(locate, episode(p, short, outcomes=["fail"]), method="gold"))) == ("error", 1)


def test_a_number_that_python_does_not_convert_is_read() -> None:
    p = problem(4)
    a = attempt(p, ["The answer is " + "9" * 5000])
    made = run(locate, episode(p, a, outcomes=["fail"]), method="gold")
    assert place(only(made)) == ("error", 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(SLIPS))
def test_gold_is_chains_on_any_slip(seed: int, kind: str) -> None:
    rng = random.Random(seed)
    chain = chains.generate(rng, rng.randint(1, 7), rng.randint(0, 2))
    steps = chains.slip(rng, chain, kind)
    found = chains.first_error(chain, steps) if steps else None
    if steps is None:
        return
    p = replace(user(chains.question(chain)), verifier="procedural")
    made = only(run(locate, episode(p, attempt(p, steps)), method="gold", outcome="any"))
    assert place(made) == (("error", found.step) if found else ("no_error", None))


# ---- forks: adaptive, by the mean, confirmed, scanned


def chances(p: list[float]) -> tuple[Episode, Says, list[int]]:
    """An attempt of len(p) steps; of the continuations of its first k steps a share of p[k] passes, by seed."""
    start, _, asked = alive_until(0, len(p))

    def answer(request: Request) -> str:
        at = request.messages[-1].content.count("\n") if request.continues else 0
        asked.append(at)
        return "A: right" if random.Random(request.seed).random() < p[at] else "A: bad"

    return start, Says(answer), asked


FORKS: dict[str, Any] = {"method": "forks", "options": {"after": "A:"}}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.integers(1, 3), st.sampled_from(["any", "mean"]))
def test_stopping_early_changes_no_label_and_asks_for_no_more(p: list[float], batch: int, value: str) -> None:
    found = []
    for size in (0, batch):
        start, says, asked = chances(p)
        options = {"search": "scan", "propagate_left": False, "forks": 6, "batch": size, "value": value, **FORKS}
        made = run(locate, start, World({"student": says}), **options)
        assert cost(made) == len(asked) == len(made.attempts)
        found.append((place(only(made)), len(asked)))
    assert found[0][0] == found[1][0] and found[1][1] <= found[0][1]


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_search_that_stops_early_finds_the_same_step_for_less(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 20))
    k = data.draw(st.integers(0, n - 1))
    costs = []
    for batch in (0, 1):
        start, says, _ = alive_until(k, n)
        made = run(locate, start, World({"student": says}), forks=16, batch=batch, **FORKS)
        assert place(only(made)) == ("error", k)
        costs.append(cost(made))
    assert costs[1] <= costs[0] - 15, "the start alone saves 15"


def test_a_batch_of_one_stops_at_the_first_success() -> None:
    start, says, asked = alive_until(3, 6)
    made = run(locate, start, World({"student": says}), forks=16, batch=1, **FORKS)
    assert place(only(made)) == ("error", 3)
    assert {at: asked.count(at) for at in set(asked)} == {0: 1, 1: 1, 2: 1, 3: 1, 4: 16}, "16 where none passes, else 1"


def test_a_continuation_that_says_the_attempts_own_steps_counts_for_longer_prefixes() -> None:
    start, _, asked = alive_until(3, 6)

    def answer(request: Request) -> str:
        at = request.messages[-1].content.count("\n") if request.continues else 0
        asked.append(at)
        return "\n".join([f"s{i}" for i in range(at, 3)] + ["A: right" if at <= 3 else "A: bad"])

    made = run(locate, start, World({"student": Says(answer)}), forks=16, batch=1, **FORKS)
    assert place(only(made)) == ("error", 3)
    assert {at: asked.count(at) for at in set(asked)} == {0: 1, 4: 16}, "one from the start says that 1 to 3 are alive"
    assert {e.step: (e.value, e.n) for e in values(made)} == {**{k: (1.0, 1) for k in range(4)}, 4: (0.0, 16)}
    plain = run(locate, start, World({"student": Says(answer)}), forks=16, **FORKS)
    assert {e.n for e in values(plain)} == {16} and place(only(plain)) == ("error", 3)


def test_the_mean_takes_a_lucky_prefix_for_dead() -> None:
    start, says, _ = chances([1.0, 0.9, 0.9, 0.2, 0.2])
    world = World({"student": says})
    lucky = run(locate, start, world, forks=24, **FORKS)
    assert place(only(lucky)) == ("error", 4)
    made = run(locate, start, world, forks=24, value="mean", threshold=0.5, **FORKS)
    assert place(only(made)) == ("error", 2)


def test_a_place_is_confirmed_by_fresh_continuations() -> None:
    """The continuations of the first 2 steps pass one in five times; where four fail, twelve more are asked for."""
    for seed in range(40):
        start, says, asked = chances([1.0, 1.0, 0.2, 1.0, 0.0])
        made = run(locate, start, World({"student": says}, seed=seed), forks=4, confirm=12, **FORKS)
        assert len({a.id for a in made.attempts}) == len({a.index for a in made.attempts}) == len(asked)
        if place(only(made)) == ("error", 3) and {e.step: e.n for e in values(made)}[2] == 16:
            return
    raise AssertionError("a dead prefix that comes alive is passed")


def test_a_scan_labels_every_step_and_a_success_speaks_for_those_before_it() -> None:
    start, says, asked = alive_until(3, 6)
    made = run(locate, start, World({"student": says}), search="scan", forks=2, propagate_left=False, **FORKS)
    assert place(only(made)) == ("error", 3)
    assert {e.step: e.value for e in values(made)} == {k: float(k <= 3) for k in range(6)}
    start, says, asked = alive_until(3, 6)
    made = run(locate, start, World({"student": says}), search="scan", forks=2, **FORKS)
    assert place(only(made)) == ("error", 3) and sorted(set(asked)) == [3, 4, 5], "those before 3 are not asked for"
    # Alive again after it seemed dead: what comes later speaks for what comes before.
    p = [1.0, 1.0, 0.0, 1.0, 0.0]
    for left, expected in ((True, 3), (False, 1)):
        start, says, _ = chances(p)
        made = run(locate, start, World({"student": says}), search="scan", propagate_left=left, **FORKS)
        assert place(only(made)) == ("error", expected)


def test_a_scan_of_a_hopeless_attempt_is_unknown() -> None:
    for left in (True, False):
        start, _, _ = alive_until(0, 4)
        made = run(
            locate, start, World({"student": Says(lambda _: "A: bad")}), search="scan", propagate_left=left, **FORKS
        )
        assert place(only(made)) == ("unknown", None) and {e.value for e in values(made)} == {0.0}


# ---- comparison


RIGHT = ("There are 3 * 4 = 12 apples.", "So the rest is 5.", "The answer is 5")


def compared(lines: tuple[str, ...], right: tuple[str, ...] = RIGHT, **options: Any) -> Critique:
    p = user("What?")
    both = [attempt(p, lines, 0), attempt(p, right, 1)]
    verdicts = tuple(verdict(a, o, verifier="exact") for a, o in zip(both, ("fail", "pass"), strict=True))
    start = episode(p, *both).add(Additions(verdicts=verdicts))
    return only(run(locate, start, method="comparison", **options))


def test_a_comparison_finds_the_first_step_that_the_right_attempt_denies() -> None:
    made = compared(("There are 3 * 4 = 12 apples.", "So the rest is 6.", "The answer is 6"))
    assert place(made) == ("error", 1) and made.source == "comparison" and made.seen == ("reference",)
    assert made.text == "another attempt denies that rest is 6" and "5" not in made.text
    # A detour that the right attempt does not make is no contradiction.
    lines = ("Half of them is 7.", "There are 3 * 4 = 13 apples.", "The answer is 6")
    assert place(compared(lines)) == ("error", 1)
    assert place(compared(lines, compare=("value",))) == ("error", 0)
    assert place(compared(("Words.", "alone"))) == ("unknown", None)


def test_without_a_right_attempt_there_is_no_comparison() -> None:
    p = problem(4)
    a = attempt(p, slipped(p, "operand"))
    made = only(run(locate, episode(p, a, outcomes=["fail"]), method="comparison"))
    assert place(made) == ("unknown", None)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["operand", "arithmetic", "definition"])
def test_a_comparison_of_chains_finds_wrong_values(kind: str, seed: int) -> None:
    p = problem(seed, operations=5)
    a, right = attempt(p, slipped(p, kind, seed)), attempt(p, chains.solve(chain_of(p)), 1)
    start = episode(p, a, right, outcomes=["fail", "pass"])
    found, at = only(run(locate, start, method="comparison")), truth(p, a)
    wrong_value = a.steps[at].text.split()[-1] != right.steps[at].text.split()[-1]
    assert not wrong_value or place(found) == ("error", at)
    for prompt in ("chains_compare", "compare"):
        world = World({"judge": Oracle()})
        made = run(locate, start, world, method="comparison", compare=("engine",), role="judge", prompt=prompt)
        assert place(only(made)) == ("error", at) and cost(made) == 1


# ---- arithmetic


def test_arithmetic_names_the_first_false_equation_and_asks_nobody() -> None:
    p = user("What?")
    said = only(run(locate, episode(p, attempt(p, ("3 + 4 = 7", "7 * 2 = 15", "1 = 2"))), **CHECK))
    assert place(said) == ("error", 1) and said.text == "7 * 2 is not 15" and said.seen == ()
    for lines in (("3 + 4 = 7",), ("x + 4 = 8 apples",), ("words",)):
        assert place(only(run(locate, episode(p, attempt(p, lines)), **CHECK))) == ("no_error", None)


CHECK: dict[str, Any] = {"method": "arithmetic", "outcome": "any"}


def test_a_late_success_of_a_longer_prefix_moves_the_place_and_the_labels_alike() -> None:
    """The first two continuations of 3 steps fail; one of 2 steps says the third as the attempt does, and passes."""
    start, _, _ = alive_until(2, 4)

    def answer(request: Request) -> str:
        at = request.messages[-1].content.count("\n") if request.continues else 0
        return "s2\nA: right" if at == 2 else "A: bad" if at == 3 else "A: right"

    for search in ("scan", "bisect"):
        made = run(locate, start, World({"student": Says(answer)}), search=search, forks=2, batch=1, **FORKS)
        assert place(only(made)) == ("error", 3)
        assert {e.step: e.value > 0 for e in values(made)}[3]
