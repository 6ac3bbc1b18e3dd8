"""Rows as token ids: exactly the trained spans carry loss, episodes are held out whole, no row is lost in silence."""

from typing import Any

import pytest
from msgspec import structs

from errata.errors import ExportError
from errata.exports.tokens import IGNORED
from errata.records.rows import DpoRow, SftRow
from errata.records.types import Message
from errata.store.reader import Dataset, open_dataset
from errata.train.examples import Examples, Reading, examples, preference
from tests.runners.support import Recipe, start
from tests.train.support import SPLICED, labelled, tokenizer


def ids(role: str, text: str, vocabulary: dict[str, int]) -> list[int]:
    """Those of one turn."""
    words = [f"<|{role}|>", *text.replace("\n", " \n ").split(" "), "<|end|>"]
    return [vocabulary[w] for w in words]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """SFT and DPO rows, with the oracle for a student."""
    folder = tmp_path_factory.mktemp("data")
    student = {"use": "oracle", "with": {"skill": 0.5}, "sampling": {"max_tokens": 200}}
    recipe = Recipe(folder, {**SPLICED, "engines": {"student": student, "teacher": {"use": "oracle"}}})
    return open_dataset(start(recipe.path, folder / "out").path)


def reading(**changes: Any) -> Reading:
    return Reading(**{"tokenizer": tokenizer(), "max_length": None, "straddle": "raise", "held_out": 0.0, **changes})


def made(data: Dataset, kind: type, **changes: Any) -> Examples:
    return examples([str(data.path)], "sft" if kind is SftRow else "dpo", kind, reading(**changes))


def test_exactly_the_trained_spans_carry_loss(data: Dataset) -> None:
    found = made(data, SftRow)
    rows = list(data.rows("sft"))
    vocabulary = tokenizer().get_vocab()
    assert len(found.train) == len(rows) >= 30 and not found.held_out and not found.left_out and not found.weighted
    for row, example in zip(rows, found.train, strict=True):
        tokens, trained = labelled(row, vocabulary)
        assert example["input_ids"] == tokens
        assert example["labels"] == [i if t else IGNORED for i, t in zip(tokens, trained, strict=True)]
    masked = [row for row in rows if any(not s.train for s in row.spans)]
    assert len(masked) > len(rows) / 2, "splices mask the wrong step"


def test_a_preference_is_prompt_and_two_replies_that_end_their_turn(data: Dataset) -> None:
    found = made(data, DpoRow)
    rows = list(data.rows("dpo"))
    vocabulary = tokenizer().get_vocab()
    assert len(found.train) == len(rows) >= 10
    for row, example in zip(rows, found.train, strict=True):
        asked = [*ids("user", row.prompt[0].content, vocabulary), vocabulary["<|assistant|>"]]
        assert example["prompt_ids"] == asked
        for name, reply in (("chosen_ids", row.chosen), ("rejected_ids", row.rejected)):
            assert example[name] == ids("assistant", reply[0].content, vocabulary)[1:]


def test_a_reply_that_goes_on_from_the_assistants_own_words_begins_after_them(data: Dataset) -> None:
    row = next(r for r in data.rows("dpo") if "\n" in r.chosen[0].content and "\n" in r.rejected[0].content)
    whole = made(data, DpoRow).train[[r.id for r in data.rows("dpo")].index(row.id)]
    first, rest = row.chosen[0].content.split("\n", 1)
    begun = structs.replace(
        row,
        prompt=(*row.prompt, Message(role="assistant", content=f"{first}\n")),
        chosen=(Message(role="assistant", content=rest),),
        rejected=(Message(role="assistant", content="The answer is 3"),),
    )
    found = preference(begun, reading())
    assert found["prompt_ids"] + found["chosen_ids"] == whole["prompt_ids"] + whole["chosen_ids"]
    assert len(found["prompt_ids"]) == len(whole["prompt_ids"]) + len(first.split()) + 1
    assert len(found["rejected_ids"]) == len("The answer is 3".split()) + 1


def test_replies_that_diverge_are_trained_from_the_first_token_that_does(data: Dataset) -> None:
    row = next(r for r in data.rows("dpo") if "\n" in r.chosen[0].content)
    step = row.chosen[0].content.split("\n")[0]
    other = " ".join([*step.split()[:-1], "3" if step.split()[-1] != "3" else "4"])
    pair = structs.replace(
        row,
        chosen=(Message(role="assistant", content=f"{step}\n"),),
        rejected=(Message(role="assistant", content=f"{other}\n"),),
    )
    all_of_it = preference(pair, reading())
    found = preference(structs.replace(pair, diverges=len(step) - 1, open=True), reading())
    shared = len(step.split()) - 1
    assert found["prompt_ids"] == all_of_it["prompt_ids"] + all_of_it["chosen_ids"][:shared]
    # The one token that differs; neither the end of the line nor that of the turn.
    assert found["chosen_ids"] == all_of_it["chosen_ids"][shared : shared + 1]
    assert found["rejected_ids"] == all_of_it["rejected_ids"][shared : shared + 1]
    assert len(all_of_it["chosen_ids"]) > shared + 1
    closed = preference(structs.replace(pair, diverges=len(step) - 1), reading())
    assert closed["chosen_ids"] == all_of_it["chosen_ids"][shared:], "a whole reply ends with its turn"


def test_episodes_are_held_out_whole_and_alike_in_every_dataset(data: Dataset) -> None:
    found = made(data, SftRow, held_out=0.3)
    rows = list(data.rows("sft"))
    vocabulary = tokenizer().get_vocab()
    held = {tuple(e["input_ids"]) for e in found.held_out}
    episodes = {row.episode for row in rows if tuple(labelled(row, vocabulary)[0]) in held}
    assert len(found.train) + len(found.held_out) == len(rows) and 0.1 < len(held) / len(rows) < 0.5
    assert {tuple(labelled(row, vocabulary)[0]) for row in rows if row.episode in episodes} == held
    assert made(data, DpoRow, held_out=0.3).held_out, "the same share of the same episodes"


def test_a_dataset_given_twice_counts_once_and_what_does_not_fit_is_told(data: Dataset) -> None:
    path = str(data.path)
    assert len(examples([path, path], "sft", SftRow, reading()).train) == len(list(data.rows("sft")))
    lengths = sorted(len(e["input_ids"]) for e in made(data, SftRow).train)
    middle = lengths[len(lengths) // 2]
    found = made(data, SftRow, max_length=middle)
    assert len(found.train) == sum(n <= middle for n in lengths)
    assert sum(found.left_out.values()) == sum(n > middle for n in lengths)
    assert all("max_length is" in why for why in found.left_out)


def test_what_cannot_be_trained_on_is_told(data: Dataset) -> None:
    with pytest.raises(ExportError, match="sft holds SftRow rows, and this trains on DpoRow"):
        examples([str(data.path)], "sft", DpoRow, reading())
    with pytest.raises(ExportError, match=r"nothing to train on in sft of .*: .* rows: .*max_length is 3"):
        made(data, SftRow, max_length=3)
    with pytest.raises(ExportError, match="no row of split train"):
        made(data, SftRow, held_out=1.0)
