"""Log-probabilities: the pocket model's are those of an independent forward pass; servers' are believed or refused."""

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata import chains
from errata.engines.base import Engine, Identity, Reply, Request, Sampling
from errata.engines.journal import Journal, Journaled, exchange_key
from errata.engines.logprobs import by_offsets, by_texts, numbers
from errata.engines.openai import OpenAI
from errata.engines.oracle import Oracle
from errata.engines.pocket import Pocket, Words, shipped
from errata.errors import EngineError, ReplayMiss
from errata.records.types import Message
from tests.engines.client import Outcome, ask
from tests.engines.llama_numpy import Llama
from tests.servers import edit
from tests.simulate.support import Client, run

MODEL = shipped()
WRONG = "amber is 5\nbirch is amber plus 6 = 7\nThe answer is 7"


def talk(*turns: str, seed: int = 0, logprobs: bool = False, score: bool = False, **sampling: Any) -> Request:
    roles = ("user", "assistant")
    messages = tuple(Message(role=roles[i % 2], content=t) for i, t in enumerate(turns))  # type: ignore[arg-type]
    drawn = Sampling(**{"max_tokens": 60, **sampling})
    return Request(messages=messages, sampling=drawn, seed=seed, logprobs=logprobs, score=score)


def question(seed: int, operations: int = 4) -> str:
    return chains.question(chains.generate(random.Random(seed), operations, 1))


def answers(requests: Sequence[Request], engine: Engine | None = None) -> list[Reply]:
    async def main() -> list[Reply]:
        asked = engine or Pocket(slots=8, threads=1)
        try:
            return list(await asyncio.gather(*(asked.generate(r) for r in requests)))
        finally:
            await asked.close()

    return asyncio.run(main())


def reference(ids: Sequence[int], first: int) -> list[float]:
    """Log-probabilities of ids[first:] by the independent forward pass."""
    logits = Llama(MODEL).logits(list(ids))[first - 1 : -1]
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return [float(logs[i, token]) for i, token in enumerate(ids[first:])]


@pytest.fixture(scope="module")
def sampled() -> tuple[list[Request], list[Reply]]:
    """Requests whose sampling is not the model's own distribution, with their replies."""
    how: list[dict[str, Any]] = [{}, {"temperature": 0}, {"temperature": 1.5}, {"top_p": 0.5}, {"stop": ("\n",)}]
    asked = [talk(question(i, 2 + i % 5), seed=i, logprobs=True, **how[i % 5], max_tokens=80) for i in range(10)]
    return asked, answers(asked)


def test_scores_are_those_of_an_independent_forward_pass() -> None:
    words = Words(MODEL)
    for i, text in enumerate(
        (WRONG, "The answer is 7", "\n".join(chains.solve(chains.generate(random.Random(3), 9, 1))))
    ):
        asked = talk(question(i), text, score=True)
        (reply,) = answers([asked])
        ids = words.encode(words.render(asked))
        assert "".join(reply.tokens) == text
        assert (reply.text, reply.finish, reply.prompt_tokens, reply.completion_tokens) == ("", "stop", len(ids), 0)
        np.testing.assert_allclose(reply.logprobs, reference(ids, len(ids) - len(reply.tokens)), atol=1e-3)


def test_sampled_tokens_have_the_log_probabilities_that_scoring_their_text_gives(
    sampled: tuple[list[Request], list[Reply]],
) -> None:
    """Those of the model itself, whatever temperature and top_p they were drawn with; the end-of-turn token is last."""
    words = Words(MODEL)
    for asked, reply in zip(*sampled, strict=True):
        assert len(reply.logprobs) == reply.completion_tokens
        if asked.sampling.stop:
            continue
        (score,) = answers([talk(asked.messages[0].content, reply.text, score=True)])
        np.testing.assert_allclose(reply.logprobs[: len(score.logprobs)], score.logprobs, atol=1e-4)
        ended = reply.finish == "stop"
        assert len(reply.logprobs) == len(score.logprobs) + ended
        if ended:
            ids = words.encode(words.render(talk(asked.messages[0].content, reply.text)) + "<|end|>")
            assert reply.logprobs[-1] == pytest.approx(reference(ids, len(ids) - 1)[0], abs=1e-3)


def test_log_probabilities_change_no_text_and_depend_on_no_neighbour(
    sampled: tuple[list[Request], list[Reply]],
) -> None:
    asked, replies = sampled
    plain = answers([msgspec.structs.replace(r, logprobs=False) for r in asked])
    assert [msgspec.structs.replace(r, logprobs=()) for r in replies] == plain
    scores = [
        talk(question(i), "\n".join(chains.solve(chains.generate(random.Random(i), 3, 0))), score=True)
        for i in range(9)
    ]
    mixed = [r for pair in zip(asked, scores, strict=False) for r in pair]
    together = answers(mixed)
    assert together[::2] == replies[:9]
    assert together[1::2] == [answers([s])[0] for s in scores]
    assert together == answers(mixed[::-1], Pocket(slots=3, threads=2))[::-1]


