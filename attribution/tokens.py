"""Texts of paths as codes of channels: "Email > Webinar" is (0, 1), parsed where it lies, without an object a channel.

Eight bytes are read at once, and a name is known by its first eight, its last eight and its length; one of more than
sixteen by a hash of all but its last eight, and then it is compared. Blanks around names mean nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from attribution.journeys import Codes, Ints

U = np.uint64
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
GOOD, EMPTY, GAP = range(3)  # what a path is
BLANK = ord(" ")  # bytes up to it are blanks
WORD = 8  # bytes
SEPARATORS = U(0x3E3E3E3E3E3E3E3E)  # eight times ">"
MIXER = U(0x9E3779B97F4A7C15)  # odd, of 2^64 by the golden ratio: its products spread over the high bits
ONES, HIGHS, PLACES = U(0x0101010101010101), U(0x8080808080808080), U(0x0001020304050607)


class Lexicon(NamedTuple):
    """Names met so far: mostly empty slots by the hash of names, and each name's bytes."""

    slots: Ints  # code + 1, or 0
    heads: Words  # of the slot's name, the first eight bytes, or all of a shorter one; hashed with more of a long one
    tails: Words  # its last eight
    lengths: Ints  # bytes
    start: Ints  # (1 + names,)
    text: Bytes
    size: Ints  # (1,) names met

    def names(self) -> list[str]:
        """Return the names in the order of their codes."""
        return [self.text[self.start[i] : self.start[i + 1]].tobytes().decode() for i in range(self.size[0])]


def lexicon(names: int = 1_024, letters: int = 65_536) -> Lexicon:
    """Return an empty lexicon with room for so many names, a power of two, and letters."""
    heads, tails = np.zeros((2, 4 * names), U)
    slots, lengths = np.zeros((2, 4 * names), np.int64)
    return Lexicon(slots, heads, tails, lengths, np.zeros(names + 1, np.int64), np.zeros(letters, np.uint8),
                   np.zeros(1, np.int64))  # fmt: skip


def larger(old: Lexicon) -> Lexicon:
    """Return a lexicon of the same names with twice the room."""
    new = lexicon(2 * (len(old.start) - 1), 2 * len(old.text))
    for name in ("start", "text", "size"):
        known = getattr(old, name)
        getattr(new, name)[: len(known)] = known
    for taken in np.flatnonzero(old.slots):
        slot = _slot(old.heads[taken], old.tails[taken], len(new.slots))
        while new.slots[slot]:
            slot = (slot + 1) & (len(new.slots) - 1)
        for name in ("slots", "heads", "tails", "lengths"):
            getattr(new, name)[slot] = getattr(old, name)[taken]
    return new


class Parsed(NamedTuple):
    """Paths in codes."""

    start: Ints  # (m + 1,)
    channel: Codes  # (n,)
    state: NDArray[np.int8]  # (m,) GOOD, EMPTY or GAP


