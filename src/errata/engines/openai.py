"""Any OpenAI-compatible server, or several of one model: one retry policy, one deadline, all the concurrency they bear.

The `openai` package is not used: it costs twenty times the CPU, and its retries would multiply with ours. A reply is
believed only as a whole: right model, one choice, known finish, and a limit of tokens that was not reached.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Annotated, Any, NoReturn

from msgspec.structs import replace
from yarl import URL

from errata.engines import chat, logprobs, retry, server
from errata.engines.admission import TurnedAway
from errata.engines.balancer import Balancer
from errata.engines.base import Identity, Load, Reply, Request
from errata.engines.chat import GOVERNED, decode_reply, encode_request
from errata.engines.code import code_digest
from errata.engines.retry import Fault, back_off, refused, said
from errata.engines.server import Answer, Server
from errata.errors import EngineDown, EngineError, RecipeError
from errata.records import ids
from errata.registry import engine

Endpoints = Annotated[str | list[str], "endpoint"]
"""One base URL, or those of interchangeable servers. Manifests hold its digest, as that of registry.Endpoint."""

NEVER = float("-inf")

_COME_BACK = "the run can be resumed"
_TELLING = 8
"""Characters of a key that are no longer told."""


class _Tries:
    """What is left to one request: when it began, when it must end, how often it failed, and where it is now."""

    __slots__ = ("began", "empty", "ends", "epoch", "failures", "request", "seed", "server", "term", "used")

    def __init__(self, request: Request, server: Server) -> None:
        self.request, self.seed, self.server = request, request.seed, server
        self.began = self.ends = 0.0
        self.failures = self.used = self.empty = self.epoch = self.term = 0


@engine(version=1, name="openai")
class OpenAI:
    """Any OpenAI-compatible server, or several that serve the same model, by URL and model."""

    def __init__(
        self,
        *,
        model: str,
        base_url: Endpoints,
        revision: str = "",
        api_key_env: str = "OPENAI_API_KEY",
        identity: str = "",
        licence: str = "",
        served_as: str = "",
        extra: dict[str, Any] = {},
        concurrency: int = 256,
        deadline: float = 600.0,
        retries: int = 5,
        backoff: float = 0.5,
    ) -> None:
        """Starts nothing.

        `revision` is the model's commit where it is known; `identity` stands for the endpoint in journal keys, so that
        the same service under another URL keeps its replies; `served_as` is the name that the server answers under,
        where it is not `model`; `extra` are further fields of the body, such as `top_k`. A request has `deadline`
        seconds from its admission, and `retries` tries after the first, `backoff` seconds apart at first.

        Several URLs are replicas, of which any may answer any request. The first stands for all in journal keys, so
        that others can be added and taken away; `concurrency` is each one's. A request whose server refuses the
        connection goes to another at once and has lost no try, for nothing was accepted. One whose connection breaks
        goes to another at once too, but has lost a try: it may be what broke the server.
        """
        urls = [_checked(url, model, extra) for url in ([base_url] if isinstance(base_url, str) else base_url)]
        if not urls or len(set(urls)) < len(urls):
            raise RecipeError(f"engine openai: base_url names {'a server twice' if urls else 'no server'}: {base_url}")
        if concurrency < 1 or deadline <= 0 or retries < 0 or backoff < 0:
            raise RecipeError("engine openai: concurrency must be at least 1, deadline above 0, the others not below 0")
        if api_key_env and not api_key_env.isidentifier():
            raise RecipeError("engine openai: api_key_env is the name of an environment variable, not the key itself")
        self._model, self._served_as, self._extra = model, served_as or model, dict(extra)
        self._urls, self._concurrency = urls, concurrency
        self._key_env, self._deadline, self._retries, self._backoff = api_key_env, deadline, retries, backoff
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened = False
        self._down = ""
        self._last_reply = NEVER
        self._fingerprints = [""] * len(urls)
        self.stats: dict[str, int] = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0}
        """`requests` asked, tokens of replies accepted, `retry_REASON` for each further try and `flag_NAME` for each
        reply accepted with that flag; for run.json. Where there are several servers, also the tries that each was
        sent, `endpoint_0_requests`."""
        self._counters = [f"endpoint_{i}_requests" for i in range(len(urls))] if len(urls) > 1 else []
        self.stats.update(dict.fromkeys(self._counters, 0))
        self._prepare()
        # Which server is asked and when cannot change a reply, and is no part of the identity.
        code = code_digest(__file__, chat, logprobs, retry, server)
        detail = ids.digest(endpoint=identity or urls[0], extra=extra, served_as=served_as, code=code)
        self._identity = Identity(
            engine="openai", version=1, model=model, revision=revision, detail=detail[:16], licence=licence
        )

    def _prepare(self) -> None:
        self.servers = [
            Server(url, number=i, concurrency=self._concurrency, seconds=self._deadline / 2)
            for i, url in enumerate(self._urls)
        ]
        """In the order of `base_url`."""
        self._balancer = Balancer(self.servers, concurrency=self._concurrency, backoff=self._backoff)

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def seen(self) -> tuple[str, ...]:
        return ()

    @property
    def at_once(self) -> int:
        """Requests that it has under way at most."""
        return self._concurrency * len(self._urls)

    @property
    def load(self) -> Load:
        """What the servers have to do, as far as this process knows."""
        gates = [one.gate for one in self.servers]
        return Load(sum(g.busy for g in gates), sum(g.waiting for g in gates), sum(int(g.limit) for g in gates))

    def drain(self) -> None:
        """Send nothing more; what was sent goes on."""
        for one in self.servers:
            one.gate.shut()

    async def generate(self, request: Request) -> Reply:
        """A server's reply. Raises EngineError for this request alone, EngineDown where none can succeed."""
        self._open()
        tries, balancer = _Tries(request, self.servers[0]), self._balancer
        await self._enter(tries)
        tries.began = self._now()
        tries.ends = tries.began + self._deadline
        self.stats["requests"] += 1
        while True:
            asked = tries.server
            try:
                reply = await self._ask(tries)
                asked.gate.grow()
                balancer.answered(asked, tries.term)
                return reply
            except Fault as caught:
                fault = caught
                if fault.overload:
                    asked.gate.cut(tries.epoch)
            except EngineError:
                balancer.answered(asked, tries.term)
                raise
            finally:
                asked.gate.leave()
                balancer.left(asked, request)
            await self._again(fault, tries)

    async def close(self) -> None:
        self._loop, self._down = None, ""
        async with AsyncExitStack() as ends:  # all of them, also where the run is told to stop while one closes
            for one in self.servers:
                ends.push_async_callback(one.close)

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            headers = {"Content-Type": "application/json"}
            if key := os.environ.get(self._key_env, "").strip():
                if not (key.isascii() and key.isprintable()):
                    self._stop(f"the key in {self._key_env} has characters that no HTTP header can hold: mend it")
                headers["Authorization"] = f"Bearer {key}"
            if self._opened:
                self._prepare()
            for one in self.servers:
                one.open(headers)
            self._loop, self._opened = loop, True

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _enter(self, tries: _Tries, *, avoid: Server | None = None) -> None:
        """Have a server picked and wait for a slot there; where that server is lost meanwhile, elsewhere."""
        ahead = avoid is not None
        while True:
            picked = tries.server = self._balancer.pick(tries.request, avoid)
            try:
                tries.epoch = await picked.gate.enter(urgency=tries.request.urgency, ahead=ahead)
                tries.term = picked.term
                return
            except TurnedAway:
                avoid = picked
                self._balancer.left(picked, tries.request)
            except asyncio.CancelledError:
                self._balancer.left(picked, tries.request)
                raise

    async def _ask(self, tries: _Tries) -> Reply:
        """One try."""
        if self._down:
            raise EngineDown(self._down)
        asked, request = tries.server, tries.request
        if self._counters:
            self.stats[self._counters[asked.number]] += 1
        body = encode_request(request, model=self._model, seed=tries.seed, extra=self._extra)
        answer = await asked.send(body, tries.ends - self._now())
        if answer is None:
            raise EngineDown(f"the engine for {asked.base} was closed while it was asked: {_COME_BACK}")
        if answer.status != 200:
            return await self._refused(answer, asked)
        envelope = decode_reply(answer.content, request)
        reply = envelope.reply
        if envelope.model and envelope.model != self._served_as:
            self._stop(
                f"{asked.base} answered as {envelope.model!r:.120} where {self._served_as!r} was asked for: name that "
                "as `model`, or as `served_as` if it is the same"
            )
        flags = reply.flags
        if tries.seed != request.seed:
            flags += ("reseeded",)
        known = self._fingerprints[asked.number]
        if envelope.fingerprint != known:
            flags += ("fingerprint_changed",) if known else ()
            self._fingerprints[asked.number] = known or envelope.fingerprint
        for flag in flags:
            self._count(f"flag_{flag}")
        self.stats["prompt_tokens"] += reply.prompt_tokens
        self.stats["completion_tokens"] += reply.completion_tokens
        self._last_reply = self._now()
        return reply if flags is reply.flags else replace(reply, flags=flags)

    async def _refused(self, answer: Answer, asked: Server) -> Reply:
        """Raise what an answer other than 200 means."""
        message, code = said(answer.content)
        status = answer.status
        if status in (401, 403):
            self._stop(f"{asked.base} refused the key ({status}): set {self._key_env} to one for {self._model!r}")
        if status == 402 or code == "insufficient_quota":
            self._stop(f"{asked.base} wants to be paid ({status}): {message}")
        if status in (404, 405):
            self._stop(await self._missing(status, asked))
        if 300 <= status < 400:
            self._stop(f"{asked.base} redirects to {answer.headers.get('Location', '')!r:.200}: set base_url to that")
        if status == 400 and code == "content_filter":
            return Reply(text="", finish="filter", prompt_tokens=0, completion_tokens=0, flags=("usage_missing",))
        fault = refused(status, answer.headers, self._redacted(message))
        if isinstance(fault, Fault) and fault.pause is not None:
            if fault.pause > self._deadline:
                self._stop(f"{asked.base} asks to be left alone for {fault.pause:.0f} seconds ({status}): {message}")
            asked.gate.pause(fault.pause)
        raise fault

    async def _missing(self, status: int, asked: Server) -> str:
        """What is wrong with the URL or the model's name, told from the list of models that the server gives."""
        names = await asked.models()
        if names and self._model not in names:
            return f"{asked.base} has no model {self._model!r}: it serves {', '.join(names)}"
        return f"{asked.url} does not exist ({status}): set base_url to the server's, which usually ends in /v1"

    async def _again(self, fault: Fault, tries: _Tries) -> None:
        """Enter a gate again, at once where this server broke and another is up, else after a wait; or raise."""
        elsewhere = self._balancer.failed(tries.server, tries.term, fault)
        if not (elsewhere and fault.reason == "connect"):
            tries.failures += 1
            tries.used += fault.counts
            tries.empty += fault.reason == "empty"
        seconds = 0.0
        if not elsewhere:
            # Being told to wait binds the one server that said so; its gate knows.
            seconds = max(back_off(tries.failures, self._backoff), 0.0 if self._balancer.spare else fault.pause or 0.0)
        left = tries.ends - self._now()
        if tries.used > self._retries or tries.empty > 1 or seconds >= left:
            self._give_up(fault, tries)
        try:
            async with asyncio.timeout(left):
                if not elsewhere:
                    await asyncio.sleep(seconds)
                await self._enter(tries, avoid=tries.server)
        except TimeoutError:
            self._give_up(fault, tries)
        if fault.reason == "empty":
            tries.seed = ids.seed(seed=tries.seed, after="empty")
        self._count(f"retry_{fault.reason}")

    def _count(self, what: str) -> None:
        self.stats[what] = self.stats.get(what, 0) + 1

    def _give_up(self, fault: Fault, tries: _Tries) -> NoReturn:
        """One request is lost, or all are: the server is down if it answered nobody while this request was tried."""
        told = f"{fault} (tried {tries.failures} times in {self._now() - tries.began:.0f} seconds)"
        if fault.reason == "connect" and self._last_reply < tries.began:
            self._stop(f"the server is down: {told}; start it, or set base_url to where it runs")
        if fault.reason == "reset" and self._last_reply == NEVER:
            self._stop(f"the server is down: {told}; check that base_url names a chat server, and http or https")
        if fault.reason == "http_429" and self._last_reply < tries.began:
            self._stop(f"{tries.server.base} has admitted no request: {told}")
        raise EngineError(fault.code, self._redacted(told))

    def _stop(self, message: str) -> NoReturn:
        self._down = f"{self._redacted(message)}; {_COME_BACK}"
        raise EngineDown(self._down)

    def _redacted(self, text: str) -> str:
        """A message to the user: a server may quote the key in whatever it answers."""
        key = os.environ.get(self._key_env, "").strip()
        for end in range(len(key), min(len(key), _TELLING) - 1, -1):  # also where the message was cut within it
            if end:
                text = text.replace(key[:end], "[key]")
        return text


def _checked(base_url: str, model: str, extra: dict[str, Any]) -> str:
    """The base URL without its last slash. Raises RecipeError for parameters that no request could be made from."""
    try:
        url = URL(base_url.rstrip("/"))
        good = url.scheme in ("http", "https") and bool(url.host)
        secret = any((url.user, url.password, url.query_string, url.fragment))
    except ValueError:
        good, secret = False, "@" in base_url or "?" in base_url
    if secret:
        # Not told: what stands there may be a key.
        raise RecipeError(
            "engine openai: base_url holds a user, password, query or fragment: end it with the path, such as /v1, and "
            "put the key into the variable that api_key_env names"
        )
    if not good:
        raise RecipeError(f"engine openai: base_url {base_url!r} is no http(s) URL such as http://127.0.0.1:8000/v1")
    if not model:
        raise RecipeError("engine openai: model is empty: name one that the server serves")
    if taken := GOVERNED & extra.keys():
        raise RecipeError(f"engine openai: extra may not set {', '.join(sorted(taken))}: the request itself does")
    try:
        ids.canonical(extra)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"engine openai: extra cannot be written as JSON: {error}") from None
    return str(url)
