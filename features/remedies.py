"""Remedies: what to do about rows in quarantine, by the sentence that refused them."""

from __future__ import annotations

import re

MAP = "Map the column under [sources.columns] of touchstone.toml, or leave such rows out with where."
REMEDIES = {  # the first that is found in the sentence
    r"does not have the \d+ columns": "Put quotes around texts that hold the separator, and complete short lines.",
    r"a quote opens": "Close the quote, or double it where it is part of the text.",
    r"after its closing quote": "Double a quote that is part of the text.",
    r"not UTF-8": "Save the file as UTF-8, or name its encoding under [[sources]], such as cp1252.",
    r"not a JSON object in UTF-8": "Write one JSON object a line, in UTF-8.",
    r"names no time zone": "Set timezone under [ingest] of touchstone.toml, or in the [[sources]] block of the file.",
    r"clocks were set": "Export these times in UTC or with their offset; which hour was meant is not guessed.",
    r"is not a time": "Export times as 2026-02-28T09:00:00Z, or map the column to an expression that makes such times.",
    r"is not a day": "Export days as 2026-02-28, or map the column to an expression that makes such days.",
    r"is not an amount|finite number": "Export plain numbers, or map the column to an expression that makes them.",
    r"neither true nor false": "Export true and false, or map the column to an expression that makes them.",
    r"currency is not a code": 'Map the column to an expression that gives codes, such as { value = "EUR" }.',
    r"channel is empty": "Map utm_source and utm_medium, add [[channels.rules]], or set ingest.default_channel.",
    r"lead_id and anonymous_id are both empty": MAP,
    r"\w+ is empty\.": MAP,
    r"event has no userId": "Call identify and group with the userId of a lead; anonymous touches are kept without it.",
    r"type of this event is": "Leave other types out of the export; none of them is a touch or says who somebody is.",
    r"is not a JSON object": "Send an object of names and values there.",
    r"states another (cost|rate)": "See which of the two is true; a corrected cost needs a received_at of its own.",
    r"taken by a row with other content": "See which of the two is true, and correct the file or its identifiers.",
}  # fmt: skip
AGAIN = "Then ingest {source} again: rows that are stored already stay as they are."


def remedy(why: str, source: str) -> str:
    """Return what to do about rows of a file that were refused for this reason."""
    found = (advice for pattern, advice in REMEDIES.items() if re.search(pattern, why))
    return f"{next(found, 'Correct these rows.')} {AGAIN.format(source=source)}"
