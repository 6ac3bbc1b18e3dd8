"""The pool: deadlines, crashes, replacement, and answers that do not depend on what else runs."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from errata.errors import ErrataError
from errata.records.types import Message, Problem
from errata.registry import find
from errata.verifiers.base import Judgement
from errata.verifiers.pool import Pool, verify

USER = '''
import os, sys, time
from errata.registry import verifier
from errata.verifiers.base import Judgement

@verifier(version=1, inline=False)
def odd(problem, text, *, after: str = ""):
    """Does what the text says."""
    if text == "sleep":
        time.sleep(60)
    if text == "spin":
        while True:
            pass
    if text == "exit":
        os._exit(0)
    if text == "crash":
        os.abort()
    if text == "raise":
        raise KeyError("lost")
    if text == "nonsense":
        return "pass"
    if text == "nan":
        return Judgement(outcome="pass", score=float("nan"))
    if text == "print":
        print("pass" * 10000)
        os.write(1, b"xxxxxxxx")
        sys.stdin.read()
    if text == "huge":
        return Judgement(outcome="pass", evidence="x" * (2 << 20))
    if text == "environment":
        return Judgement(outcome="pass", evidence=",".join(sorted(os.environ)))
    if text == "pid":
        return Judgement(outcome="pass", evidence=str(os.getpid()))
    return Judgement(outcome="pass" if text == problem.answer else "fail", score=0.25, evidence=after + text)

@verifier(version=1)
def light(problem, text):
    """Raises in the event loop's own process."""
    raise RuntimeError(text)
