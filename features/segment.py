"""Segment: files of customer events as Segment and RudderStack write them, one JSON object a line.

A file is known by its shape and needs no configuration. It feeds three tables:

    identify     a version of the lead userId, with its traits; and the identity anonymousId → userId
    group        a version of the lead userId, with account_id, and the group's traits as account_*
    track        a touch; its kind is the event's name in snake_case
    page, screen a touch of kind page_view, screen_view
    alias        the identity previousId → userId

An event without what its table needs is refused with a sentence. A version or an identity is known from the event's
timestamp, or from when it was received if that is later. A version is a change: what its event does not name stays. Of
``context``, campaign, page, userAgent and traits are read; the rest (address, device, library) is not kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from features.settings import Source

TYPES = ("identify", "track", "page", "screen", "group", "alias")
KEYS = (
    "type", "event", "name", "userId", "anonymousId", "previousId", "groupId", "messageId", "timestamp",
    "originalTimestamp", "sentAt", "receivedAt", "traits", "properties", "context",
)  # fmt: skip
NESTED = ("context", "traits", "properties")
CAMPAIGN = ("source", "medium", "term", "content", "id")  # beside its name
LOOKED_AT = 100  # lines of a file, to tell its shape

HAPPENED = "coalesce(timestamp, originalTimestamp, sentAt, receivedAt)"
KNOWN = f"""CASE WHEN TRY_CAST(receivedAt AS TIMESTAMPTZ) > TRY_CAST({HAPPENED} AS TIMESTAMPTZ)
    THEN receivedAt ELSE {HAPPENED} END"""
OF_CONTEXT, OF_TRAITS, OF_PROPERTIES = (f"coalesce(json_of({name}), '{{}}')" for name in NESTED)
TRAITS = f"json_merge_patch(coalesce({OF_CONTEXT} -> '/traits', '{{}}'), {OF_TRAITS})"  # RudderStack's, Segment's
CREATED = f"""list_transform([coalesce({TRAITS} ->> '/createdAt', {TRAITS} ->> '/created_at')], lambda created: CASE
    WHEN regexp_full_match(created, '\\d{{10}}(\\d{{3}})?')  -- Unix time, in seconds or milliseconds
    THEN CAST(to_timestamp(CAST(created AS BIGINT) / CASE length(created) WHEN 10 THEN 1 ELSE 1000 END) AS VARCHAR)
    ELSE created END)[1]"""
ACCOUNT_TRAITS = f"""'{{' || array_to_string(list_transform(json_keys({OF_TRAITS}), lambda key:
    CAST(to_json('account_' || key) AS VARCHAR) || ':' ||
    CAST(json_extract({OF_TRAITS}, '/' || replace(replace(key, '~', '~0'), '/', '~1')) AS VARCHAR)), ',') || '}}'"""
SNAKE_CASE = r"""nullif(trim(regexp_replace(lower(regexp_replace(regexp_replace(event,
    '([\p{Ll}\d])(\p{Lu})', '\1_\2', 'g'), '(\p{Lu}+)(\p{Lu}\p{Ll})', '\1_\2', 'g')),
    '[^\p{L}\d]+', '_', 'g'), '_'), '')"""
PROPERTIES = f"""json_merge_patch(json_merge_patch('{{}}', json_object(
    'url', {OF_CONTEXT} ->> '/page/url', 'user_agent', {OF_CONTEXT} ->> '/userAgent',
    'page_name', CASE WHEN type IN ('page', 'screen') THEN name END)), {OF_PROPERTIES})"""
NOT_NESTED = " ".join(
    f"WHEN text_of({name}) IS NOT NULL AND json_of({name}) IS NULL THEN '{name} is not a JSON object.'"
    for name in NESTED
)


def is_segment(lines: Iterable[str]) -> bool:
    """Return whether some lines hold such an event."""
    return any(map(_is_event, lines))


def first_lines(file: Path) -> Iterator[str]:
    """Yield the lines of a file that tell its shape."""
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        yield from islice(lines, LOOKED_AT)


def segment_sources(file: str) -> list[Source]:
    """Return how a file of events is read: as leads, as identities and as touches."""
    return [
        _source(
            file,
            "leads",
            where="type IN ('identify', 'group')",
            refuse=f"""CASE {NOT_NESTED} WHEN text_of(userId) IS NULL
                THEN 'This ' || type || ' event has no userId, so it is of no lead yet. Send it again with userId.'
                WHEN type = 'group' AND text_of(groupId) IS NULL
                THEN 'This group event has no groupId. Send the account''s.' END""",
            lead_id="userId",
            created_at=f"CASE WHEN type = 'identify' THEN coalesce({CREATED}, {HAPPENED}) ELSE {HAPPENED} END",
            observed_at=KNOWN,
            account_id="CASE WHEN type = 'group' THEN groupId END",
            is_change="'true'",
            attributes=f"CASE WHEN type = 'identify' THEN CAST({TRAITS} AS VARCHAR) ELSE {ACCOUNT_TRAITS} END",
        ),
        _source(
            file,
            "identities",
            where="type = 'alias' OR type = 'identify' AND text_of(userId) <> '' AND text_of(anonymousId) <> ''",
            refuse="""CASE WHEN type = 'alias' AND (text_of(userId) IS NULL OR text_of(previousId) IS NULL)
                THEN 'This alias event does not have both previousId and userId. Send both.' END""",
            anonymous_id="CASE WHEN type = 'alias' THEN previousId ELSE anonymousId END",
            lead_id="userId",
            observed_at=KNOWN,
        ),
        _source(
            file,
            "touches",
            where="coalesce(type NOT IN ('identify', 'group', 'alias'), true)",
            refuse=f"""CASE {NOT_NESTED} WHEN text_of(type) IS NULL OR type NOT IN {TYPES}
                THEN 'The type of this event is ' || coalesce('"' || text_of(type) || '"', 'empty')
                    || ', which is none of {", ".join(TYPES)}.'
                WHEN type = 'track' AND {SNAKE_CASE} IS NULL
                THEN 'This track event has no name under event. Send one.' END""",
            event_id="messageId",
            lead_id="userId",
            anonymous_id="anonymousId",
            occurred_at=HAPPENED,
            received_at="receivedAt",
            kind=f"CASE type WHEN 'track' THEN {SNAKE_CASE} ELSE type || '_view' END",
            channel="NULL",
            campaign=f"{OF_CONTEXT} ->> '/campaign/name'",
            utm_campaign=f"{OF_CONTEXT} ->> '/campaign/name'",
            **{f"utm_{part}": f"{OF_CONTEXT} ->> '/campaign/{part}'" for part in CAMPAIGN},
            referrer=f"coalesce({OF_CONTEXT} ->> '/page/referrer', {OF_PROPERTIES} ->> '/referrer')",
            properties=f"CAST({PROPERTIES} AS VARCHAR)",
        ),
    ]


def _is_event(line: str) -> bool:
    try:
        event = json.loads(line)
    except ValueError:
        return False
    return (
        isinstance(event, dict)
        and event.get("type") in TYPES
        and any(key in event for key in ("userId", "anonymousId", "previousId"))
        and any(key in event for key in ("messageId", "timestamp", "originalTimestamp", "receivedAt", "context"))
    )


def _source(file: str, table: str, where: str, refuse: str, **columns: str) -> Source:
    return Source.model_validate(
        {
            "file": file,
            "table": table,
            "where": where,
            "refuse": refuse,
            "may_lack": list(KEYS),
            "keep_other_columns": False,
            "columns": {name: {"sql": sql} for name, sql in columns.items()},
        }
    )
