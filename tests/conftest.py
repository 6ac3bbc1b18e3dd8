"""What all tests share: hypothesis without deadlines, since CI machines are slow when they are busy, and a recipe."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import objects
from tests.runners.support import Recipe

# The same examples every time, so that a change alone can turn a test red; ERRATA_EXPLORE=1 draws others.
settings.register_profile("errata", deadline=None, derandomize="ERRATA_EXPLORE" not in os.environ)
settings.load_profile("errata")


@pytest.fixture(scope="module")
def one_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The machine's one Ray at a time: two that start at once overload 2 cores, in whichever processes tests run."""
    with (tmp_path_factory.getbasetemp().parent / "ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[objects.Store]:
    for name in ("moto", "s3fs", "flask_cors"):
        pytest.importorskip(name)
    with objects.served() as store:
        yield store


@pytest.fixture
def s3(_s3_server: objects.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[objects.Store]:
    """An S3 server, which this process and its children reach, with a prefix of the test's own."""
    for name, value in _s3_server.environment.items():
        monkeypatch.setenv(name, value)
    _s3_server.prefix = f"s3://{objects.BUCKET}/{tmp_path.name}"
    yield _s3_server
    _s3_server.obey()


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A small recipe on disk; called with dotted changes, it is written anew."""
    return Recipe(tmp_path / "recipe")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


Changes = dict[str, Any]
