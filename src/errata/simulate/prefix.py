"""A prefix cache as inference engines keep one: blocks of tokens named by all that precedes them, least used first out.

One token is one word between spaces. A block's name is a hash of its words and of the name of the block before it, so
that equal names mean equal prefixes.
"""

from collections import OrderedDict
from collections.abc import Sequence


def blocks_of(words: Sequence[str], size: int, begun: int = 0) -> tuple[int, ...]:
    """Names of the whole blocks of `size` words, first to last; what is left over belongs to none."""
    names, name = [], begun
    for at in range(size, len(words) + 1, size):
        name = hash((name, *words[at - size : at]))
        names.append(name)
    return tuple(names)


class PrefixCache:
    """Which blocks an engine still holds; `capacity` is in tokens, and 0 keeps nothing."""

    def __init__(self, capacity: int, block: int = 16) -> None:
        self.capacity, self.block = capacity, block
        self._held: OrderedDict[int, None] = OrderedDict()

    @property
    def tokens(self) -> int:
        """Tokens held now."""
        return len(self._held) * self.block

    def look_up(self, blocks: Sequence[int], prompt_tokens: int) -> int:
        """Tokens of this prompt that need no prefill. The last token is always computed, for its logits."""
        hits = 0
        for name in blocks[: max(0, prompt_tokens - 1) // self.block]:
            if name not in self._held:
                break
            hits += 1
        return hits * self.block

    def insert(self, blocks: Sequence[int]) -> None:
        """Hold these blocks, as the most lately used; what exceeds the capacity goes, ends before beginnings."""
        held = self._held
        for name in reversed(blocks):
            held[name] = None
            held.move_to_end(name)
        while len(held) * self.block > self.capacity:
            held.popitem(last=False)

    def clear(self) -> None:
        """Forget everything, as a restart does."""
        self._held.clear()
