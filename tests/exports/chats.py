"""Tokenizers, chat templates and rows to test exports with; each template is written once more in Python.

The second writing gives every character of the rendered text with its label, and knows nothing of the code under test.
"""

import functools
from collections.abc import Callable
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from errata.exports.tokens import IGNORED, TokenRow
from errata.records.rows import SftRow, Span
from errata.records.types import Message

SPECIALS = ["<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "<s>", "</s>", "<unk>"]
CORPUS = 3 * [
    "user\nassistant\nsystem\n Wait, that is wrong.\n\nThe answer is 12 \n\n\n x = a plus b = 3 plus 4 = 7\n",
    "<think>\nFirst step\n</think>\n\nThe answer </think> is Yes & no < 3 You are careful.\nUser: hi\nAssistant: ok\n",
]

# --- tokenizers -------------------------------------------------------------------------------------------------------


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=SPECIALS[:4],
        clean_up_tokenization_spaces=False,
    )


def _byte_level(*, trim: bool = False, regex: bool = True) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim, add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False, min_frequency=1
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _wrapped(tokenizer)


def _unigram() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False, initial_alphabet=list("ab日")
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _wrapped(tokenizer)


def word_piece() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=200, special_tokens=SPECIALS, show_progress=False, initial_alphabet=list("abe日x")
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _wrapped(tokenizer)


def _words() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\n"), "isolated"), pre_tokenizers.Split(Regex(r"[ \t]+"), "removed")]
    )
    trainer = trainers.WordLevelTrainer(special_tokens=SPECIALS, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _wrapped(tokenizer)


MAKERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bytes": _byte_level,
    "bytes_trimmed": functools.partial(_byte_level, trim=True),
    "bytes_long": functools.partial(_byte_level, regex=False),
    "bytes_long_trimmed": functools.partial(_byte_level, trim=True, regex=False),
    "unigram": _unigram,
    "word_piece": word_piece,
    "words": _words,
}
LOSSLESS = [name for name in MAKERS if name.startswith("bytes")]


@functools.cache
def tokenizer_called(name: str) -> PreTrainedTokenizerFast:
    return MAKERS[name]()


# --- templates, in Jinja and once more in Python ----------------------------------------------------------------------

Chars = list[tuple[str, bool]]
"""Characters, each with whether the loss covers it."""


class Template(NamedTuple):
    jinja: str
    oracle: Callable[[list[tuple[str, Chars]], str], Chars]
    """From roles with labelled characters, and the source of the template, to the whole text."""
    exact: bool = True
    """Whether every row can be expressed."""


def plain(text: str, train: bool = False) -> Chars:
    return [(c, train) for c in text]


def ends_trained(chars: Chars) -> bool:
    return bool(chars) and chars[-1][1]


def text_of(chars: Chars) -> str:
    return "".join(c for c, _ in chars)


def stripped(chars: Chars, side: str = "both", signs: str | None = None) -> Chars:
    text = text_of(chars)
    low = len(text) - len(text.lstrip(signs))
    high = len(text.rstrip(signs)) if side == "both" else len(text)
    return chars[low : max(low, high)]


def turn(role: str, chars: Chars, trained: bool, *, header: str = "<|im_start|>{}\n", end: str = "<|im_end|>") -> Chars:
    return [*plain(header.format(role)), *chars, *plain(end, trained), *plain("\n" if end == "<|im_end|>" else "")]


def chatml(row: list[tuple[str, Chars]], _: str) -> Chars:
    return [c for role, chars in row for c in turn(role, chars, ends_trained(chars))]


def trimming(row: list[tuple[str, Chars]], _: str) -> Chars:
    return [c for role, chars in row for c in turn(role, stripped(chars), ends_trained(chars))]


def newline_trimming(row: list[tuple[str, Chars]], _: str) -> Chars:
    return [c for role, chars in row for c in turn(role, stripped(chars, "left", "\n"), ends_trained(chars))]


def llama(row: list[tuple[str, Chars]], _: str) -> Chars:
    turns = [turn(r, stripped(c), ends_trained(c), header=f"<|{r}|>\n", end="</s>") for r, c in row]
    return plain("<s>") + [c for t in turns for c in t]


