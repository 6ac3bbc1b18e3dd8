"""Labels against an oracle that writes each template again in Python, character by character with its label."""

from itertools import groupby
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast

from errata.errors import ExportError
from errata.exports.tokens import IGNORED, TokenRow, render, render_all
from errata.records.rows import SftRow, Span
from errata.records.types import Drop, Message
from tests.exports.chats import (
    KNOWN,
    LOSSLESS,
    MAKERS,
    SPECIALS,
    TEMPLATES,
    Template,
    expected,
    row,
    row_of,
    rows,
    runs,
    squeezed,
    tokenizer_called,
    turns_of,
    wanted_runs,
    word_piece,
)  # fmt: skip


def attempt(sft: SftRow, name: str, template: Template, **options: Any) -> TokenRow | None:
    try:
        return render(sft, tokenizer_called(name), chat_template=template.jinja, **options)
    except ExportError as e:
        assert "\n" not in str(e)
        return None


RELAXED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("kind", TEMPLATES)
@RELAXED
@given(sft=rows(), straddle=st.sampled_from(["raise", "split"]))
def test_labels_are_exact_or_refused(name: str, kind: str, sft: SftRow, straddle: str) -> None:
    template = TEMPLATES[kind]
    found = attempt(sft, name, template, straddle=straddle)
    chars = expected(sft, template)
    if found is not None:
        assert runs(found, tokenizer_called(name)) == wanted_runs(chars)
    elif template.exact and straddle == "split":
        assert not any(t for _, t in chars)  # only a row with nothing to train is refused


@pytest.mark.parametrize("name", [n for n in MAKERS if n not in LOSSLESS])
@pytest.mark.parametrize("kind", [k for k, t in TEMPLATES.items() if t.exact])
@RELAXED
@given(sft=rows(KNOWN))
def test_labels_are_exact_or_refused_by_lossy_tokenizers(name: str, kind: str, sft: SftRow) -> None:
    found = attempt(sft, name, TEMPLATES[kind], straddle="raise")
    if found is None:
        return
    tokenizer = tokenizer_called(name)
    names = zip(tokenizer.convert_ids_to_tokens(list(found.input_ids)), found.labels, strict=True)
    parts = [("".join(x for x, _ in g), t) for t, g in groupby(names, key=lambda x: x[1] != IGNORED)]
    wanted = squeezed(wanted_runs(expected(sft, TEMPLATES[kind])), lowered=name == "word_piece")
    trained = "".join(x for x, t in squeezed(parts, lowered=name == "word_piece") if t)
    assert trained == "".join(x for x, t in wanted if t)


@pytest.mark.parametrize("kind", ["chatml", "bare", "merging", "trimming"])
@RELAXED
@given(sft=rows())
def test_mask_never_trains_a_masked_character(kind: str, sft: SftRow) -> None:
    template, tokenizer = TEMPLATES[kind], tokenizer_called("bytes_long")
    found = attempt(sft, "bytes_long", template, straddle="mask")
    if found is None:
        return
    chars = expected(sft, template)
    encoded = [(b, t) for c, t in chars for b in c.encode()]
    at = 0
    for id, label in zip(found.input_ids, found.labels, strict=True):
        name = tokenizer.convert_ids_to_tokens(id)
        length = len(name.encode()) if name in SPECIALS else len(name)  # a byte-level name has one sign per byte
        covered = [t for _, t in encoded[at : at + length]]
        assert label == IGNORED or all(covered)
        at += length
    assert at == len(encoded)


@RELAXED
@given(sft=rows(), special=st.sampled_from(SPECIALS[:6]), data=st.data())
def test_text_that_reads_as_a_special_token_is_refused(sft: SftRow, special: str, data: st.DataObject) -> None:
    messages = list(sft.messages)
    i = data.draw(st.integers(0, len(messages) - 1))
    messages[i] = Message(role=messages[i].role, content=messages[i].content + special)
    replies = [(j, len(m.content)) for j, m in enumerate(messages) if m.role == "assistant"]
    spans = [Span(message=j, start=0, end=n, role="answer", train=True) for j, n in replies]
    with pytest.raises(ExportError, match="special token"):
        render(row_of(messages, spans), tokenizer_called("bytes"), chat_template=TEMPLATES["chatml"].jinja)


