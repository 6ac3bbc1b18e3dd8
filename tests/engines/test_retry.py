"""What an answer means for the next try."""

import email.utils
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from errata.engines.retry import Fault, back_off, refused, retry_after


def test_retry_after_reads_seconds_and_dates_by_the_servers_clock() -> None:
    assert retry_after({"Retry-After": "120"}) == 120.0
    assert retry_after({"Retry-After": " 1.5 "}) == 1.5
    sent, until = (email.utils.formatdate(t, usegmt=True) for t in (1_000_000_000, 1_000_000_030))
    assert retry_after({"Retry-After": until, "Date": sent}) == 30.0
    assert retry_after({"Retry-After": sent, "Date": until}) == 0.0
    soon = retry_after({"Retry-After": email.utils.formatdate(time.time() + 60, usegmt=True)})
    assert soon is not None and 55 < soon <= 60
    for bad in ("", "-5", "nan", "1e400", "soon", "9" * 400, "Mon, 99 Foo 2026"):
        assert retry_after({"Retry-After": bad}) is None


@settings(deadline=None)
@given(st.integers(1, 10_000), st.floats(0.001, 10))
def test_back_off_grows_to_a_ceiling_and_is_never_nothing(failures: int, first: float) -> None:
    waits = [back_off(failures, first) for _ in range(5)]
    ceiling = min(30.0, first * 2.0 ** min(failures - 1, 30))
    assert all(ceiling / 2 <= w <= ceiling for w in waits)


@settings(deadline=None)
@given(st.integers(201, 599), st.text(max_size=40))
def test_every_status_has_one_meaning(status: int, message: str) -> None:
    meaning = refused(status, {}, message)
    retried = isinstance(meaning, Fault)
    assert retried == (status in (408, 409, 425, 429) or status >= 500 or status < 400)