def default_system(row: list[tuple[str, Chars]], _: str) -> Chars:
    system = [] if row[0][0] == "system" else turn("system", plain("You are careful."), False)
    return [*system, *chatml(row, _)]


def marked_errors(row: list[tuple[str, Chars]], _: str) -> Chars:
    headers = ["<|im_start|>{} !\n" if "x" in text_of(chars) else "<|im_start|>{}\n" for _, chars in row]
    return [c for (r, x), h in zip(row, headers, strict=True) for c in turn(r, x, ends_trained(x), header=h)]


def thinkless(row: list[tuple[str, Chars]], _: str) -> Chars:
    out: Chars = []
    for i, (role, chars) in enumerate(row):
        cut = text_of(chars).rfind("</think>")
        kept = chars
        if role == "assistant" and i < len(row) - 1 and cut >= 0:
            kept = stripped(chars[cut + len("</think>") :], "left", "\n")
        out += turn(role, kept, ends_trained(chars))
    return out


def merging(row: list[tuple[str, Chars]], _: str) -> Chars:
    out: Chars = []
    for role, group in groupby(row, key=lambda x: x[0]):
        messages = [chars for _, chars in group]
        joined = messages[0]
        for chars in messages[1:]:
            joined = [*joined, *plain("\n\n"), *chars]
        out += turn(role, joined, ends_trained(messages[-1]))
    return out


def bare(row: list[tuple[str, Chars]], _: str) -> Chars:
    return [c for role, chars in row for c in [*plain(f"{role.title()}: "), *chars, *plain("\n")]]


def user_ends(row: list[tuple[str, Chars]], _: str) -> Chars:
    """Only what the user says is ended by eos: nothing ends the assistant's turns."""
    return [c for r, x in row for c in [*plain(f"{r}: "), *x, *plain("\n" if r == "assistant" else "</s>")]]


def lower(row: list[tuple[str, Chars]], _: str) -> Chars:
    return chatml([(role, [(low, t) for c, t in chars for low in c.lower()]) for role, chars in row], _)


def escaping(row: list[tuple[str, Chars]], _: str) -> Chars:
    signs = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    return chatml([(role, [(e, t) for c, t in chars for e in signs.get(c, c)]) for role, chars in row], _)


