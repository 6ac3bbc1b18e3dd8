"""As many rows of each label within each group: for one, right and wrong steps among the prefixes of each length."""

from collections import defaultdict
from collections.abc import Sequence

from errata.corpus.base import Narrow
from errata.registry import corpus


@corpus(version=1)
def even(rows: Sequence[Narrow], *, config: str, within: str = "prefix", over: str = "label") -> dict[str, str]:
    """Within each value of the tag `within`, drop rows of `config` until all values of the tag `over` are as many.

    Of a value's rows the lowest ids stay. A group that lacks a value that others have goes wholly; rows without the
    tags stay. Source: GLoRe balances right and wrong labels per prefix length (arXiv:2402.10963).
    """
    groups: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.config == config and {within, over} <= set(row.tags):
            groups[row.tags[within]][row.tags[over]].append(row.id)
    labels = {label for group in groups.values() for label in group}
    dropped: dict[str, str] = {}
    for group in groups.values():
        least = min(len(group.get(label, ())) for label in labels)
        dropped |= {id: "over_even" for ids in group.values() for id in sorted(ids)[least:]}
    return dropped
