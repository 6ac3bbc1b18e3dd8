"""Limits that keep the source readable: a file is one idea, a function fits on a screen, what is public says why."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "errata"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 400, 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


def named(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def functions(tree: ast.AST) -> Iterator[Function]:
    return (n for n in ast.walk(tree) if isinstance(n, Function))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_FILE
    long = [
        f"{f.name}: {length}"
        for f in functions(ast.parse(text))
        if (length := (f.end_lineno or 0) - f.lineno + 1) > LONGEST_FUNCTION
    ]
    assert not long, f"over {LONGEST_FUNCTION} lines: {', '.join(long)}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert said and said.split("\n", 1)[0].endswith((".", ":", "?"))


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Public classes and functions without a docstring.

    What implements a protocol is said there (`generate`, `identity`), a property named as what it is says it itself,
    and an implementation of a container's or context's protocol needs no words.
    """
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield node.name
            if isinstance(node, ast.ClassDef):
                yield from (
                    f"{node.name}.{f.name}"
                    for f in node.body
                    if isinstance(f, Function) and not f.name.startswith("_") and not documented(f)
                )


def documented(function: Function) -> bool:
    marks = {d.id for d in function.decorator_list if isinstance(d, ast.Name)}
    named = bool(marks & {"property", "cached_property"}) or function.name in ("generate", "close")
    return named or bool(ast.get_docstring(function))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_everything_public_has_a_docstring(path: Path) -> None:
    missing = list(undocumented(ast.parse(path.read_text(encoding="utf-8"))))
    assert not missing, f"no docstring: {', '.join(missing)}"


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "data", "pipelines"])
def test_nothing_is_left_to_do(folder: str) -> None:
    """A to-do note belongs into an issue; one in the code names it, as in `TODO(#12): ...`."""
    note = re.compile(r"\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\))")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".yaml", ".md") and path.resolve() != Path(__file__).resolve()
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
        if note.search(line)
    ]
    assert not found


@pytest.mark.parametrize("path", FILES, ids=named)
def test_input_is_never_checked_by_assert(path: Path) -> None:
    """`python -O` strips asserts; the one that there may be narrows a type that the library cannot express."""
    found = [n.lineno for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Assert)]
    assert not found or (named(path) == "registry.py" and len(found) == 1)


def test_tests_stand_where_the_source_stands() -> None:
    """A test folder is named after a package; files at the top and the folders named here are about the whole."""
    packages = {p.name for p in SOURCE.iterdir() if (p / "__init__.py").is_file()}
    folders = {p.name for p in (ROOT / "tests").iterdir() if (p / "__init__.py").is_file()}
    assert folders <= packages | {"faults", "recipes", "security", "simulation"}


HEAVY = "ray vllm torch datasets reasoning_gym math_verify transformers sympy pandas".split()


def loaded_by(code: str, *names: str) -> list[str]:
    script = f"{code}\nimport sys\nprint(*[m for m in {[*HEAVY, *names]!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.split()


def test_importing_errata_loads_nothing_heavy() -> None:
    assert loaded_by("import errata", "onnxruntime", "pyarrow", "numpy", "aiohttp") == []


def test_finding_every_component_and_reading_a_recipe_load_nothing_heavy() -> None:
    """But onnxruntime, which the embedded engine is made of."""
    find = "from errata import registry\n[registry.components(k) for k in registry.PACKAGES]\n"
    read = "from pathlib import Path\nfrom errata import cli\nfrom errata.recipe import read\n"
    assert loaded_by(find + read + "read.read(Path('pipelines/quickstart.yaml'))") == []
