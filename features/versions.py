"""Versions: what is known of a lead from one moment on, as a whole picture.

Most systems state the whole record. Some state only what changed (Segment's identify and group; a change log): such a
row is flagged ``is_change``, and what it does not name is as it was before. The stored row stays as it came; it is made
whole when it is read, so neither the order in which files arrive nor how they are split matters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from features.merges import ALWAYS

CHANGE, ACCOUNT, ATTRIBUTES = "is_change", "account_id", "attributes"
# For SQL, of the versions of one lead that were known by $as_of: since when nothing before is needed, and what all say
# together from then on.
WHOLE_SINCE = "max(observed_at) FILTER (NOT coalesce(is_change, false))"
MERGED = """CAST(list_reduce(list(coalesce(attributes, '{}') ORDER BY observed_at),
                                lambda a, b: json_merge_patch(a, b)) AS VARCHAR)"""
Picture = tuple[str | None, dict[str, Any]]  # account and attributes
NOTHING: Picture = (None, {})


def whole(versions: pa.Table) -> pa.Table:
    """Return versions in order, with ``place`` (their lead) and ``known``, each as the whole picture."""
    changes = np.asarray(versions[CHANGE].fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)
    if not changes.any():
        return versions
    place = np.asarray(versions["place"])
    rows = np.flatnonzero(np.isin(place, place[changes]))
    some = versions.take(pa.array(rows)).select(["place", "known", CHANGE, ACCOUNT, ATTRIBUTES]).to_pylist()
    starts = [i for i, row in enumerate(some) if i == 0 or row["place"] != some[i - 1]["place"]]
    ends = [*starts[1:], len(some)]
    pictures = [picture for start, end in zip(starts, ends, strict=True) for picture in _pictures(some[start:end])]
    accounts, attributes = [account for account, _ in pictures], [json.dumps(told) for _, told in pictures]
    for name, column in ((ACCOUNT, accounts), (ATTRIBUTES, attributes)):
        values = versions[name].cast(pa.string()).to_pylist()
        for row, value in zip(rows.tolist(), column, strict=True):
            values[row] = value
        versions = versions.set_column(versions.column_names.index(name), name, pa.array(values, pa.string()))
    return versions


def _pictures(rows: list[dict[str, Any]]) -> Iterator[Picture]:
    """Yield what is known after each version of one lead.

    A version is made whole by those before it that were known by then: not by one of a record that was found to be
    the lead's only later.
    """
    latest, running = ALWAYS, NOTHING
    for i, row in enumerate(rows):
        before = running
        if row["known"] < latest:
            *_, before = NOTHING, *_pictures([one for one in rows[:i] if one["known"] <= row["known"]])
        yield _told(before, row)
        latest, running = max(latest, row["known"]), _told(running, row)


def _told(before: Picture, row: dict[str, Any]) -> Picture:
    attributes = json.loads(row[ATTRIBUTES] or "{}")
    if not row[CHANGE]:
        return row[ACCOUNT], attributes
    return row[ACCOUNT] or before[0], before[1] | attributes
