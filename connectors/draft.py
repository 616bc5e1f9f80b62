"""Drafts: a mapping while it is being guessed, and touchstone.toml written from it."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass, field

from connectors.sheet import Sheet
from features.errors import DataError
from features.settings.page import BARE, toml

Made = str | dict[str, str]  # of another column, or of an expression: {"sql": …} or {"value": …}


@dataclass(frozen=True)
class Block:
    """One [[sources]] block: what it is about, in a sentence, and what it says."""

    about: str
    table: str
    columns: dict[str, Made]
    where: str = ""


@dataclass
class Draft:
    """What was found in a sheet: rows of (what, column, how it is read), sentences about it, and what is written."""

    sheet: Sheet
    roles: dict[str, str]  # what a column is → its name
    found: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    currency: str = ""  # of amounts that name none
    dated: bool = True  # it is known when leads were closed
    ended: str = ""  # the day after the newest row, if that is long ago
    lacking: list[str] = field(default_factory=list)  # sentences: what no column says, and what to do

    def refuse_if_lacking(self) -> None:
        """Raise DataError, with all that is lacking, if anything is."""
        if self.lacking:
            raise DataError(
                f"{self.sheet.file.name} does not say enough. {' '.join(self.lacking)} "
                f"The file has {', '.join(self.sheet.columns)}. Nothing was written."
            )

    @property
    def page(self) -> str:
        """Return touchstone.toml."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"# How {self.sheet.file.name} becomes leads, touches and stages, as `touchstone init --from` guessed."
        yield "# `touchstone init` in another folder explains every setting.\n"
        yield "[features]  # leads have more attributes from the export on: how many says when it was, and nothing else"
        yield 'remove = ["attributes_known"]'
        if not self.dated:
            yield "\n[snapshots]  # nobody knows when leads were closed: each is looked at once, when it is a day old"
            yield 'ages_days = [1]\nmature_when = "closed"'
        if self.currency:
            yield f"\n[attribution]\ncurrency = {toml(self.currency)}"
        for block in self.blocks:
            yield f"\n# {block.about}"
            yield f"[[sources]]\nfile = {toml(glob.escape(self.sheet.file.name))}\ntable = {toml(block.table)}"
            if self.sheet.encoding:
                yield f"encoding = {toml(self.sheet.encoding)}"
            if block.where:
                yield f"where = {_text(block.where)}"
            yield 'timezone = "UTC"  # of times written without a zone\nkeep_other_columns = false\n[sources.columns]'
            yield from (
                f"{toml(name) if not BARE.fullmatch(name) else name} = {_made(column)}"
                for name, column in block.columns.items()
            )


def _made(column: Made) -> str:
    if isinstance(column, str):
        return _text(column)
    return f"{{ {', '.join(f'{form} = {_text(text)}' for form, text in column.items())} }}"


def _text(text: str) -> str:
    """Return a text of TOML: as it is where it holds quotes, which would be hard to read if they were escaped."""
    return f"'''{text}'''" if '"' in text and "'''" not in text and not text.endswith("'") else toml(text)