'''
PROBLEM = Problem(id="p", messages=(Message(role="user", content="q \ud800"),), verifier="odd", answer="right")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(USER)
    return tmp_path


def pooled(work: Callable[[Pool], Awaitable[Any]], workers: int = 1, deadline: float = 20.0) -> Any:
    async def main() -> Any:
        pool = Pool(workers, deadline)
        try:
            return await work(pool)
        finally:
            await pool.close()

    return asyncio.run(main())


def judged(folder: Path, *texts: str, workers: int = 1, deadline: float = 20.0) -> list[Judgement]:
    async def work(pool: Pool) -> list[Judgement]:
        return [await pool.judge("mine.py:odd", folder, PROBLEM, t, {}) for t in texts]

    return list(pooled(work, workers, deadline))


@pytest.mark.parametrize("text", ["sleep", "spin"])
def test_a_call_past_its_deadline_is_unknown_and_the_next_is_answered(folder: Path, text: str) -> None:
    async def work(pool: Pool) -> tuple[Judgement, Judgement]:
        late = await pool.judge("mine.py:odd", folder, PROBLEM, text, {})
        return late, await pool.judge("mine.py:odd", folder, PROBLEM, "pid", {})

    late, after = pooled(work, deadline=2.0)
    assert late.outcome == "unknown" and "timed out after 2 s" in late.evidence
    assert after.outcome == "pass"


def test_a_dead_process_is_unknown_and_replaced(folder: Path) -> None:
    found = judged(folder, "pid", "pid", "exit", "pid", "crash", "right")
    assert found[0].evidence == found[1].evidence != found[3].evidence
    assert [f.outcome for f in found] == ["pass", "pass", "unknown", "pass", "unknown", "pass"]
    assert "ended with status 0" in found[2].evidence and "SIGABRT" in found[4].evidence


def test_what_is_no_judgement_is_unknown(folder: Path) -> None:
    raised, nonsense, nan, huge, printed, right = judged(folder, "raise", "nonsense", "nan", "huge", "print", "right")
    assert {f.outcome for f in (raised, nonsense, nan, huge)} == {"unknown"}
    assert "KeyError: 'lost'" in raised.evidence and "not str" in nonsense.evidence and "0..1" in nan.evidence
    assert "larger than" in huge.evidence
    assert printed == Judgement(outcome="fail", score=0.25, evidence="print")
    assert right == Judgement(outcome="pass", score=0.25, evidence="right")


def test_a_worker_sees_no_secret(folder: Path) -> None:
    os.environ["ERRATA_TEST_KEY"] = "secret"
    try:
        (found,) = judged(folder, "environment")
    finally:
        del os.environ["ERRATA_TEST_KEY"]
    assert "ERRATA_TEST_KEY" not in found.evidence and "PYTHONHASHSEED" in found.evidence


def test_answers_do_not_depend_on_what_else_runs(folder: Path) -> None:
    texts = ["right", "wrong", "exit", "raise", "\ud800\u2028", "x" * 300_000, "right"] * 3

    async def together(pool: Pool) -> list[Judgement]:
        return list(await asyncio.gather(*(pool.judge("mine.py:odd", folder, PROBLEM, t, {}) for t in texts)))

    assert pooled(together, workers=2) == judged(folder, *texts)


def test_a_cancelled_call_leaves_no_answer_for_the_next(folder: Path) -> None:
    async def work(pool: Pool) -> Judgement:
        first = asyncio.create_task(pool.judge("mine.py:odd", folder, PROBLEM, "sleep", {}))
        await asyncio.sleep(0.5)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await pool.judge("mine.py:odd", folder, PROBLEM, "right", {})

    assert pooled(work).evidence == "right"


def test_closing_ends_calls_under_way_and_refuses_new_ones(folder: Path) -> None:
    async def main() -> Judgement:
        pool = Pool(1, 60.0)
        await pool.judge("mine.py:odd", folder, PROBLEM, "right", {})
        call = asyncio.create_task(pool.judge("mine.py:odd", folder, PROBLEM, "sleep", {}))
        await asyncio.sleep(0.2)
        await pool.close()
        with pytest.raises(RuntimeError, match="closed"):
            await pool.judge("mine.py:odd", folder, PROBLEM, "right", {})
        return await call

    assert asyncio.run(main()).outcome == "unknown"


def test_a_pool_that_is_never_asked_starts_nothing() -> None:
    async def work(pool: Pool) -> None:
        return None

    assert pooled(work) is None
    with pytest.raises(ValueError, match="at least one worker"):
        Pool(0)


def test_verify_runs_inline_verifiers_here_and_others_in_the_pool(folder: Path) -> None:
    async def work(pool: Pool) -> list[Judgement]:
        light, odd = find("verifier", "mine.py:light", folder), find("verifier", "mine.py:odd", folder)
        answer = Problem(id="p", messages=(), verifier="v", answer="1/2")
        return [
            await verify(light, PROBLEM, "boom", {}, pool),
            await verify(odd, PROBLEM, "pid", {}, pool),
            await verify(odd, PROBLEM, "right", {"after": ">"}, pool),
            await verify(find("verifier", "number"), answer, "0.5", {}, pool),
            await verify(find("verifier", "math_equal"), answer, r"\boxed{\frac{2}{4}}", {}, pool),
        ]

    raised, pid, right, number, equal = pooled(work)
    assert raised.outcome == "unknown" and "RuntimeError: boom" in raised.evidence
    assert int(pid.evidence) != os.getpid() and right.evidence == ">right"
    assert number.outcome == equal.outcome == "pass"


def test_a_verifier_that_does_not_exist_is_an_error_not_a_verdict(folder: Path) -> None:
    async def work(pool: Pool) -> Judgement:
        return await pool.judge("mine.py:other", folder, PROBLEM, "x", {})

    with pytest.raises(ErrataError, match="other"):
        pooled(work)


def test_a_formula_without_end_is_unknown() -> None:
    async def work(pool: Pool) -> Judgement:
        problem = Problem(id="p", messages=(), verifier="v", answer="1")
        return await pool.judge("math_equal", None, problem, r"\boxed{9^{9^{9^{9}}}}", {})

    assert pooled(work, deadline=3.0).outcome in ("unknown", "fail")
