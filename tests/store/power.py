"""A disk that loses power: what was not synced may be there afterwards or not, in any combination.

The model trusts nobody's word. It looks at the folder itself whenever a change is announced, and at every real call of
`os.fsync` notes what that file or folder held. What differs from it is at the mercy of a crash: bytes of a file, by
sectors (new, old or zero) and in length; and each entry of a folder that was made, removed or renamed. A rename is kept
or lost as one. An entry of a file is not made durable by a sync of the file, only by one of its folder.
"""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

SECTOR = 512

Tree = dict[str, bytes | None]
"""What is below a folder: bytes of a file, None for a folder."""
Entry = tuple[str, int]


class Change(NamedTuple):
    """Of a folder's entries; a rename removes and adds."""

    removed: Entry | None
    added: Entry | None


@dataclass
class Node:
    """A file or folder, whatever its name is now."""

    data: bytes = b""
    durable: bytes = b""
    entries: dict[str, int] | None = None
    """Names and nodes in a folder, as programs see them."""
    lasting: dict[str, int] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def settle(self) -> None:
        self.durable = self.data
        self.lasting, self.pending = dict(self.entries or {}), []


class Point(NamedTuple):
    """One thing that a power loss could leave."""

    where: str
    promised: frozenset[str]
    """What the program had been told is done."""
    tree: Tree


class Disk:
    """Watches `root`, whose content at first is durable. `points` are the outcomes of a crash before each change."""

    def __init__(self, root: Path, seeds: int) -> None:
        self.root, self.seeds = root, seeds
        self.promised: set[str] = set()
        self.operations = 0
        self._points: dict[tuple[frozenset[str], tuple[tuple[str, bytes | None], ...]], Point] = {}
        self._nodes: dict[int, Node] = {}
        self._ids: dict[int, int] = {}
        self._look()
        for node in self._nodes.values():
            node.settle()

    @property
    def points(self) -> list[Point]:
        return list(self._points.values())

    def forget(self) -> None:
        """Only what a crash from now on leaves is of interest."""
        self._points.clear()

    def before(self, operation: str, path: Path) -> None:
        """The hook of errata.store.files and of the journal."""
        self._look()
        self.operations += 1
        self.crash(f"{self.operations}: before {operation} {path.relative_to(self.root.parent)}")

    def crash(self, where: str) -> None:
        """Note what a power loss could leave now."""
        self._look()
        for seed in range(self.seeds):
            tree = self._survivors(seed)
            key = (frozenset(self.promised), tuple(sorted(tree.items())))
            self._points.setdefault(key, Point(f"{where}, seed {seed}", key[0], tree))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """`os.fsync` tells this disk, and nothing else: the rest would only take time."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", self._fsync)
            yield

    def _fsync(self, handle: int) -> None:
        self._look()
        node = self._ids.get(os.fstat(handle).st_ino)
        if node is not None:
            self._nodes[node].settle()

    def _look(self) -> None:
        """Note what changed since the last look."""
        seen: set[int] = set()
        now: dict[int, dict[str, int]] = {}

        def visit(path: Path) -> int:
            id = self._id(path, seen)
            if path.is_dir():
                now[id] = {p.name: visit(p) for p in sorted(path.iterdir())}
            return id

        visit(self.root)
        for id, node in self._nodes.items():
            if node.entries is not None:
                compare(node, now.get(id, {}))
        self._ids = {ino: id for ino, id in self._ids.items() if ino in seen}

    def _id(self, path: Path, seen: set[int]) -> int:
        ino = path.stat().st_ino
        seen.add(ino)
        if ino not in self._ids:
            self._ids[ino] = len(self._nodes)
            self._nodes[self._ids[ino]] = Node(entries={} if path.is_dir() else None)
        node = self._nodes[self._ids[ino]]
        if node.entries is None:
            node.data = path.read_bytes()
        return self._ids[ino]

    def _survivors(self, seed: int) -> Tree:
        """Seed 0 loses all that was not synced, seed 1 nothing, the others draw."""
        draw = random.Random(f"{seed} {self.operations}")
        tree: Tree = {}

        def keep() -> bool:
            return seed == 1 or (seed > 1 and draw.random() < 0.5)

        def visit(id: int, path: str) -> None:
            node = self._nodes[id]
            if node.entries is None:
                tree[path] = node.data if seed == 1 else node.durable if seed == 0 else torn(node, draw)
                return
            tree[path] = None
            entries = dict(node.lasting)
            for change in node.pending:
                if not keep():
                    continue
                if change.removed is not None and entries.get(change.removed[0]) == change.removed[1]:
                    del entries[change.removed[0]]
                if change.added is not None:
                    entries[change.added[0]] = change.added[1]
            for name, below in sorted(entries.items()):
                visit(below, f"{path}/{name}" if path else name)

        visit(0, "")
        del tree[""]
        return tree


def compare(node: Node, now: dict[str, int]) -> None:
    """Add to what is pending of a folder how its entries became what they are now."""
    before = node.entries or {}
    gone = {name: id for name, id in before.items() if now.get(name) != id}
    made = {name: id for name, id in now.items() if before.get(name) != id}
    names = {id: name for name, id in gone.items()}
    for name, id in made.items():
        old = names.get(id)
        node.pending.append(Change((old, id) if old is not None else None, (name, id)))
        for n in (old, name):
            gone.pop(n or name, None)
    node.pending += [Change((name, id), None) for name, id in gone.items()]
    node.entries = now


def torn(node: Node, draw: random.Random) -> bytes:
    """Any mixture of what a file held when it was synced, what it holds now, and zeros where neither was written."""
    if node.data == node.durable:
        return node.data
    short, long = sorted((len(node.durable), len(node.data)))
    length = draw.choice((short, long, draw.randint(short, long)))
    old, new = node.durable.ljust(length, b"\0")[:length], node.data.ljust(length, b"\0")[:length]
    all_new = draw.random() < 0.5
    pieces = range(0, length, SECTOR)
    return b"".join((new if all_new or draw.random() < 0.7 else old)[i : i + SECTOR] for i in pieces)


def lay(tree: Tree, folder: Path) -> Path:
    """Make a folder that holds `tree`."""
    folder.mkdir()
    for name, data in tree.items():
        if data is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(data)
    return folder
