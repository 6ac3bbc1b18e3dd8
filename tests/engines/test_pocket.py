"""The pocket engine: both formats of the model agree, and a reply depends on its own request alone."""

import asyncio
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from errata import chains
from errata.engines.base import Reply, Request, Sampling
from errata.engines.pocket import Pocket, Words, shipped
from errata.engines.pocket_runtime import Decoder, Row, draw
from errata.errors import EngineDown, EngineError, RecipeError
from errata.records.types import Message
from errata.registry import find
from tests.engines.llama_numpy import Llama

MODEL = shipped()


def question(seed: int, operations: int = 4) -> str:
    return chains.question(chains.generate(random.Random(seed), operations, 1))


def request(*turns: str, seed: int = 0, schema: str = "", **sampling: Any) -> Request:
    """Turns of the user and the assistant in alternation."""
    roles = ("user", "assistant")
    messages = tuple(Message(role=roles[i % 2], content=t) for i, t in enumerate(turns))  # type: ignore[arg-type]
    return Request(messages=messages, sampling=Sampling(**{"max_tokens": 60, **sampling}), seed=seed, schema=schema)


def replies(requests: Sequence[Request], **parameters: Any) -> list[Reply]:
    """Answers to all requests, asked at once of a new engine."""

    async def ask() -> list[Reply]:
        engine = Pocket(**parameters)
        try:
            return list(await asyncio.gather(*(engine.generate(r) for r in requests)))
        finally:
            await engine.close()

    return asyncio.run(ask())


def ask(*turns: str, **fields: Any) -> Reply:
    return replies([request(*turns, **fields)], slots=2)[0]


def decoder(slots: int = 4, threads: int = 1) -> Decoder:
    return Decoder(folder=MODEL, slots=slots, threads=threads, end=5)


@pytest.fixture(scope="module")
def words() -> Words:
    return Words(MODEL)


def varied(count: int) -> list[Request]:
    """Requests that differ in length, sampling and how they end."""
    rng = random.Random(7)
    made = []
    for i in range(count):
        turns = [question(rng.randrange(12), rng.randint(1, 8))]
        if rng.random() < 0.3:
            turns += ["\n".join(chains.solve(chains.generate(rng, 3, 0))), "There may be an error\nSolve it again"]
        if rng.random() < 0.2:
            turns.append("The answer is")
        sampling = {"temperature": rng.choice([0, 0.7, 1.0, 1.5]), "top_p": rng.choice([1.0, 0.9])}
        stop = ("\n",) if rng.random() < 0.2 else ()
        made.append(request(*turns, seed=i, max_tokens=rng.choice([1, 8, 25, 40]), stop=stop, **sampling))
    return made


def test_both_formats_give_the_same_logits(words: Words) -> None:
    reference, runtime = Llama(MODEL), decoder()
    for seed, operations in enumerate((2, 6, 11)):
        chain = chains.generate(random.Random(seed), operations, 2)
        turns = (chains.question(chain), "\n".join(chains.solve(chain)))
        ids = words.encode(words.render(request(*turns)))
        np.testing.assert_allclose(runtime.logits(ids, slot=seed % 4), reference.logits(list(ids)), atol=2e-4, rtol=0)


def test_decoding_in_steps_gives_the_logits_of_the_whole(words: Words) -> None:
    """Greedy tokens drawn one by one are the highest logits of the independent forward pass over the whole text."""
    reference, runtime = Llama(MODEL), decoder()
    rows = []
    for seed in range(4):
        prompt = words.encode(words.render(request(question(seed, 2 + seed))))
        rows.append(Row(prompt=prompt, sampling=Sampling(temperature=0), seed=seed, limit=30))
        runtime.admit(rows[-1])
    for _ in range(29):
        runtime.step()
    for row in rows:
        logits = reference.logits([*row.prompt, *row.tokens])[len(row.prompt) - 1 : -1]
        chosen = logits[np.arange(30), row.tokens]
        np.testing.assert_allclose(chosen, logits.max(axis=1), atol=2e-4, rtol=0)


