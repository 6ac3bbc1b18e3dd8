"""Every fault at once, with its place; and whatever is right comes out filled in and typed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from errata.errors import RecipeError
from errata.recipe.generate import main
from errata.recipe.read import about, read, schema
from errata.recipe.spec import SamplingSpec
from errata.records.generate import render
from tests.recipe.support import BASE, faults, made

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = sorted((ROOT / "pipelines").glob("*.yaml"))


# ---- what is right


def test_defaults_are_filled_in_and_lists_become_tuples(tmp_path: Path) -> None:
    recipe = made(tmp_path)
    assert recipe.version == "1" and recipe.source.with_ == {
        "count": 4, "operations": (3, 5), "distractors": (0, 3), "seed": 0, "split": "train",
    }  # fmt: skip
    steps = {s.name: s for s in recipe.stages}
    assert list(steps) == ["sample", "verify", "critique", "revise", "verify_revisions", "splice", "filter", "pair"]
    known = {"role": "student", "n": 2, "prompt": "solve", "steps": "lines"}
    assert {name: steps["sample"].with_[name] for name in known} == known
    assert steps["filter"].with_["band"] == (0, 1) and steps["filter"].with_["agree"] == ()
    assert steps["splice"].with_["transitions"] == ("wrong_to_right",) and steps["splice"].after is None
    assert recipe.engines["student"].sampling == SamplingSpec() and recipe.engines["teacher"].with_ == {"skill": 1.0}
    assert (recipe.corpus[0].with_["config"], recipe.corpus[0].with_["right_to_right"]) == ("sft", 0.0)
    assert [e.name for e in recipe.exports] == ["sft", "dpo"] and "stage" not in recipe.exports[0].with_
    assert (recipe.seed, recipe.limit, recipe.concurrency, recipe.part_size) == (0, None, 2048, 256)


def test_what_is_said_is_kept(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        sampling = {"temperature": 0.5, "top_p": 1, "max_tokens": 9, "stop": ["\n"]}
        data["engines"]["student"] |= {"system": "Be brief", "sampling": sampling, "schema": {"type": "object"}}
        data["stages"][6]["after"] = ["splice", "verify"]
        data |= {"seed": 3, "limit": 2, "about": "a", "method": "m", "licence": "MIT", "version": "2.0-beta"}

    recipe = made(tmp_path, change=change)
    student = recipe.engines["student"]
    assert student.system == "Be brief" and student.schema == {"type": "object"}
    assert student.sampling == SamplingSpec(temperature=0.5, top_p=1, max_tokens=9, stop=("\n",))
    assert recipe.stages[6].after == ("splice", "verify")
    assert (recipe.seed, recipe.limit, recipe.version, recipe.licence) == (3, 2, "2.0-beta", "MIT")


@pytest.mark.parametrize("written", ["1", "1.5", "2024-01-31", "x"])
def test_a_version_is_text_however_it_is_written(tmp_path: Path, written: str) -> None:
    rest = "source: {use: procedural, with: {count: 1}}\nexports: [{use: sft, with: {of: []}}]\n"
    (tmp_path / "r.yaml").write_text(f"name: r\nversion: {written}\n{rest}")
    assert read(tmp_path / "r.yaml").version == written


# ---- what is wrong: structure


def test_all_faults_are_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        del data["version"]
        data["sourse"] = data.pop("source")
        data["engines"]["student"]["samplign"] = {}
        data["engines"]["teacher"]["sampling"] = {"temperature": "hot", "max_token": 3}
        data["stages"][0]["wit"] = {}
        data["stages"][1] = {"name": "nameless"}
        data["exports"] = []
        data["concurrency"] = 0
        data["limit"] = 0
        data["seed"] = 1.0

    found = faults(tmp_path, change=change)
    expected = [
        "the recipe: 'version' is missing",
        "the recipe: 'source' is missing",
        "the recipe: unknown key 'sourse', did you mean 'source'?",
        "engines.student: unknown key 'samplign', did you mean 'sampling'?",
        "engines.teacher.sampling.temperature: 'hot' is not of type 'number'",
        "engines.teacher.sampling: unknown key 'max_token', did you mean 'max_tokens'?",
        "stages.0: unknown key 'wit', did you mean 'with'?",
        "stages.1: 'use' is missing",
        "concurrency: 0 is less than the minimum of 1",
        "limit: 0 is less than the minimum of 1",
        "seed: 1.0 is not of type 'integer'",
    ]
    assert set(expected) <= set(found)
    assert len(found) == len(expected) + 1 and any(f.startswith("exports: []") for f in found)


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", ".x", "x" * 129, "a b", "x\n", "journal"])
def test_a_name_must_do_for_a_folder(tmp_path: Path, name: str) -> None:
    found = faults(tmp_path, change=lambda d: d.update(name=name))
    assert all(f.startswith("name: ") for f in found)


@pytest.mark.parametrize(
    "text",
    ["", "3", "- a", "just text", "a: b: c", "[", "a: *nowhere", "\x00", "a: &x [*x]", "name: .nan", "d: 2024-13-45",
     "[" * 3000, "!!python/object/apply:os.system ['true']"],
)  # fmt: skip
def test_what_is_no_recipe_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        read(path)
    assert "bad.yaml" in str(caught.value) and all("\n" not in f for f in caught.value.faults)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(RecipeError, match=r"bad\.yaml is no recipe: it is not UTF-8"):
        read(tmp_path / "bad.yaml")


def test_a_file_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(RecipeError, match=r"cannot read .*smal\.yaml .*there are .*small\.yaml"):
        read(tmp_path / "smal.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=r"holds no \.yaml file"):
        read(tmp_path / "empty" / "x.yaml")


# ---- what is wrong: components and what they name


def test_all_faults_of_components_are_told_at_once(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["source"]["with"] = {"count": "many", "operation": [3, 5]}
        data["engines"]["teacher"]["use"] = "oracel"
        data["stages"][0]["with"] = {"n": 2.0, "role": "studnet", "prompt": "solv"}
        data["stages"][2]["with"]["outcome"] = "failed"
        data["stages"][3]["with"]["critique"] = "critic"
        data["stages"][6]["with"] = {"band": [0], "need": ["splices"], "agree": "gold"}
        data["corpus"][0]["with"] = {"right_to_right": "half"}
        data["stages"][7]["with"] = {"rule": "outcomes"}
        data["exports"][1]["with"] = {"of": ["samples"], "stage": "x"}

    found = faults(tmp_path, change=change)
    for part in [
        "source.with: unknown key 'operation', did you mean 'operations'?",
        "source.with.count: 'many' is not of type 'integer'",
        "engines.teacher: no engine is called 'oracel': there are ",
        "stages.sample.with.n: 2.0 is not of type 'integer'",
        "stages.sample.with.role: no engine plays 'studnet'; engines has student, teacher",
        "stages.sample.with.prompt: there is no prompt 'solv': errata has ",
        "stages.critique.with.outcome: 'failed' is not ",
        "stages.revise.with.critique: there is no step 'critic'; there are ",
        "stages.filter.with.band: ",
        "stages.filter.with.need.0: ",
        "stages.filter.with.agree: 'gold' is not of type 'array'",
        "corpus.balance.with.right_to_right: 'half' is not of type 'number'",
        "exports.dpo.with: unknown key 'stage'",
        "exports.dpo.with.of: there is no step 'samples'",
        "stages.pair.with.rule: ",
    ]:
        assert sum(part in f for f in found) == 1, (part, found)
    assert len(found) == 15


def test_a_missing_parameter_is_told(tmp_path: Path) -> None:
    assert faults(tmp_path, change=lambda d: d["source"].update({"with": {}})) == ("source.with: 'count' is missing",)


def test_what_a_corpus_operation_will_refuse_is_told_before_the_work(tmp_path: Path) -> None:
    found = faults(tmp_path, "corpus.balance.with.right_to_right=1.0")
    assert len(found) == 1 and found[0].startswith("corpus.balance.with: right_to_right is 1.0")


def test_what_an_export_will_refuse_is_told_before_the_work(tmp_path: Path) -> None:
    found = faults(tmp_path, "exports.sft={use: offline_rl, with: {rewards: ufo}}")
    assert len(found) == 1 and found[0].startswith("exports.offline_rl.with: offline_rl cannot compute the repeat term")
    found = faults(tmp_path, "exports.sft={use: rl, with: {turns: 2, feedback: chains_revise}}")
    assert len(found) == 1 and "names more than the problem" in found[0]


@pytest.mark.parametrize(
    ("kind", "place"),
    [("source", ("source",)), ("engine", ("engines", "teacher")), ("stage", ("stages", 0)), ("corpus", ("corpus", 0)),
     ("export", ("exports", 0))],
)  # fmt: skip
def test_unknown_components_of_every_kind(tmp_path: Path, kind: str, place: tuple[Any, ...]) -> None:
    def change(data: dict[str, Any]) -> None:
        here: Any = data
        for key in place:
            here = here[key]
        here["use"] = "nothing"

    assert any(f"no {kind} is called 'nothing': there are " in f for f in faults(tmp_path, change=change))


def test_a_role_that_is_not_asked_need_not_exist(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["stages"].insert(2, {"use": "locate", "with": {"method": "gold", "role": "nobody", "prompt": "none"}})

    assert len(made(tmp_path, change=change).stages) == 9
    assert "no engine plays 'nobody'" in faults(tmp_path, "stages.locate.with.method=forks", change=change)[0]


def test_names_must_differ(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["stages"][4].pop("name")
        data["exports"].append({"use": "sft"})
        data["stages"][0]["name"] = "source"
        data["exports"][1]["name"] = "drops"
        data["stages"][5]["name"] = "sp lice"
        data["stages"][6]["after"] = ["nowhere"]

    found = faults(tmp_path, change=change)
    for part in [
        "stages: two are called 'verify'",
        "exports: two are called 'sft'",
        "the name 'source' is errata's own",
        "the name 'drops' is errata's own",
        "stages: the name 'sp lice' may hold",
        "stages.filter.after: there is no step 'nowhere'",
    ]:
        assert sum(part in f for f in found) == 1, (part, found)


def test_a_step_and_an_export_must_not_share_a_line_of_the_funnel(tmp_path: Path) -> None:
    found = faults(tmp_path, "exports.sft.name=splice")
    assert found == ("exports: 'splice' is also a step's name; the funnel has one line a name",)


def test_a_step_that_has_not_run_yet_has_made_nothing(tmp_path: Path) -> None:
    found = faults(tmp_path, "stages.verify.with.of=revise")
    assert found == (
        "stages.verify.with.of: 'revise' has not run when 'verify' begins; put it above, or name it in `after`",
    )
    # A branch beside another has not seen its work either.
    found = faults(tmp_path, "stages.critique.after=[]")
    assert "stages.critique.with.of: 'sample' has not run when 'critique' begins" in found[0]


# ---- prompts


def own_prompt(folder: Path, content: str) -> str:
    (folder / "own.yaml").write_text(yaml.safe_dump({"messages": [{"role": "user", "content": content}]}))
    return "own.yaml"


def test_a_prompt_that_names_privileged_context_needs_see(tmp_path: Path) -> None:
    name = own_prompt(tmp_path, "{{ reference }} {{ gold_steps }} {{ attempt.text }}")
    found = faults(tmp_path, f"stages.critique.with.prompt={name}")
    assert [f.split(":")[0] for f in found] == ["stages.critique.with.prompt"] * 2
    assert "names 'gold_steps', which it is not shown" in found[0] and "`see` names it" in found[0]
    assert len(faults(tmp_path, f"stages.critique.with.prompt={name}", "stages.critique.with.see=[reference]")) == 1
    made(tmp_path, f"stages.critique.with.prompt={name}", "stages.critique.with.see=[reference, gold_steps]")
    assert "`see`" not in faults(tmp_path, f"stages.sample.with.prompt={name}")[0]


def test_a_prompt_that_cannot_be_compiled_is_a_fault_of_its_step(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("messages: [{role: user, content: '{{'}]")
    assert faults(tmp_path, "stages.sample.with.prompt=own.yaml")[0].startswith("stages.sample.with.prompt: prompt own")


# ---- user components

OWN = """
from errata.records.types import Additions
from errata.registry import StepName, stage