@pytest.mark.parametrize("turns", [("What ?",), ("What ?", ""), ("What ?", " \n")])
def test_without_a_message_nothing_is_scored(turns: tuple[str, ...]) -> None:
    with pytest.raises(EngineError) as caught:
        answers([talk(*turns, score=True)])
    assert caught.value.code == "unsupported"


def test_a_program_has_no_log_probabilities() -> None:
    for fields in ({"logprobs": True}, {"score": True}):
        with pytest.raises(EngineError) as caught:
            answers([talk(question(1), WRONG, **fields)], Oracle())
        assert caught.value.code == "no_logprobs"


# Pieces of a message.


@given(st.lists(st.text("ab \n≤", min_size=0, max_size=3), max_size=8), st.text("ab:", max_size=3), st.booleans())
def test_pieces_make_up_the_message(tokens: list[str], straddles: str, spaced: bool) -> None:
    """Also where the first token sets in before it, and where the spaces between tokens are no tokens' own."""
    content = "".join(tokens)
    if not content.strip():
        return
    whole = ["<s>", straddles + tokens[0], *tokens[1:]]
    told = [t.strip() or t for t in whole] if spaced else whole
    ends = np.cumsum([len(t) for t in whole]).tolist()
    offsets = list(zip([0, *ends], ends, strict=False))
    assert "".join(by_offsets("<s>" + straddles + content, content, offsets).texts) == content
    try:
        found = by_texts(told, content)
    except EngineError as error:
        assert spaced and error.code == "unsupported"
    else:
        assert "".join(found.texts) == content
        assert found.first + len(found.texts) == len(told)


def test_pieces_stand_where_their_tokens_do() -> None:
    assert by_texts(["<s>", "user", ":", " The", " sum", " is", "\n", "4", "."], "The sum is\n4.").texts == (
        "The", " sum", " is", "\n", "4", ".",
    )  # fmt: skip
    assert by_texts(["<|a|>", "amber", "is", "5", "\n", "birch"], "amber is 5\nbirch ").texts == (
        "amber", " is", " 5", "\n", "birch ",
    )  # fmt: skip
    # A character of three bytes, each a token: the whole of it stands with the first, or with the last.
    assert by_offsets("<s>a≤b", "a≤b", [(0, 3), (3, 4), (4, 5), (4, 5), (5, 6)]).texts == ("a", "≤", "", "b")
    assert by_texts(["<s>", "a", "", "", "≤", "b"], "a≤b").texts == ("a", "", "", "≤", "b")
    for tokens in (["<s>", "Other", "wise"], ["wise"], ["<s>", "\ufffd", "\ufffd"]):
        with pytest.raises(EngineError, match="cannot be told apart"):
            by_texts(tokens, "Like wise")
    with pytest.raises(EngineError, match="does not end with the message"):
        by_offsets("<s>a</s>", "a", [(0, 3), (3, 4), (4, 8)])


def test_numbers_are_kept_only_if_all_are_log_probabilities() -> None:
    assert numbers([-0.12345678, 0, -0.0, 1e-5]) == (-0.123457, 0.0, 0.0, 0.0)
    for bad in (None, "x", True, float("nan"), float("-inf"), -9999.0, 0.5):
        assert numbers([-1.0, bad]) is None


# Servers.


def choice(**fields: Any) -> Any:
    return edit(lambda e: e["choices"][0].update(fields))


def told(*values: Any) -> Any:
    return choice(logprobs={"content": [{"token": "four", "logprob": v} for v in values]})


def test_a_server_is_asked_for_log_probabilities_and_believed() -> None:
    done = Outcome(told(-0.25), request=ask(logprobs=True))
    assert done.reply is not None and done.reply.logprobs == (-0.25,) and done.reply.flags == ()
    assert done.bodies[0]["logprobs"] is True
    assert "logprobs" not in Outcome(request=ask()).bodies[0]


@pytest.mark.parametrize("values", [(None,), (-9999.0,), (1.5,), (-0.1, -0.2)])
def test_f22_log_probabilities_that_cannot_be_are_dropped_and_flagged(values: tuple[Any, ...]) -> None:
    done = Outcome(told(*values), request=ask(logprobs=True))
    assert done.reply is not None
    assert (done.reply.text, done.reply.logprobs, done.reply.flags) == ("four", (), ("logprobs_dropped",))


