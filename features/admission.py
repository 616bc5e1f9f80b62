"""Admission: a file's rows, typed by the contract, each with a sentence for everything wrong with it.

The rules of each type are DuckDB macros, so that a row is judged where it is read, a million at a time.
"""

from __future__ import annotations

from collections.abc import Iterable

from features.contract import ROW_HASH, TABLES, Column, literal, quoted

# What a mapping may say of a row beside the table's columns. It follows from the row and today's rules, so it is no
# part of the row's content: the same file read with other rules is the same rows.
REFUSAL = "refused because"  # a sentence
BY_RULES = "channel by rules"
BY_SIGNS = "machine by signs"  # why a machine made the touch
BESIDE = (REFUSAL, BY_RULES, BY_SIGNS)
FLAGGED = f"""CASE WHEN "{BY_SIGNS}" IS NULL THEN properties ELSE CAST(json_merge_patch(coalesce(properties, '{{}}'),
    json_object('machine_reason', "{BY_SIGNS}")) AS VARCHAR) END"""

# A time is written as in ISO 8601: 2026-02-28T09:00:00Z, 2026-02-28 10:00+01:00, 2026-02-28. Without Z or an offset
# it is local; a local time that a clock change skipped or repeated has no single moment: NULL, never a guess.
# (A list of one, transformed, computes what is used several times once.)
MACROS = r"""
CREATE TEMP MACRO number_text(x) AS CASE  -- 5.0 as 5, as other formats write it; what is no number is empty
    WHEN x = trunc(x) AND abs(x) < 1e15 THEN CAST(TRY_CAST(x AS BIGINT) AS VARCHAR)
    WHEN isfinite(x) THEN CAST(x AS VARCHAR) END;
CREATE TEMP MACRO text_of(x) AS CASE WHEN typeof(x) IN ('DOUBLE', 'FLOAT')
    THEN number_text(CAST(CAST(x AS VARCHAR) AS DOUBLE)) ELSE nullif(trim(CAST(x AS VARCHAR)), '') END;
CREATE TEMP MACRO time_text(x) AS text_of(x), (x TIMESTAMP) AS text_of(x), (x DATE) AS text_of(x),
    (x TIMESTAMPTZ) AS x;  -- a moment need not go through text
CREATE TEMP MACRO says_zone(t) AS regexp_full_match(
    t, '(19|20|21)\d\d-\d\d?-\d\d?[ T]\d\d?:\d\d(:\d\d(\.\d+)?)? ?(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)');
CREATE TEMP MACRO local_of(t) AS CASE
    WHEN regexp_full_match(t, '(19|20|21)\d\d-\d\d?-\d\d?([ T]\d\d?:\d\d(:\d\d(\.\d+)?)?)?')
    THEN TRY_CAST(t AS TIMESTAMP) END;
CREATE TEMP MACRO moment_of_local(local, zone) AS list_transform([timezone(zone, local)], lambda latest: CASE
    WHEN timezone(zone, latest) = local
    AND timezone(zone, latest - INTERVAL 30 MINUTE) <> local
    AND timezone(zone, latest - INTERVAL 1 HOUR) <> local
    AND timezone(zone, latest - INTERVAL 2 HOUR) <> local THEN latest END)[1];
CREATE TEMP MACRO time_of(t, zone) AS CASE
    WHEN says_zone(t) THEN TRY_CAST(regexp_replace(t, ' ([+-])', '\1') AS TIMESTAMPTZ)
    ELSE list_transform([local_of(t)], lambda local: moment_of_local(local, zone))[1] END,
    (t TIMESTAMPTZ, zone) AS CASE WHEN t >= '1900-01-01 00:00:00+00' AND t < '2200-01-01 00:00:00+00' THEN t END;
CREATE TEMP MACRO number_of(t) AS CASE WHEN isfinite(TRY_CAST(t AS DOUBLE)) THEN TRY_CAST(t AS DOUBLE) END;
CREATE TEMP MACRO date_of(t) AS CASE
    WHEN regexp_full_match(t, '(19|20|21)\d\d-\d\d?-\d\d?([ T]00:00(:00(\.0+)?)?)?') THEN TRY_CAST(t[:10] AS DATE) END;
CREATE TEMP MACRO money_of(t) AS TRY_CAST(t AS DECIMAL(18, 4));
CREATE TEMP MACRO flag_of(t) AS CASE WHEN lower(t) IN ('true', '1', 'yes') THEN true
    WHEN lower(t) IN ('false', '0', 'no') THEN false END;
CREATE TEMP MACRO object_of(t) AS CASE WHEN NOT json_valid(t) THEN NULL WHEN json_type(t) = 'OBJECT' THEN t END;
CREATE TEMP MACRO json_of(t) AS  -- merging into {} leaves out what is null, as an empty column is left out
    CASE WHEN object_of(t) IS NOT NULL THEN CAST(json_merge_patch('{}', t) AS VARCHAR) END;

CREATE TEMP MACRO missing(name, t) AS CASE WHEN t IS NULL THEN name || ' is empty.' END;
CREATE TEMP MACRO wrong(name, t, value, remedy) AS
    CASE WHEN t IS NOT NULL AND value IS NULL THEN name || ' "' || t || '" ' || remedy END;
CREATE TEMP MACRO time_remedy(t, zone) AS CASE
    WHEN says_zone(t) OR local_of(t) IS NULL
    THEN 'is not a time between 1900 and 2200. Write it as 2026-02-28T09:00:00Z.'
    WHEN zone IS NULL THEN 'names no time zone. Set timezone under [ingest] of touchstone.toml.'
    WHEN timezone(zone, timezone(zone, local_of(t))) = local_of(t)
    THEN 'came twice when the clocks were set back in ' || zone || '. Write its offset.'
    ELSE 'was skipped when the clocks were set forward in ' || zone || '. Correct it, or write its offset.' END,
    (t TIMESTAMPTZ, zone) AS 'is not a time between 1900 and 2200. Write it as 2026-02-28T09:00:00Z.';
"""