def turns_of(content: str, before: str = "") -> str:
    return (
        before + "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{{ " + content + " }}"
        "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )


MERGING = (
    "{% set ns = namespace(role='') %}{% for m in messages %}{% if m.role == ns.role %}{{ '\\n\\n' }}{% else %}"
    "{% if ns.role %}{{ '<|im_end|>\\n' }}{% endif %}{{ '<|im_start|>' + m.role + '\\n' }}{% endif %}{{ m.content }}"
    "{% set ns.role = m.role %}{% endfor %}{{ '<|im_end|>\\n' }}"
)
TEMPLATES = {
    "chatml": Template(turns_of("m.content"), chatml),
    "trimming": Template(turns_of("m.content | trim"), trimming),
    "newline_trimming": Template(turns_of("m.content.lstrip('\\n')"), newline_trimming),
    "llama": Template(
        "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content.strip() + eos_token }}"
        "{% endfor %}",
        llama,
    ),
    "default_system": Template(
        turns_of(
            "m.content",
            "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are careful.<|im_end|>\\n' }}"
            "{% endif %}",
        ),
        default_system,
    ),
    "marked_errors": Template(
        turns_of("m.content").replace("m.role +", "m.role + (' !' if 'x' in m.content else '') +"), marked_errors
    ),
    "thinkless": Template(
        turns_of(
            "m.content.split('</think>')[-1].lstrip('\\n') "
            "if m.role == 'assistant' and not loop.last and '</think>' in m.content else m.content"
        ),
        thinkless,
        exact=False,
    ),
    "merging": Template(MERGING, merging),
    "bare": Template("{% for m in messages %}{{ m.role | title + ': ' + m.content + '\\n' }}{% endfor %}", bare),
    "user_ends": Template(
        "{% for m in messages %}{{ m.role + ': ' + m.content + ('\\n' if m.role == 'assistant' else eos_token) }}"
        "{% endfor %}",
        user_ends,
    ),
    "lower": Template(turns_of("m.content | lower"), lower, exact=False),
    "escaping": Template(
        turns_of("m.content.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')"), escaping, exact=False
    ),
}

# --- rows -------------------------------------------------------------------------------------------------------------

PIECES = [
    *("The answer is", " Wait,", "wait", " ", " ", "\n", "\n\n", "\t", "a", "x", "7"),
    *("é", "e\u0301", "日", "👩\u200d👩\u200d👧"),
    *("<think>", "</think>", "&", "<", "user\n", "\u00a0", "\U000f0000", "Yes", "<|im_", "\r\n", "", "\u2581"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
KNOWN = st.lists(st.sampled_from(["The answer ", " is", "a", "x = ", "7", "\n", " "]), max_size=8).map("".join)


@st.composite
def rows(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS, any_order: bool = True) -> SftRow:
    pool = draw(st.lists(texts, min_size=1, max_size=4))  # few, so that messages repeat
    roles = draw(st.lists(st.sampled_from(["user", "assistant", "system"]), min_size=1, max_size=5))
    if not any_order:
        roles = ["user", "assistant"] * (len(roles) // 2 + 1)
    messages = [Message(role=r, content=draw(st.sampled_from(pool))) for r in roles]  # type: ignore[arg-type]
    spans = []
    for i, m in enumerate(messages):
        if m.role == "assistant" and m.content:
            cuts = draw(st.lists(st.integers(0, len(m.content)), max_size=3))
            borders = sorted({0, *cuts, len(m.content)})
            for a, b in pairwise(borders):
                spans.append(Span(message=i, start=a, end=b, role="reasoning", train=draw(st.booleans())))
    return row_of(messages, spans)


def row_of(messages: list[Message], spans: list[Span]) -> SftRow:
    parts = {"messages": tuple(messages), "spans": tuple(spans), "lineage": ()}
    return SftRow(id="r1", episode="e1", split="train", transition="none", style="", **parts)  # type: ignore[arg-type]


def row(*turns: str | list[tuple[str, bool]]) -> SftRow:
    """Turns of user (texts) and assistant (segments with `train`), in any order."""
    messages, spans = [], []
    for i, t in enumerate(turns):
        segments = [] if isinstance(t, str) else t
        at = 0
        for text, train in segments:
            spans.append(Span(message=i, start=at, end=at + len(text), role="reasoning", train=train))
            at += len(text)
        content = t if isinstance(t, str) else "".join(x for x, _ in t)
        messages.append(Message(role="user" if isinstance(t, str) else "assistant", content=content))
    return row_of(messages, spans)


# --- comparing ------------------------------------------------------------------------------------------------------


def expected(sft: SftRow, template: Template) -> Chars:
    labelled = []
    for i, m in enumerate(sft.messages):
        flags = [False] * len(m.content)
        for s in sft.spans:
            if s.message == i:
                flags[s.start : s.end] = [s.train] * (s.end - s.start)
        labelled.append((m.role, list(zip(m.content, flags, strict=True))))
    return template.oracle(labelled, template.jinja)  # type: ignore[arg-type]


def wanted_runs(chars: Chars) -> list[tuple[str, bool]]:
    return [("".join(c for c, _ in g), t) for t, g in groupby(chars, key=lambda x: x[1])]


def runs(found: TokenRow, tokenizer: Any) -> list[tuple[str, bool]]:
    pairs = zip(found.input_ids, found.labels, strict=True)
    groups = [([id for id, _ in g], t) for t, g in groupby(pairs, key=lambda x: x[1] != IGNORED)]
    return [(tokenizer.decode(ids, clean_up_tokenization_spaces=False), t) for ids, t in groups]


def squeezed(parts: list[tuple[str, bool]], *, lowered: bool) -> list[tuple[str, bool]]:
    """Without the white space and the case that some tokenizers do not represent."""
    out: list[tuple[str, bool]] = []
    for text, trained in parts:
        text = "".join("".join(text.replace("\u2581", " ").split()).replace("##", ""))
        if text and out and out[-1][1] == trained:
            out[-1] = (out[-1][0] + text, trained)
        elif text:
            out.append((text, trained))
    return [(x.lower() if lowered else x, t) for x, t in out]
