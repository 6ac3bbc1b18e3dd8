"""What is asked of a server, under which identity, with which secrets and how many at a time."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from errata import chains
from errata.engines.base import Reply, Request, Sampling
from errata.engines.openai import OpenAI
from errata.errors import EngineDown, EngineError, RecipeError
from errata.records.types import Message
from errata.registry import find
from tests import servers
from tests.engines.client import Outcome, ask, quick, served
from tests.servers import ChatServer

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-canary-0123456789"


def test_a_reply_and_what_was_asked() -> None:
    request = Request(
        messages=(Message(role="system", content="S"), Message(role="user", content="Ü \ud800")),
        sampling=Sampling(temperature=0.5, top_p=0.9, max_tokens=9, stop=("\n\n",)),
        seed=2**62,
        schema='{"type":"object"}',
    )
    done = Outcome(request=request, extra={"top_k": 20})
    assert done.reply == Reply(text="four", finish="stop", prompt_tokens=3, completion_tokens=1)
    assert done.bodies == [
        {
            "model": "m",
            "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Ü \ud800"}],
            "temperature": 0.5,
            "top_p": 0.9,
            "max_tokens": 9,
            "seed": 2**62,
            "stop": ["\n\n"],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "reply", "strict": True, "schema": {"type": "object"}},
            },
            "top_k": 20,
        }
    ]


def test_a_continuation_asks_to_go_on_and_may_add_nothing() -> None:
    request = Request(
        messages=(Message(role="user", content="2 + 2"), Message(role="assistant", content="The answer is 4")),
        sampling=Sampling(),
        seed=1,
    )
    done = Outcome(servers.content(""), request=request)
    assert done.reply is not None and done.reply.text == "" and done.sent == 1
    assert done.bodies[0]["add_generation_prompt"] is False
    assert done.bodies[0]["continue_final_message"] is True


def test_it_is_found_by_name_and_its_parameters_have_a_schema() -> None:
    component = find("engine", "openai")
    assert component.make is OpenAI
    assert component.schema["required"] == ["model", "base_url"]
    json.dumps(component.defaults)


def test_nothing_is_started_before_it_is_asked() -> None:
    client = OpenAI(model="m", base_url="http://127.0.0.1:1/v1")
    asyncio.run(client.close())
    assert client.seen == () and client.stats["requests"] == 0


def test_it_serves_one_loop_after_another() -> None:
    async def use(client: OpenAI, server: ChatServer) -> None:
        await client.generate(ask())
        await client.close()
        await client.generate(ask(seed=8))
        assert server.requests == 2 and server.repeated == 0

    served(use)


def test_identity_covers_what_changes_replies_and_nothing_else() -> None:
    base: dict[str, Any] = {"model": "m", "base_url": "http://h/v1"}
    same = [{}, {"base_url": "http://h/v1/"}, {"concurrency": 3, "retries": 1, "deadline": 9.0, "api_key_env": "X"}]
    assert len({OpenAI(**(base | change)).identity for change in same}) == 1
    differ: list[dict[str, Any]] = [
        {}, {"model": "n"}, {"base_url": "http://i/v1"}, {"revision": "r"}, {"identity": "x"}, {"licence": "mit"},
        {"extra": {"top_k": 1}}, {"served_as": "m2"},
    ]  # fmt: skip
    assert len({OpenAI(**(base | change)).identity for change in differ}) == len(differ)
    moved = [OpenAI(model="m", base_url=f"http://{h}/v1", identity="farm").identity for h in "ab"]
    assert moved[0] == moved[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"base_url": "localhost:8000"}, "http"),
        ({"base_url": "http://user:canary@h/v1"}, "api_key_env"),
        ({"base_url": "http://h/v1?key=canary"}, "api_key_env"),
        ({"base_url": "http://h:x/v1?key=canary"}, "api_key_env"),
        ({"base_url": "http://h/v1#canary"}, "api_key_env"),
        ({"api_key_env": "sk-canary"}, "name of an environment variable"),
        ({"model": ""}, "model"),
        ({"extra": {"seed": 1}}, "seed"),
        ({"extra": {"x": float("nan")}}, "JSON"),
        ({"concurrency": 0}, "concurrency"),
        ({"deadline": 0.0}, "deadline"),
    ],
)
def test_parameters_that_cannot_work_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says) as told:
        OpenAI(**({"model": "m", "base_url": "http://h/v1"} | change))
    assert "canary" not in str(told.value)


def test_f5_a_wrong_key_stops_everything_at_once_and_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRATA_TEST_KEY", KEY)

    async def use(client: OpenAI, server: ChatServer) -> None:
        for _ in range(3):
            with pytest.raises(EngineDown, match="ERRATA_TEST_KEY") as told:
                await client.generate(ask())
            assert KEY not in str(told.value) and "resumed" in str(told.value)
        assert server.requests == 1, "the circuit is open after the first"
        assert KEY not in repr(client) + repr(client.identity) + repr(client.stats)

    served(use, server={"key": "another"}, api_key_env="ERRATA_TEST_KEY")


def test_the_key_is_sent_and_its_echo_is_blanked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRATA_TEST_KEY", KEY)

    async def use(client: OpenAI, server: ChatServer) -> None:
        with pytest.raises(EngineError, match=r"\[key\]") as told:
            await client.generate(ask())
        assert KEY not in str(told.value)
        await client.generate(ask())
        assert server.headers[1]["Authorization"] == f"Bearer {KEY}"

    served(use, servers.status(400, message=f"bad {KEY}"), server={"key": KEY}, api_key_env="ERRATA_TEST_KEY")


def test_no_key_no_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    async def use(client: OpenAI, server: ChatServer) -> None:
        await client.generate(ask())
        assert "Authorization" not in server.headers[0]

    served(use)


def test_a_key_that_no_header_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRATA_TEST_KEY", "sk-a\nb")
    done = None
    with pytest.raises(EngineDown, match="ERRATA_TEST_KEY") as told:
        done = asyncio.run(quick("http://127.0.0.1:1/v1", api_key_env="ERRATA_TEST_KEY").generate(ask()))
    assert done is None and "sk-a" not in str(told.value)


def test_concurrency_grows_to_its_bound_and_no_further() -> None:
    async def use(client: OpenAI, server: ChatServer) -> None:
        await asyncio.gather(*(client.generate(ask(seed=s)) for s in range(300)))
        assert 32 < server.most_in_flight <= 48
        assert client.servers[0].gate.limit == 48

    served(use, server={"latency": 0.1}, concurrency=48)


def test_an_overloaded_server_is_asked_less_once_for_a_burst() -> None:
    async def use(client: OpenAI, server: ChatServer) -> None:
        await asyncio.gather(*(client.generate(ask(seed=s)) for s in range(16)))
        assert 8 <= client.servers[0].gate.limit < 9, "sixteen refusals of one burst halve the limit once"
        assert client.stats["retry_http_503"] == 16

    served(use, *[servers.status(503)] * 16, server={"latency": 0.05}, concurrency=16)


def test_a_cancelled_request_gives_its_slot_back() -> None:
    async def use(client: OpenAI, server: ChatServer) -> None:
        asked = [asyncio.create_task(client.generate(ask(seed=s))) for s in range(4)]
        await asyncio.sleep(0.05)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        assert client.servers[0].gate.busy == 0
        assert (await client.generate(ask())).text == "four"

    served(use, servers.HANG, concurrency=1)


# --- the servers that benchmarks and kill tests start -----------------------------------------------------------------


@contextmanager
def started(*command: str) -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the server's output is not piped")
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.mark.parametrize("command", [("benchmarks/instant_server.py",), ("-m", "tests.servers", "--latency", "0.001")])
def test_a_server_of_its_own_plays_the_procedural_family(command: tuple[str, ...]) -> None:
    chain = chains.parse("All values are modulo 23\nbirch is amber plus 4\namber is 7\nWhat is birch ?\n")
    if chain is None:
        raise ValueError("no chain")
    question, gold = chains.question(chain), "\n".join(chains.solve(chain))

    def turns(*texts: str, seed: int = 0) -> Request:
        roles = ("user", "assistant", "user")
        messages = tuple(Message(role=r, content=t) for r, t in zip(roles, texts, strict=False))  # type: ignore[arg-type]
        return Request(messages=messages, sampling=Sampling(), seed=seed)

    async def main(url: str) -> None:
        client = quick(url)
        said = [(await client.generate(turns(question, seed=s))).text for s in range(60)]
        right = [chains.first_error(chain, text.split("\n")) is None for text in said]
        assert 15 < sum(right) < 45, "about half are right"
        wrong = next(text for text, good in zip(said, right, strict=True) if not good)
        found = chains.first_error(chain, wrong.split("\n"))
        replies = [
            await client.generate(turns(question, wrong, "Find the first wrong step")),
            await client.generate(turns(question, wrong, f"{chains.critique(found)}\nCorrect the solution")),
            await client.generate(turns(question, wrong, "There may be an error\nSolve it again")),
            await client.generate(turns(question, seed=0)),
        ]
        assert [r.text for r in replies] == [chains.critique(found), gold, gold, said[0]]
        await client.close()

    with started(*command) as url:
        asyncio.run(main(url))
        with urllib.request.urlopen(url.removesuffix("/v1") + "/stats") as answer:
            assert json.load(answer) == {"requests": 64, "repeated": 1}


def test_a_server_of_its_own_leaves_its_counts_in_a_file(tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    with started("-m", "tests.servers", "--count-file", str(counts)) as url:

        async def main() -> None:
            client = quick(url)
            await client.generate(ask())
            await client.close()

        asyncio.run(main())
    assert json.loads(counts.read_text()) == {"requests": 1, "repeated": 0}
