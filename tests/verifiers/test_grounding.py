"""Names in a text that nobody could know yet."""

import pytest
from msgspec.structs import replace

from errata.verifiers.grounding import ungrounded
from tests.stages.acting import task

HOUSE = task()
CRAFTING = task("crafting", seed=1)
CHEST = "chest: iron key, white bowl."


@pytest.mark.parametrize(
    ("text", "known", "name"),
    [
        ("Wait, that leads away from the goal.", (), None),
        ("I should look for the white mug in the chest.", (), None),
        ("I need the iron key.", (), "iron key"),
        ("I need the IRON  Key.", (CHEST,), None),
        ("The key is of iron.", (), "iron"),
        ("The white key fits.", (CHEST,), None),
        ("The mug is on the bench.", (CHEST,), "bench"),
        ("That has changed nothing, and I used it too.", (), None),
    ],
)
def test_a_name_is_grounded_where_it_was_seen(text: str, known: tuple[str, ...], name: str | None) -> None:
    assert ungrounded(HOUSE, text, known) == name


def test_words_of_a_tasks_format_are_no_names() -> None:
    assert ungrounded(CRAFTING, "Make the count of each recipe and use the objects with goals.", ()) is None


def test_gold_steps_are_names_where_the_task_says_nothing() -> None:
    bare = replace(HOUSE, task=None)
    assert ungrounded(bare, "The bench is near.", ()) == "bench" and ungrounded(bare, "I open it.", ()) is None
    assert ungrounded(replace(bare, solution=()), "The bench is near.", ()) is None
