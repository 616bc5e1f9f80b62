"""Proposals: how a sheet with one row a lead becomes leads, touches and stages, guessed from its names and values.

A sheet tells everything as it is on the day of its export. What is plainly filled in when a lead is created (its
source, its e-mail address, its country) counts from then on; every other column counts from the newest date in the
sheet on, when it was surely known. So a first model cannot learn from it, but the next exports' models can, and none
learns from what was written down after the outcome.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from connectors.draft import Block, Draft, Made
from connectors.endings import money, outcome
from connectors.headings import AT_CREATION, plain, roles_of
from connectors.sheet import MOSTLY, Sheet
from features.contract import quoted
from features.errors import DataError

FIRST = "What was filled in when a lead was created counts from then on."
RECENT = timedelta(days=90)  # since the newest row of a sheet, within which leads are still looked after
LATER = "What stands in the file as it is now counts from its newest date on; move up what never changes."


def proposal(sheet: Sheet, as_of: datetime) -> Draft:
    """Return how to read a sheet.

    Raises:
        DataError: when it does not say which lead a row is of, when it was created or how it ended.

    """
    draft = Draft(sheet, roles_of(sheet))
    lead = _lead(draft)
    created = _moment(draft, "created_at", "created") or ""
    if not created:
        draft.lacking.append("No column says when a lead was created, as a date: call one created_at.")
    closed = _moment(draft, "closed_at", "closed")
    won, ended = outcome(draft, closed)
    draft.refuse_if_lacking()
    latest = f"greatest({created}, CASE WHEN {ended} THEN {closed} END)" if closed else created
    newest = f"(SELECT max({latest}) FROM file_rows)"
    _warn_of_the_future(draft, latest, as_of)
    _note_the_end(draft, latest, as_of)
    created_at = f"coalesce({created}, {quoted(draft.roles['created_at'])})"  # so that a refusal shows what it was
    owner: dict[str, Made] = {"owner": draft.roles["owner"]} if "owner" in draft.roles else {}
    versions: dict[str, Made] = {"lead_id": lead, "created_at": {"sql": created_at}, **owner, **_at_creation(draft)}
    later = _at_export(draft)
    touch: dict[str, Made] = {"lead_id": lead, "occurred_at": {"sql": created_at}, **_touch(draft)}
    stage: dict[str, Made] = {
        "lead_id": lead,
        "stage": {"sql": f"CASE WHEN {won} THEN 'won' ELSE 'lost' END"},
        "occurred_at": {"sql": f"greatest(coalesce({closed or 'NULL'}, {newest}), {created_at})"},
        **money(draft, won),
    }
    draft.blocks += [
        Block(FIRST, "leads", versions),
        *([Block(LATER, "leads", {**versions, "observed_at": {"sql": newest}, **later})] if later else []),
        Block("How a lead came.", "touches", touch),
        Block("How it ended.", "stages", stage, where=ended),
    ]
    return draft


def _lead(draft: Draft) -> Made:
    """Return what tells leads apart: a column of ids, else the e-mail address."""
    sheet, column, email = draft.sheet, draft.roles.get("lead_id"), draft.roles.get("email")
    filled = f"SELECT count({quoted(email)}) FROM file_rows" if email else "SELECT 0"
    mailed = sheet.ask(filled)[0] >= MOSTLY * sheet.rows
    if column and (several := _several_people(draft, column, email)):
        if not mailed:
            raise DataError(f"{several}. Give each lead of {sheet.file.name} an id of its own. Nothing was written.")
        draft.notes.append(f"{several}: leads are told apart by {email} instead.")
        column = None
    if not column and not mailed:
        draft.lacking.append("No column tells leads apart: call one lead_id, or add one that numbers the rows.")
        return ""
    key = column or str(email)
    draft.found.append(("lead", key, "as it is" if column else "in lower case"))
    if repeated := sheet.repeated(key):
        draft.notes.append(
            f"{len(repeated):,} leads stand in several rows (first: {repeated[0][0]}, {repeated[0][1]} rows). The rows "
            "of a lead are taken together: it is won if any of them is won."
        )
    return key if column else {"sql": f"lower(trim({quoted(key)}))"}


def _several_people(draft: Draft, column: str, email: str | None) -> str:
    """Return which id stands for people with different e-mail addresses, if any does."""
    if not email:
        return ""
    mail = f"lower(trim({quoted(email)}))"
    clashes = draft.sheet.connection.sql(
        f"SELECT {quoted(column)}, min({mail}), max({mail}), count(*) OVER () FROM file_rows "
        f"WHERE {quoted(column)} IS NOT NULL GROUP BY 1 HAVING count(DISTINCT {mail}) > 1 ORDER BY 1 LIMIT 1"
    ).fetchall()
    return "".join(
        f"{column} {number} is {one} and {other} ({times:,} such ids stand for several people)"
        for number, one, other, times in clashes
    )


def _moment(draft: Draft, role: str, called: str) -> str | None:
    """Return SQL for the moments of a column, or None if there is no such column."""
    if role not in draft.roles:
        return None
    column, dates = draft.roles[role], draft.sheet.dates
    sure = {ways[0].order for ways in dates.values() if len(ways) == 1}
    ways = [way for way in dates[column] if len(dates[column]) == 1 or way.order in sure] or dates[column]
    if len(ways) > 1:
        raise DataError(
            f'The dates in {column} (such as "{ways[0].example}") can be read {" or ".join(w.order for w in ways)}. '
            f"Write them as 2026-02-28 in {draft.sheet.file.name}. Nothing was written."
        )
    told = f"{ways[0].order}, as {ways[0].example} shows" if ways[0].formats else "as it is"
    draft.found.append((called, column, told))
    return ways[0].sql(column)


def _warn_of_the_future(draft: Draft, latest: str, as_of: datetime) -> None:
    """Warn of rows that are dated after today: what is known from the export on would wait for them."""
    late, first = draft.sheet.ask(
        f"SELECT count(*), min(m) FROM (SELECT {latest} AS m FROM file_rows) WHERE m > '{as_of:%Y-%m-%dT%H:%M:%S}'"
    )
    if late:
        draft.notes.append(
            f"{late:,} rows are dated after today (first: {first[:10]}). Correct them before you ingest the file."
        )


def _note_the_end(draft: Draft, latest: str, as_of: datetime) -> None:
    """Note the day after the newest row, if the file ends so long ago that nobody wins in what follows."""
    day = date.fromisoformat(draft.sheet.ask(f"SELECT max({latest})[:10] FROM file_rows")[0])
    if as_of.date() - day > RECENT:
        draft.ended = f"{day + timedelta(days=1)}"
        draft.notes.append(
            f"The newest row is of {day}. Give train and score --as-of {draft.ended}: all that came later would count "
            "as time in which nobody was won."
        )


def _at_creation(draft: Draft) -> dict[str, Made]:
    """Return the attributes that count from a lead's creation on."""
    roles = {attribute: draft.roles[attribute] for attribute in AT_CREATION if attribute in draft.roles}
    if roles:
        draft.found.append(("known from creation", ", ".join(roles.values()), ""))
    named: dict[str, Made] = {attribute: _value(draft.sheet, column) for attribute, column in roles.items()}
    if "name" not in named and {"first_name", "last_name"} <= set(named):
        first, last = (f"trim({quoted(roles[part])})" for part in ("first_name", "last_name"))
        named["name"] = {"sql": f"concat_ws(' ', {first}, {last})"}
    return named