@RELAXED
@given(sft=rows(any_order=False))
@example(sft=row("hi", [("It is Yes", True)]))
@example(sft=row("hi", [("WRONG", False), (" ok", True)]))
def test_changed_text_is_refused_if_it_is_trained(sft: SftRow) -> None:
    trained = [sft.messages[s.message].content[s.start : s.end] for s in sft.spans if s.train]
    found = attempt(sft, "bytes", TEMPLATES["lower"], straddle="split")
    if not trained:
        assert found is None
    else:
        assert (found is None) == any(x != x.lower() for x in trained)


@RELAXED
@given(sft=rows(any_order=False))
def test_dropped_reasoning_is_refused_if_it_is_trained(sft: SftRow) -> None:
    found = attempt(sft, "bytes", TEMPLATES["thinkless"], straddle="split")
    kept = sum(t for _, t in expected(sft, TEMPLATES["thinkless"]))
    complete = sum(t for _, t in expected(sft, TEMPLATES["chatml"]))
    if kept < complete:
        assert found is None
    elif kept:
        assert found is not None


# --- by example -------------------------------------------------------------------------------------------------------


def chatml_of(sft: SftRow) -> TokenRow:
    return render(sft, tokenizer_called("bytes"), chat_template=TEMPLATES["chatml"].jinja, straddle="split")


def trained_text(found: TokenRow) -> str:
    return str(tokenizer_called("bytes").decode([x for x in found.labels if x != IGNORED]))


SPLICED = row("What is x ?", [("x = 3 plus 4 = 8\n", False), ("Wait, that is wrong.\nThe answer is 7", True)])


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_spliced_row_is_exact_with_every_tokenizer(name: str, kind: str) -> None:
    sft = row("say x", [("x = 7\n", False), ("a = 3", True)])
    found = render(sft, tokenizer_called(name), chat_template=TEMPLATES[kind].jinja, straddle="split")
    trained = "".join(tokenizer_called(name).convert_ids_to_tokens([x for x in found.labels if x != IGNORED]))
    ends = {"llama": "</s>", "bare": "", "user_ends": ""}
    found_text = squeezed([(trained.replace("\u0120", " "), True)], lowered=True)
    assert found_text == [("a=3" + ends.get(kind, "<|im_end|>"), True)]


def test_weights_follow_spans_and_the_last_covers_the_end_of_turn() -> None:
    sft = row("hi", [("x = 7\n", True), ("a", True), ("b", False)], "hi", [("7", True)])
    weighted = zip(sft.spans, (0.5, 2.0, 9.0, 3.0), strict=True)
    tokenizer = tokenizer_called("bytes")
    found = chatml_of(row_of(list(sft.messages), [replace(s, weight=w) for s, w in weighted]))
    texts = [(w, tokenizer.decode([i])) for i, w in zip(found.input_ids, found.weights, strict=True)]
    by_weight = {w: "".join(t for v, t in texts if v == w) for w in set(found.weights)}
    assert {w: t for w, t in by_weight.items() if w} == {0.5: "x = 7\n", 2.0: "a", 3.0: "7<|im_end|>"}
    assert all((w > 0) == (x != IGNORED) for w, x in zip(found.weights, found.labels, strict=True))


def test_whole_tokenization_is_the_tokenizers_own() -> None:
    tokenizer, template = tokenizer_called("bytes"), TEMPLATES["llama"].jinja
    messages = [{"role": m.role, "content": m.content} for m in SPLICED.messages]
    ids = tokenizer.apply_chat_template(messages, chat_template=template, return_dict=False)
    assert list(render(SPLICED, tokenizer, chat_template=template).input_ids) == ids


def test_a_token_across_a_border_is_refused_masked_or_split() -> None:
    sft, tokenizer = row("hi", [("that is wr", False), ("ong.", True)]), tokenizer_called("bytes")
    template = TEMPLATES["chatml"].jinja
    with pytest.raises(ExportError, match=r"row r1: the token ' wrong' lies across the border .*'split'"):
        render(sft, tokenizer, chat_template=template)
    masked = render(sft, tokenizer, chat_template=template, straddle="mask")
    assert tokenizer.decode([x for x in masked.labels if x != IGNORED]) == ".<|im_end|>"
    split = render(sft, tokenizer, chat_template=template, straddle="split")
    assert tokenizer.decode([x for x in split.labels if x != IGNORED]) == "ong.<|im_end|>"
    assert tokenizer.decode(split.input_ids) == tokenizer.decode(masked.input_ids)


@pytest.mark.parametrize("name", ["unigram", "word_piece", "words"])
def test_a_split_that_would_change_the_text_is_refused(name: str) -> None:
    sft, template = row("hi", [("The answer i", False), ("s 7", True)]), TEMPLATES["chatml"].jinja
    with pytest.raises(ExportError, match="lies across the border"):
        render(sft, tokenizer_called(name), chat_template=template)
    with pytest.raises(ExportError, match="border apart changes the text"):
        render(sft, tokenizer_called(name), chat_template=template, straddle="split")


