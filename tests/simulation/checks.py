"""What must hold of the files, whatever happened: read from them alone."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from errata.engines.journal import unframe
from errata.errors import StoreError
from errata.records.types import Drop
from errata.runners.job import Job
from errata.store.audit import audit_journal, calls, check_calls
from errata.store.check import check_dataset
from errata.store.dataset import Finished
from errata.store.files import read_sealed
from errata.store.hashing import digests, file_sha256
from errata.store.manifest import RUN
from errata.store.reader import open_dataset

GIVEN_UP = frozenset({"connection", "deadline", "engine_5xx", "rate_limited", "bad_envelope", "conflict"})
"""Reasons of an attempt or episode that was given up though another time it might have gone well."""


class Reference(NamedTuple):
    """What the undisturbed run of a recipe gave, which all auditors found sound."""

    content_hash: str
    files: dict[str, str]
    """Hashes of all files of the version but the one that tells of the run itself."""
    calls: frozenset[str]
    """Keys of the exchanges that its rows were made by."""
    rows: dict[str, Counter[tuple[str, bytes]]]
    """By config, the digests of its rows and whose they are."""
    steps: int
    changes: int
    """Callbacks that ran, and changes on disk."""


def reference(job: Job, made: Finished, *, steps: int, changes: int) -> Reference:
    """The reference that an undisturbed run is. Raises ValueError if it is not sound."""
    found = Reference(made.manifest.content_hash, {}, frozenset(), rows(made.path), steps, changes)
    if faults := finished(job, made, found, storm=False):
        raise ValueError(f"the undisturbed run is at fault: {faults}")
    keys = frozenset(call.key for e in open_dataset(made.path).rows("episodes") for call in calls(e))
    return found._replace(files=files(made.path), calls=keys)


def files(path: Path) -> dict[str, str]:
    """What `Reference.files` holds. Raises StoreError if what tells of the run is damaged."""
    read_sealed(path / RUN)
    found = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if not p.is_dir()}
    return {name: file_sha256(p) for name, p in found.items() if name != RUN}


def rows(path: Path) -> dict[str, Counter[tuple[str, bytes]]]:
    """By config, what `Reference.rows` holds."""
    dataset = open_dataset(path)
    found = {}
    for config in dataset.manifest.configs:
        records = list(dataset.rows(config))
        hashed = digests(records, dataset.record_type(config))
        found[config] = Counter((owner(r), d.sha256) for r, d in zip(records, hashed, strict=True))
    return found


def owner(row: Any) -> str:
    """The episode that a row belongs to."""
    return str(getattr(row, "episode", None) or row.id)


def journaled(folder: Path) -> set[str]:
    """Keys of all whole exchanges."""
    keys = set()
    for path in folder.glob("*.jsonl"):
        for line in path.read_bytes().splitlines(keepends=True):
            payload = unframe(line)
            if payload is not None and payload.startswith(b'{"k":"'):
                keys.add(payload[6:38].decode())
    return keys


def visible(dataset: Path, reference: Reference) -> list[str]:
    """Faults of what a reader could see of a dataset: whole versions, and a pointer to one of them."""
    faults = []
    for path in dataset.glob("[!.]*"):
        if path.is_dir():
            faults += _unsound(path, reference)
        elif path.name != "LATEST" and ".tmp-" not in path.name:
            faults.append(f"I4: {path.name} is there")
    pointer = dataset / "LATEST"
    if pointer.exists() and not (dataset / pointer.read_text().strip()).is_dir():
        faults.append(f"I5: LATEST names {pointer.read_text()!r}, which is not there")
    return faults


def _unsound(version: Path, reference: Reference) -> list[str]:
    """What the auditor finds; of the same bytes as the reference's it would find the same, which is nothing."""
    return [] if _same(version, reference) else [f"I4, I5: {fault}" for fault in check_dataset(version)]


def _same(version: Path, reference: Reference) -> bool:
    try:
        return files(version) == reference.files
    except StoreError:
        return False


def finished(
    job: Job, made: Finished, reference: Reference, *, storm: bool, rotted: Collection[str] | None = None
) -> list[str]:
    """Faults of a version that is done: of its content, its funnel, its calls, its journal, and what is left over.

    `storm` allows that episodes were given up; `rotted` are the keys of exchanges lost to bits
    that rotted, None if none did.
    """
    audit = audit_journal(job.journal)
    faults = [*_unsound(made.path, reference), *audit.faults]
    if faults:
        return faults
    if audit.repeated:
        faults.append(f"I11: {audit.repeated} replies were asked for twice")
    count = job.recipe.source.with_["count"]
    if (entered := made.manifest.funnel[0]["in"]) != count:
        faults.append(f"I1: {entered} of {count} problems entered")
    if rotted is None and (damaged := read_sealed(made.path / RUN)["parts_damaged"]):
        faults.append(f"I4: committed parts were not whole: {damaged}")
    left = {p.name for p in made.path.parent.iterdir()} - {made.path.name, "LATEST"}
    if left:
        faults.append(f"I4: left over beside the version: {sorted(left)}")
    if _same(made.path, reference):
        lost = reference.calls - journaled(job.journal) - set(rotted or ())
        return [*faults, *(f"the journal holds no exchange {key}" for key in sorted(lost))]
    if made.manifest.content_hash != reference.content_hash:
        faults += _differences(made.path, reference) if storm else ["I3, I10: not the undisturbed run's content"]
    if rotted is None:
        faults += check_calls(made.path, audit)
    return [*faults, *_dishonest(made.path)]


def _dishonest(version: Path) -> list[str]:
    return [
        f"I12: {verdict.target} is {verdict.outcome} though its verifier was lost"
        for episode in open_dataset(version).rows("episodes")
        for verdict in episode.verdicts
        if "timed out" in verdict.evidence and verdict.outcome != "unknown"
    ]


def _differences(path: Path, reference: Reference) -> list[str]:
    """Rows that differ and belong to no episode that was given up, each with a reason."""
    drops = open_dataset(path).rows("drops")
    lost = {d.episode for d in drops if isinstance(d, Drop) and d.code in GIVEN_UP}
    now = rows(path)
    return [
        f"I3: a row of {config} of the episode {episode} is not as in the undisturbed run, and none was given up"
        for config, before in reference.rows.items()
        for episode, _ in (before - now[config]) + (now[config] - before)
        if episode not in lost
    ]
