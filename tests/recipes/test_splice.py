"""Recipes that put a mistake and its mending into one trajectory: their rows, one by one, against each method."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from errata import chains
from errata.chains import Chain
from errata.records.rows import SftRow, Span
from errata.records.types import Drop, Episode
from errata.runners import job
from errata.runners.options import Options
from errata.store.check import check_dataset
from errata.store.reader import Dataset, open_dataset
from errata.verifiers.leak import leaked

ROOT = Path(__file__).resolve().parents[2]


class Made:
    """A dataset that a recipe has made, and its records by id."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.episodes = {e.id: e for e in dataset.rows("episodes") if isinstance(e, Episode)}
        self.configs = {c: self._sft(c) for c in dataset.manifest.configs if c not in ("episodes", "drops")}
        self.rows = self.configs.get("sft", [])
        self.drops = [d for d in dataset.rows("drops") if isinstance(d, Drop)]

    def _sft(self, config: str) -> list[SftRow]:
        return [r for r in self.dataset.rows(config) if isinstance(r, SftRow)]

    def codes(self, stage: str) -> Counter[str]:
        return Counter(d.code for d in self.drops if d.stage == stage)

    def of(self, row: SftRow) -> tuple[Episode, Chain]:
        episode = self.episodes[row.episode]
        chain = chains.parse(episode.problem.text)
        assert chain is not None
        return episode, chain


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Run a recipe once, small, and check its files by the program that reads nothing else."""

    def run(name: str, count: int, *changes: str) -> Made:
        out = tmp_path_factory.mktemp(name)
        changes = (f"source.with.count={count}", *changes)
        job.run(Options(recipe=ROOT / "pipelines" / f"{name}.yaml", out=out, changes=changes), lambda *_: None)
        made = open_dataset(out / name)
        assert check_dataset(made.path) == []
        return Made(made)

    return run


def spans(row: SftRow) -> list[tuple[str, Span]]:
    """(text, span) of the assistant's only turn; the prompt is the problem's own, untouched."""
    assert [m.role for m in row.messages] == ["user", "assistant"]
    return [(row.messages[s.message].content[s.start : s.end], s) for s in row.spans]


def own_prompt(episode: Episode, row: SftRow) -> bool:
    return row.messages[0] == episode.problem.messages[0] and len(episode.problem.messages) == 1


def tags(row: SftRow, name: str) -> list[str]:
    return [t.value for t in row.tags if t.name == name]


def lines(texts: list[str]) -> list[str]:
    return [line for text in texts for line in text.split("\n") if line.strip()]


# ---- S3c-Math


@pytest.fixture(scope="module")
def s3c(make: Callable[..., Made]) -> Made:
    return make("s3c_math", 14)


def test_s3c_rows_are_prefix_wrong_step_reflection_right_step_and_rest(s3c: Made) -> None:
    assert len(s3c.rows) >= 8
    for row in s3c.rows:
        episode, chain = s3c.of(row)
        gold = list(episode.problem.solution)
        parts = spans(row)
        at = next(i for i, (_, s) in enumerate(parts) if not s.train)
        texts = [t.rstrip("\n") for t, _ in parts]
        assert own_prompt(episode, row) and texts[:at] == gold[:at], "the prefix is the known-good path's"
        assert texts[at + 2 :] == gold[at:], "the right step stands at once after the reflection, then the rest"
        assert [s.train for _, s in parts] == [i != at for i in range(len(parts))], "the wrong step alone is masked"
        assert (parts[at][1].role, parts[at + 1][1].role) == ("reasoning", "reflection")
        assert texts[at + 1].startswith("Wait : ") and leaked(episode.problem, texts[at + 1]) is None
        found = chains.first_error(chain, texts[: at + 1])
        assert found is not None and found.step == at, "the step is wrong, and the first that is"
        assert texts[at + 1] == f"Wait : {found.why}"
        assert row.transition == "wrong_to_right" and "gold_steps" in row.seen and "right_step" in row.seen


def test_s3c_wrong_steps_are_the_students_own_forks_of_the_right_path(s3c: Made) -> None:
    used = Counter()
    for row in s3c.rows:
        episode, _ = s3c.of(row)
        spliced, wrong, expert = (episode.attempt(x) for x in row.lineage[:3])
        assert (expert.kind, wrong.kind, wrong.parent) == ("expert", "forked", expert.id)
        k = wrong.fork_step
        assert k is not None and k == spliced.fork_step and len(wrong.steps) == k + 1, "one step, not a rest"
        assert wrong.steps[:k] == expert.steps[:k] and spliced.steps[k].text == wrong.steps[k].text
        assert wrong.call is not None and wrong.call.role == "student" and wrong.steps[k].source == "student"
        assert tags(row, "wrong_step_of") == [wrong.id] and tags(row, "error_source") == ["own"]
        used[row.episode, wrong.text] += 1
    assert set(used.values()) == {1}, "no mistake stands in two rows"


def test_s3c_forks_every_step_and_proves_every_wrong_one_twice(s3c: Made) -> None:
    for episode in s3c.episodes.values():
        expert = next(a for a in episode.attempts if a.kind == "expert")
        places = Counter(a.fork_step for a in episode.attempts if a.stage == "fork")
        assert places == {k: 4 for k in range(len(expert.steps))}
    for row in s3c.rows:
        episode, _ = s3c.of(row)
        said = [c for c in episode.critiques if c.attempt == row.lineage[1]]
        place = episode.attempt(row.lineage[0]).fork_step
        assert {(c.source, c.verdict, c.first_error) for c in said} == {
            ("gold", "error", place), ("teacher", "error", place),
        }  # fmt: skip


def test_s3c_tells_why_a_problem_gave_nothing(s3c: Made) -> None:
    gave = {r.episode for r in s3c.rows}
    dropped = {d.episode for d in s3c.drops if d.code == "nothing_to_teach" and d.target == d.episode}
    assert gave | dropped == set(s3c.episodes) | dropped and not gave & dropped
    assert s3c.codes("retry")["no_wrong_step"] == len(dropped)


# ---- SPOC


@pytest.fixture(scope="module")
def spoc(make: Callable[..., Made]) -> Made:
    return make("spoc", 40)


def test_spoc_rows_are_solutions_and_verifications_in_one_pass(spoc: Made) -> None:
    kinds = Counter(r.transition for r in spoc.rows)
    assert kinds["wrong_to_right"] >= 8 and 0 < kinds["right_to_right"] <= kinds["wrong_to_right"]
    assert set(kinds) == {"wrong_to_right", "right_to_right"}
    for row in spoc.rows:
        episode, chain = spoc.of(row)
        parts = spans(row)
        assert own_prompt(episode, row)
        said = [t for t, s in parts if s.role == "critique"]
        ends = [t.strip().rsplit(" ", 1)[-1] for t in said]
        assert ends == (["Yes"] if row.transition == "right_to_right" else ["No", "Yes"]), "one round, closed by Yes"
        assert row.messages[-1].content.endswith("Yes")
        solutions: list[list[str]] = [[]]
        for text, s in parts:
            if s.role == "critique":
                solutions.append([])
            else:
                solutions[-1].append(text)
        right, wrong = lines(solutions[-2]), [lines(x) for x in solutions[:-2]]
        assert solutions[-1] == [] and chains.first_error(chain, right) is None
        assert all(chains.first_error(chain, x) is not None for x in wrong) and len(wrong) == len(said) - 1
        for text, x in zip(said, [*wrong, right], strict=True):
            assert chains.critique(chains.first_error(chain, x)) in text, "what is said is true of that solution"


def test_spoc_masks_the_wrong_solution_and_trains_every_verification(spoc: Made) -> None:
    for row in spoc.rows:
        parts = spans(row)
        first_no = next((i for i, (t, s) in enumerate(parts) if s.role == "critique" and t.strip().endswith("No")), 0)
        assert [s.train for _, s in parts] == [i >= first_no for i in range(len(parts))]


def test_spoc_pairs_independent_samples_of_the_student(spoc: Made) -> None:
    for row in spoc.rows:
        episode, _ = spoc.of(row)
        used = [episode.attempt(x) for x in row.lineage[1:3] if any(a.id == x for a in episode.attempts)]
        outcomes = [episode.outcome(a.id) for a in used]
        assert {a.kind for a in used} == {"sampled"} and {a.call.role for a in used if a.call} == {"student"}
        assert outcomes == (["pass"] if row.transition == "right_to_right" else ["fail", "pass"])


# ---- retry data


@pytest.fixture(scope="module")
def retries(make: Callable[..., Made]) -> Made:
    return make("retry_marker", 12)


ARMS = ("later", "random", "own")


def errors(row: SftRow) -> list[int]:
    """Indices of the spans that were woven in and are taken back: each stands before a marker."""
    parts = spans(row)
    return [i - 1 for i, (_, s) in enumerate(parts) if s.role == "marker"]


@pytest.mark.parametrize("arm", ARMS)
def test_retry_rows_are_the_solution_unchanged_but_for_what_is_taken_back(retries: Made, arm: str) -> None:
    assert set(retries.configs) == set(ARMS) and len(retries.configs[arm]) == 12
    for row in retries.configs[arm]:
        episode, _ = retries.of(row)
        parts, wrong = spans(row), errors(row)
        woven = {*wrong, *(i + 1 for i in wrong)}
        assert own_prompt(episode, row)
        assert lines([t for i, (t, _) in enumerate(parts) if i not in woven]) == list(episode.problem.solution)
        assert {parts[i + 1][0] for i in wrong} <= {"[BACK]\n"}
        assert [s.train for _, s in parts] == [i not in wrong for i in range(len(parts))], "each error is masked"
        assert tags(row, "errors") == [str(len(wrong))] and row.transition == ("wrong_to_right" if wrong else "none")
    assert sum(len(errors(r)) for r in retries.configs[arm]) >= (5 if arm == "own" else 20)


@pytest.mark.parametrize("arm", ARMS)
def test_retry_errors_are_wrong_where_they_stand_and_come_from_their_source(retries: Made, arm: str) -> None:
    for row in retries.configs[arm]:
        episode, chain = retries.of(row)
        gold = list(episode.problem.solution)
        parts = spans(row)
        known: list[str] = []
        for i, (text, _) in enumerate(parts):
            said = text.strip()
            if i in errors(row):
                if arm == "own":
                    found = chains.first_error(chain, [*known, said])
                    assert found is not None and found.step == len(known)
                    fork = next(a for a in episode.attempts if a.id in tags(row, "wrong_step_of") and said in a.text)
                    assert fork.call and fork.call.role == "student" and fork.fork_step == len(known)
                else:
                    assert said in {str(r) for r in chain.rules if r.op}, "an operation, without its value"
                    whole = next(x for x in chain.right_steps if x.startswith(f"{said} ="))
                    found = chains.first_error(chain, [*known, whole])
                    assert found is not None and (found.step, found.kind) == (len(known), "order")
                    assert arm == "random" or whole in gold[len(known) :]
            elif i - 1 not in errors(row):
                known.append(said)


def test_retry_weak_and_retry_miss_differ_in_what_no_solution_needs(retries: Made) -> None:
    def useless(arm: str) -> int:
        count = 0
        for row in retries.configs[arm]:
            gold = retries.of(row)[0].problem.solution
            parts = spans(row)
            count += sum(not any(g.startswith(parts[i][0].strip()) for g in gold) for i in errors(row))
        return count

    assert useless("later") == 0 < useless("random")


# ---- the control


@pytest.fixture(scope="module")
def control(make: Callable[..., Made]) -> Made:
    return make("eift_control", 36)


def test_control_rows_are_clean_or_hold_one_to_four_errors_made_by_rule(control: Made) -> None:
    rows = control.rows
    counts = Counter(len(errors(r)) for r in rows)
    assert 0.6 < counts[0] / len(rows) < 0.95 and len(rows) == 36 and set(counts) <= {0, 1, 2, 3, 4}
    assert sum(counts[k] for k in (1, 2, 3, 4)) >= 3
    for row in rows:
        episode, chain = control.of(row)
        parts, wrong = spans(row), errors(row)
        woven = {*wrong, *(i + 1 for i in wrong)}
        gold = list(episode.problem.solution)
        assert own_prompt(episode, row) and tags(row, "control") == ["synthetic_errors"], "no row passes for another"
        assert lines([t for i, (t, _) in enumerate(parts) if i not in woven]) == gold
        assert [s.train for _, s in parts] == [i not in wrong for i in range(len(parts))]
        assert {parts[i + 1][0] for i in wrong} <= {"Wait, this step is wrong. Let me do it again.\n"}
        assert tags(row, "error_source") == (["rule"] if wrong else [])
        for i in wrong:
            before = [t.strip() for j, (t, _) in enumerate(parts[:i]) if j not in woven]
            found = chains.first_error(chain, [*before, parts[i][0].strip()])
            assert found is not None and found.step == len(before), "wrong where it stands"


def test_control_errors_are_slips_in_the_right_step_that_the_verifier_failed(control: Made) -> None:
    for row in control.rows:
        episode, _ = control.of(row)
        used = [episode.attempt(x) for x in tags(row, "wrong_step_of")]
        assert len(used) == len(errors(row)) == len({a.id for a in used})
        for a in used:
            assert a.kind == "injected" and a.injection is not None and episode.outcome(a.id) == "fail"
            assert a.injection.original.strip() == episode.problem.solution[a.injection.step]
            assert a.steps[a.injection.step].source == "injector" and a.injection.kind in tags(row, "error_kind")


# ---- TAPO


@pytest.fixture(scope="module")
def tapo(make: Callable[..., Made]) -> Made:
    return make("tapo", 14)


def test_tapo_rows_are_own_prefix_failure_diagnosis_and_correction(tapo: Made) -> None:
    assert len(tapo.rows) >= 5
    for row in tapo.rows:
        episode, chain = tapo.of(row)
        spliced, wrong = (episode.attempt(x) for x in row.lineage[:2])
        k = spliced.fork_step
        parts = spans(row)
        assert own_prompt(episode, row) and k is not None and wrong.kind == "sampled"
        assert [t for t, _ in parts[: k + 1]] == [s.text for s in wrong.steps[: k + 1]], "the learner's own words"
        assert [s.train for _, s in parts] == [i != k for i in range(len(parts))]
        error = chains.first_error(chain, lines([s.text for s in wrong.steps]))
        assert error is not None and error.step == k, "up to the point of failure"
        diagnosis, rest = parts[k + 1], parts[k + 2 :]
        assert diagnosis[1].role == "reflection" and diagnosis[0] == f"Wait : {error.why}\n"
        assert leaked(episode.problem, diagnosis[0]) is None
        assert chains.first_error(chain, lines([t for t, _ in [*parts[:k], *rest]])) is None


def test_tapo_takes_mixed_groups_alone_and_tells_group_and_rate(tapo: Made) -> None:
    for row in tapo.rows:
        episode, _ = tapo.of(row)
        known = [o for a in episode.attempts if a.stage == "sample" and (o := episode.outcome(a.id)) != "unknown"]
        rate = known.count("pass") / len(known)
        assert 0.125 <= rate <= 0.875 and tags(row, "group") == [f"{episode.id}:sample"]
        assert [float(x) for x in tags(row, "group_rate")] == [pytest.approx(rate, abs=1e-4)]
        assert tags(row, "constructed") == ["micro_reflection"]
    kept = {r.episode for r in tapo.rows}
    assert tapo.codes("filter")["outside_band"] > 0 and len(kept) < 14


def test_tapo_locates_by_a_sibling_of_the_group_and_says_who_saw_it(tapo: Made) -> None:
    for row in tapo.rows:
        episode, _ = tapo.of(row)
        wrong, mended, said = row.lineage[1], episode.attempt(row.lineage[2]), episode.critique(row.lineage[3])
        by = {c.source: (c.verdict, c.first_error) for c in episode.critiques if c.attempt == wrong}
        assert by == {"comparison": ("error", mended.fork_step), "teacher": ("error", mended.fork_step)}
        assert (mended.kind, mended.parent, mended.critique) == ("forked", wrong, said.id)
        assert "right_step" in said.seen and "right_step" in mended.seen and "right_step" in row.seen


# ---- Satori


@pytest.fixture(scope="module")
def satori(make: Callable[..., Made]) -> Made:
    return make("satori_coat", 24)


GO_ON, REFLECT, EXPLORE = "<|continue|>", "<|reflect|>", "<|explore|>"


def acts(row: SftRow) -> list[tuple[str, str, bool]]:
    """(action, what is said, whether it is trained) of each step."""
    parts = spans(row)
    assert all((s.role == "marker") == (i % 2 == 0) for i, (_, s) in enumerate(parts)), "each step has its token"
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [(token.strip(), said.strip(), s.train) for (token, _), (said, s) in pairs]


def test_satori_steps_continue_reflect_and_explore_in_this_order(satori: Made) -> None:
    kinds = Counter(r.transition for r in satori.rows)
    assert kinds["wrong_to_right"] >= 6 and kinds["right_to_right"] >= 1
    assert kinds["right_to_right"] / len(satori.rows) <= 0.3
    for row in satori.rows:
        episode, chain = satori.of(row)
        said = acts(row)
        names = [a for a, _, _ in said]
        assert own_prompt(episode, row) and names.count(REFLECT) == 1
        at = names.index(REFLECT)
        before, after = said[:at], said[at + 1 :]
        assert {a for a, _, _ in before} == {GO_ON}
        if row.transition == "right_to_right":
            assert said[at][1] == "Every step is right" and [a for a, _, _ in after] == [GO_ON]
            kept = [*before, *after]
        else:
            assert [a for a, _, _ in after] == [EXPLORE] + [GO_ON] * (len(after) - 1)
            found = chains.first_error(chain, [s for _, s, _ in before])
            assert found is not None and found.step == at - 1 and said[at][1] == chains.critique(found)
            kept = [*before[:-1], *after]
        assert chains.first_error(chain, [s for _, s, _ in kept]) is None
        assert leaked(episode.problem, said[at][1]) is None


def test_satori_masks_the_wrong_step_alone_and_trains_every_token(satori: Made) -> None:
    for row in satori.rows:
        masked = [i for i, (_, s) in enumerate(spans(row)) if not s.train]
        if row.transition == "right_to_right":
            assert masked == []
        else:
            wrong = 2 * [a for a, _, _ in acts(row)].index(REFLECT) - 1
            assert masked == [wrong]


def test_satori_explores_what_the_students_own_revision_found(satori: Made) -> None:
    for row in satori.rows:
        if row.transition == "wrong_to_right":
            episode, _ = satori.of(row)
            wrong, revision, said = (
                episode.attempt(row.lineage[1]), episode.attempt(row.lineage[2]), episode.critique(row.lineage[3]),
            )  # fmt: skip
            assert (wrong.kind, revision.kind, revision.parent) == ("sampled", "revised", wrong.id)
            assert revision.critique == said.id and said.source == "teacher"
            assert (episode.outcome(wrong.id), episode.outcome(revision.id)) == ("fail", "pass")
