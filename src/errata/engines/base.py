"""The one protocol of all engines: `async generate(Request) -> Reply`, n = 1, with a hashed seed.

An engine that cannot answer a request raises `EngineError` (this request is lost, with its reason) or `EngineDown` (no
request can succeed). It never returns a partial answer as a whole one: a reply cut by its length limit says so.
"""

from typing import NamedTuple, Protocol

from msgspec import Struct

from errata.records.types import Finish, Message, Task


class Sampling(Struct, frozen=True, kw_only=True, gc=False):
    """How tokens are drawn. Temperature 0 is greedy."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    """The reply ends before any of these texts."""


class Request(Struct, frozen=True, kw_only=True, gc=False):
    """One conversation to continue by one reply."""

    messages: tuple[Message, ...]
    """If the last message is the assistant's, the reply continues it and does not repeat it."""
    sampling: Sampling
    seed: int
    schema: str = ""
    """JSON Schema, as canonical JSON text, that the reply must follow; empty for free text."""
    logprobs: bool = False
    """Whether the reply also tells the log-probability of each token that was sampled."""
    score: bool = False
    """Whether nothing is to be said, but the tokens of the assistant's last message to be given with their
    log-probabilities. `sampling` and `seed` then mean nothing."""
    urgency: float = 0.0
    """Of requests that wait, a higher one is started first (errata.engines.foresight). No part of a key: it may change
    when a reply comes, and never the reply."""

    task: Task | None = None
    """What the conversation is about, where it is a text world; only engines that are programs and know worlds are told
    (`Identity.worldly`)."""

    @property
    def continues(self) -> bool:
        """Whether the reply continues the assistant's last message."""
        return self.messages[-1].role == "assistant"


class Reply(Struct, frozen=True, kw_only=True, gc=False):
    """What an engine answered."""

    text: str
    finish: Finish
    """`stop` for a whole answer, `length` for one cut by its limit, `filter` for a refusal of the server."""
    prompt_tokens: int
    completion_tokens: int
    flags: tuple[str, ...] = ()
    """What was mended or doubted, e.g. `surrogates`, `usage_missing`."""
    logprobs: tuple[float, ...] = ()
    """Natural logarithms of the model's own probabilities (temperature 1, whole vocabulary, whatever the sampling), one
    a token. If `Request.logprobs`: of the sampled tokens in order, the end-of-turn token among them where it was
    sampled, so that they are `completion_tokens` many; a server may leave out that last one. Empty, with the flag
    `logprobs_dropped`, where a server's were no log-probabilities. If `Request.score`: of `tokens`."""
    tokens: tuple[str, ...] = ()
    """If `Request.score`: pieces of the assistant's last message, which they make up when joined; a token of a
    character's further bytes is empty. The end-of-turn token, which is no part of the message, is not among them."""


class Identity(Struct, frozen=True, kw_only=True, gc=False):
    """All of an engine that can change a reply; a part of every journal key and of the pipeline version."""

    engine: str
    """Name of the engine's class in the registry."""
    version: int
    model: str
    revision: str
    """Commit of the model, or digest of its files."""
    detail: str = ""
    """Digest of the rest: endpoint, tokenizer and chat template, engine arguments, the engine's own code."""
    licence: str = ""
    worldly: bool = False
    """Whether the engine wants `Request.task` beside the messages."""


class Load(NamedTuple):
    """What an engine has to do at a moment, for those that have a queue and tell it by an attribute `load`."""

    running: int
    """Requests that it works on."""
    waiting: int
    """Requests that wait for their turn."""
    room: int
    """Requests that it works on at once, at most."""


class Engine(Protocol):
    """What stages ask through `ctx.ask`; made from the recipe's keyword arguments without starting anything."""

    @property
    def identity(self) -> Identity:
        """Known without asking a server or loading weights, so that a replay needs neither."""
        ...

    @property
    def seen(self) -> tuple[str, ...]:
        """Privileged context that the engine itself brings, e.g. an oracle's `gold_steps`; usually nothing."""
        ...

    async def generate(self, request: Request) -> Reply: ...

    async def close(self) -> None:
        """Free what was started; an engine that was never asked closes without effect."""
        ...