def parsed(paths: pa.StringArray | pa.LargeStringArray, known: Lexicon) -> tuple[Parsed, Lexicon]:
    """Return paths in codes of a lexicon, which grows as new names are met."""
    _, offsets, letters = paths.buffers()
    width = np.dtype(np.int64 if pa.types.is_large_string(paths.type) else np.int32)
    offset = np.frombuffer(offsets, width, len(paths) + 1, paths.offset * width.itemsize)
    text = np.frombuffer(letters or b"", np.uint8)[: offset[-1]]
    found = Parsed(
        start=np.zeros(len(offset), np.int64),
        channel=np.empty(len(paths) + int(offset[-1] - offset[0]) // 2, np.int32),  # a step takes two bytes, or is last
        state=np.zeros(len(paths), np.int8),
    )
    inner = max(int(np.searchsorted(offset, offset[-1] - WORD, side="right")) - 1, 0)
    known = _added(found, 0, offset[: inner + 1], text, known) if inner else known
    end = np.append(text[offset[inner] :], np.zeros(WORD, np.uint8))  # a word is read that begins at the last byte
    known = _added(found, inner, offset[inner:] - offset[inner], end, known)
    return found._replace(channel=found.channel[: found.start[-1]]), known


def _added(found: Parsed, row: int, offset: Ints | Codes, text: Bytes, known: Lexicon) -> Lexicon:
    """Write the codes of rows from one on; a word may be read that begins at any of their bytes."""
    start, state, done = found.start[row:], found.state[row:], 0
    text.setflags(write=False)
    words = np.ndarray(len(text) - WORD + 1, U, text, 0, 1)
    while True:
        done = _parse(done, offset, text, words, start, found.channel, state, *known)
        if done == len(offset) - 1:
            return known
        known = larger(known)


@njit(cache=True, nogil=True, inline="always")
def _slot(head: U, tail: U, slots: int) -> Any:
    h = head * MIXER ^ tail
    h = (h ^ (h >> U(32))) * MIXER
    return np.int64((h ^ (h >> U(32))) & U(slots - 1))


@njit(cache=True, nogil=True)
def _parse(  # noqa: C901, PLR0912  # one loop nest: a call with so many arrays costs more than a name
    row: int, offset: Ints | Codes, text: Bytes, words: Words, start: Ints, channel: Codes, state: NDArray[np.int8],
    slots: Ints, heads: Words, tails: Words, lengths: Ints, name_start: Ints, names: Bytes, size: Ints,
) -> int:  # fmt: skip
    """Parse from a row on; return the rows done, which are not all when the lexicon is full."""
    if words.strides[0] != 1:  # never; but now the compiler knows, and need not multiply by it
        raise ValueError
    for j in range(row, len(offset) - 1):
        at, i, end, gap = start[j], offset[j], offset[j + 1], False
        while True:
            while i < end and text[U(i)] <= BLANK:
                i += 1
            begin = i
            while i < end:  # to the next ">"
                w = words[U(i)] ^ SEPARATORS
                hit = (w - ONES) & ~w & HIGHS
                if hit:
                    i += np.int64((((hit & (~hit + U(1))) >> U(7)) * PLACES) >> U(56))
                    break
                i += WORD
            i = min(i, end)
            last = i
            while last > begin and text[U(last - 1)] <= BLANK:
                last -= 1
            length, code = last - begin, -1
            if length == 0:
                gap = True
            else:
                head = words[U(begin)]
                if length < WORD:
                    head &= (U(1) << U(8 * length)) - U(1)
                for k in range(WORD, length - WORD, WORD):
                    head = (head ^ (head >> U(32)) ^ words[U(begin + k)]) * MIXER
                tail = head if length < WORD else words[U(last - WORD)]
                slot = _slot(head, tail, len(slots))
                while code < 0 and slots[U(slot)]:
                    if (
                        heads[U(slot)] == head
                        and tails[U(slot)] == tail
                        and lengths[U(slot)] == length
                        and (length <= 2 * WORD or _same(text, begin, names, name_start[slots[U(slot)] - 1], length))
                    ):
                        code = slots[U(slot)] - 1
                    slot = (slot + 1) & (len(slots) - 1)
                if code < 0:
                    code = size[0]
                    if code == len(name_start) - 1 or name_start[code] + length > len(names):
                        return j
                    slots[slot], heads[slot], tails[slot], lengths[slot] = code + 1, head, tail, length
                    for k in range(length):
                        names[name_start[code] + k] = text[begin + k]
                    name_start[code + 1] = name_start[code] + length
                    size[0] = code + 1
                channel[U(at)] = code
                at += 1
            i += 1
            if i >= end:
                gap = gap or i == end  # after a last separator
                break
        if gap:
            state[j] = GAP if at > start[j] or _has_separator(text, offset[j], end) else EMPTY
        start[j + 1] = at
    return len(offset) - 1


@njit(cache=True, nogil=True)
def _same(text: Bytes, begin: int, names: Bytes, name: int, length: int) -> bool:
    """Say whether two names of one length are the same."""
    return bool((text[begin : begin + length] == names[name : name + length]).all())


@njit(cache=True, nogil=True)
def _has_separator(text: Bytes, begin: int, end: int) -> bool:
    return bool((text[begin:end] == ord(">")).any())