def test_a_server_that_gives_none_is_told_of() -> None:
    for fault in (None, choice(logprobs=None), told()):
        assert Outcome(fault, request=ask(logprobs=True)).code == "no_logprobs"
    assert Outcome(request=talk("2 + 2", "4", score=True)).code == "no_logprobs"


def prompt_logprobs(*entries: Any) -> Any:
    made = [None, *({"17": {"logprob": v, "rank": 1, "decoded_token": t}} for t, v in entries)]
    return edit(lambda e: e.update(prompt_logprobs=made))


def test_a_message_is_scored_by_the_log_probabilities_of_the_prompt() -> None:
    fault = prompt_logprobs(("user", -3.0), (":\n", -2.0), (" The", -0.5), (" sum", -0.25))
    done = Outcome(fault, request=talk("2 + 2", "The sum", score=True))
    assert done.reply is not None
    assert (done.reply.tokens, done.reply.logprobs, done.reply.text) == (("The", " sum"), (-0.5, -0.25), "")
    asked = {k: done.bodies[0][k] for k in ("max_tokens", "prompt_logprobs", "continue_final_message")}
    assert asked == {"max_tokens": 1, "prompt_logprobs": 0, "continue_final_message": True}
    assert Outcome(prompt_logprobs(("The", -1), ("sum", -9999.0)), request=talk("?", "sum", score=True)).code == (
        "no_logprobs"
    )
    assert (
        Outcome(prompt_logprobs(("The", -1), ("x", -1.0)), request=talk("?", "sum", score=True)).code == "unsupported"
    )
    for bad in (7, [None, 3], [None, {}], [None, {"1": None}], [None, {"1": {"logprob": 0}}]):
        fault = edit(lambda e, bad=bad: e.update(prompt_logprobs=bad))  # type: ignore[misc]
        assert Outcome(fault, request=talk("?", "sum", score=True)).code == "no_logprobs"


def test_the_simulator_answers_both_and_always_the_same() -> None:
    async def use(client: Client) -> None:
        engine = OpenAI(model="m", base_url=client.replicas[0].url)
        asked = [talk(question(1), logprobs=True), talk(question(1), WRONG, score=True)]
        found.extend([await engine.generate(r) for r in (*asked, *asked)])
        await engine.close()

    found: list[Reply] = []
    run(use)
    said, score = found[:2]
    assert found[2:] == [said, score]
    assert len(said.logprobs) == said.completion_tokens and max(said.logprobs) < 0
    assert "".join(score.tokens) == WRONG and len(score.logprobs) == len(score.tokens) == len(WRONG.split(" "))


# The journal.

IDENTITY = Identity(engine="recorded", version=1, model="m", revision="r")


def test_keys_without_the_flags_are_what_they_were() -> None:
    plain = talk("What is 2 + 2 ?", seed=7)
    assert exchange_key(IDENTITY, plain) == "ccdea7e396962966a7ee5659abfc4f5c"
    keys = {exchange_key(IDENTITY, talk("a", "b", logprobs=x, score=y)) for x in (True, False) for y in (True, False)}
    assert len(keys) == 4


def journaled(folder: Path, asked: Request, *, replay: bool) -> Reply:
    async def main() -> Reply:
        journal = Journal(folder, flush_seconds=0)
        engine = Journaled(Pocket(slots=1, threads=1), journal, replay=replay)
        try:
            return (await engine.generate(asked))[1]
        finally:
            await engine.engine.close()
            await journal.close()

    return asyncio.run(main())


def test_a_replay_gives_the_same_numbers_and_fails_on_a_miss(tmp_path: Path) -> None:
    for asked in (talk(question(1), logprobs=True), talk(question(1), WRONG, score=True)):
        made = journaled(tmp_path, asked, replay=False)
        assert made.logprobs and journaled(tmp_path, asked, replay=True) == made
        with pytest.raises(ReplayMiss):
            journaled(tmp_path, msgspec.structs.replace(asked, logprobs=False, score=False), replay=True)


def test_entries_of_before_are_read_and_those_without_numbers_are_written_as_before(tmp_path: Path) -> None:
    asked = talk(question(1))
    made = journaled(tmp_path, asked, replay=False)
    (line,) = [x for f in tmp_path.glob("*.jsonl") for x in f.read_bytes().splitlines() if b'"r":' in x]
    entry = json.loads(line[9:])
    assert entry["r"] == [made.text, made.finish, made.prompt_tokens, made.completion_tokens, []]
    assert not {"logprobs", "score"} & entry["q"].keys()
    assert journaled(tmp_path, asked, replay=True) == made