BETWEEN = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content }}"
    "{% if not loop.last or add_generation_prompt %}{{ END + '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def test_an_end_that_only_middle_turns_have_is_trained_if_it_is_eos_and_refused_if_it_may_be_a_header() -> None:
    sft, tokenizer = row("hi", [("7", True)], "a", [("x", True)]), tokenizer_called("bytes")
    found = render(sft, tokenizer, chat_template=BETWEEN.replace("END", "eos_token"))
    assert trained_text(found) == "7</s>x"
    with pytest.raises(ExportError, match=r"no telling whether '<\|im_end\|>' ends message 1"):
        render(sft, tokenizer, chat_template=BETWEEN.replace("END", "'<|im_end|>'"))


def test_role_headers_that_are_special_tokens_are_never_trained() -> None:
    template = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}"
    template += "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    found = render(row("hi", [("7", True)], "a", [("x", True)]), tokenizer_called("bytes"), chat_template=template)
    assert trained_text(found) == "7x"


def test_two_special_tokens_that_end_a_turn_are_trained_up_to_eos() -> None:
    template = "{% for m in messages %}{{ m.content + '<|im_end|>' + eos_token + '\\n' }}{% endfor %}"
    found = render(row("hi", [("7", True)], "a", [("x", True)]), tokenizer_called("bytes"), chat_template=template)
    assert trained_text(found) == "7<|im_end|></s>x<|im_end|></s>"


def test_trimmed_white_space_is_told_from_the_header_that_looks_like_it() -> None:
    sft = row("hi", [("\n", True), ("7", False)])
    assert trained_text(chatml_of(sft)) == "\n"
    with pytest.raises(ExportError, match="no trained token"):
        render(sft, tokenizer_called("bytes"), chat_template=TEMPLATES["trimming"].jinja)


REWRITTEN = turns_of(
    "'<think>\\n' + m.content.split('</think>')[0].split('<think>')[-1].strip('\\n') + '\\n</think>\\n\\n' "
    "+ m.content.split('</think>')[-1].lstrip('\\n') if '</think>' in m.content else m.content"
)


def test_reasoning_that_the_template_writes_anew_is_trained_if_it_comes_out_the_same() -> None:
    tokenizer = tokenizer_called("bytes")
    same = row("hi", [("<think>\nx = 7", False), ("\n</think>\n\nYes", True)])
    found = render(same, tokenizer, chat_template=REWRITTEN, straddle="split")
    assert trained_text(found) == "\n</think>\n\nYes<|im_end|>"
    masked = row("hi", [("<think>x = 7</think>", False), ("Yes", True)])
    found = render(masked, tokenizer, chat_template=REWRITTEN, straddle="split")
    assert trained_text(found) == "Yes<|im_end|>"
    with pytest.raises(ExportError, match="drops or changes the trained text '<think>x = 7</think>Yes' of message 1"):
        render(row("hi", [("<think>x = 7</think>Yes", True)]), tokenizer, chat_template=REWRITTEN)


def test_a_header_that_looks_like_dropped_white_space_is_not_trained() -> None:
    sft = row("hi", [("\n<think>\nx = 7\n</think>\n\nYes", True)])
    with pytest.raises(ExportError, match="drops or changes the trained text"):
        render(sft, tokenizer_called("bytes"), chat_template=REWRITTEN)


@pytest.mark.parametrize(("kind", "blank"), [("trimming", " \n "), ("newline_trimming", "\n"), ("llama", "\n\n")])
def test_the_end_of_a_trained_turn_is_trained_even_if_nothing_else_is_left_of_it(kind: str, blank: str) -> None:
    found = render(row("hi", [(blank, True)]), tokenizer_called("bytes"), chat_template=TEMPLATES[kind].jinja)
    assert trained_text(found) in ("<|im_end|>", "</s>")


class _OtherIds(PreTrainedTokenizerFast):  # type: ignore[misc]
    """A tokenizer that encodes conversations otherwise than texts."""

    def apply_chat_template(self, conversation: Any, *, tokenize: bool = True, **options: Any) -> Any:
        out = super().apply_chat_template(conversation, tokenize=tokenize, **options)
        return out[1:] if tokenize else out