def admission(name: str, mapped: str, present: set[str], timezone: str | None) -> str:
    """Return SQL that types the rows of ``mapped`` and says of each what is wrong with it.

    Args:
        name: table of the contract.
        mapped: relation with ``raw``, the row as it came, and columns that carry the table's names.
        present: those names, and those of REFUSAL, BY_RULES, BY_SIGNS that are there; other columns are NULL.
        timezone: zone of times written without one, or None.

    The result has the table's columns, ``row_hash``, ``raw``, ``given``: the key as it came, if it did, and ``why``:
    NULL for a good row, else its sentences. The connection must know ``MACROS``.

    """
    table = TABLES[name]
    zone = literal(timezone) if timezone else "NULL"
    beside = [quoted(found) if found in present else f"NULL AS {quoted(found)}" for found in BESIDE]
    texts = (f"{_text_of(c) if c.name in present else 'NULL::VARCHAR'} AS {_text(c)}" for c in table.columns)
    values = (f"{_value(c, zone)} AS {quoted(c.name)}" for c in table.columns)
    complaints = [complaint for c in table.columns for complaint in _complaints(c, zone)]
    complaints += [f"CASE WHEN NOT ({rule.holds}) THEN {literal(rule.sentence)} END" for rule in table.rules]
    filled = (f"coalesce({quoted(c.name)}, {quoted(c.default or c.name)}) AS {quoted(c.name)}" for c in table.columns)
    key = quoted(table.key)
    given = next((_text(c) for c in table.columns if c.name == table.key), "NULL::VARCHAR")
    said = [c.name for c in table.columns if c.name in present or c.default]
    identity = _hash(column for column in said if column in table.identity) if table.identity else ROW_HASH
    made = [f"coalesce({key}, {identity}) AS {key}"]
    if name == "touches":
        made += [f"coalesce(channel, {quoted(BY_RULES)}) AS channel", f"{FLAGGED} AS properties"]
        made += [f"{quoted(BY_SIGNS)} IS NOT NULL AS machine"]
    return f"""
        WITH texts AS (SELECT raw, {", ".join([*beside, *texts])} FROM {mapped}),
             typed AS (SELECT *, {", ".join(values)} FROM texts),
             filled AS (SELECT raw, {", ".join(map(quoted, BESIDE))}, {given} AS given,
                               coalesce({quoted(REFUSAL)}, nullif(concat_ws(' ', {", ".join(complaints)}), '')) AS why,
                               {", ".join(filled)} FROM typed),
             hashed AS (SELECT *, {_hash(said)} AS {ROW_HASH} FROM filled)
        SELECT * EXCLUDE ({", ".join(map(quoted, BESIDE))}) REPLACE ({", ".join(made)}) FROM hashed
    """


def filled_columns(name: str, present: set[str]) -> set[str]:
    """Return the columns of a table, and its rows' hash, that admission can fill from a file with those ``present``."""
    table = TABLES[name]
    told = {"channel"} if BY_RULES in present else set()
    told |= {"machine"} if name == "touches" else set()
    return present | told | {table.key, ROW_HASH} | {column.name for column in table.columns if column.default}


def _hash(columns: Iterable[str]) -> str:
    """Return SQL for a hash of what some columns hold."""
    # Empty columns are left out, so that a column added to the contract changes no row's hash.
    content = (f"{literal(name + chr(30))} || CAST({quoted(name)} AS VARCHAR)" for name in columns)
    return f"md5(concat_ws(chr(31), {', '.join(content)}))"


def _text_of(column: Column) -> str:
    return f"{'time_text' if column.type == 'time' else 'text_of'}({quoted(column.name)})"


def _text(column: Column) -> str:
    return quoted(f"{column.name} as it came")


def _value(column: Column, zone: str) -> str:
    if column.type == "time":
        return f"time_of({_text(column)}, {zone})"
    return _text(column) if column.type == "text" else f"{column.type}_of({_text(column)})"


def _complaints(column: Column, zone: str) -> list[str]:
    text, name = _text(column), literal(column.name)
    remedy = {
        "time": f"time_remedy({text}, {zone})",
        "date": "'is not a day between 1900 and 2200. Write it as 2026-02-28.'",
        "number": "'is not a finite number.'",
        "money": "'is not an amount. Write it as 1234.50, without a currency sign.'",
        "json": "'is not a JSON object.'",
        "flag": "'is neither true nor false. Write one of the two.'",
    }.get(column.type)
    found = f"coalesce({text}, {quoted(BY_RULES)})" if column.name == "channel" else text
    complaints = [f"missing({name}, {found})"] if column.required else []
    held = f"object_of({text})" if column.type == "json" else quoted(column.name)  # the object itself need not be made
    return complaints + ([f"wrong({name}, {text}, {held}, {remedy})"] if remedy else [])
