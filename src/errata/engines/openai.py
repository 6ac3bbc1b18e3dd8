"""Any OpenAI-compatible server, on aiohttp: one retry policy, one deadline, and as much concurrency as it bears.

The `openai` package is not used: it costs twenty times the CPU, and its retries would multiply with ours. A reply is
believed only as a whole: right model, one choice, known finish, and a limit of tokens that was not reached.
"""

import asyncio
import os
from time import monotonic
from typing import Any, NamedTuple, NoReturn

import aiohttp
from msgspec.structs import replace
from yarl import URL

from errata.engines import admission, chat, retry
from errata.engines.admission import Admission
from errata.engines.base import Identity, Reply, Request
from errata.engines.chat import GOVERNED, decode_reply, encode_request
from errata.engines.code import code_digest
from errata.engines.retry import Fault, back_off, refused, said
from errata.errors import EngineDown, EngineError, RecipeError
from errata.records import ids
from errata.registry import Endpoint, engine

MOST_BYTES = 10_000_000
"""A longer body is no reply."""

_CONNECT_SECONDS = 15.0
_KEEP_ALIVE_SECONDS = 4.0
"""Below the 5 seconds after which uvicorn, and so vLLM, closes an idle connection."""

NEVER = float("-inf")

_COME_BACK = "the run can be resumed"


class _Answer(NamedTuple):
    status: int
    headers: Any
    content: bytes


class _Tries:
    """What is left to one request: when it began, when it must end, and how often it failed."""

    __slots__ = ("began", "empty", "ends", "failures", "seed", "used")

    def __init__(self, seed: int, seconds: float) -> None:
        self.seed, self.began = seed, monotonic()
        self.ends = self.began + seconds
        self.failures = self.used = self.empty = 0


