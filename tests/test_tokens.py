"""Tokens: what a text of a path is in codes, byte by byte."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.tokens import EMPTY, GAP, GOOD, Lexicon, _slot, lexicon, parsed

TEXTS = st.lists(st.text(" >AbÄ→\t", max_size=30), max_size=6)
NAMES = st.sampled_from(
    [
        *("A", "Email", "Ä→", "12345678", "123456789", "a" * 9, "a" * 10, "a" * 17, "a" * 18),
        *("Channel number one of many", "Channel number two of many"),
        *("May saleMay sale in shops", "Day saleDay sale in shops"),  # of one hash
    ]
)


def told(texts: list[str], known: Lexicon) -> list[tuple[int, list[str]]]:
    found, known = parsed(pa.array(texts, pa.large_string()), known)
    names = known.names()
    assert len(set(names)) == len(names)
    steps = [found.channel[found.start[i] : found.start[i + 1]] for i in range(len(texts))]
    return [(state, [names[code] for code in step]) for state, step in zip(found.state.tolist(), steps, strict=True)]


@pytest.mark.parametrize(
    ("text", "state", "names"),
    [
        ("A > B", GOOD, ["A", "B"]),
        ("  Paid Search>Email\t", GOOD, ["Paid Search", "Email"]),
        ("", EMPTY, []),
        (" \t", EMPTY, []),
        (">", GAP, []),
        ("A >", GAP, ["A"]),
        ("A >  ", GAP, ["A"]),
        ("> A", GAP, ["A"]),
        ("A > > B", GAP, ["A", "B"]),
    ],
)
def test_a_path_is_good_empty_or_has_a_gap(text: str, state: int, names: list[str]) -> None:
    assert told([text], lexicon()) == [(state, names)]


@settings(deadline=None)  # the first one compiles
@given(st.lists(st.lists(NAMES, min_size=1, max_size=6), max_size=20))
def test_names_come_back_whatever_their_length_and_however_small_the_lexicon_began(paths: list[list[str]]) -> None:
    assert told([" > ".join(path) for path in paths], lexicon(1, 1)) == [(GOOD, path) for path in paths]


@given(TEXTS)
def test_texts_are_split_as_plain_string_methods_would(texts: list[str]) -> None:
    for text, (state, names) in zip(texts, told(texts, lexicon()), strict=True):
        parts = [re.sub(r"^[ \t]+|[ \t]+$", "", part) for part in text.split(">")]
        assert names == [part for part in parts if part]
        assert state == (GOOD if all(parts) else EMPTY if parts == [""] else GAP)


@pytest.mark.parametrize("offsets", [pa.string(), pa.large_string()])
def test_a_slice_of_texts_is_read_where_it_begins(offsets: pa.DataType) -> None:
    texts = pa.array(["Aaaaaaaaa > B", "C > D", "E"], offsets)[1:]
    found, known = parsed(texts, lexicon())
    assert (known.names(), found.channel.tolist(), found.start.tolist()) == (["C", "D", "E"], [0, 1, 2], [0, 2, 3])


@pytest.mark.parametrize("alike", ["Channel {:03d}", "{:03d} channel"])
def test_names_that_begin_or_end_alike_are_told_apart(alike: str) -> None:
    names = [alike.format(i) for i in range(600)]
    assert told([" > ".join(names)] * 2, lexicon()) == [(GOOD, names)] * 2


@pytest.mark.parametrize("alike", ["Channel {}", "utm_{:05d}_a", "newsletter {:05d} opened in spring"])
def test_thousands_of_names_that_are_alike_do_not_wait_for_each_other(alike: str) -> None:
    texts = pa.array([alike.format(i) for i in range(4_000)], pa.string())
    _, known = parsed(texts, lexicon())
    taken = np.flatnonzero(known.slots)
    at_home = [_slot(known.heads[slot], known.tails[slot], len(known.slots)) for slot in taken]
    assert len(taken) == len(texts)
    assert ((taken - at_home) % len(known.slots)).max() < 15  # steps to the slot of a name
