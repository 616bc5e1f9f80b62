"""The data dictionary: what every feature means, in what unit, and what stands where nothing is known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from features.errors import DataError
from features.verbs import VERBS, Feature

GROUPS = {
    "fit": "who they are",
    "intent": "what they ask for",
    "engagement": "what they do, and what sales does",
}
PREFACE = """# Data dictionary

What a lead is measured by. Every feature is known **as of a moment**: it counts only what occurred and was received
before that moment, so it would have been the same number on that day. A window of n days holds what occurred from
n × 24 hours before the moment on, that edge included, to before the moment. Touches that a machine made are left out.
Times are UTC. The model reads every feature as a 32-bit float; a text is the number of its level.

A name with `{}` is a template: when a model is trained, it becomes one feature for each name seen with 20 leads or more
(at most 60 of a column; attributes keep 30 levels, the rest is *other*, up to 1,000 where how often the leads of each
were won tells more). Features of an account look at all leads that were its contacts at the moment; what two of them
both hold counts once. They are missing without an account.
"""


def data_dictionary(catalogue: Sequence[Feature]) -> list[dict[str, Any]]:
    """Return what each feature means, as JSON."""
    return [
        {
            "name": line.name,
            "about": line.about,
            "group": line.group,
            "unit": line.unit or "level",
            "verb": line.verb,
            "meaning": VERBS[line.verb].meaning,
            "missing": VERBS[line.verb].missing,
            "of": line.of,
            "events": line.table,
            "where": {column: name if isinstance(name, str) else list(name) for column, name in line.where},
            "days": line.days,
            "column": line.column,
            "levels": list(line.levels),
            "each": line.each,
        }
        for line in catalogue
    ]


def data_dictionary_page(catalogue: Sequence[Feature]) -> str:
    """Return what each feature means, as a page of Markdown."""
    return "\n".join(_lines(catalogue)) + "\n"


def write_dictionary(catalogue: Sequence[Feature], file: Path) -> None:
    """Write the data dictionary as .md or .json.

    Raises:
        DataError: when the file has another ending.

    """
    if file.suffix not in {".md", ".json"}:
        raise DataError(f"{file} is neither .md nor .json. Give the file one of these endings.")
    text = data_dictionary_page(catalogue) if file.suffix == ".md" else json.dumps(data_dictionary(catalogue), indent=2)
    file.write_text(text, "utf-8")


def _lines(catalogue: Sequence[Feature]) -> Iterator[str]:
    yield PREFACE
    for group, title in GROUPS.items():
        yield f"## {group.capitalize()}: {title}\n"
        yield "| feature | means | unit | verb | days | where there is nothing |\n| --- | --- | --- | --- | --- | --- |"
        for line in catalogue:
            if line.group == group:
                days = "" if line.days is None else f"{line.days:g}"
                nothing = VERBS[line.verb].missing + " Missing without an account." * (line.of == "account")
                yield f"| `{line.name}` | {line.about}. | {line.unit or 'level'} | {line.verb} | {days} | {nothing} |"
        yield ""
    yield "## Verbs\n"
    yield "Each feature is a verb with its arguments; `days` is its window, half-life or period.\n"
    yield "| verb | means | without anything to measure |\n| --- | --- | --- |"
    for name, verb in VERBS.items():
        yield f"| `{name}` | {verb.meaning} | {verb.missing} |"
    yield "\n## Which names are meant\n"
    yield "| features | look at |\n| --- | --- |"
    for where in dict.fromkeys(line.where for line in catalogue if line.where):
        names = ", ".join(f"`{line.name}`" for line in catalogue if line.where == where)
        meant = "; ".join(
            f"{column}: {', '.join((name,) if isinstance(name, str) else name)}" for column, name in where
        )
        yield f"| {names} | {meant} |"
