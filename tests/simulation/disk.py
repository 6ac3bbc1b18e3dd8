"""A disk that fills up, fails, loses power, and stops the process between any two changes.

The files are real; what is simulated is which of them last. Every change is announced, so that the disk knows what is
new; an announced sync is what makes it durable: bytes of a file, or entries of a folder. At a loss of power each
entry that was not synced is kept or lost, and each file is torn behind its last sync.
"""

import errno
import os
import random
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation.loop import Process
from tests.store.power import Node, torn

_OWN = re.compile(r"(\.tmp-[A-Za-z0-9]+-)\d+(-[0-9a-f]{8})$")
_NAMES = re.compile(r"\.tmp-[A-Za-z0-9]+-\d+-[0-9a-f]{8}|\d{20}-\d+")
NOBODY = 1 << 22
"""One more than any process's number."""
CHANGES = ("create", "write", "mkdir")
"""What needs space."""


@dataclass(slots=True)
class File:
    """What would be there after a loss of power, of a file or a folder."""

    number: int
    bytes: int = 0
    entries: dict[str, int] = field(default_factory=dict)
    """Inodes by name."""
    broken: bool = False
    """A sync failed: what was not on disk then never will be."""


@dataclass(slots=True)
class Plan:
    """The faults of one life, each at the number of a change."""

    dies_at: int | None = None
    fails_at: int | None = None
    error: int = errno.EIO
    fails_on: str = ""
    """The operation that fails, where it is to be a certain one; counted from `fails_at` on."""
    full: bool = False
    """After the failure nothing that needs space succeeds."""


