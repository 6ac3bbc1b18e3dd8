"""The local runner: the same rows in whatever order episodes finish, and a stage's fault costs its episode alone."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from errata.engines.journal import Journal
from errata.errors import EngineDown, ReplayMiss, StoreError
from errata.runners import job
from errata.runners.local import UNCOMMITTED, run_local
from errata.runners.options import Options
from errata.store.check import check_dataset
from errata.store.dataset import Finished
from errata.store.files import Files
from errata.store.parts import Parts
from errata.store.reader import open_dataset
from tests.runners.support import Recipe, Server, parquet, start, told
from tests.servers import Fault, status

BRANCHES: list[dict[str, Any]] = [
    {"use": "sample", "with": {"n": 3, "steps": "chain"}},
    {"use": "verify"},
    {"name": "gold", "use": "locate", "after": ["verify"], "with": {"method": "gold"}},
    {"use": "critique", "after": ["verify"], "with": {"prompt": "chains_critique"}},
    {"use": "revise", "after": ["critique"], "with": {"prompt": "chains_revise", "steps": "chain"}},
    {"name": "verify_revisions", "use": "verify", "after": ["gold", "revise"], "with": {"of": "revise"}},
    {"use": "splice", "with": {"locations": ["gold"]}},
    {"name": "verify_splices", "use": "verify", "with": {"of": "splice"}},
    {"use": "pair"},
]

STAGES = '''
from errata.records.types import Additions, Drop
from errata.registry import stage


@stage(version=1)
async def raises(episode, ctx, *, on: str = ""):
    """Fail on one problem in three."""
    if int(episode.id, 16) % 3 == 0:
        raise ValueError(f"no good: {episode.id}")
    return Additions()


@stage(version=1)
async def returns_nothing(episode, ctx):
    """Forget to return."""


@stage(version=1)
async def names_another(episode, ctx):
    """Blame another stage."""
    return Additions(drops=(Drop(episode=episode.id, stage="x", code="c", kind="filtered", target=episode.id),))


@stage(version=1)
async def makes_twins(episode, ctx):
    """Edit an attempt."""
    from msgspec.structs import replace
    return Additions(attempts=(replace(episode.attempts[0], style="x"),))
'''


def settings(concurrency: int = 512, part_size: int = 256) -> tuple[str, str]:
    return f"concurrency={concurrency}", f"part_size={part_size}"


@pytest.mark.parametrize("branches", [False, True], ids=["in a row", "branches"])
def test_rows_do_not_depend_on_their_order(recipe: Recipe, tmp_path: Path, branches: bool) -> None:
    if branches:
        recipe.data["stages"] = BRANCHES
        recipe.write()
    runs = [settings(), settings(1, 7), settings(3, 64), settings(512, 1)]
    first, *others = [start(recipe.path, tmp_path / str(i), *changes) for i, changes in enumerate(runs)]
    assert check_dataset(first.path) == []
    assert first.manifest.configs["sft"]["train"] and first.manifest.configs["episodes"]["train"] >= 10
    for other in others:
        assert other.manifest.content_hash == first.manifest.content_hash
        assert parquet(other.path) == parquet(first.path)
        assert (other.path / "_manifest/manifest.json").read_bytes() == (
            first.path / "_manifest/manifest.json"
        ).read_bytes()


def test_branches_merge_what_each_of_them_made(recipe: Recipe, out: Path) -> None:
    recipe.data["stages"] = BRANCHES
    made = start(recipe.write(), out)
    for episode in open_dataset(made.path).rows("episodes"):
        wrong = {a.id for a in episode.attempts if a.stage == "sample" and episode.outcome(a.id) == "fail"}
        for name in ("gold", "critique"):
            assert {c.attempt for c in episode.critiques if c.stage == name} == wrong


def funnel(made: Finished) -> dict[str, dict[str, Any]]:
    return {entry["stage"]: dict(entry) for entry in made.manifest.funnel}


@pytest.mark.parametrize("with_branch", [False, True])
def test_a_stage_that_fails_costs_its_episode(recipe: Recipe, out: Path, with_branch: bool) -> None:
    """A stage of the user's own, in a file beside the recipe."""
    recipe.path.with_name("my_stage.py").write_text(STAGES)
    recipe.data["stages"].insert(2, {"name": "mine", "use": "my_stage.py:raises"})
    if with_branch:
        recipe.data["stages"][3]["after"] = ["verify"]
        recipe.data["stages"][4]["after"] = ["critique", "mine"]
    made = start(recipe.write(), out)
    assert check_dataset(made.path) == []
    mine = funnel(made)["mine"]
    lost = mine["quarantined"]
    assert 0 < lost < 12 and mine["in"] == 12 and mine["out"] == 12 - lost
    assert mine["reasons"] == {"error_ValueError": lost}
    drops = [d for d in open_dataset(made.path).rows("drops") if d.stage == "mine"]
    assert len(drops) == lost
    assert all((d.kind, d.detail) == ("quarantined", f"no good: {d.episode}") for d in drops)
    kept = {e.id for e in open_dataset(made.path).rows("episodes")}
    assert kept.isdisjoint(d.episode for d in drops)
    assert funnel(made)["revise"]["in"] == 12 - lost


