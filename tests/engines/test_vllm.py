"""The pocket model on the real vLLM, in process and behind its own server, says what the default engine says.

vLLM runs in a subprocess of its own: what it starts must be gone when that ends, and its warnings are its own.
"""

import asyncio
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from errata import chains
from errata.engines.base import Engine, Reply, Request, Sampling
from errata.engines.openai import OpenAI
from errata.engines.pocket import Pocket, shipped
from errata.engines.vllm import VLLM
from errata.errors import MissingExtra, RecipeError
from errata.records.types import Message

MODEL = shipped()
COUNT, ENOUGH = 200, 198
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
}
INTEGER = '{"maximum":10,"minimum":0,"type":"integer"}'

needs_vllm = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed: see the extra vllm"),
]


def problems() -> list[Request]:
    """Greedy requests for chains of 4 to 8 operations."""
    rng = random.Random(200)
    made = []
    for seed in range(COUNT):
        text = chains.question(chains.generate(rng, 4 + seed % 5, 2))
        made.append(Request(messages=(user(text),), sampling=Sampling(temperature=0, max_tokens=250), seed=seed))
    return made


def user(text: str) -> Message:
    return Message(role="user", content=text)


def continued(asked: Request, whole: str) -> list[Request]:
    """Requests to continue prefixes of a reply: a whole line with and without its line break, and half a line."""
    line = whole.index("\n")
    prefixes = (whole[:line], whole[: line + 1], whole[: whole.rindex(" ", 0, line)])
    return [
        msgspec.structs.replace(asked, messages=(*asked.messages, Message(role="assistant", content=p)))
        for p in prefixes
    ]


async def answers(engine: Engine, requests: Sequence[Request]) -> list[Reply]:
    try:
        return list(await asyncio.gather(*(engine.generate(r) for r in requests)))
    finally:
        await engine.close()


def expected() -> tuple[list[Request], list[Reply]]:
    """All greedy requests, those with a prefix last, and what the pocket engine says to them."""
    asked = problems()
    replies = asyncio.run(answers(Pocket(), asked))
    several = next(i for i, r in enumerate(replies) if r.text.count("\n") > 1)
    more = continued(asked[several], replies[several].text)
    return [*asked, *more], [*replies, *asyncio.run(answers(Pocket(), more))]


def measured() -> tuple[list[Request], list[Reply]]:
    """Requests for log-probabilities, of what is sampled and of a message, and what the pocket engine says to them."""
    asked = [msgspec.structs.replace(r, logprobs=True) for r in problems()[:4]]
    replies = asyncio.run(answers(Pocket(), asked))
    scores = [
        msgspec.structs.replace(r, messages=(*r.messages, Message(role="assistant", content=a.text)), score=True)
        for r, a in zip(problems(), replies, strict=False)
    ]
    return [*asked, *scores], [*replies, *asyncio.run(answers(Pocket(), scores))]


def same_numbers(made: Sequence[Reply], wanted: Sequence[Reply]) -> None:
    for a, b in zip(made, wanted, strict=True):
        assert (a.text, tuple(a.tokens)) == (b.text, b.tokens)
        assert list(a.logprobs) == pytest.approx(b.logprobs, abs=1e-3)


def agree(requests: Sequence[Request], replies: Sequence[Reply], wanted: Sequence[Reply]) -> None:
    """At least ENOUGH of COUNT greedy texts are equal, and all continuations are."""
    assert len(replies) == len(wanted)
    equal = [a.text == b.text for a, b in zip(replies, wanted, strict=True)]
    assert sum(equal[:COUNT]) >= ENOUGH, [(a, b) for a, b in zip(replies, wanted, strict=True) if a != b][:3]
    assert all(equal[COUNT:]), list(zip(replies, wanted, strict=True))[COUNT:]
    for a, b in zip(replies, wanted, strict=True):
        if a.text == b.text:
            assert (a.finish, a.prompt_tokens) == (b.finish, b.prompt_tokens)


def children(pid: int) -> set[int]:
    """Running processes started by `pid`, and by those; what has ended and waits to be noticed does not count."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found, more = set[int](), {pid}
    while more := {p for p, parent in parents.items() if parent in more}:
        found |= more
    return found


def main() -> None:
    """The subprocess: requests as JSON on stdin; replies, errors and what is left running as JSON on stdout."""
    asked = [
        Request(
            messages=tuple(Message(**m) for m in r["messages"]), sampling=Sampling(**r["sampling"]), seed=r["seed"],
            schema=r["schema"], logprobs=r["logprobs"], score=r["score"],
        )
        for r in json.load(sys.stdin)
    ]  # fmt: skip

    async def ask() -> list[dict[str, Any]]:
        # Compiling takes longer than all requests of this test do.
        engine = VLLM(model=str(MODEL), dtype="float32", arguments={"enforce_eager": True})
        try:
            made = await asyncio.gather(*(engine.generate(r) for r in asked), return_exceptions=True)
        finally:
            await engine.close()
        failed = [{"error": getattr(m, "code", type(m).__name__), "text": str(m)} for m in made]
        return [msgspec.to_builtins(m) if isinstance(m, Reply) else f for m, f in zip(made, failed, strict=True)]

    made = asyncio.run(ask())
    for _ in range(100):
        left = children(os.getpid()) - trackers()
        if not left:
            break
        time.sleep(0.1)
    Path(sys.argv[1]).write_text(json.dumps({"replies": made, "left": sorted(left)}))


def trackers() -> set[int]:
    """Python's own resource trackers, which end with the process."""
    found = set()
    for child in children(os.getpid()):
        try:
            if b"resource_tracker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.add(child)
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def wanted() -> tuple[list[Request], list[Reply]]:
    return expected()


