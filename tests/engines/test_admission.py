"""The gate: first come, first served, never too many, and nobody left waiting."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from errata.engines.admission import Admission


def test_the_gate_is_first_come_first_served_but_for_retries() -> None:
    async def main() -> list[str]:
        gate, order = Admission(most=1), []

        async def enter(name: str, ahead: bool = False) -> None:
            await gate.enter(ahead=ahead)
            order.append(name)
            gate.leave()

        await gate.enter()
        waiting = [asyncio.create_task(enter(n, n == "retry")) for n in ("first", "second", "gone", "retry")]
        await asyncio.sleep(0)
        waiting[2].cancel()
        gate.leave()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert gate.busy == 0
        return order

    assert asyncio.run(main()) == ["retry", "first", "second"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["ok", "cut", "cancel"]), min_size=1, max_size=40), st.integers(1, 8))
def test_the_gate_never_overflows_and_never_starves(script: list[str], most: int) -> None:
    async def main() -> None:
        gate, inside = Admission(most=most, start=2), 0

        async def work(what: str) -> None:
            nonlocal inside
            epoch = await gate.enter()
            inside += 1
            try:
                assert inside <= most
                await asyncio.sleep(0)
                gate.grow() if what == "ok" else gate.cut(epoch)
            finally:
                inside -= 1
                gate.leave()

        tasks = [asyncio.create_task(work(what)) for what in script]
        await asyncio.sleep(0)
        for turn, task in enumerate(tasks):
            if script[turn] == "cancel":
                task.cancel()
                if turn % 2:
                    await asyncio.sleep(0)
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        assert all(e is None or isinstance(e, asyncio.CancelledError) for e in ended)
        assert [e for e, what in zip(ended, script, strict=True) if what != "cancel"] == [None] * (
            len(script) - script.count("cancel")
        )
        assert gate.busy == inside == 0 and 1 <= gate.limit <= most

    asyncio.run(main())
