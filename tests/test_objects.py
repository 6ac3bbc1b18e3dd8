"""An object store behaves as errata takes it to: whole objects, conditional creation, listings that hide nothing."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from errata.errors import StoreError
from errata.objects import ObjectPath, _filesystem, locate, read_each, tree
from tests.objects import BUCKET, CREDENTIALS, Store
from tests.runners.support import environment, one_line


def memory(tmp_path: Path) -> ObjectPath:
    found = locate(f"memory://{tmp_path.name}")
    assert isinstance(found, ObjectPath)
    return found


@pytest.fixture(params=["s3", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectPath:
    if request.param == "memory":
        return memory(tmp_path)
    store: Store = request.getfixturevalue("s3")
    return store.root


def test_what_was_put_is_there_and_what_was_not_is_not(root: ObjectPath) -> None:
    a = root / "folder" / "a.txt"
    assert not a.exists() and not root.exists() and list(root.iterdir()) == [] and tree(root) == set()
    with pytest.raises(FileNotFoundError):
        a.read_bytes()
    a.put(b"one")
    a.put(b"three")
    assert (a.read_bytes(), a.read_text(), a.stat().st_size) == (b"three", "three", 5)
    assert a.is_file() and not a.is_dir() and a.parent.is_dir() and not a.parent.is_file()
    assert (a.name, a.suffix, a.parent.name) == ("a.txt", ".txt", "folder")
    assert list(root.iterdir()) == [root / "folder"] and tree(root) == {"folder/a.txt"}
    assert list(a.parent.glob("*.txt")) == [a] and list(a.parent.glob("b*")) == []
    root.remove()
    root.remove()
    assert not a.exists() and not root.exists()


def test_of_two_who_create_one_has_it_and_may_ask_again(root: ObjectPath) -> None:
    a = root / "a"
    assert a.create(b"mine") and a.create(b"mine") and not a.create(b"yours")
    assert a.read_bytes() == b"mine"


def test_a_neighbour_whose_name_goes_on_is_another(root: ObjectPath) -> None:
    (root / "work-2" / "x").put(b"2")
    (root / "work-25" / "x").put(b"25")
    (root / "work-2").remove()
    assert tree(root) == {"work-25/x"}


def test_a_file_is_read_where_it_is_asked_for(root: ObjectPath) -> None:
    data = bytes(range(256)) * 64
    (root / "x").put(data)
    with (root / "x").open() as file:
        assert file.seek(-6, 2) == len(data) - 6 and file.read() == data[-6:] and file.read(1) == b""
        assert file.seek(300) == 300 and file.read(5) == data[300:305] and file.tell() == 305


def test_many_objects_come_in_their_order(root: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(7):
        (root / f"{i}.jsonl").put(b"%d" % i * i)
    monkeypatch.setattr("errata.objects._BYTES_AT_ONCE", 8)
    found = [(p.name, data) for p, data in read_each(sorted(root.glob("*.jsonl")))]
    assert found == [(f"{i}.jsonl", b"%d" % i * i) for i in range(7)]
    (root / "3.jsonl").remove()
    with pytest.raises(FileNotFoundError):
        list(read_each([root / "2.jsonl", root / "3.jsonl"]))


def test_a_store_without_conditional_writes_overwrites(s3: Store) -> None:
    s3.conditional = False
    a = s3.root / "a"
    assert a.create(b"mine") and a.create(b"yours") and a.read_bytes() == b"yours"


def test_what_a_store_refuses_is_an_oserror_that_says_why(s3: Store) -> None:
    s3.refuse = lambda method, path: method == "PUT"
    for write in (lambda: (s3.root / "a").put(b""), lambda: (s3.root / "a").create(b"")):
        with pytest.raises(PermissionError, match="Access Denied"):
            write()
    s3.obey()
    with pytest.raises(FileNotFoundError, match="bucket does not exist"):
        (ObjectPath("s3", "nosuchbucket/a")).put(b"")


def test_an_error_that_is_none_of_the_systems_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = memory(tmp_path) / "a"

    def fail(path: str, data: bytes) -> None:
        raise RuntimeError("the pipe burst\nand more")

    monkeypatch.setattr(_filesystem("memory"), "pipe_file", fail)
    with pytest.raises(OSError, match=r"RuntimeError: the pipe burst$") as told:
        a.put(b"")
    assert told.value.errno == errno.EIO


def test_paths_and_urls(tmp_path: Path) -> None:
    assert locate("out/x") == Path("out/x") and locate(tmp_path) is tmp_path
    assert locate(f"file://{tmp_path}") == tmp_path
    found = locate("s3://bucket/some/prefix/")
    assert str(found) == "s3://bucket/some/prefix" and str(found / "x") == "s3://bucket/some/prefix/x"
    assert found.resolve() == found and sorted([found / "b", found / "a"])[0].name == "a"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://AKIAKEY:sec/ret@bucket/x", "credentials do not belong into a URL"),
        ("s3://bucket/x*", "takes for a pattern"),
        ("nothing://x/y", "Protocol not known: nothing; name a folder"),
        ("simplecache::s3://x/y", "Protocol not known"),
    ],
)
def test_a_url_that_cannot_be_used_is_told_in_a_line_without_secrets(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as told:
        locate(url).exists()
    assert "\n" not in str(told.value) and "sec" not in str(told.value) and "KEY:" not in str(told.value)


@pytest.mark.parametrize(
    ("missing", "url", "words"),
    [
        ("s3fs", "s3://bucket/x", 's3:// needs s3fs, which is not installed: pip install "errata[s3]"'),
        ("fsspec", "s3://bucket/x", 's3:// needs s3fs, which is not installed: pip install "errata[s3]"'),
        ("gcsfs", "gs://bucket/x", "cannot use gs://: "),
    ],
)
def test_a_missing_package_is_told_in_a_line(missing: str, url: str, words: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from errata.cli import main; sys.exit(main(['show', {url!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert done.returncode == 1
    one_line(done.stderr, words)


def test_an_equal_name_is_the_same_object_however_it_was_found(s3: Store) -> None:
    (s3.root / "a").put(b"12")
    (listed,) = s3.root.iterdir()
    assert listed == s3.root / "a" and listed.size == 2 and {listed: 1} == {s3.root / "a": 1}
    assert json.dumps(str(listed)) and BUCKET in str(listed)
    assert not any(secret in repr(listed) for secret in CREDENTIALS.values())
