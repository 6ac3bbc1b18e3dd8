"""Labels as text: every token of a row stands in it once, before it whether the loss covers it."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from errata.cli import main
from errata.errors import SourceError
from errata.records.rows import SftRow, Span
from errata.records.types import Message
from errata.reports.labels import labels_text, tokenizer_at
from tests.exports.chats import tokenizer_called
from tests.test_pipelines import ORACLE, ROOT, run

POCKET = ROOT / "data/pocket"

ROW = SftRow(
    id="r", episode="e", split="train", transition="none", style="", lineage=(),
    messages=(
        Message(role="user", content="Find cedar ?"),
        Message(role="assistant", content="cedar is 7"),
        Message(role="user", content="There may be an error"),
        Message(role="assistant", content="cedar is 9"),
    ),
    spans=(
        Span(message=1, start=0, end=10, role="action", train=False),
        Span(message=3, start=0, end=10, role="correction", train=True),
    ),
)  # fmt: skip


def test_trained_tokens_are_marked_and_all_others_too() -> None:
    text = labels_text(ROW, tokenizer_at(str(POCKET)))
    head, *lines = text.split("\n")
    assert head == "row r: 22 tokens, 4 trained"
    marked = {m: " ".join(line[4:] for line in lines if line[2] == m).split() for m in "x|"}
    assert marked["|"] == ["cedar", "is", "9", "<|end|>"]
    assert marked["x"].count("cedar") == 2 and "7" in marked["x"] and len(marked["x"]) == 18


def test_a_row_without_exact_labels_says_why() -> None:
    span = replace(ROW.spans[1], end=4)
    torn = replace(ROW, spans=(ROW.spans[0], span, replace(span, start=4, end=10, train=False)))
    assert labels_text(torn, tokenizer_called("word_piece")).startswith("row r: no exact labels: ")
    with pytest.raises(SourceError, match="no tokenizer at"):
        tokenizer_at(str(ROOT / "pipelines"))


def test_show_tells_the_tokens_of_an_episode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run("pair_sft", tmp_path, "source.with.count=24", *ORACLE)
    rows = [r for r in made.rows("sft") if isinstance(r, SftRow)]
    for given in ([rows[-1].episode], []):
        capsys.readouterr()
        assert main(["show", str(made.path), *given, "--tokens", str(POCKET)]) == 0
        wanted = given[0] if given else rows[0].episode
        mine = [r for r in rows if r.episode == wanted]
        shown = capsys.readouterr().out
        assert shown.count("\nrow ") + 1 == len(mine) and all(f"row {r.id}: " in shown for r in mine)
    other = next(e.id for e in made.rows("episodes") if e.id not in {r.episode for r in rows})
    assert main(["show", str(made.path), other, "--tokens", str(POCKET)]) == 0
    assert "no SFT row of the episode" in capsys.readouterr().out
