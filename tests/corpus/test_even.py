"""Labels are evened out within each group."""

from errata.corpus.base import Narrow
from errata.corpus.even import even


def row(id: str, config: str = "prm", **tags: str) -> Narrow:
    return Narrow(config=config, id=id, episode="e", split="train", transition="none", tags=tags)


def test_each_group_keeps_as_many_of_every_label_the_lowest_ids_staying() -> None:
    rows = [row(f"a{i}", prefix="1", label="right") for i in range(5)]
    rows += [row(f"b{i}", prefix="1", label="wrong") for i in range(2)]
    rows += [row("c", prefix="2", label="right"), row("d"), row("e", config="sft", prefix="1", label="right")]
    assert even(rows, config="prm") == dict.fromkeys(["a2", "a3", "a4", "c"], "over_even")
    assert even([], config="prm") == {} and even(rows, config="other") == {}
