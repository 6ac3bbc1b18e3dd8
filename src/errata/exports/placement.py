"""Where the characters of messages land in a rendered conversation.

A chat template is a program that may trim, drop, merge or rewrite what it is given, so where a message lands is never
guessed from its text. It is measured: marks (private-use characters) are put into the messages, the conversation is
rendered again, and the marks count only if the text without them is the true rendering, character for character. What
lies between them must then be the trained characters; only white space at the ends of a message may be missing.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Any, NamedTuple

from errata.errors import ExportError
from errata.records.rows import SftRow, Span

_FIRST_MARK = 0xF0000


class Region(NamedTuple):
    """Trained characters of the rendered text, from `start` to one before `end`."""

    start: int
    end: int
    weight: float


class Turn(NamedTuple):
    """Where the template goes on after an assistant message whose last span is trained."""

    message: int
    cut: int
    """One past the last character of the message that the template kept."""
    position: int
    """Where that is in the rendered text."""
    weight: float


class _Cut(NamedTuple):
    """A place between two characters of a message."""

    cut: int
    position: int | None
    """The same place in the rendered text, None where it could not be measured."""


class Conversation:
    """A row under one template: its true rendering `text`, and measurements of it. Raises ExportError if refused."""

    def __init__(self, row: SftRow, tokenizer: Any, chat_template: str | None) -> None:
        self.row = row
        self.tokenizer = tokenizer
        self._chat_template = chat_template
        self._messages = [{"role": m.role, "content": m.content} for m in row.messages]
        try:
            self.text = str(self._apply(self._messages))
        except Exception as e:  # a template is foreign code and can raise anything
            raise self.error(f"the chat template refuses the conversation: {' '.join(str(e).split())}") from e
        used = set(self.text).union(*(m.content for m in row.messages))
        free = (c for c in map(chr, range(_FIRST_MARK, sys.maxunicode)) if c not in used)
        self._marks = list(islice(free, 2 * len(row.messages)))

    def error(self, what: str) -> ExportError:
        """An error that names the row."""
        return ExportError(f"row {self.row.id}: {what}")

    def content(self, message: int) -> str:
        """The text of a message, as the row has it."""
        return self.row.messages[message].content

    def _apply(self, messages: list[dict[str, str]], **options: Any) -> Any:
        options = {"chat_template": self._chat_template, "tokenize": False, **options}
        return self.tokenizer.apply_chat_template(messages, **options)

    def canonical_ids(self) -> list[int]:
        """The ids that the tokenizer itself gives to the conversation."""
        return list(self._apply(self._messages, tokenize=True, return_dict=False, tokenizer_kwargs={"verbose": False}))

    def measure(self, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int] | None:
        """Positions in `text` of `places`, pairs of message and character.

        None if marks there change what the template writes; a place is absent if the template drops what is around it.
        """
        marks = dict(zip(self._marks, places, strict=False))
        return self._found(self._marked(marks), marks)

    def measure_empty(self, message: int) -> int | None:
        """The position in `text` of a message of which the template keeps nothing; None if it keeps anything."""
        mark = self._marks[0]
        copies = [dict(m) for m in self._messages]
        copies[message]["content"] = mark
        return (self._found(copies, {mark: (message, 0)}) or {}).get((message, 0))

    def _found(
        self, messages: list[dict[str, str]], marks: dict[str, tuple[int, int]]
    ) -> dict[tuple[int, int], int] | None:
        try:
            rendered = str(self._apply(messages))
        except Exception:  # a template that refuses the marks depends on the text that they are in
            return None
        found: dict[tuple[int, int], int] = {}
        pattern = re.compile(f"[{''.join(marks)}]")
        for i, hit in enumerate(pattern.finditer(rendered)):
            place = marks[hit[0]]
            if place in found:
                raise self.error(f"the chat template writes message {place[0]} more than once: which is to be trained?")
            found[place] = hit.start() - i
        return found if pattern.sub("", rendered) == self.text else None

    def _marked(self, marks: dict[str, tuple[int, int]], messages: int | None = None) -> list[dict[str, str]]:
        copies = [dict(m) for m in self._messages[:messages]]
        for mark, (message, at) in sorted(marks.items(), key=lambda x: -x[1][1]):  # from the right: cuts stay valid
            content = copies[message]["content"]
            copies[message]["content"] = content[:at] + mark + content[at:]
        return copies

    def after(self, turn: Turn, **options: Any) -> str:
        """What the template writes after `turn` where the conversation ends with it; empty if that cannot be told."""
        mark = self._marks[0]
        try:
            rendered = str(self._apply(self._marked({mark: (turn.message, turn.cut)}, turn.message + 1), **options))
        except Exception:  # the shorter conversation is refused, so it tells nothing
            return ""
        return rendered.partition(mark)[2]


def locate(conversation: Conversation, spans: dict[int, list[Span]]) -> tuple[list[Region], list[Turn]]:
    """Regions of all trained spans, in order of messages, and the turns whose last span is trained.

    `spans` holds for each assistant message with text its spans in order. Raises ExportError if trained text is missing
    or changed.
    """
    wanted = [i for i, s in spans.items() if any(x.train for x in s)]
    places = [(i, cut) for i in wanted for cut in (0, len(conversation.content(i)))]
    found = conversation.measure(places) if places else {}
    regions: list[Region] = []
    turns: list[Turn] = []
    for i in wanted:
        if found is None:
            first, last = _ends(conversation, i)
        else:
            first, last = (_Cut(cut, found.get((i, cut))) for cut in (0, len(conversation.content(i))))
        shift = 0
        for run, shift in _placed(conversation, i, spans[i], first, last):
            for s in run:
                start, end = max(s.start, first.cut), min(s.end, last.cut)
                if s.train and start < end:
                    regions.append(Region(start + shift, end + shift, s.weight))
        if spans[i][-1].train:  # its run is the last, so `shift` holds at its end
            turns.append(Turn(i, last.cut, last.cut + shift, spans[i][-1].weight))
    return regions, turns


def _ends(conversation: Conversation, message: int) -> tuple[_Cut, _Cut]:
    """Where the part of a message that trimming leaves starts and ends."""
    content = conversation.content(message)
    lead, length = len(content) - len(content.lstrip()), len(content)
    if lead == length and (empty := conversation.measure_empty(message)) is not None:
        return _Cut(length, empty), _Cut(length, empty)
    first = _outermost(conversation, message, range(lead + 1))
    return first, _outermost(conversation, message, range(length, max(first.cut, len(content.rstrip())) - 1, -1))


def _outermost(conversation: Conversation, message: int, cuts: Sequence[int]) -> _Cut:
    """The first of `cuts`, from the outside in, where a mark changes nothing: what is outside of it was trimmed."""

    def position(cut: int) -> int | None:
        return (conversation.measure([(message, cut)]) or {}).get((message, cut))

    outer, inner = position(cuts[0]), position(cuts[-1])
    if outer is not None or inner is None:
        return _Cut(cuts[0], outer)
    low, high = 0, len(cuts) - 1
    while high - low > 1:  # a mark at `low` changes the text, one at `high` does not
        middle = (low + high) // 2
        found = position(cuts[middle])
        if found is None:
            low = middle
        else:
            high, inner = middle, found
    return _Cut(cuts[high], inner)


def _placed(
    conversation: Conversation, message: int, spans: list[Span], first: _Cut, last: _Cut
) -> Iterator[tuple[list[Span], int]]:
    """Spans of a message with the distance from their characters to those of the rendered text.

    Where the message is not there as a whole, masked text may be missing or changed, but every trained run is there.
    """
    shift = _shift(conversation, message, first, last)
    if shift is not None:
        yield spans, shift
        return
    for trained, group in groupby(spans, key=lambda s: s.train):
        run = list(group)
        if not trained:
            continue
        found: dict[tuple[int, int], int] = {}
        for cut in (run[0].start, run[-1].end):
            if first.cut < cut < last.cut:
                found |= conversation.measure([(message, cut)]) or {}
        start = first if run[0].start <= first.cut else _Cut(run[0].start, found.get((message, run[0].start)))
        end = last if run[-1].end >= last.cut else _Cut(run[-1].end, found.get((message, run[-1].end)))
        shift = _shift(conversation, message, start, end)
        if shift is None:
            text = quoted(conversation.content(message)[start.cut : end.cut])
            raise conversation.error(f"the chat template drops or changes the trained text {text} of message {message}")
        yield run, shift


def _shift(conversation: Conversation, message: int, first: _Cut, last: _Cut) -> int | None:
    """The distance from characters of a message to those of the rendered text, if all from `first` to `last` are there.

    One measured end is enough, unless the other is white space: the template may have written that itself.
    """
    wanted = conversation.content(message)[first.cut : last.cut]
    if (first.position is None and wanted[:1].isspace()) or (last.position is None and wanted[-1:].isspace()):
        return None
    shifts = {c.position - c.cut for c in (first, last) if c.position is not None}
    if len(shifts) != 1:
        return None
    start = first.cut + (shift := shifts.pop())
    return shift if start >= 0 and conversation.text[start : start + len(wanted)] == wanted else None


def quoted(text: str) -> str:
    """`text` for a message, shortened."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