def test_a_reply_never_depends_on_its_neighbours() -> None:
    asked = varied(40)
    alone = [replies([r], slots=8)[0] for r in asked[:12]]
    together = replies(asked, slots=8)
    assert together[:12] == alone
    order = list(range(len(asked)))
    for trial in range(3):
        random.Random(trial).shuffle(order)
        shuffled = replies([asked[i] for i in order], slots=8)
        assert {i: r for i, r in zip(order, shuffled, strict=True)} == dict(enumerate(together))
    some = [asked[i] for i in order[::3]]
    assert replies(some, slots=8) == [together[i] for i in order[::3]]


@pytest.mark.parametrize(("slots", "threads"), [(32, 1), (3, 1), (8, 2), (8, 3)])
def test_a_reply_depends_on_neither_slots_nor_threads(slots: int, threads: int) -> None:
    asked = varied(24)
    assert replies(asked, slots=slots, threads=threads) == replies(asked, slots=8, threads=1)


def test_rows_have_the_same_bits_in_every_slot_and_company(words: Words) -> None:
    """Logits, not only the tokens drawn from them."""
    prompts = [words.encode(words.render(request(question(s, 1 + s % 9)))) for s in range(24)]

    def run(order: Sequence[int]) -> dict[int, bytes]:
        runtime = decoder(slots=8)
        found: dict[int, bytes] = {}
        rows: dict[int, Row] = {}
        waiting = list(order)
        while waiting or rows:
            while waiting and runtime.free:
                k = waiting.pop(0)
                rows[k] = Row(prompt=prompts[k], sampling=Sampling(temperature=1), seed=k, limit=40)
                runtime.admit(rows[k])
            runtime.step()
            for k, row in list(rows.items()):
                found[k] = found.get(k, b"") + runtime.last_logits(row).tobytes()
                if len(row.tokens) >= 4 + k:
                    runtime.release(rows.pop(k))
        return found

    first = run(range(24))
    order = list(range(24))
    for trial in range(3):
        random.Random(trial).shuffle(order)
        assert run(order) == first
    assert run([5]) == {5: first[5]}


def test_samples_of_one_prompt_differ_by_seed_and_repeat_by_seed() -> None:
    asked = [request(question(1), seed=s, temperature=20) for s in range(12)]
    made = replies([*asked, *asked], slots=4)
    assert made[:12] == made[12:]
    assert len({r.text for r in made}) > 6


def test_greedy_ignores_the_seed() -> None:
    made = replies([request(question(1), seed=s, temperature=0) for s in range(3)], slots=4)
    assert len(set(made)) == 1


def test_limits_cut_and_say_so() -> None:
    whole = ask(question(1), temperature=0, max_tokens=200)
    assert whole.finish == "stop"
    cut = ask(question(1), temperature=0, max_tokens=5)
    assert (cut.finish, cut.completion_tokens) == ("length", 5)
    assert whole.text.startswith(cut.text)
    exact = ask(question(1), temperature=0, max_tokens=whole.completion_tokens)
    assert exact == whole, "a reply whose last token ends it was not cut"
    assert ask(question(1), temperature=0, max_tokens=whole.completion_tokens - 1).finish == "length"


def test_the_reply_ends_before_the_earliest_stop_text() -> None:
    whole = ask(question(1), temperature=0)
    word = whole.text.split("\n")[0].split(" ")[2]
    stopped = ask(question(1), temperature=0, stop=("\n", f" {word} "))
    assert stopped.text == whole.text[: whole.text.index(f" {word} ")]
    assert stopped.finish == "stop"
    assert stopped.completion_tokens < whole.completion_tokens


@pytest.mark.parametrize("at", [0, 1, 3, 7])
def test_a_prefix_and_its_continuation_are_the_whole_text(at: int) -> None:
    """Greedy decoding from any prefix of a greedy reply gives the rest of it, with the joining space or line break."""
    whole = ask(question(1), temperature=0).text
    places = [i for i, c in enumerate(whole) if c in " \n"]
    cut = places[min(at, len(places) - 1)]
    line = whole.index("\n") + 1 if "\n" in whole else 0
    for prefix in (whole[:cut], whole[:line]):
        reply = ask(question(1), prefix, temperature=0)
        assert prefix + reply.text == whole
        assert reply.finish == "stop"


