"""Every operation on the disk is made to fail, one run each: no version or a whole one, and the next run succeeds."""

import errno
from pathlib import Path

import pytest

from errata.errors import StoreError
from errata.store.check import check_dataset
from errata.store.files import Files
from errata.store.reader import open_dataset
from tests.store.support import build, make, tree

MADE = [make(0), make(5)]


class Crash(BaseException):
    """The process dies here: nothing of the product catches it, and nothing is cleaned up."""


class Failing:
    """Fails the k-th operation."""

    def __init__(self, k: int, fault: BaseException) -> None:
        self.left, self.fault, self.where = k, fault, ""

    def __call__(self, operation: str, path: Path) -> None:
        self.left -= 1
        if self.left == 0:
            self.where = f"{operation} {path.name}"
            raise self.fault


def run(root: Path, files: Files) -> Path:
    return build(root, MADE, pieces=1, files=files).path


def operations(root: Path) -> int:
    seen: list[str] = []
    run(root, Files(lambda operation, path: seen.append(operation)))
    return len(seen)


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "I/O error"), Crash()], ids=repr)
def test_whatever_fails_no_half_version_is_seen(tmp_path: Path, fault: BaseException) -> None:
    total = operations(tmp_path / "whole")
    whole = tree(tmp_path / "whole/out/sums/1.0-0123456789ab")
    step = 1 if isinstance(fault, Crash) else 2
    for k in range(1 + (fault.args[0] == errno.EIO if fault.args else 0), total + 1, step):
        root = tmp_path / str(k)
        failing = Failing(k, fault)
        with pytest.raises((StoreError, Crash)) as told:
            run(root, Files(failing))
        if isinstance(told.value, StoreError):
            message = str(told.value)
            assert "run the same command again" in message and "\n" not in message, failing.where
            assert (fault.args[0] == errno.ENOSPC) == ("disk full: free space" in message)
        seen = root / "out/sums/1.0-0123456789ab"
        if seen.exists():  # the rename was the commit: what can fail after it is the sync and LATEST
            assert check_dataset(seen) == [], failing.where
        assert tree(run(root, Files())) == whole, failing.where
        assert open_dataset(root / "out/sums").path == seen


def test_an_error_frees_the_space_that_it_took(tmp_path: Path) -> None:
    for k in range(3, 30, 9):
        root = tmp_path / str(k)
        with pytest.raises(StoreError):
            run(root, Files(Failing(k, OSError(errno.ENOSPC, "full"))))
        assert not [p for p in root.rglob("*") if ".tmp-" in p.name]
