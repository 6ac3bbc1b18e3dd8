"""The gate: first come, first served, never too many, and nobody left waiting."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from errata.engines.admission import LEAD, Admission, TurnedAway


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
@given(st.lists(st.sampled_from(["ok", "cut", "cancel", "turn", "queue"]), min_size=1, max_size=40), st.integers(1, 8))
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
            if script[turn] == "queue":
                gate.queued(turn % most, turn % 5)
            if script[turn] == "turn":
                gate.turn_away(1)
            if script[turn] == "cancel":
                task.cancel()
                if turn % 2:
                    await asyncio.sleep(0)
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        away = sum(isinstance(e, TurnedAway) for e in ended)
        gone = sum(isinstance(e, asyncio.CancelledError) for e in ended)
        assert away <= script.count("turn") and gone <= script.count("cancel")
        assert ended.count(None) == len(script) - away - gone
        assert gate.busy == inside == 0 and 1 <= gate.limit <= most

    asyncio.run(main())


def test_it_starts_as_wide_as_a_usual_batch() -> None:
    """A round at 32 would leave seven eighths of the slots empty until the first replies come."""

    async def main() -> None:
        gate = Admission(most=1000)
        async with asyncio.timeout(60):
            for _ in range(256):
                await gate.enter()
        assert gate.busy == 256 and gate.room == 0 and Admission(most=7).limit == 7

    asyncio.run(main())


def test_those_who_are_turned_away_hold_no_slot_and_the_first_go_first() -> None:
    async def main() -> list[str]:
        gate, told = Admission(most=1), []

        async def enter(name: str) -> None:
            try:
                await gate.enter()
                told.append(f"{name} in")
                gate.leave()
            except TurnedAway:
                told.append(f"{name} away")

        await gate.enter()
        tasks = [asyncio.create_task(enter(n)) for n in ("gone", "a", "b", "c", "d")]
        await asyncio.sleep(0)
        tasks[0].cancel()
        gate.turn_away(2)
        await asyncio.sleep(0)
        tasks[3].cancel()
        gate.turn_away(1)
        tasks[4].cancel()  # turned away and cancelled in one turn of the loop
        gate.leave()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.busy == 0
        return told

    assert asyncio.run(main()) == ["a away", "b away"]


def crowded(gate: Admission, waiting: int) -> "list[asyncio.Task[int]]":
    return [asyncio.create_task(gate.enter()) for _ in range(int(gate.limit) - gate.busy + waiting)]


def test_a_queue_that_the_server_tells_is_kept_short_and_never_empty() -> None:
    async def main() -> None:
        gate, slots = Admission(most=1000), 300
        asked = crowded(gate, 1000)
        found = []
        for _ in range(40):
            await asyncio.sleep(0)
            running = min(gate.busy, slots)
            gate.queued(running, gate.busy - running)
            while gate.busy > gate.limit:
                gate.leave()
            found.append(int(gate.limit))
        assert found[0] > 256, "nothing waits at the server: more is sent"
        assert all(slots < limit <= slots + 2 + slots // 16 for limit in found[4:])
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(main())


def test_a_queue_of_others_does_not_close_the_gate() -> None:
    async def main() -> None:
        gate = Admission(most=80)
        asked = crowded(gate, 10)
        await asyncio.sleep(0)
        for _ in range(20):
            gate.queued(16, 5000)
        assert gate.limit == 10
        gate.grow()
        assert gate.limit == 10, "the server's word counts, not a reply"
        gate.guided = False
        gate.grow()
        assert gate.limit > 10
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(main())


def test_the_most_urgent_goes_first_and_of_equals_the_first_comer() -> None:
    async def main() -> list[str]:
        gate, order = Admission(most=1), []

        async def enter(name: str, urgency: float, ahead: bool = False) -> None:
            await gate.enter(urgency=urgency, ahead=ahead)
            order.append(name)
            gate.leave()

        await gate.enter()
        asked = (("a", 0.0), ("b", 1.0), ("c", -1.0), ("d", 1.0), ("e", 1.5))
        waiting = [asyncio.create_task(enter(name, urgency)) for name, urgency in asked]
        waiting.append(asyncio.create_task(enter("retry", -9.0, ahead=True)))
        await asyncio.sleep(0)
        gate.leave()
        await asyncio.gather(*waiting)
        return order

    assert asyncio.run(main()) == ["retry", "e", "b", "d", "a", "c"]


@settings(deadline=None)
@given(st.lists(st.floats(0, 3), max_size=120), st.integers(1, 3))
def test_nobody_is_passed_by_more_than_a_lead(urgencies: list[float], most: int) -> None:
    """Requests that pass one came up to `LEAD` batches later for each unit by which they are more urgent."""

    async def main() -> None:
        gate, order = Admission(most=most), []

        async def enter(number: int, urgency: float) -> None:
            await gate.enter(urgency=urgency)
            order.append(number)

        for _ in range(most):
            await gate.enter()
        waiting = [asyncio.create_task(enter(i, u)) for i, u in enumerate([0.0, *urgencies])]
        for _ in waiting:
            await asyncio.sleep(0)
            gate.leave()
        await asyncio.gather(*waiting)
        for place, number in enumerate(order):
            later = [i for i in order[:place] if i > number]
            ahead = max(urgencies, default=0.0) - [0.0, *urgencies][number]
            assert all(i - number <= LEAD * most * ahead for i in later)

    asyncio.run(main())


def test_a_patient_request_has_its_turn_among_ever_more_urgent_ones() -> None:
    async def main() -> int:
        gate, passed = Admission(most=1), 0

        async def patient() -> None:
            await gate.enter()

        async def urgent() -> None:
            await gate.enter(urgency=1.0)

        await gate.enter()
        waits = asyncio.create_task(patient())
        await asyncio.sleep(0)
        tasks = []
        while not waits.done():
            tasks.append(asyncio.create_task(urgent()))
            await asyncio.sleep(0)
            gate.leave()
            await asyncio.sleep(0)
            passed += 1
        gate.leave()
        await asyncio.gather(*tasks)
        return passed

    assert asyncio.run(main()) == LEAD