class Disk:
    """Below `root`; what is there at first is durable. `aside` is a folder beside it, for what was removed."""

    def __init__(self, root: Path, aside: Path, draw: random.Random, *, lies: Callable[[Path], bool]) -> None:
        self.root, self.aside, self.draw, self.lies = root, aside, draw, lies
        self.process: Process | None = None
        self.plan = Plan()
        self.changes = 0
        self._files: dict[int, File] = {}
        self._made: list[Path] = []
        self._failed = False
        self._prefix = len(str(root))
        root.mkdir()
        aside.mkdir()
        self._all_is_durable()

    def begin(self, process: Process, plan: Plan) -> None:
        """A new life."""
        self.process, self.plan = process, plan
        self.changes, self._failed = 0, False

    def before(self, operation: str, path: Path) -> None:
        """The hook of errata.store.files and of errata.engines.log."""
        process = self.process
        if process is None:
            return
        if process.dead:
            process.die("dead")
        self._meet()
        self.changes += 1
        process.note(f"{operation} {_NAMES.sub('~', str(path)[self._prefix :])}")
        if self.changes == self.plan.dies_at:
            process.die(f"before {operation}")
        self._fail(operation, path, process)
        if operation in ("create", "mkdir"):
            while not path.exists():
                self._made.append(path)
                path = path.parent
        elif operation == "fsync" and not self.lies(path):
            self._sync(path)
        elif operation in ("remove", "rename") and path.exists():
            self._keep(path)

    def _fail(self, operation: str, path: Path, process: Process) -> None:
        plan = self.plan
        if self._failed:
            if plan.full and operation in CHANGES:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            return
        if plan.fails_at is None or self.changes < plan.fails_at or (plan.fails_on and operation != plan.fails_on):
            return
        self._failed = True
        process.note(f"fails: {errno.errorcode[plan.error]}")
        if operation == "fsync" and path.is_file():
            self._of(path).broken = True
        raise OSError(plan.error, os.strerror(plan.error), str(path))

    def _meet(self) -> None:
        """What was announced as new is there by now, and nothing of it lasts."""
        for path in reversed(self._made):
            if path.exists():
                self._files[path.stat().st_ino] = File(len(self._files) + 1)
        self._made.clear()

    def _of(self, path: Path) -> File:
        inode = path.stat().st_ino
        if inode not in self._files:
            self._files[inode] = File(len(self._files) + 1)
        return self._files[inode]

    def _sync(self, path: Path) -> None:
        if path == self.root.parent or not path.exists():
            return
        file, found = self._of(path), path.stat()
        if stat.S_ISDIR(found.st_mode):
            file.entries = {e.name: e.inode() for e in os.scandir(path)}
        elif not file.broken:
            file.bytes = found.st_size

    def _keep(self, path: Path) -> None:
        """Hold on to what is about to be removed: its removal may be lost."""
        for p in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
            link = self.aside / str(p.stat().st_ino)
            if not link.exists():
                os.link(p, link)

    def lose_power(self, *, keep: float) -> None:
        """Put in the place of the root what is there after a loss of power; `keep` is each unsynced change's chance.

        Called where the process has died, on what it had done until then.
        """
        self._meet()
        paths = {p.stat().st_ino: p for p in (self.root, *self.root.rglob("*"))}
        for link in self.aside.iterdir():
            paths.setdefault(int(link.name), link)
        left = self.root.with_name("after")
        self._lay(self.root.stat().st_ino, left, paths, keep)
        shutil.rmtree(self.root)
        left.rename(self.root)
        self._all_is_durable()

    def _lay(self, inode: int, place: Path, paths: dict[int, Path], keep: float) -> None:
        path, file = paths[inode], self._files.get(inode, File(0))
        if path.is_file():
            data = path.read_bytes()
            place.write_bytes(data if keep == 1 else self._torn(data, file.bytes) if keep else data[: file.bytes])
            return
        place.mkdir()
        for name, below in sorted(self._entries(path, file, keep).items(), key=lambda e: self._number(e[1], e[0])):
            if below in paths:
                self._lay(below, place / name, paths, keep)

    def _torn(self, data: bytes, lasting: int) -> bytes:
        if len(data) <= lasting:
            return data
        kept = torn(Node(data=data[lasting:], durable=b""), self.draw)
        return data[:lasting] + kept

    def _entries(self, path: Path, file: File, keep: float) -> dict[str, int]:
        """Names in a folder afterwards; a rename is kept or lost as one."""
        now = {e.name: e.inode() for e in os.scandir(path)} if path.is_dir() else {}
        lasting = dict(file.entries)
        old_names = {inode: name for name, inode in lasting.items() if now.get(name) != inode}
        new_names = {inode: name for name, inode in now.items() if lasting.get(name) != inode}
        for inode in sorted({**old_names, **new_names}, key=lambda i: self._number(i, old_names.get(i, ""))):
            if self.draw.random() < keep:
                if inode in old_names and lasting.get(old_names[inode]) == inode:
                    del lasting[old_names[inode]]
                if inode in new_names:
                    lasting[new_names[inode]] = inode
        return lasting

    def _number(self, inode: int, name: str) -> tuple[int, str]:
        """A place in an order that is the same in every process."""
        return (self._files[inode].number if inode in self._files else 0, name)

    def _all_is_durable(self) -> None:
        self._files.clear()
        self._made.clear()
        shutil.rmtree(self.aside)
        self.aside.mkdir()
        for path in (self.root, *sorted(self.root.rglob("*"))):
            self._of(path)
        for path in (self.root, *self.root.rglob("*")):
            self._sync(path)

    def rot(self, *folders: Path) -> bool:
        """Flip one bit of one file below the folders; False if there is none."""
        found = [p for folder in folders for p in sorted(folder.rglob("*")) if p.is_file() and p.stat().st_size]
        if not found:
            return False
        path = self.draw.choice(found)
        data = bytearray(path.read_bytes())
        data[self.draw.randrange(len(data))] ^= 1 << self.draw.randrange(8)
        path.write_bytes(data)
        return True

    def bury(self) -> None:
        """The dead process's number is nobody's now: what it left unfinished can be told from what is being made."""
        for path in sorted(self.root.rglob("*"), reverse=True):
            if _OWN.search(path.name):
                path.rename(path.with_name(_OWN.sub(rf"\g<1>{NOBODY}\2", path.name)))
        for path in (self.root, *self.root.rglob("*")):
            if path.is_dir():
                file = self._of(path)
                file.entries = {_OWN.sub(rf"\g<1>{NOBODY}\2", n): i for n, i in file.entries.items()}