@engine(version=1, name="openai")
class OpenAI:
    """Any OpenAI-compatible server, by its URL and model."""

    def __init__(
        self,
        *,
        model: str,
        base_url: Endpoint,
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
        """
        url = _checked(base_url, model, extra)
        if concurrency < 1 or deadline <= 0 or retries < 0 or backoff < 0:
            raise RecipeError("engine openai: concurrency must be at least 1, deadline above 0, the others not below 0")
        self._model, self._served_as, self._extra = model, served_as or model, dict(extra)
        self._base, self._url = url, URL(f"{url}/chat/completions")
        self._key_env, self._deadline, self._retries, self._backoff = api_key_env, deadline, retries, backoff
        self._timeout = aiohttp.ClientTimeout(total=deadline / 2, sock_connect=_CONNECT_SECONDS)
        self._gate = Admission(most=concurrency)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._down = ""
        self._fingerprint = ""
        self._last_reply = NEVER
        self.stats: dict[str, int] = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0}
        """`requests` asked, tokens of replies accepted, and `retry_REASON` for each further try; for run.json."""
        code = code_digest(__file__, chat, retry, admission)
        detail = ids.digest(endpoint=identity or url, extra=extra, served_as=served_as, code=code)
        self._identity = Identity(
            engine="openai", version=1, model=model, revision=revision, detail=detail[:16], licence=licence
        )

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def seen(self) -> tuple[str, ...]:
        return ()

    async def generate(self, request: Request) -> Reply:
        """The server's reply. Raises EngineError for this request alone, EngineDown where none can succeed."""
        self._open()
        gate = self._gate
        epoch = await gate.enter()
        self.stats["requests"] += 1
        tries = _Tries(request.seed, self._deadline)
        while True:
            try:
                reply = await self._ask(request, tries)
                gate.grow()
                return reply
            except Fault as caught:
                fault = caught
                if fault.overload:
                    gate.cut(epoch)
            finally:
                gate.leave()
            epoch = await self._wait(fault, tries)

    async def close(self) -> None:
        session, self._session, self._loop, self._down = self._session, None, None, ""
        if session is not None:
            await session.close()

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            headers = {"Content-Type": "application/json"}
            if key := os.environ.get(self._key_env, "").strip():
                if not (key.isascii() and key.isprintable()):
                    self._stop(f"the key in {self._key_env} has characters that no HTTP header can hold: mend it")
                headers["Authorization"] = f"Bearer {key}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                headers=headers,
            )
            self._loop, self._gate = loop, Admission(most=self._gate.most)

    async def _ask(self, request: Request, tries: _Tries) -> Reply:
        """One try."""
        if self._down:
            raise EngineDown(self._down)
        body = encode_request(request, model=self._model, seed=tries.seed, extra=self._extra)
        answer = await self._send(body, tries)
        if answer.status != 200:
            return await self._refused(answer)
        envelope = decode_reply(answer.content, request)
        reply = envelope.reply
        if envelope.model and envelope.model != self._served_as:
            self._stop(
                f"{self._base} answered as {envelope.model!r:.120} where {self._served_as!r} was asked for: name that "
                "as `model`, or as `served_as` if it is the same"
            )
        flags = reply.flags
        if tries.seed != request.seed:
            flags += ("reseeded",)
        if envelope.fingerprint != self._fingerprint:
            flags += ("fingerprint_changed",) if self._fingerprint else ()
            self._fingerprint = self._fingerprint or envelope.fingerprint
        self.stats["prompt_tokens"] += reply.prompt_tokens
        self.stats["completion_tokens"] += reply.completion_tokens
        self._last_reply = monotonic()
        return reply if flags is reply.flags else replace(reply, flags=flags)

    async def _send(self, body: bytes, tries: _Tries) -> _Answer:
        session, left = self._session, tries.ends - monotonic()
        if session is None:
            raise EngineDown(f"the engine for {self._base} was closed while it was asked: {_COME_BACK}")
        timeout = self._timeout
        if left < self._deadline / 2:
            timeout = aiohttp.ClientTimeout(total=max(left, 0.001), sock_connect=_CONNECT_SECONDS)
        try:
            async with session.post(self._url, data=body, timeout=timeout, allow_redirects=False) as response:
                return _Answer(response.status, response.headers, await _read(response.content))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Fault("connect", "connection", f"no connection to {self._base}: {_line(error)}") from None
        except TimeoutError:
            raise Fault("timeout", "deadline", f"{self._base} did not answer in time", overload=True) from None
        except aiohttp.ClientPayloadError:
            raise Fault("bad_envelope", "bad_envelope", "the server's answer ended before it was whole") from None
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise Fault("reset", "connection", f"{self._base} closed the connection: {_line(error)}") from None
        except aiohttp.ClientError as error:
            raise Fault("bad_envelope", "bad_envelope", f"the server's answer is no HTTP: {_line(error)}") from None

    async def _refused(self, answer: _Answer) -> Reply:
        """Raise what an answer other than 200 means."""
        message, code = said(answer.content)
        message = self._redacted(message)
        status = answer.status
        if status in (401, 403):
            self._stop(f"{self._base} refused the key ({status}): set {self._key_env} to one for {self._model!r}")
        if status == 402 or code == "insufficient_quota":
            self._stop(f"{self._base} wants to be paid ({status}): {message}")
        if status in (404, 405):
            self._stop(await self._missing(status))
        if 300 <= status < 400:
            self._stop(f"{self._base} redirects to {answer.headers.get('Location', '')!r:.200}: set base_url to that")
        if status == 400 and code == "content_filter":
            return Reply(text="", finish="filter", prompt_tokens=0, completion_tokens=0, flags=("usage_missing",))
        fault = refused(status, answer.headers, message)
        if isinstance(fault, Fault) and fault.pause is not None:
            if fault.pause > self._deadline:
                self._stop(f"{self._base} asks to be left alone for {fault.pause:.0f} seconds ({status}): {message}")
            self._gate.pause(fault.pause)
        raise fault

    async def _missing(self, status: int) -> str:
        """What is wrong with the URL or the model's name, told from the list of models that the server gives."""
        names: list[str] = []
        try:
            if self._session is not None:
                url, timeout = f"{self._base}/models", aiohttp.ClientTimeout(total=10)
                async with self._session.get(url, timeout=timeout, allow_redirects=False) as response:
                    listed = await response.json(content_type=None)
                    names = [str(m["id"])[:100] for m in listed["data"]][:20]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, LookupError, TypeError, RecursionError):
            pass
        if names and self._model not in names:
            return f"{self._base} has no model {self._model!r}: it serves {', '.join(names)}"
        return f"{self._url} does not exist ({status}): set base_url to the server's, which usually ends in /v1"

    async def _wait(self, fault: Fault, tries: _Tries) -> int:
        """Wait before the next try and enter the gate again, or raise because no try is left."""
        tries.failures += 1
        tries.used += fault.counts
        tries.empty += fault.reason == "empty"
        seconds = max(back_off(tries.failures, self._backoff), fault.pause or 0.0)
        left = tries.ends - monotonic()
        if tries.used > self._retries or tries.empty > 1 or seconds >= left:
            self._give_up(fault, tries)
        try:
            async with asyncio.timeout(left):
                await asyncio.sleep(seconds)
                epoch = await self._gate.enter(ahead=True)
        except TimeoutError:
            self._give_up(fault, tries)
        if fault.reason == "empty":
            tries.seed = ids.seed(seed=tries.seed, after="empty")
        self.stats[f"retry_{fault.reason}"] = self.stats.get(f"retry_{fault.reason}", 0) + 1
        return epoch

    def _give_up(self, fault: Fault, tries: _Tries) -> NoReturn:
        """One request is lost, or all are: the server is down if it answered nobody while this request was tried."""
        told = f"{fault} (tried {tries.failures} times in {monotonic() - tries.began:.0f} seconds)"
        if fault.reason == "connect" and self._last_reply < tries.began:
            self._stop(f"the server is down: {told}; start it, or set base_url to where it runs")
        if fault.reason == "reset" and self._last_reply == NEVER:
            self._stop(f"the server is down: {told}; check that base_url names a chat server, and http or https")
        if fault.reason == "http_429" and self._last_reply < tries.began:
            self._stop(f"{self._base} has admitted no request: {told}")
        raise EngineError(fault.code, told)

    def _stop(self, message: str) -> NoReturn:
        self._down = f"{message}; {_COME_BACK}"
        raise EngineDown(self._down)

    def _redacted(self, text: str) -> str:
        """Text of a server, which may quote the key that it refused."""
        key = os.environ.get(self._key_env, "").strip()
        return text.replace(key, "[key]") if key else text


async def _read(stream: aiohttp.StreamReader) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await stream.readany():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise Fault("bad_envelope", "bad_envelope", f"the server's answer is longer than {MOST_BYTES} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _checked(base_url: str, model: str, extra: dict[str, Any]) -> str:
    """The base URL without its last slash. Raises RecipeError for parameters that no request could be made from."""
    try:
        url = URL(base_url.rstrip("/"))
        good = url.scheme in ("http", "https") and bool(url.host) and not (url.query_string or url.fragment)
        secret = url.user is not None or url.password is not None
    except ValueError:
        good, secret = False, "@" in base_url
    if secret:
        raise RecipeError("engine openai: base_url holds a user or password: put the key into the variable api_key_env")
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