@pytest.mark.parametrize(
    ("stage", "reason", "words"),
    [
        ("returns_nothing", "error_TypeError", "a stage returns Additions, not NoneType"),
        ("names_another", "error_ValueError", "take ctx.stage"),
        ("makes_twins", "error_ValueError", "share the coordinates"),
    ],
)
def test_a_stage_that_breaks_its_contract_is_told_so(
    recipe: Recipe, out: Path, stage: str, reason: str, words: str
) -> None:
    recipe.path.with_name("my_stage.py").write_text(STAGES)
    recipe.data["stages"] = [{"use": "sample", "with": {"n": 1}}, {"name": "mine", "use": f"my_stage.py:{stage}"}]
    recipe.data["exports"] = [{"use": "sft", "with": {"of": ["sample"]}}]
    made = start(recipe.write(), out)
    assert check_dataset(made.path) == []
    assert funnel(made)["mine"]["reasons"] == {reason: 12}
    assert all(words in d.detail for d in open_dataset(made.path).rows("drops"))


def test_an_export_that_fails_costs_the_rows_of_its_episode(recipe: Recipe, out: Path) -> None:
    recipe.path.with_name("my_export.py").write_text(
        "from collections.abc import Iterator\n"
        "from errata.exports.sft import sft\n"
        "from errata.exports.base import ExportContext\n"
        "from errata.records.rows import SftRow\n"
        "from errata.records.types import Drop, Episode\n"
        "from errata.registry import export\n\n\n"
        "@export(version=1)\n"
        "def mine(episode: Episode, ctx: ExportContext) -> Iterator[SftRow | Drop]:\n"
        "    if int(episode.id, 16) % 2:\n"
        "        raise KeyError('odd')\n"
        "    yield from sft(episode, ctx)\n"
    )
    recipe.data["exports"].append({"name": "mine", "use": "my_export.py:mine"})
    made = start(recipe.write(), out)
    assert check_dataset(made.path) == []
    odd = sum(int(e.id, 16) % 2 for e in open_dataset(made.path).rows("episodes"))
    assert odd and funnel(made)["mine"]["reasons"] == {"error_KeyError": odd}
    assert made.manifest.configs["mine"]["train"] < made.manifest.configs["sft"]["train"]


def test_a_server_that_goes_down_inside_a_stages_own_tasks_stops_the_run(recipe: Recipe, out: Path) -> None:
    recipe.path.with_name("my_stage.py").write_text(
        "import asyncio\n"
        "from errata.records.types import Additions\n"
        "from errata.registry import stage\n\n\n"
        "@stage(version=1)\n"
        "async def grouped(episode, ctx):\n"
        "    async with asyncio.TaskGroup() as group:\n"
        "        for k in range(2):\n"
        "            group.create_task(ctx.ask('student', episode.problem.messages, seed=k))\n"
        "    return Additions()\n"
    )
    recipe.data["stages"] = [{"name": "mine", "use": "my_stage.py:grouped"}]
    recipe.data["exports"] = [{"use": "sft", "with": {"of": ["mine"]}}]
    recipe.served("http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(EngineDown, match="the server is down"):
        start(recipe.path, out)


def test_replay_gives_the_same_bytes_with_every_engine_off(recipe: Recipe, tmp_path: Path) -> None:
    with Server() as server:
        recipe.served(server.url)
        first = start(recipe.path, tmp_path / "a")
        asked = server.requests
    assert asked >= 36
    journal = tmp_path / "a/journal"
    before = {p.name: p.read_bytes() for p in journal.iterdir()}
    second = start(recipe.path, tmp_path / "b", replay=True, journal=journal)
    assert second.manifest.content_hash == first.manifest.content_hash
    assert parquet(second.path) == parquet(first.path) and parquet(first.path)
    assert told(second.path)["requests"] == 0 and told(second.path)["reused"] >= asked
    assert {p.name: p.read_bytes() for p in journal.iterdir()} == before
    assert not (tmp_path / "b/journal").exists()


def test_replay_names_a_missing_reply(recipe: Recipe, tmp_path: Path) -> None:
    start(recipe.path, tmp_path / "a")
    (path,) = (tmp_path / "a/journal").iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[6:]))
    with pytest.raises(ReplayMiss, match="holds no reply of oracle:chains") as miss:
        start(recipe.path, tmp_path / "b", replay=True, journal=tmp_path / "a/journal")
    assert "run without --replay" in str(miss.value) and "\n" not in str(miss.value)
    assert not list((tmp_path / "b").glob("small/1-*"))
    with pytest.raises(StoreError, match="holds no exchange"):
        start(recipe.path, tmp_path / "c", replay=True)


