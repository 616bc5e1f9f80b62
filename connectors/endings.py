"""Endings: which rows of a sheet are won or lost, when that was, and what it was worth."""

from __future__ import annotations

import re

from connectors.draft import Draft, Made
from connectors.headings import FLAG, LOST, WON, WON_ON, YES, plain
from features.contract import literal, quoted

FEW = 60  # different values of a column that says how leads ended
SIGNS = {"$": "USD", "€": "EUR", "£": "GBP"}


def outcome(draft: Draft, closed: str | None) -> tuple[str, str]:
    """Return SQL for whether a row is won, and whether it is won or lost; what no column says is noted as lacking."""
    column, won, lost = _column(draft)
    if column:
        draft.roles = {role: other for role, other in draft.roles.items() if other != column} | {"outcome": column}
        told = [f"{name}: {', '.join(values)}" for name, values in (("won", won), ("lost", lost)) if values]
        draft.found.append(("outcome", column, "; ".join([*told, "others are open"])))
        if not (closed or lost):
            draft.lacking.append(
                "No column says when leads were won or which were lost, so that nothing can be learned: add one called "
                "closed_at with the day of the outcome."
            )
        elif not closed:
            draft.dated = False
            draft.notes.append(
                "No column says when leads were won or lost. All count as closed on the newest date of the file, and "
                "the model cannot be judged on later data. A column closed_at makes both better."
            )
        text = f"trim({quoted(column)})"
        is_won, ended = (f"{text} IN ({', '.join(map(literal, values))})" for values in (won, won + lost))
        return is_won, ended
    if closed and re.search(WON_ON, plain(draft.roles["closed_at"])):
        draft.found.append(("outcome", draft.roles["closed_at"], "won where there is a date"))
        return f"{closed} IS NOT NULL", f"{closed} IS NOT NULL"
    draft.lacking.append(
        "No column says which leads were won, in words such as Won, Lost or Customer: call one status, or won if it "
        "says yes and no."
    )
    return "", ""


def _column(draft: Draft) -> tuple[str, list[str], list[str]]:
    """Return the column that says how leads ended, and its values that mean won and lost; one that knows both wins."""
    found, taken = [], {column for role, column in draft.roles.items() if role != "region"}  # a state may be either
    for column in draft.sheet.columns:
        values = draft.sheet.values(column, FEW + 1)
        if column not in taken and len(values) <= FEW:
            flag = re.fullmatch(FLAG, plain(column))
            won = [value for value in values if re.fullmatch(f"{WON}|{YES}" if flag else WON, plain(value))]
            lost = [value for value in values if re.fullmatch(LOST, plain(value))]
            found += [(column, won, lost)] if won else []
    return max(found, key=lambda one: bool(one[2]), default=("", [], []))


def money(draft: Draft, won: str) -> dict[str, Made]:
    """Return what a won deal was worth."""
    if "amount" not in draft.roles:
        return {}
    column, sheet = draft.roles["amount"], draft.sheet
    point = "decimal comma" if sheet.decimal == "," else "decimal point"
    draft.found.append(("amount", column, f"{point}, such as {sheet.values(column, 1)[0]}"))
    columns: dict[str, Made] = {"amount": {"sql": f"CASE WHEN {won} THEN {sheet.number_sql(column)} END"}}
    if "currency" in draft.roles:
        named = draft.roles["currency"]
        codes = sheet.values(named, FEW)
        draft.currency = codes[0].upper()
        columns["currency"] = {"sql": f"CASE WHEN {won} THEN upper(trim({quoted(named)})) END"}
        if len(codes) > 1:
            draft.notes.append(f"Amounts are in {', '.join(codes[:5])}: attribution needs a file rates of them.")
        return columns
    text = " ".join([column, *sheet.values(column, FEW)])
    draft.currency = next((code for sign, code in SIGNS.items() if sign in text or code in text.upper()), "")
    return columns
