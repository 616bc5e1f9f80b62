"""Stamps: moments of JSON are the microseconds that Python makes of them, or are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from features.history import microseconds
from serving.stamps import micros

zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001  # the zone is drawn
moments = st.lists(st.datetimes(FIRST, LAST, timezones=zones), max_size=5)
PYDANTIC = TypeAdapter[datetime](AwareDatetime)


@given(moments)
def test_moments_are_read_as_python_writes_them(told: list[datetime]) -> None:
    assert micros([moment.isoformat() for moment in told]).tolist() == [microseconds(moment) for moment in told]


@given(st.datetimes(FIRST, LAST), st.integers(1, 6))
def test_a_fraction_may_have_fewer_digits(moment: datetime, digits: int) -> None:
    text = f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + f".{moment.microsecond:06}"[: digits + 1] + "Z"
    cut = moment.replace(microsecond=moment.microsecond // 10 ** (6 - digits) * 10 ** (6 - digits), tzinfo=UTC)
    assert micros([text]).tolist() == [microseconds(cut)]


@given(st.text("0123456789-T:.Z+ z\n,", max_size=30), st.integers(0, 32), st.text("0123456789-T:.Z+ z\n,", max_size=2))
@example("2026-02-29T00:00:00Z", 40, "")
@example("2100-02-29T00:00:00Z", 40, "")
@example("0000-01-01T00:00:00Z", 40, "")
@example("2026-01-01T24:00:00Z", 40, "")
@example("2026-01-01T23:59:60Z", 40, "")
@example("2026-01-01T00:00:00.Z", 40, "")
@example("2026-01-01T00:00:00+24:00", 40, "")
@example("2026-01-01T00:00:00+00:60", 40, "")
@example("2026-01-01T00:00:00+0000", 40, "")
@example("2026-13-01T00:00:00Z", 40, "")
@example("2026-00-01T00:00:00Z", 40, "")
@example("2026-01-00T00:00:00Z", 40, "")
def test_nothing_is_taken_for_a_moment_that_is_none(text: str, place: int, put: str) -> None:
    good = "2026-01-31T23:59:59.123456+01:00"
    for odd in (text, good[:place] + put + good[place + len(put) :], good[:place] + put + good[place:]):
        try:
            found = micros([odd]).tolist()
        except ValueError:
            continue
        assert found == [microseconds(PYDANTIC.validate_python(odd))]


@pytest.mark.parametrize("texts", [["2026-01-01T00:00:00Z\n2026-01-01T00:00:00Z"], ["2026-01-01T00:00:00Z", ""], [""]])
def test_lines_within_a_text_are_no_moments(texts: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^Moments are written as "):
        micros(texts)


def test_a_leap_day_is_one_every_four_years_but_for_centuries() -> None:
    leap = [f"{year}-02-29T00:00:00Z" for year in (1904, 2000, 2024)]
    assert micros(leap).tolist() == [microseconds(PYDANTIC.validate_python(text)) for text in leap]
    with pytest.raises(ValidationError):
        PYDANTIC.validate_python("1900-02-29T00:00:00Z")
    with pytest.raises(ValueError, match=r"^Moments are written as "):
        micros(["1900-02-29T00:00:00Z"])
