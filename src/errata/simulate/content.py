"""What a student and a teacher of the procedural family say (`errata.chains`), as a pure function of the request.

About half of the solutions are wrong, chosen by a hash of messages and seed; critiques and revisions are right. Texts
are short; how long a reply took is told by its usage alone (`lengths`).
"""

import functools
import hashlib
import json
import random
import re
from typing import Any

from errata import chains

Messages = tuple[tuple[str, str], ...]
"""Role and content of each message."""

STUDENT_ERRORS = ("operand", "arithmetic", "definition", "order", "premature")

_NUMBER = re.compile(r"^\[\d+\] ")
_REMEMBERED = 20_000
"""Texts kept for the next sample of the same problem."""


def procedural_reply(body: dict[str, Any]) -> str:
    """The assistant's content for one chat completion request: a solution, a critique, a revision or a continuation."""
    messages = tuple((m["role"], m["content"]) for m in body["messages"])
    return reply(messages, body.get("seed", 0), as_json="response_format" in body)


def reply(messages: Messages, seed: int, *, as_json: bool = False) -> str:
    """`procedural_reply` to a request already read. What is no problem of the family is answered `The answer is 0`."""
    role, last = messages[-1]
    if role == "assistant":
        asked = messages[-2][1] if len(messages) > 1 else ""
        return _continuation(asked, last, _pick(messages, seed))
    if "Find the first wrong step" in last or "stop at the first one that is wrong" in last:
        return _criticism(messages, as_json)
    if any(r == "assistant" for r, _ in messages) or chains.answer(last) is not None:
        return _solution("\n".join(text for _, text in messages), -1)
    return _solution(last, _pick(messages, seed))


def cut(text: str, words: int) -> str:
    """The first `words` words between spaces."""
    return " ".join(text.split(" ")[:words])


def _pick(messages: Messages, seed: int) -> int:
    """-1 for a right answer, otherwise the number of one of eight wrong ones; even odds."""
    drawn = hashlib.blake2b(f"{seed} {messages}".encode(errors="surrogatepass"), digest_size=2).digest()
    return drawn[1] % 8 if drawn[0] & 1 else -1


@functools.lru_cache(maxsize=_REMEMBERED)
def _solution(text: str, pick: int) -> str:
    chain = chains.parse(text + "\n")
    if chain is None:
        return "The answer is 0"
    rng = random.Random(f"{pick} {text}")
    while pick >= 0:
        steps = chains.slip(rng, chain, rng.choice(STUDENT_ERRORS))
        if steps and chains.answer("\n".join(steps)) != str(chain.values()[chain.target]):
            return "\n".join(steps)
    return "\n".join(chains.solve(chain))


@functools.lru_cache(maxsize=_REMEMBERED)
def _criticism(messages: Messages, as_json: bool) -> str:
    """In the words of the prompt that asks: a sentence, a sentence and `First wrong step: N`, or JSON."""
    text = "\n".join(content for _, content in messages)
    chain = chains.parse(text)
    said = [content for role, content in messages if role == "assistant"] or [text]
    lines = [_NUMBER.sub("", line).strip() for line in said[-1].splitlines()]
    steps = [line for line in lines if " = " in line or line.startswith("The answer is ")]
    found = chains.first_error(chain, steps) if chain else chains.Finding(0, "format", "it is no step")
    sentence = chains.critique(found)
    if as_json:
        return json.dumps({"first_error": found.step if found else -1, "reason": sentence})
    if "First wrong step: N" in messages[-1][1]:
        return f"{sentence}\nFirst wrong step: {found.step + 1 if found else 'none'}"
    return sentence


@functools.lru_cache(maxsize=_REMEMBERED)
def _continuation(text: str, begun: str, pick: int) -> str:
    """The rest of a solution: as many lines as the gold one has left, and a wrong answer if what was begun is wrong."""
    chain = chains.parse(text)
    if chain is None:
        return "The answer is 0"
    done = begun.splitlines()
    found = chains.first_error(chain, done)
    right = pick < 0 and (found is None or found.step == len(done))
    rest = (chains.solve(chain) if right else _solution(text, max(pick, 0)).splitlines())[len(done) :]
    joined = "\n".join(rest or [f"The answer is {chain.values()[chain.target]}" if right else "The answer is 0"])
    return joined if not begun or begun.endswith("\n") else "\n" + joined


def envelope(body: dict[str, Any], content: str) -> dict[str, Any]:
    """A whole chat completion; words stand for tokens."""
    prompt_tokens = sum(m["content"].count(" ") + 1 for m in body["messages"])
    completion_tokens = content.count(" ") + 1
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }
