"""Feature rows: the features of a whole lake, range of leads by range of leads, so that memory does not grow with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from features.history import History, history_chunks
from features.lake import Lake
from features.matrix import feature_matrix
from features.merges import Ints
from features.verbs import Feature, Moments
from features.walk import Matrix


class Rows(NamedTuple):
    """The features (columns of ``matrix``) of leads at moments, without the history that they were made of."""

    lead_id: pa.DictionaryArray
    as_of: Ints  # microseconds
    matrix: Matrix


def feature_rows(
    lake: Lake, features: Sequence[Feature], moments_of: Callable[[History], Moments], touches: int = 1_000_000
) -> Iterator[Rows]:
    """Yield the features at the moments that ``moments_of`` a part of the history names, for all parts of the lake.

    A part has about so many ``touches``. While one is measured, the next is read.
    """
    chunks = history_chunks(lake, touches)
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(next, chunks, None)
        while (history := ahead.result()) is not None:
            ahead = reader.submit(next, chunks, None)
            moments = moments_of(history)
            names = pa.DictionaryArray.from_arrays(moments.lead.astype(np.int32), pa.array(history.lead_ids))
            yield Rows(names, moments.as_of, feature_matrix(features, moments))
