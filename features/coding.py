"""Coded names: columns in which few different names stand in many rows, as Parquet keeps them, chunk by chunk.

What is asked of names is asked once of each chunk's own, and handed to the rows by their codes.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.passes import take

T = TypeVar("T", bound=np.generic)


def names_in(column: pa.ChunkedArray) -> pa.Array:
    """Return the different names in a column of texts or of coded names, in order."""
    names, new = _rising(column)
    if new is not None:  # as the lake keeps leads
        return names.filter(pa.array(new))
    names = pc.unique(names.drop_null())
    return names.take(pc.array_sort_indices(names))


def places_among(column: pa.ChunkedArray, names: pa.Array) -> NDArray[np.int64]:
    """Return the place of each row's name among some, the first of equal ones; −1 for another, and for none."""
    if not len(column):
        return np.empty(0, np.int64)
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    found = np.asarray(pc.index_in(dictionaries(coded), names).fill_null(-1), dtype=np.int64)
    return placed(coded, found, -1)


def lead_codes(leads: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return a number for each lead, in the order of their names; what is empty is last."""
    coded = leads if pa.types.is_dictionary(leads.type) else leads.dictionary_encode()
    names, new = _rising(coded)
    if new is None:
        ranked = names_in(coded)
        ranks = np.asarray(pc.index_in(names, ranked), dtype=np.int64)
    else:
        ranks = np.cumsum(new) - 1
    return placed(coded, ranks, ranks.max(initial=-1) + 1)


def _rising(column: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.bool_] | None]:
    """Return the names of a column's chunks, and, if none is before the one before it, which are new."""
    names = dictionaries(column if pa.types.is_dictionary(column.type) else column.dictionary_encode())
    new = np.ones(len(names), np.bool_)
    new[1:] = pc.less(names[:-1], names[1:]).to_numpy(zero_copy_only=False)
    falls = ~new
    falls[1:] &= pc.not_equal(names[:-1], names[1:]).to_numpy(zero_copy_only=False)
    return names, None if falls.any() else new


def placed(coded: pa.ChunkedArray, of_names: NDArray[T], of_none: int) -> NDArray[T]:
    """Return for each row what is given of its chunk's names, and ``of_none`` where there is no name."""
    placed, row, first = np.empty(len(coded), of_names.dtype), 0, 0
    for chunk in coded.chunks:
        of_chunk = np.append(of_names[first : first + len(chunk.dictionary)], of_names.dtype.type(of_none))
        take(of_chunk, _indices(chunk), placed[row : row + len(chunk)])
        row, first = row + len(chunk), first + len(chunk.dictionary)
    return placed


def dictionaries(column: pa.ChunkedArray) -> pa.Array:
    """Return the names of all chunks of a coded column, one chunk's after the other's."""
    return pa.concat_arrays([chunk.dictionary for chunk in column.chunks] or [pa.array([], column.type.value_type)])


def _indices(chunk: pa.DictionaryArray) -> NDArray[np.int32]:
    """Return the place of each row's name in the chunk's dictionary; of a row without name, its length."""
    indices = chunk.indices.fill_null(len(chunk.dictionary)) if chunk.null_count else chunk.indices
    return np.asarray(indices.to_numpy())