def test_a_tokenizer_that_encodes_conversations_otherwise_than_texts_is_refused() -> None:
    other = _OtherIds(tokenizer_object=tokenizer_called("bytes").backend_tokenizer, eos_token="</s>")
    with pytest.raises(ExportError, match="other ids to the rendered text than to the conversation itself"):
        render(SPLICED, other, chat_template=TEMPLATES["chatml"].jinja)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% for m in messages %}{{ m.content + m.content }}{% endfor %}", "writes message 1 more than once"),
        ("{{ raise_exception('only\none turn') }}", "the chat template refuses the conversation: only one turn"),
        ("{% for m in messages %}{{ m.content[:3] }}{% endfor %}", "drops or changes"),
        ("{% for m in messages %}{{ 'a' if m.content == 'abcd' else m.content }}{% endfor %}", "drops or changes"),
        ("{{ messages[0].content }}", "drops or changes the trained text 'abcd' of message 1"),
        ("{{ messages[0].content }} abcd", "drops or changes the trained text 'abcd' of message 1"),
    ],
)
def test_templates_that_cannot_be_exact_are_refused(template: str, why: str) -> None:
    with pytest.raises(ExportError, match=why):
        render(row("hi", [("abcd", True)]), tokenizer_called("bytes"), chat_template=template)


def test_rows_whose_spans_do_not_cover_the_assistant_are_refused() -> None:
    base = row("hi", [("abcd", True)])
    part = Span(message=1, start=0, end=2, role="answer", train=True)
    for spans in ([], [part], [*base.spans, part], [Span(message=1, start=0, end=9, role="answer", train=True)]):
        with pytest.raises(ExportError, match="spans of message 1 do not cover its 4 characters once each"):
            chatml_of(row_of(list(base.messages), spans))
    stray = Span(message=0, start=0, end=2, role="answer", train=True)
    with pytest.raises(ExportError, match="of message 0, which is none of the assistant's"):
        render(row_of(list(base.messages), [*base.spans, stray]), tokenizer_called("bytes"))


def test_long_rows_are_refused_or_cut() -> None:
    tokenizer, template = tokenizer_called("bytes"), TEMPLATES["chatml"].jinja
    whole = render(SPLICED, tokenizer, chat_template=template)
    n = len(whole.input_ids)
    assert render(SPLICED, tokenizer, chat_template=template, max_length=n) == whole
    with pytest.raises(ExportError, match=f"{n} tokens, but max_length is {n - 1}"):
        render(SPLICED, tokenizer, chat_template=template, max_length=n - 1)
    cut = render(SPLICED, tokenizer, chat_template=template, max_length=n - 3, truncate=True)
    assert (cut.input_ids, cut.labels, cut.weights) == (whole.input_ids[:-3], whole.labels[:-3], whole.weights[:-3])
    with pytest.raises(ExportError, match="no trained token"):
        render(SPLICED, tokenizer, chat_template=template, max_length=4, truncate=True)


def test_text_that_a_tokenizer_cannot_hold_is_refused_only_where_it_is_trained() -> None:
    tokenizer, template = tokenizer_called("words"), "{% for m in messages %}{{ m.content + '\\n' }}{% endfor %}"
    assert render(row("zebra", [("answer", True)]), tokenizer, chat_template=template)
    with pytest.raises(ExportError, match="no token stands for 'zebra', which is trained"):
        render(row("answer", [("zebra", True)]), tokenizer, chat_template=template)
    deaf = word_piece()
    deaf.backend_tokenizer.normalizer = normalizers.Replace("answer", "")
    with pytest.raises(ExportError, match="leaves out 'answer', which is trained"):
        render(row("a", [("answer a", True)]), deaf, chat_template=template)


def test_tokenizers_without_offsets_and_unknown_options_are_refused() -> None:
    with pytest.raises(ExportError, match="object gives no character offsets: load a fast tokenizer"):
        render(SPLICED, object())
    with pytest.raises(ExportError, match="there are raise, mask and split"):
        render(SPLICED, tokenizer_called("bytes"), straddle="guess")  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="chat_template"):
        render(SPLICED, tokenizer_called("bytes"))


def test_render_all_gives_a_drop_for_a_row_that_cannot_be_exact() -> None:
    masked = row("hi", [("7", False)])
    good, bad = render_all([SPLICED, masked], tokenizer_called("bytes"), chat_template=TEMPLATES["chatml"].jinja)
    assert isinstance(good, TokenRow)
    assert bad == Drop(
        episode="e1", stage="tokens", code="inexact", kind="quarantined", target="r1", detail="row r1: no trained token"
    )