@stage(version=1)
async def count(episode, ctx, *, most: int = 3, kinds: tuple[str, ...] = ("a",), of: StepName = "sample"):
    '''Count.'''
    return Additions()

def plain(episode, ctx):
    pass
"""


def with_own(folder: Path, text: str, use: str = "own.py:count", **with_: Any) -> Any:
    (folder / "own.py").write_text(text)
    return lambda data: data["stages"].append({"use": use, "with": with_})


def test_a_users_own_stage_is_found_beside_the_recipe_and_checked_like_any(tmp_path: Path) -> None:
    recipe = made(tmp_path, change=with_own(tmp_path, OWN, kinds=["b", "c"]))
    last = recipe.stages[-1]
    assert (last.name, last.with_) == ("count", {"most": 3, "kinds": ("b", "c"), "of": "sample"})
    found = faults(tmp_path, change=with_own(tmp_path, OWN, most="all", off="x"))
    assert found == (
        "stages.count.with: unknown key 'off', did you mean 'of'?",
        "stages.count.with.most: 'all' is not of type 'integer'",
    )


@pytest.mark.parametrize(
    ("text", "use", "told"),
    [
        (OWN, "own.py:counts", "registers no stage called 'counts': it has count"),
        (OWN, "own.py:plain", "registers no stage called 'plain'"),
        (OWN, "other.py:count", "there is no file other.py beside the recipe"),
        ("def broken(:", "own.py:count", "own.py:count cannot be loaded: SyntaxError"),
        ("import nothing_of_this_name", "own.py:count", "cannot be loaded: ModuleNotFoundError"),
        ("raise RuntimeError('two\\nlines')", "own.py:count", "cannot be loaded: RuntimeError: two lines"),
        ("", "own.py:count", "it has none; mark one with @errata.registry.stage"),
    ],
)
def test_a_users_own_stage_that_cannot_be_had_is_told(tmp_path: Path, text: str, use: str, told: str) -> None:
    found = faults(tmp_path, change=with_own(tmp_path, text, use))
    assert len(found) == 1 and told in found[0]


# ---- --set


@pytest.mark.parametrize(
    ("change", "at", "value"),
    [
        ("source.with.count=9", lambda r: r.source.with_["count"], 9),
        ("source.with.operations=[4, 4]", lambda r: r.source.with_["operations"], (4, 4)),
        ("source.with.split=test", lambda r: r.source.with_["split"], "test"),
        ("seed=5", lambda r: r.seed, 5),
        ("engines.student.with.skill=0.25", lambda r: r.engines["student"].with_["skill"], 0.25),
        ("engines.student.sampling.temperature=0", lambda r: r.engines["student"].sampling.temperature, 0),
        ("engines.judge.use=oracle", lambda r: r.engines["judge"].with_, {"skill": 1.0}),
        ("stages.sample.with.n=7", lambda r: r.stages[0].with_["n"], 7),
        ("stages.0.with.n=8", lambda r: r.stages[0].with_["n"], 8),
        ("stages.verify_revisions.with.of=sample", lambda r: r.stages[4].with_["of"], "sample"),
        ("stages.splice.with.lead=Hm: ", lambda r: r.stages[5].with_["lead"], "Hm: "),
        ("stages.splice.with.lead='a=b'", lambda r: r.stages[5].with_["lead"], "a=b"),
        ("stages.filter.with.agree=[gold]", lambda r: r.stages[6].with_["agree"], ("gold",)),
        ("stages.filter.with.band.0=0.5", lambda r: r.stages[6].with_["band"], (0.5, 1)),
        ("corpus.balance.with.right_to_right=0.3", lambda r: r.corpus[0].with_["right_to_right"], 0.3),
        ("stages.pair.with.most=0", lambda r: r.stages[7].with_["most"], 0),
        ("corpus=[]", lambda r: r.corpus, ()),
    ],
)
def test_set_changes_one_place(tmp_path: Path, change: str, at: Any, value: Any) -> None:
    if change == "stages.splice.with.lead=Hm: ":
        change = "stages.splice.with.lead='Hm: '"
    assert at(made(tmp_path, change)) == value


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("seed", "write path=value"),
        ("=3", "unknown key ''"),
        ("sede=3", "unknown key 'sede', did you mean 'seed'?"),
        ("seed=[", "the value is not YAML"),
        ("seed=x", "seed: 'x' is not of type 'integer'"),
        ("stages.smaple.with.n=3", "there is no 'smaple'; there are sample, verify, critique"),
        ("stages.99.with.n=3", "there is no '99'"),
        ("stages.-1.with.n=3", "there is no '-1'"),
        ("version.x=3", "has no parts"),
        ("name.x.y=3", "has no parts"),
        ("source.wiht.count=3", "unknown key 'wiht', did you mean 'with'?"),
        ("source.with.cuont=3", "unknown key 'cuont', did you mean 'count'?"),
        ("stages.sample.with.n=two", "stages.sample.with.n: 'two' is not of type 'integer'"),
        ("seed=.inf", "numbers are finite"),
    ],
)
def test_set_tells_what_it_cannot_do(tmp_path: Path, change: str, told: str) -> None:
    assert any(told in f for f in faults(tmp_path, change))


def test_sets_are_carried_out_in_order(tmp_path: Path) -> None:
    assert made(tmp_path, "seed=1", "seed=2").seed == 2
    recipe = made(tmp_path, "engines.judge.use=oracle", "engines.judge.with.skill=0.1")
    assert recipe.engines["judge"].with_["skill"] == 0.1


def test_all_sets_that_fail_are_told_at_once_with_the_recipes_own_faults(tmp_path: Path) -> None:
    assert len(faults(tmp_path, "seed", "stages.x.with.n=1", "limit=0")) == 3


def test_a_place_that_is_empty_in_the_file_can_be_set(tmp_path: Path) -> None:
    recipe = made(tmp_path, "stages.verify.with.of=sample", change=lambda d: d["stages"][1].update({"with": None}))
    assert recipe.stages[1].with_["of"] == "sample"


# ---- the schema


def test_the_file_is_that_of_the_types() -> None:
    file = (ROOT / "schemas/recipe.json").read_text(encoding="utf-8")
    assert file == render(schema()), "run: python -m errata.recipe.generate schemas/"


def test_it_is_written_into_a_new_folder(tmp_path: Path) -> None:
    main(tmp_path / "made")
    assert json.loads((tmp_path / "made" / "recipe.json").read_text()) == schema()


@pytest.mark.parametrize("path", PIPELINES, ids=lambda p: p.name)
def test_every_pipeline_fits_the_schema_and_a_stranger_does_not(path: Path) -> None:
    Draft202012Validator.check_schema(schema())
    validator = Draft202012Validator(schema())
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert not list(validator.iter_errors(data))
    assert list(validator.iter_errors({**data, "stranger": 1}))
    assert list(validator.iter_errors({**data, "stages": [{"use": "sample", "with": {}, "n": 3}]}))


def test_the_base_of_these_tests_fits_too() -> None:
    assert not list(Draft202012Validator(schema()).iter_errors(BASE))


def test_what_a_recipe_says_of_itself(tmp_path: Path) -> None:
    texts = {"about: One.\n": "One.", "about: |\n  One.\n  Two.\n": "One.", "name: x": "", "[": "", "3": ""}
    for text, said in texts.items():
        (tmp_path / "r.yaml").write_text(text)
        assert about(tmp_path / "r.yaml") == said
    assert about(tmp_path / "none.yaml") == ""
