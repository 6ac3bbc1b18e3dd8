"""A small dataset with something of everything: three splits, drops of both kinds, an export without rows."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from errata.records.manifest import Manifest
from errata.records.rows import DpoRow, SftRow, Span
from errata.records.types import Attempt, Check, Drop, Episode, Injection, Message, Problem, Step, Verdict
from errata.reports.front_matter import configs_yaml
from errata.store.dataset import Description, Finished, Shard, finish
from errata.store.files import Files
from errata.store.parts import Parts

TYPES: dict[str, type] = {"episodes": Episode, "drops": Drop, "sft": SftRow, "dpo": DpoRow}


class Made(NamedTuple):
    """What one problem gave."""

    episode: Episode
    drops: tuple[Drop, ...]
    sft: tuple[SftRow, ...]


def name(*coordinates: Any) -> str:
    return hashlib.sha256(repr(coordinates).encode()).hexdigest()[:32]


def make(i: int) -> Made:
    """The i-th problem, its episode and its row; every seventh episode is filtered, and one is quarantined."""
    id, split = name("problem", i), ("train", "train", "test", "other_split")[i % 4]
    text = f"{i} plus {i} = {2 * i}\u2028 ."
    attempt = Attempt(
        id=name("attempt", i),
        stage="sample",
        index=0,
        kind="sampled",
        steps=(Step(text=text), Step(text="The answer is \0", weight=0.1 * i)),
        injection=Injection(kind="slip", step=0, original="x") if i % 3 == 0 else None,
        parent=name("attempt", i - 1) if i % 5 == 0 else None,
    )
    checks = (Check(name="number", outcome="pass", detail=""),) * (i % 3)
    verdict = Verdict(target=attempt.id, stage="verify", verifier="v", version=1, outcome="fail", checks=checks)
    problem = Problem(id=id, messages=(Message(role="user", content=f"How much is {i}?"),), verifier="v", split=split)
    drops: tuple[Drop, ...] = ()
    if i % 7 == 3:
        drops = (Drop(episode=id, stage="keep", code="too_easy", kind="filtered", target=id, detail=f"é{i}"),)
    if i == 5:
        drops = (Drop(episode=id, stage="sample", code="engine_5xx", kind="quarantined", target=id),)
    row = SftRow(
        id=name("row", i),
        episode=id,
        split=split,
        messages=(*problem.messages, Message(role="assistant", content=text)),
        spans=(
            Span(message=1, start=0, end=3, role="reasoning", train=False),
            Span(message=1, start=3, end=len(text), role="correction", train=True, weight=0.5),
        ),
        transition="wrong_to_right",
        style="wait",
        lineage=(attempt.id,),
    )
    return Made(Episode(problem=problem, attempts=(attempt,), verdicts=(verdict,)), drops, (row,))


def funnel(made: Sequence[Made]) -> list[dict[str, Any]]:
    """The counts of two stages."""
    dropped = [d for m in made for d in m.drops]
    entries, n = [], len(made)
    for stage in ("sample", "keep"):
        lost = [d for d in dropped if d.stage == stage]
        entries.append(
            {
                "stage": stage,
                "unit": "episodes",
                "in": n,
                "out": n - len(lost),
                "filtered": sum(d.kind == "filtered" for d in lost),
                "quarantined": sum(d.kind == "quarantined" for d in lost),
                "reasons": {code: sum(d.code == code for d in lost) for code in {d.code for d in lost}},
                "made": {},
            }
        )
        n -= len(lost)
    return entries


def card(manifest: Manifest) -> str:
    return f"---\n{configs_yaml(manifest.configs)}---\n# {manifest.name}\n"


def describe(made: Sequence[Made], **changes: Any) -> Description:
    fields: dict[str, Any] = {
        "name": "sums",
        "version": "1.0-0123456789ab",
        "pipeline_version": hashlib.sha256(b'{"code":"c"}').hexdigest(),
        "components": {"code": "c"},
        "recipe": {"name": "sums"},
        "models": [{"role": "student", "model": "pocket"}],
        "funnel": funnel(made),
        "determinism": "R0",
        "metrics": {"agreement": []},
        "run": {"seconds": 1.5},
        "card": card,
    }
    return Description(**{**fields, **changes})


def commit(folder: Path, pieces: Sequence[Sequence[Made]], files: Files | None = None) -> Parts:
    """One part a piece; parts that are there already are left as they are."""
    parts = Parts(folder, TYPES, files)
    done = parts.done().parts
    for index, piece in enumerate(pieces):
        if index not in done:
            drops = [d for m in piece for d in m.drops]
            rows = {"sft": [r for m in piece for r in m.sft]}
            parts.commit(index, [m.episode for m in piece], drops, rows, {"episodes": len(piece)})
    return parts


def build(root: Path, made: Sequence[Made], pieces: int = 2, files: Files | None = None, **changes: Any) -> Finished:
    """A dataset in `root/out`, from parts in `root/parts`."""
    shard = Shard(changes.pop("rows_per_shard", Shard().rows))
    parts = commit(root / "parts", [made[i::pieces] for i in range(pieces)], files)
    return finish(parts, list(parts.done().parts), describe(made, **changes), out=root / "out", shard=shard)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
