"""The digest of source files."""

import builtins
from pathlib import Path

import pytest

from errata import chains
from errata.engines.code import code_digest


def test_it_depends_on_bytes_and_order_but_not_on_place(tmp_path: Path) -> None:
    files = {"a/x.py": "1", "b/x.py": "1", "c/x.py": "2", "d/y.py": ""}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    a, b, c, d = (tmp_path / name for name in files)
    assert code_digest(a) == code_digest(b) == code_digest(str(a)) != code_digest(c)
    assert len({code_digest(a, c), code_digest(c, a), code_digest(a), code_digest(a, d), code_digest(a, b)}) == 5
    assert len(code_digest(a)) == 16


def test_a_module_is_its_file() -> None:
    assert code_digest(chains) == code_digest(Path(chains.__file__))


def test_a_module_without_a_file_is_refused() -> None:
    with pytest.raises(ValueError, match="no source file"):
        code_digest(builtins)
