"""The model of a GPU, against a reference that recomputes every sequence at every event, and cases made by hand."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.errors import RecipeError
from errata.simulate.account import together
from errata.simulate.model import ContinuousBatch, Finished, Hardware, Job
from errata.simulate.prefix import PrefixCache, blocks_of

Arrival = tuple[Fraction, int, int]
"""When, prompt tokens, completion tokens."""


class Reference:
    """One sequence after another, in exact fractions: what the model must give, without its counter and heaps."""

    def __init__(self, hardware: Hardware) -> None:
        self.hardware, self.now, self.busy = hardware, Fraction(0), Fraction(0)
        self.queue: list[tuple[int, int, int]] = []
        self.running: dict[int, list[Fraction]] = {}
        self.ended: dict[int, Fraction] = {}

    def step(self) -> Fraction:
        share = Fraction(len(self.running) - 1, self.hardware.slots)
        return Fraction(self.hardware.step_seconds) * (1 + Fraction(self.hardware.slope) * share)

    def left(self, key: int) -> Fraction:
        """Seconds until this sequence's next event, at the present step time."""
        filling, tokens = self.running[key]
        return filling or tokens * self.step()

    def pass_to(self, until: Fraction) -> None:
        while self.running and self.now + (soonest := min(map(self.left, self.running))) <= until:
            self.elapse(soonest)
            for key in [k for k, (filling, tokens) in self.running.items() if not filling and not tokens]:
                self.ended[key] = self.now
                del self.running[key]
            self.admit()
        self.elapse(until - self.now)

    def elapse(self, seconds: Fraction) -> None:
        step = self.step()
        for state in self.running.values():
            if state[0]:
                state[0] -= seconds
            elif step:
                state[1] -= seconds / step
            else:
                state[1] = Fraction(0)
        self.busy += seconds * len(self.running)
        self.now += seconds

    def admit(self) -> None:
        while self.queue and len(self.running) < self.hardware.slots:
            key, prompt, tokens = self.queue.pop(0)
            rate = self.hardware.prefill_rate
            self.running[key] = [Fraction(prompt) / Fraction(rate) if rate else Fraction(0), Fraction(tokens)]

    def arrive(self, now: Fraction, key: int, prompt: int, tokens: int) -> None:
        self.pass_to(now)
        self.queue.append((key, prompt, tokens))
        self.admit()

    def cancel(self, now: Fraction, key: int) -> None:
        self.pass_to(now)
        self.queue = [waiting for waiting in self.queue if waiting[0] != key]
        self.running.pop(key, None)
        self.admit()


def sixty_fourths(most: int) -> st.SearchStrategy[Fraction]:
    return st.integers(0, most).map(lambda n: Fraction(n, 64))


ARRIVALS = st.lists(st.tuples(sixty_fourths(300), st.integers(0, 40), st.integers(1, 60)), min_size=1, max_size=25)
END = 1e6


@given(ARRIVALS, st.integers(1, 6), st.sampled_from([0.0, 0.25, 1.0]), st.sampled_from([0.0, 16.0, 100.0]))
def test_ends_and_busy_time_are_those_of_the_reference(
    arrivals: list[Arrival], slots: int, slope: float, rate: float
) -> None:
    hardware = Hardware(slots=slots, step_seconds=0.03125, slope=slope, prefill_rate=rate)
    batch, reference = ContinuousBatch(hardware), Reference(hardware)
    for key, (at, prompt, tokens) in enumerate(sorted(arrivals)):
        assert batch.arrive(float(at), Job(prompt, tokens)) == key
        reference.arrive(at, key, prompt, tokens)
    ended = {key: at for key, at in batch.advance(END)}
    reference.pass_to(Fraction(END))
    assert ended.keys() == reference.ended.keys() == set(range(len(arrivals)))
    assert ended == pytest.approx({key: float(at) for key, at in reference.ended.items()}, rel=1e-9)
    account = batch.account
    assert account.busy_slot_seconds == pytest.approx(float(reference.busy), rel=1e-9)
    makespan = max(reference.ended.values()) - min(at for at, _, _ in arrivals)
    assert account.window_seconds == pytest.approx(float(makespan), rel=1e-9)
    assert account.ratio >= 1 - 1e-9


@given(ARRIVALS, st.data())
def test_cancelled_sequences_leave_their_slots_at_once(arrivals: list[Arrival], data: st.DataObject) -> None:
    """Steps, times and rates are powers of two, so that both sides are exact and agree on what came first."""
    hardware = Hardware(slots=2, step_seconds=0.03125, prefill_rate=16.0)
    batch, reference = ContinuousBatch(hardware), Reference(hardware)
    events: list[tuple[Fraction, int, tuple[int, int] | None]] = []
    for key, (at, prompt, tokens) in enumerate(sorted(arrivals)):
        events.append((at, key, (prompt, tokens)))
        if data.draw(st.booleans()):
            events.append((at + data.draw(sixty_fourths(200)), key, None))
    events.sort(key=lambda event: (event[0], event[2] is None, event[1]))
    cancelled = 0
    for at, key, job in events:
        if job is not None:
            assert batch.arrive(float(at), Job(*job)) == key
            reference.arrive(at, key, *job)
        else:
            cancelled += batch.cancel(float(at), key)
            reference.cancel(at, key)
    ended = {key: at for key, at in batch.advance(END)}
    reference.pass_to(Fraction(END))
    assert ended == {key: float(at) for key, at in reference.ended.items()}
    assert batch.account.busy_slot_seconds == float(reference.busy)
    assert (batch.account.cancelled, batch.account.finished) == (cancelled, len(reference.ended))
    assert batch.reserved_tokens == 0


@given(st.lists(st.tuples(st.sampled_from(["arrive", "cancel", "advance", "next"]), st.integers(0, 50)), max_size=80))
def test_every_request_is_somewhere(operations: list[tuple[str, int]]) -> None:
    batch, now, told = ContinuousBatch(Hardware(slots=3, step_seconds=0.01)), 0.0, 0
    for what, number in operations:
        if what == "arrive":
            batch.arrive(now, Job(number, number + 1))
        elif what == "cancel":
            batch.cancel(now, number)
        elif what == "advance":
            now += number / 100
            told += len(batch.advance(now))
        elif (at := batch.next_event()) is not None:
            now = at
        a = batch.account
        assert a.arrived == a.finished + a.cancelled + a.running + a.queued
        assert a.running <= 3 and (a.running == 3 or not a.queued)
        assert (batch.next_event() is None) == (a.running == 0)
    told += len(batch.advance(END))
    assert told == batch.account.finished == batch.account.arrived - batch.account.cancelled


def test_the_account_of_a_case_computed_by_hand() -> None:
    """Two slots, half a second a token: the third request waits a second for a slot, and then runs two alone."""
    batch = ContinuousBatch(Hardware(slots=2, step_seconds=0.5))
    a = batch.arrive(0.0, Job(0, 4))
    b = batch.arrive(0.0, Job(0, 2))
    assert batch.next_event() == 1.0
    c = batch.arrive(0.25, Job(0, 4))
    assert batch.advance(0.75) == [] and batch.account.queued == 1
    assert batch.advance(9.0) == [Finished(b, 1.0), Finished(a, 2.0), Finished(c, 3.0)]
    told = batch.account
    assert (told.busy_slot_seconds, told.ideal_seconds, told.window_seconds, told.ratio) == (5.0, 2.5, 3.0, 1.2)
    assert (told.peak_queue, told.peak_running, told.completion_tokens) == (1, 2, 10)


def test_a_fuller_batch_is_slower_by_the_slope() -> None:
    batch = ContinuousBatch(Hardware(slots=2, step_seconds=0.5, slope=1.0))
    for tokens in (2, 4):
        batch.arrive(0.0, Job(0, tokens))
    # Two together take 0.75 s a token; the one that is left, 0.5 s.
    assert batch.advance(9.0) == [Finished(0, 1.5), Finished(1, 2.5)]


def test_a_straggler_takes_its_multiple_and_holds_up_nobody() -> None:
    batch = ContinuousBatch(Hardware(slots=2, step_seconds=0.5))
    batch.arrive(0.0, Job(0, 2, slowness=10.0))
    batch.arrive(0.0, Job(0, 2))
    assert batch.advance(99.0) == [Finished(1, 1.0), Finished(0, 10.0)]


def test_free_steps_finish_at_once_also_what_was_queued() -> None:
    batch = ContinuousBatch(Hardware(slots=1, step_seconds=0.0, prefill_rate=0.0))
    keys = [batch.arrive(1.0, Job(5, 100)) for _ in range(3)]
    assert [key for key, at in batch.advance(1.0) if at == 1.0] == keys
    assert batch.account.busy_slot_seconds == 0 and batch.account.ratio == 0 and batch.next_event() is None


