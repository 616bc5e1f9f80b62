"""The page that ``touchstone init`` writes: every setting at its default, explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from features.settings import Settings
from features.settings.section import Section

BARE = re.compile(r"[A-Za-z0-9_-]+")  # a key that TOML reads without quotes
EXAMPLE_SOURCE = """
# [[sources]]                          # one block for each kind of file; repeat as needed
# file = "crm-export*.csv"             # name of the file, or a pattern
# table = "touches"                    # leads, touches, stages, spend, rates, identities or feedback
# encoding = "cp1252"                  # of a CSV file that is not UTF-8
# where = "status <> 'test'"           # take only these rows
# refuse = "CASE WHEN score < 0 THEN 'The score is below 0.' END"  # keep these in quarantine, with this sentence
# may_lack = ["score"]                 # columns named in an expression that a file may lack
# timezone = "Europe/Berlin"           # zone of times written without one
# keep_other_columns = true            # as attributes of the lead or properties of the touch
# [sources.columns]                    # our column = theirs
# lead_id = "Contact ID"
# occurred_at = "Timestamp"
# kind = { sql = "lower(activity)" }   # a DuckDB expression
# channel = { value = "Email" }        # the same in every row
"""
EXAMPLE_GOAL = """
# [goals.renewed]                      # a further goal with a model of its own, for --goal renewed; repeat as needed
# after = ["won"]                      # who is scored: leads that have reached one of these stages
# won = ["renewed"]                    # and so on, as under [goal]
# lost = ["churned"]
# horizon_days = 365
"""
EXAMPLES = {"sources": EXAMPLE_SOURCE, "goals": EXAMPLE_GOAL}


def settings_page() -> str:
    """Return a touchstone.toml with every setting at its default and explained."""
    return "\n".join(_page_lines())


def _page_lines() -> Iterator[str]:
    yield "# Touchstone's settings. Each line shows its default; delete what you do not change."
    for name, section in Settings.model_fields.items():
        if name in EXAMPLES:
            yield EXAMPLES[name]
            continue
        kind = section.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from _section_lines(name, kind)


def _section_lines(name: str, kind: type[Section]) -> Iterator[str]:
    yield f"\n[{name}]  # {kind.__doc__}"
    for key, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _section_lines(f"{name}.{key}", field.annotation)
            continue
        unset = field.default is None or bool(field.examples)
        value = toml((field.examples or [""])[0] if unset else field.default)
        yield f"{'# ' if unset else ''}{key} = {value}  # {field.description}"


def toml(value: object) -> str:
    """Return a value in one line of TOML, which is JSON but for its objects."""
    if isinstance(value, dict):
        entries = (f"{key if BARE.fullmatch(key) else json.dumps(key)} = {toml(entry)}" for key, entry in value.items())
        return f"{{ {', '.join(entries)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