def test_an_empty_prefix_is_no_prefix() -> None:
    assert ask(question(2), "", temperature=0).text == ask(question(2), temperature=0).text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["amber", "birch", "is", "plus", "7", "so", "\n", "="]), min_size=1, max_size=20))
def test_text_of_single_spaces_survives_tokens(words: Words, parts: list[str]) -> None:
    text = " ".join(parts).replace(" \n ", "\n").replace(" \n", "\n").replace("\n ", "\n")
    assert words.decode(words.encode(text)) == text
    for cut in range(1, len(parts)):
        prefix, tokens = words.encode(text), words.encode(" ".join(parts[cut:]))
        assert text + words.follow(text, prefix, tokens) == words.decode([*prefix, *tokens])


def test_the_template_marks_turns_and_leaves_a_prefix_open(words: Words) -> None:
    assert words.render(request("a", "b", "c")) == "<|user|>a<|end|><|assistant|>b<|end|><|user|>c<|end|><|assistant|>"
    assert words.render(request("a", "b\n")) == "<|user|>a<|end|><|assistant|>b\n"


def test_the_context_is_a_limit(words: Words) -> None:
    long = "\n".join(["amber is 7"] * 120)
    spare = 512 - len(words.encode(words.render(request(long))))
    made = replies([request(long, seed=s, max_tokens=9999, temperature=50) for s in range(4)])
    assert any(r.finish == "length" and r.completion_tokens == spare for r in made)
    assert all(r.prompt_tokens + r.completion_tokens <= 512 for r in made)
    with pytest.raises(EngineError, match="must fit into 512") as raised:
        ask(f"{long}\n{long}")
    assert raised.value.code == "too_long"


def test_a_schema_is_refused() -> None:
    with pytest.raises(EngineError, match="no JSON schema") as raised:
        ask(question(1), schema='{"type":"object"}')
    assert raised.value.code == "unsupported"


def test_bad_parameters_and_missing_files_are_recipe_errors(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RecipeError, match=r"has no model\.safetensors, model\.onnx"):
        Pocket(path=str(tmp_path))
    with pytest.raises(RecipeError, match="at least 1 slot"):
        Pocket(slots=0)


def test_identity_covers_every_file_of_the_model(tmp_path: Path) -> None:
    found = Pocket().identity
    assert (found.engine, found.version, found.model) == ("pocket", 1, "errata-pocket")
    revisions = {found.revision}
    for name in ("model.safetensors", "model.onnx", "tokenizer.json", "chat_template.jinja", "config.json"):
        folder = tmp_path / name
        shutil.copytree(MODEL, folder)
        data = bytearray((folder / name).read_bytes())
        data[-2] ^= 1
        if name.endswith((".json", ".jinja")):
            data = bytearray((folder / name).read_bytes() + b" ")
        (folder / name).write_bytes(data)
        revisions.add(Pocket(path=str(folder)).identity.revision)
    assert len(revisions) == 6
    assert find("engine", "pocket").make is Pocket


def test_the_same_weights_elsewhere_are_the_same_model(tmp_path: Path) -> None:
    shutil.copytree(MODEL, tmp_path / "copy")
    assert Pocket(path=str(tmp_path / "copy")).identity == Pocket().identity


def test_an_engine_never_asked_closes_without_effect_and_a_closed_one_answers_nobody() -> None:
    async def use() -> None:
        engine = Pocket(slots=2)
        await engine.close()
        with pytest.raises(EngineDown, match="closed"):
            await engine.generate(request(question(1)))

    asyncio.run(use())


def test_closing_fails_those_who_wait() -> None:
    async def use() -> list[Any]:
        engine = Pocket(slots=1)
        waiting = [asyncio.create_task(engine.generate(request(question(s), max_tokens=400))) for s in range(30)]
        await asyncio.sleep(0)
        await engine.close()
        return await asyncio.gather(*waiting, return_exceptions=True)

    ends = asyncio.run(use())
    assert any(isinstance(e, EngineDown) for e in ends)
    assert all(isinstance(e, EngineDown | Reply) for e in ends)


