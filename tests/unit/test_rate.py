"""Bucket: a burst of `count`, then one unit each interval."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_support.rate import Bucket, Buckets, Rate

PERIODS = {"second": 1, "minute": 60, "hour": 3600}
STEPS = 4
"""Times are whole steps of a fraction of the interval, so that no rounding decides a case."""


class Model:
    """The bucket as one would explain it: units that are counted, and grow with time."""

    def __init__(self, count: int, interval: Fraction) -> None:
        self.count = count
        self.interval = interval
        self.units = Fraction(count)
        self.now = Fraction(0)

    def take(self, now: Fraction) -> Fraction:
        self.units = min(Fraction(self.count), self.units + (now - self.now) / self.interval)
        self.now = now
        if self.units < 1:
            return (1 - self.units) * self.interval
        self.units -= 1
        return Fraction(0)


@given(
    count=st.integers(1, 20),
    period=st.sampled_from(sorted(PERIODS)),
    start=st.integers(0, 1000),
    pauses=st.lists(st.integers(0, 5 * STEPS), max_size=60),
)
def test_a_bucket_does_as_the_model(count: int, period: str, start: int, pauses: list[int]) -> None:
    interval = Fraction(PERIODS[period], count)
    bucket, model = Bucket(Rate(f"{count}/{period}")), Model(count, interval)
    now = Fraction(start)
    for pause in pauses:
        now += pause * interval / STEPS
        assert bucket.take(float(now)) == pytest.approx(float(model.take(now)), abs=1e-6)


def test_a_burst_of_the_whole_count_passes_and_no_more() -> None:
    bucket = Bucket(Rate("20/second"))
    assert [bucket.take(5.0) for _ in range(20)] == [0] * 20
    assert bucket.take(5.0) == pytest.approx(1 / 20)


def test_what_was_taken_comes_back_evenly() -> None:
    bucket = Bucket(Rate("4/second"))
    burst, refilled = [bucket.take(0.0) for _ in range(4)], [bucket.take(1 + step / 4) for step in range(8)]
    assert burst + refilled == [0] * 12


def test_after_the_wait_that_is_named_a_unit_is_there() -> None:
    bucket = Bucket(Rate("3/minute"))
    now = 1000.0
    for _ in range(3):
        bucket.take(now)
    assert bucket.take(now + bucket.take(now)) == 0


def test_a_refused_try_takes_nothing() -> None:
    bucket = Bucket(Rate("1/second"))
    assert [bucket.take(now) for now in (0.0, 0.5, 0.75, 1.0)] == [0, 0.5, 0.25, 0]


def test_each_address_has_a_bucket() -> None:
    buckets = Buckets(Rate("2/minute"))
    assert [buckets.take("192.0.2.1", 0) for _ in range(3)] == [0, 0, 30]
    assert buckets.take("192.0.2.2", 0) == 0
    assert buckets.take("::ffff:192.0.2.2", 0) == 0
    assert buckets.take("192.0.2.2", 0) == 30


def test_buckets_that_are_full_again_are_forgotten_first() -> None:
    buckets = Buckets(Rate("1/minute"), max_addresses=100)
    for number in range(50):
        buckets.take(f"192.0.2.{number}", 0)
    for number in range(50, 150):
        buckets.take(f"192.0.2.{number}", 61)
    assert len(buckets) == 100
    assert buckets.take("192.0.2.149", 61) > 0
    assert buckets.take("192.0.2.50", 61) > 0


def test_many_addresses_at_once_make_no_more_buckets_than_allowed() -> None:
    buckets = Buckets(Rate("1/hour"), max_addresses=100)
    for number in range(10_000):
        assert buckets.take(f"10.0.{number // 250}.{number % 250}", number / 1000) == 0
        assert len(buckets) <= 100
    assert buckets.take("10.0.39.249", 10) > 0