def test_what_is_finished_is_not_asked_again_when_a_late_stage_changes(recipe: Recipe, out: Path) -> None:
    first = start(recipe.path, out)
    second = start(recipe.path, out, "stages.filter.with.need=[splice]")
    assert second.manifest.version != first.manifest.version
    assert told(second.path)["requests"] == 0
    assert told(second.path)["reused"] == told(first.path)["requests"] > 0


class Denying:
    """Faults for a server that refuses every key after so many requests, once `ready`; until then it answers slowly."""

    def __init__(self, left: int, ready: Callable[[], bool]) -> None:
        self.left, self.ready = left, ready

    def __iter__(self) -> "Denying":
        return self

    def __next__(self) -> Fault | None:
        self.left -= 1
        if self.left >= 0:
            return None
        if not self.ready():
            time.sleep(0.1)
            return None
        return status(401)


def test_a_run_resumed_with_parts_of_another_size_loses_nothing(recipe: Recipe, tmp_path: Path) -> None:
    def parts() -> list[Path]:
        return list((tmp_path / "out/small").glob(".work-*/part-*"))

    faults = Denying(left=30, ready=lambda: len(parts()) >= 2)
    with Server(faults=faults) as server:
        recipe.served(server.url)
        with pytest.raises(EngineDown, match="refused the key"):
            start(recipe.path, tmp_path / "out", *settings(2, 2))
        assert len(parts()) >= 2
        faults.left = 10**9
        made = start(recipe.path, tmp_path / "out", *settings(4, 5))
        assert told(made.path)["reused"] > 0
        whole = start(recipe.path, tmp_path / "whole")
    assert made.manifest.content_hash == whole.manifest.content_hash
    assert parquet(made.path) == parquet(whole.path)
    assert not list((tmp_path / "out/small").glob(".work-*")), "parts of either size are no longer needed"


def test_what_a_run_left_between_its_commit_and_its_end_is_mended(recipe: Recipe, out: Path) -> None:
    made = start(recipe.path, out)
    latest = made.path.parent / "LATEST"
    latest.unlink()
    work = made.path.parent / f".work-{made.path.name}-256"
    work.mkdir()
    assert start(recipe.path, out).new is False
    assert latest.read_text().strip() == made.path.name and not work.exists()


def test_a_finished_version_is_left_as_it_is(recipe: Recipe, out: Path) -> None:
    made = start(recipe.path, out)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in out.rglob("*")}
    assert start(recipe.path, out).new is False
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in out.rglob("*")} == before
    assert made.new is True


def test_a_damaged_part_is_made_again(recipe: Recipe, tmp_path: Path) -> None:
    faults = Denying(left=30, ready=lambda: any((tmp_path / "out/small").glob(".work-*/part-*")))
    with Server(faults=faults) as server:
        recipe.served(server.url)
        with pytest.raises(EngineDown):
            start(recipe.path, tmp_path / "out", *settings(2, 2))
        part = sorted((tmp_path / "out/small").glob(".work-*/part-*"))[0]
        data = bytearray((part / "episodes.arrow").read_bytes())
        data[len(data) // 2] ^= 1
        (part / "episodes.arrow").write_bytes(data)
        faults.left = 10**9
        made = start(recipe.path, tmp_path / "out", *settings(2, 2))
        whole = start(recipe.path, tmp_path / "whole")
    assert parquet(made.path) == parquet(whole.path)
    facts = json.loads((made.path / "_manifest/run.json").read_text())
    assert len(facts["parts_damaged"]) == 1 and "is not what was written" in facts["parts_damaged"][0]


class Slow(Files):
    """A disk on which a commit takes longer than an answer; knows how many parts were begun and not yet committed."""

    def __init__(self, begun: list[int]) -> None:
        super().__init__()
        self.begun, self.committed, self.most = begun, 0, 0

    def claim(self, made: Path, target: Path) -> bool:
        time.sleep(0.05)
        self.most = max(self.most, len(self.begun) - self.committed)
        self.committed += target.name.startswith("part-")
        return super().claim(made, target)


def test_parts_that_wait_to_be_committed_do_not_pile_up(recipe: Recipe, tmp_path: Path) -> None:
    changes = ("source.with.count=80", *settings(2, 2))
    prepared = job.prepare(Options(recipe=recipe.path, out=tmp_path / "out", changes=changes))
    begun: list[int] = []

    def todo() -> Iterator[Any]:
        for index, items in prepared.plan.parts():
            begun.append(index)
            yield index, items

    disk = Slow(begun)
    parts, journal = Parts(prepared.work, prepared.plan.types, disk), Journal(prepared.journal)
    asyncio.run(run_local(prepared.plan, parts, journal, todo(), prepared.options, lambda _: None))
    assert len(parts.done().parts) == len(begun) == 40
    # One that is read from the source, those in flight, and those that ended.
    assert disk.most <= 1 + 2 + UNCOMMITTED + 2, "a replay must hold no more parts than it can write"
