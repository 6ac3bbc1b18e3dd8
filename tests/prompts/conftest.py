"""Golden renderings: compared with tests/golden/, and rewritten by `pytest tests/prompts --update-golden`."""

from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/ from what the code gives now")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the golden file of this name."""
    update = request.config.getoption("--update-golden", default=False)

    def compare(name: str, text: str) -> None:
        file = GOLDEN / f"{name}.txt"
        if update:
            file.write_text(text, encoding="utf-8")
        assert file.is_file(), f"tests/golden/{name}.txt is missing: run pytest tests/prompts --update-golden"
        assert text == file.read_text(encoding="utf-8"), "changed on purpose? run pytest tests/prompts --update-golden"

    return compare
