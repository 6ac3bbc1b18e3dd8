"""Problems of reasoning-gym, judged by the scorer of their own generator.

`Problem.meta` holds what the `reasoning_gym` source wrote:

    {"dataset": "leg_counting", "config": {}, "entry": {"question": "...", "answer": "14", "metadata": {...}}}
"""

import json
import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from errata.errors import MissingExtra
from errata.records.types import Problem
from errata.registry import verifier
from errata.verifiers.base import Judgement
from errata.verifiers.judgements import unknown
from errata.verifiers.readings import marked

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


@verifier(version=1, inline=False)
def reasoning_gym(problem: Problem, text: str, *, after: str = "", threshold: float = 1.0) -> Judgement:
    """The generator's own scorer gives the answer at least `threshold`, of at most 1.

    The answer is what the last <answer>...</answer> holds, or what follows the marker `after`, or the last line.
    """
    item = _item(problem.meta)
    if item is None:
        return unknown("the problem's meta names no dataset and entry of reasoning-gym")
    answer = _answer(text, after)
    if not answer:
        return unknown("no answer is stated")
    try:
        score = float(_scorer(item["dataset"], json.dumps(item.get("config") or {}))(answer, item["entry"]))
    except MissingExtra:
        raise
    except Exception as error:  # a scorer is foreign code: what it cannot judge is unknown, whatever it raises
        return unknown(f"the scorer of {item['dataset']} raised {type(error).__name__}: {str(error)[:200]}")
    if not math.isfinite(score):
        return unknown(f"the scorer of {item['dataset']} gave {score}")
    score = min(max(score, 0.0), 1.0)
    return Judgement(outcome="pass" if score >= threshold else "fail", score=score, evidence=answer[:200])


def warm_up() -> None:
    """Load the library, which takes seconds, before the clock of a first call starts."""
    _library()


def _library() -> Any:
    try:
        import reasoning_gym as library
    except ImportError as error:
        raise MissingExtra("reasoning-gym", "gym", "the verifier reasoning_gym") from error
    return library


@lru_cache(maxsize=256)
def _scorer(dataset: str, config: str) -> Callable[[str, dict[str, Any]], float]:
    """The scorer of a dataset, made with the item's own configuration where it has one."""
    library, settings = _library(), json.loads(config)
    found: Callable[[str, dict[str, Any]], float] = (
        library.create_dataset(dataset, **settings).score_answer if settings else library.get_score_answer_fn(dataset)
    )
    return found


def _item(meta: str) -> dict[str, Any] | None:
    try:
        item = json.loads(meta)
    except ValueError:
        return None
    known = isinstance(item, dict) and isinstance(item.get("dataset"), str) and isinstance(item.get("entry"), dict)
    return item if known else None


def _answer(text: str, after: str) -> str:
    tagged = _TAGGED.findall(text)
    if tagged:
        return str(tagged[-1]).strip()
    if after:
        return marked(text, after).text or ""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