class TestInProcess:
    pytestmark = needs_vllm

    def test_greedy_replies_are_those_of_the_pocket_engine(
        self, wanted: tuple[list[Request], list[Reply]], tmp_path: Path
    ) -> None:
        requests, replies = wanted
        first = requests[0]
        # No problem begins like this, so that samples differ however sure the model is of problems.
        sampling = Sampling(temperature=2, max_tokens=40)
        hot = Request(messages=(user("not known yet"),), sampling=sampling, seed=2**62 + 1)
        extra = [
            msgspec.structs.replace(first, schema=INTEGER),
            msgspec.structs.replace(first, sampling=Sampling(temperature=0, max_tokens=5)),
            msgspec.structs.replace(first, sampling=Sampling(temperature=0, max_tokens=250, stop=("\n",))),
            msgspec.structs.replace(first, messages=(user("\n".join([first.messages[0].content] * 20)),)),
            hot,
            hot,
            msgspec.structs.replace(hot, seed=2**62 + 2),
        ]
        asked, numbers = measured()
        out = tmp_path / "replies.json"
        done = subprocess.run(
            [sys.executable, "-m", "tests.engines.test_vllm", str(out)],
            input=json.dumps([msgspec.to_builtins(r) for r in (*requests, *extra, *asked)]),
            cwd=Path(__file__).resolve().parents[2], env={**os.environ, **ENVIRONMENT},
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        told = json.loads(out.read_text())
        assert told["left"] == [], "vllm's processes outlived close()"
        made = [Reply(**{**r, "flags": tuple(r["flags"])}) for r in told["replies"][: len(requests)]]
        agree(requests, made, replies)
        integer, cut, stopped, long, one, same, other, *last = told["replies"][len(requests) :]
        same_numbers([Reply(**r) for r in last], numbers)
        assert 0 <= int(integer["text"]) <= 10
        assert (cut["finish"], cut["completion_tokens"]) == ("length", 5)
        assert (stopped["text"], stopped["finish"]) == (replies[0].text.split("\n")[0], "stop")
        assert long["error"] == "too_long"
        assert one == same
        assert one["text"] != other["text"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM's own server of the pocket model; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL), "--served-model-name",
        "errata-pocket", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager",
        "--generation-config", "vllm",
    ]  # fmt: skip
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env={**os.environ, **ENVIRONMENT}, stdout=file, stderr=file, start_new_session=True
        )
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        started = children(process.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for child in started & children(1):
            os.kill(child, signal.SIGKILL)


def wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    for _ in range(900):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    pytest.fail(f"vllm's server did not start: {log.read_text()[-4000:]}")


class TestServer:
    pytestmark = needs_vllm

    def test_greedy_replies_are_those_of_the_pocket_engine(
        self, server: str, wanted: tuple[list[Request], list[Reply]]
    ) -> None:
        requests, replies = wanted
        engine = OpenAI(model="errata-pocket", base_url=server)
        more = msgspec.structs.replace(requests[0], schema=INTEGER)
        *made, integer = asyncio.run(answers(engine, [*requests, more]))
        agree(requests, made, replies)
        assert 0 <= int(integer.text) <= 10

    def test_log_probabilities_are_those_of_the_pocket_engine(self, server: str) -> None:
        asked, numbers = measured()
        same_numbers(asyncio.run(answers(OpenAI(model="errata-pocket", base_url=server), asked)), numbers)


def test_a_model_is_a_folder_or_a_pinned_commit() -> None:
    with pytest.raises(RecipeError, match="40 hexadecimal"):
        VLLM(model="org/model")
    with pytest.raises(RecipeError, match="40 hexadecimal"):
        VLLM(model="org/model", revision="main")
    with pytest.raises(RecipeError, match="arguments has dtype"):
        VLLM(model=str(MODEL), arguments={"dtype": "float32"})
    commit = "0123456789abcdef0123456789abcdef01234567"
    found = VLLM(model="org/model", revision=commit).identity
    assert (found.engine, found.model, found.revision) == ("vllm", "org/model", commit)


def test_identity_covers_files_and_arguments_and_no_place(tmp_path: Path) -> None:
    shutil.copytree(MODEL, tmp_path / "a" / "pocket")
    shutil.copytree(MODEL, tmp_path / "b" / "pocket")
    same = [VLLM(model=str(tmp_path / x / "pocket")).identity for x in "ab"]
    assert same[0] == same[1]
    assert same[0].model == "pocket"
    assert VLLM(model=str(tmp_path / "a" / "pocket"), dtype="float32").identity != same[0]
    shutil.copytree(MODEL, tmp_path / "c" / "pocket")
    (tmp_path / "c" / "pocket" / "chat_template.jinja").write_text("{{ messages }}")
    assert VLLM(model=str(tmp_path / "c" / "pocket")).identity.revision != same[0].revision
    (tmp_path / "a" / "pocket" / "README.md").write_text("words")
    shutil.move(tmp_path / "a", tmp_path / "d")
    assert VLLM(model=str(tmp_path / "d" / "pocket")).identity == same[0]


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed")
def test_without_vllm_the_first_request_says_what_to_install() -> None:
    engine = VLLM(model=str(MODEL))
    asked = Request(messages=(user("What ?"),), sampling=Sampling(), seed=0)
    with pytest.raises(MissingExtra, match=r"errata\[vllm\]"):
        asyncio.run(answers(engine, [asked]))


def test_an_engine_never_asked_closes_without_effect() -> None:
    asyncio.run(VLLM(model=str(MODEL)).close())


if __name__ == "__main__":
    main()