def test_cancelling_lets_the_next_one_in_and_counts_what_was_lost() -> None:
    batch = ContinuousBatch(Hardware(slots=1, step_seconds=1.0))
    first, second, third = (batch.arrive(0.0, Job(0, 10)) for _ in range(3))
    assert batch.cancel(4.0, first) and not batch.cancel(4.0, first) and batch.cancel(5.0, third)
    assert batch.advance(99.0) == [Finished(second, 14.0)]
    assert batch.account.cancelled_slot_seconds == 4.0 and batch.account.cancelled == 2
    assert batch.account.busy_slot_seconds == 14.0


def test_time_does_not_run_backwards() -> None:
    batch = ContinuousBatch(Hardware())
    batch.advance(2.0)
    with pytest.raises(ValueError, match="backwards"):
        batch.arrive(1.0, Job(1, 1))


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"step_seconds": -1.0}, {"slope": float("nan")}])
def test_hardware_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        Hardware(**wrong)  # type: ignore[arg-type]


def test_prefill_is_spared_by_exactly_the_blocks_that_are_held() -> None:
    """Ten words in blocks of four: two blocks are held, and the last two words are computed anew."""
    cache = PrefixCache(100, block=4)
    batch = ContinuousBatch(Hardware(slots=1, step_seconds=1.0, prefill_rate=10.0), cache)
    words = [f"w{n}" for n in range(10)]
    blocks = blocks_of(words, 4)
    batch.arrive(0.0, Job(10, 1, blocks))
    batch.arrive(5.0, Job(10, 1, blocks))
    batch.arrive(10.0, Job(10, 1, blocks_of([*words[:5], "other", *words[6:]], 4)))
    assert [at for _, at in batch.advance(99.0)] == pytest.approx([2.0, 6.2, 11.6])
    assert (batch.account.prefix_tokens_asked, batch.account.prefix_tokens_hit) == (30, 12)


def test_a_prompt_that_is_held_whole_still_computes_its_last_token() -> None:
    cache = PrefixCache(100, block=4)
    blocks = blocks_of(list("abcdefgh"), 4)
    cache.insert(blocks)
    assert (cache.look_up(blocks, 8), cache.look_up(blocks, 9), cache.tokens) == (4, 8, 8)


def test_the_least_used_blocks_go_first_and_ends_before_beginnings() -> None:
    cache = PrefixCache(16, block=4)
    one, two = blocks_of(list("abcdefghijkl"), 4), blocks_of(list("mnopqrst"), 4)
    cache.insert(one)
    cache.insert(two)
    # Five blocks do not fit into four: the end of the older prompt has gone, and its beginning is of use still.
    assert (cache.look_up(one, 99), cache.look_up(two, 99)) == (8, 8)
    cache.insert(one[:1])
    cache.insert(blocks_of(list("uvwx"), 4))
    assert (cache.look_up(one, 99), cache.look_up(two, 99)) == (4, 8)
    cache.clear()
    assert cache.look_up(one, 99) == 0


def test_the_same_block_after_another_prefix_is_another_block() -> None:
    assert blocks_of(list("abcdefgh"), 4)[1] != blocks_of(list("xbcdefgh"), 4)[1]
    assert blocks_of(list("abc"), 4) == ()


def test_replicas_together_have_one_window() -> None:
    accounts = []
    for start in (0.0, 4.0):
        batch = ContinuousBatch(Hardware(slots=1, step_seconds=1.0))
        batch.arrive(start, Job(0, 2))
        batch.advance(99.0)
        accounts.append(batch.account)
    merged = together(accounts)
    assert (merged.slots, merged.busy_slot_seconds, merged.window_seconds, merged.ideal_seconds) == (2, 4.0, 6.0, 2.0)


def test_a_new_account_carries_over_what_is_under_way() -> None:
    batch = ContinuousBatch(Hardware(slots=1, step_seconds=1.0))
    for _ in range(3):
        batch.arrive(0.0, Job(0, 2))
    batch.advance(3.0)
    batch.account = batch.account.restarted(3.0)
    batch.advance(99.0)
    told = batch.account
    assert (told.arrived, told.finished, told.window_seconds, told.busy_slot_seconds) == (2, 2, 3.0, 3.0)