def test_a_broken_model_is_an_engine_that_is_down(tmp_path: Path) -> None:
    """Weights that end too early cannot be loaded: no request can succeed."""
    shutil.copytree(MODEL, tmp_path / "torn")
    weights = tmp_path / "torn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(EngineDown, match=r"model\.onnx"):
        replies([request(question(1))], path=str(tmp_path / "torn"))


def test_a_cancelled_request_frees_its_slot() -> None:
    async def use() -> Reply:
        engine = Pocket(slots=1)
        lost = asyncio.create_task(engine.generate(request(question(1), max_tokens=400, temperature=50)))
        await asyncio.sleep(0.01)
        lost.cancel()
        try:
            return await asyncio.wait_for(engine.generate(request(question(2))), 20)
        finally:
            await engine.close()

    assert asyncio.run(use()).completion_tokens > 0


def test_one_engine_serves_one_loop_after_another() -> None:
    engine = Pocket(slots=2)
    asked = request(question(1), temperature=0)
    first = asyncio.run(engine.generate(asked))
    assert asyncio.run(engine.generate(asked)) == first
    asyncio.run(engine.close())


logits_rows = arrays.arrays(np.float32, (6, 9), elements=st.floats(-8, 8, width=32))
shares = arrays.arrays(np.float64, 6, elements=st.floats(0, 1, exclude_max=True))


@settings(max_examples=40, deadline=None)
@given(logits_rows, shares, shares, st.permutations(range(6)))
def test_draw_treats_rows_alone(logits: Any, uniform: Any, top_p: Any, order: list[int]) -> None:
    temperature = np.array([0, 0.5, 1.0, 1.0, 2.0, 0.7])
    together = draw(logits, temperature, top_p, uniform)
    moved = draw(logits[order], temperature[order], top_p[order], uniform[order])
    assert moved == [together[i] for i in order]
    for i in range(6):
        one = slice(i, i + 1)
        assert draw(logits[one], temperature[one], top_p[one], uniform[one]) == [together[i]]
    assert together[0] == int(np.argmax(logits[0]))


def test_draw_follows_the_probabilities() -> None:
    p = np.array([0.5, 0.25, 0.15, 0.1])
    n = 4000
    logits = np.tile(np.log(p).astype(np.float32), (n, 1))
    uniform = (np.arange(n) + 0.5) / n
    ones = np.ones(n)
    assert np.bincount(draw(logits, ones, ones, uniform)) == pytest.approx(p * n, abs=2)
    cut = np.bincount(draw(logits, ones, ones * 0.7, uniform), minlength=4)
    assert cut == pytest.approx([n * 2 / 3, n / 3, 0, 0], abs=2)
    hot = np.bincount(draw(logits, ones * 2, ones, uniform)) / n
    assert hot == pytest.approx(np.sqrt(p) / np.sqrt(p).sum(), abs=1e-3)
    assert set(draw(logits, ones, ones * 0.0, uniform)) == {0}
    ties = np.zeros((2, 4), np.float32)
    assert draw(ties, np.zeros(2), np.ones(2), np.array([0.1, 0.9])) == [0, 0]


def test_the_configuration_fits_what_vllm_loads() -> None:
    config = json.loads((MODEL / "config.json").read_text())
    assert config["head_dim"] >= 32
    size = (MODEL / "model.safetensors").stat().st_size
    assert size < 2_000_000 * 4, "at most two million parameters in float32"


@pytest.mark.parametrize("fields", [{"max_tokens": 0}, {"seed": -1}])
def test_what_cannot_be_sampled_fails_alone(fields: dict[str, int]) -> None:
    async def use() -> list[Any]:
        engine = Pocket(slots=2)
        try:
            asked = [request(question(1), **fields), request(question(1))]
            return await asyncio.gather(*(engine.generate(r) for r in asked), return_exceptions=True)
        finally:
            await engine.close()

    lost, answered = asyncio.run(use())
    assert isinstance(lost, EngineError)
    assert lost.code == "unsupported"
    assert isinstance(answered, Reply)