def _at_export(draft: Draft) -> dict[str, Made]:
    """Return the attributes that count from the export on: all columns that are nothing else."""
    others = [column for column in draft.sheet.columns if column not in draft.roles.values()]
    if others:
        draft.found.append(("known from export", ", ".join(others), ""))
        draft.notes.append(
            "What is known from the export on cannot teach the first model: it may have been written after the end. "
            "A column that is filled in at creation and never changed belongs into the first block of the file."
        )
    return {plain(column).replace(" ", "_") or column: _value(draft.sheet, column) for column in others}


def _value(sheet: Sheet, column: str) -> Made:
    return {"sql": sheet.number_sql(column)} if column in sheet.numbers else column


def _touch(draft: Draft) -> dict[str, Made]:
    """Return the one touch that a sheet tells of: how the lead came."""
    roles, touch = draft.roles, dict[str, Made](kind={"value": "lead_created"})
    if "channel" in roles:
        draft.found.append(("channel", roles["channel"], "as it is; Unknown where it is empty"))
        touch["channel"] = {"sql": f"coalesce(nullif(trim({quoted(roles['channel'])}), ''), 'Unknown')"}
    elif "utm_source" in roles:
        draft.found.append(("channel", roles["utm_source"], "by the rules for UTM fields"))
        touch |= {name: roles[name] for name in ("utm_source", "utm_medium") if name in roles}
    else:
        draft.notes.append("No column says through which channel a lead came; attribution has nothing to tell apart.")
        touch["channel"] = {"value": "Unknown"}
    return touch | ({"campaign": roles["campaign"]} if "campaign" in roles else {})
