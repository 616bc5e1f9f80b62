"""Path transforms and sessions: the conformance table, and what they never change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathed import path_journeys

from attribution.journeys import NONE, Journeys
from attribution.transforms import kept, sessions, transformed
from features.errors import ConfigError

PATHS = st.lists(st.lists(st.sampled_from(["Direct", "A", "B"]), max_size=6), min_size=1, max_size=5)
TRANSFORMS = ["unique", "exposure", "first", "frequency", "trim_long_path(2)", "remove_if_not_all(Direct)",
              "remove_if_last_and_not_all(Direct)"]  # fmt: skip


def journeys_of(*paths: str) -> Journeys:
    rows = pd.DataFrame({"path": list(paths)})
    return path_journeys(rows.assign(conversions=1, nulls=2, value_cents=range(len(paths))))


def told(seen: Journeys) -> list[str]:
    names = [seen.channels[code] for code in seen.channel]
    return [" > ".join(names[a:b]) for a, b in zip(seen.start[:-1], seen.start[1:], strict=True)]


def visits(*touched: tuple[float, str]) -> Journeys:
    """Return one journey of (minute, channel), converted; two milestones are its second touch and its last."""
    seen = journeys_of(" > ".join(channel for _, channel in touched))
    minutes = np.array([minute for minute, _ in touched])
    at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(minutes, unit="min")
    return replace(seen, touched_at=pd.DatetimeIndex(at).as_unit("us"), age_days=(minutes[-1] - minutes) / 1440)


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("unique", "D > A > B > B > C > D > C > C", "D > A > B > B > C > D > C > C"),
        ("exposure", "D > A > B > B > C > D > C > C", "D > A > B > C > D > C"),
        ("first", "D > A > B > B > C > D > C > C", "D > A > B > C"),
        ("frequency", "D > A > B > B > C > D > C > C", "D(2) > A(1) > B(2) > C(3)"),
        ("trim_long_path(3)", "D > A > B > B > C > D > C > C", "D > C > C"),
        ("trim_long_path(3)", "A > B", "A > B"),
        ("remove_if_not_all(Direct)", "Direct > A > Direct > B > Direct", "A > B"),
        ("remove_if_not_all(Direct)", "Direct > Direct", "Direct > Direct"),
        ("remove_if_not_all(Direct)", "A > B", "A > B"),
        ("remove_if_last_and_not_all(Direct)", "Direct > A > Direct > B > Direct > Direct", "Direct > A > Direct > B"),
        ("remove_if_last_and_not_all(Direct)", "Direct > Direct", "Direct > Direct"),
        ("remove_if_last_and_not_all(Paid (search))", "A > Paid (search)", "A"),
    ],
)
def test_a_path_is_transformed_as_the_conformance_table_says(name: str, path: str, expected: str) -> None:
    assert told(transformed(journeys_of("X", path, ""), [name]))[1:] == [expected, ""]


def test_transforms_follow_one_another() -> None:
    path = journeys_of("A > A > Direct > Direct > B > Direct")
    assert told(transformed(path, ["remove_if_last_and_not_all(Direct)", "exposure", "trim_long_path(2)"])) == [
        "Direct > B"
    ]
    assert told(transformed(path, [])) == told(path)


@pytest.mark.parametrize(
    ("touched", "opened"),
    [
        ([(0, "Email"), (29, "Email"), (58, "Email")], [0]),  # idle is counted from the latest touch
        ([(0, "Email"), (30, "Email")], [0, 1]),
        ([(0, "Email"), (5, "Display"), (10, "Email")], [0, 1, 2]),  # another channel starts a session
        ([(0, "Email"), (5, "Direct"), (10, "Email")], [0]),  # a direct visit does not end one
        ([(0, "Email"), (40, "Direct"), (45, "direct")], [0, 1]),  # but opens one when none lives
        ([(0, "Direct"), (5, "Email")], [0, 1]),
        ([(0, "Email"), (5, "Direct"), (36, "Direct"), (40, "Email")], [0, 2, 3]),
    ],
)
def test_sessions_begin_as_the_conformance_table_says(touched: Sequence[tuple[float, str]], opened: list[int]) -> None:
    seen = sessions(visits(*touched), 30)
    assert seen.age_days is not None
    minutes = np.array([touched[i][0] for i in opened])
    assert told(seen) == [" > ".join(touched[i][1] for i in opened)]
    np.testing.assert_allclose(seen.age_days * 1440, minutes[-1] - minutes, atol=1e-9)


def test_a_session_never_spans_two_journeys() -> None:
    seen = replace(journeys_of("Email > Email", "Email"), touched_at=visits((0, "A"), (1, "A"), (2, "A")).touched_at)
    assert told(sessions(seen, 30)) == ["Email", "Email"]


def test_sessions_are_not_asked_of_journeys_without_moments() -> None:
    with pytest.raises(ValueError, match=r"^sessions asks for journeys that know their moments$"):
        sessions(journeys_of("A"), 30)


def test_a_milestone_is_held_by_the_latest_touch_left_at_or_before_it() -> None:
    place = np.array([[0, 3, 1, NONE], [0, 0, 0, 0]], np.int32)
    seen = replace(journeys_of("A > B > C > D", "E"), stages=("first", "won", "lead", "mql"), milestone=place)
    without_second = kept(seen, np.array([True, False, True, True, True])).milestone
    without_first = kept(seen, np.array([False, False, True, True, False])).milestone
    assert without_second is not None
    assert without_first is not None
    assert without_second.tolist() == [[0, 2, 0, NONE], [0, 0, 0, 0]]
    assert without_first.tolist() == [[0, 1, NONE, NONE], [NONE] * 4]


@pytest.mark.parametrize(
    "names", [["exposition"], ["first", "trim_long_path"], ["trim_long_path(0)"], ["first(A)"], ["remove_if_not_all"]]
)  # fmt: skip
def test_a_transform_that_cannot_be_done_is_named_with_those_that_can(names: list[str]) -> None:
    sentence = (
        f"attribution.transforms: {names[-1]} cannot be done. Write unique, exposure, first, frequency, "
        "trim_long_path(20), remove_if_not_all(Direct) or remove_if_last_and_not_all(Direct)."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        transformed(journeys_of("A"), names)


@settings(max_examples=40, deadline=None)
@given(PATHS, st.lists(st.sampled_from(TRANSFORMS), max_size=3))
def test_no_transform_loses_a_conversion_or_the_last_touch_of_a_journey(
    paths: list[list[str]], names: list[str]
) -> None:
    seen = journeys_of(*(" > ".join(path) for path in paths))
    after = transformed(seen, names)
    assert (after.conversions.tolist(), after.value_cents.tolist()) == (
        seen.conversions.tolist(), seen.value_cents.tolist(),
    )  # fmt: skip
    assert after.touched.tolist() == seen.touched.tolist()
    assert len(after.channel) == after.start[-1]


@settings(max_examples=40, deadline=None)
@given(PATHS)
def test_a_journey_is_transformed_alike_alone_and_among_others(paths: list[list[str]]) -> None:
    texts = [" > ".join(path) for path in paths]
    for name in TRANSFORMS:
        together = told(transformed(journeys_of(*texts), [name]))
        assert together == [told(transformed(journeys_of(text), [name]))[0] for text in texts]
