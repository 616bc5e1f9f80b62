"""Sheets as people export them: messy in the ways that spreadsheets and CRMs are."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

NEWEST = datetime(2026, 9, 30)  # noqa: DTZ001  # a day as people write it, without a zone


class Lead(NamedTuple):
    """A lead whose source and country say how readily it closes."""

    number: int
    created: datetime
    source: str
    country: str
    ended: datetime | None  # None: open
    won: bool
    amount: float


def leads(count: int = 400, seed: int = 3) -> list[Lead]:
    """Return leads of 500 days, of whom those by referral and those from Germany are won most."""
    dice, made = random.Random(seed), []  # noqa: S311  # nothing is secret
    for number in range(1, count + 1):
        created = NEWEST - timedelta(days=500 * (1 - number / count), minutes=dice.randrange(600))
        source, country = dice.choice(["Referral", "Google Ads", "Webinar", ""]), dice.choice(["US", "DE", "FR"])
        chance = 0.1 + 0.5 * (source == "Referral") + 0.2 * (country == "DE")
        end = created + timedelta(days=dice.randrange(5, 80))
        ended = end if end < NEWEST else None
        made.append(
            Lead(number, created, source, country, ended, dice.random() < chance, dice.randrange(500, 99999) / 4)
        )
    return made


def write(file: Path, header: Sequence[str], rows: Sequence[Sequence[Any]], **how: Any) -> Path:
    """Write a sheet; ``how`` are csv's delimiter and the file's encoding."""
    encoding = how.pop("encoding", "utf-8")
    with file.open("w", encoding=encoding, newline="") as opened:
        csv.writer(opened, **how).writerows([header, *rows])
    return file


def american(folder: Path) -> Path:
    """Return a CRM's export: month first, am and pm, dollars, an expected close date for who is open."""
    header = ["Lead ID", "Created", "Lead Source", "Country", "Lead Status", "Close Date", "Amount", "Last Call Result"]
    rows = [
        (f"00Q{lead.number:05}", f"{lead.created:%m/%d/%Y %I:%M %p}", lead.source, lead.country, _said(lead),
         f"{lead.ended or NEWEST + timedelta(days=40):%m/%d/%Y}", f"${lead.amount:,.2f}",
         "signed!" if lead.ended and lead.won else "no answer")
        for lead in leads()
    ]  # fmt: skip
    return write(folder / "leads.csv", header, rows)


def german(folder: Path) -> Path:
    """Return a spreadsheet saved by a German Excel: semicolons, decimal commas, days first, Windows' encoding."""
    header = ["Kontakt-Nr", "Erstellt am", "Quelle", "Land", "Größe", "Status", "Abschlussdatum", "Auftragswert"]
    words = {"Closed Won": "gewonnen", "Closed Lost": "verloren", "Working": "in Klärung"}
    rows = [
        (lead.number, f"{lead.created:%d.%m.%Y}", lead.source, lead.country, "größer", words[_said(lead)],
         f"{lead.ended:%d.%m.%Y}" if lead.ended else "",
         f"{lead.amount:,.2f} €".replace(",", "_").replace(".", ",").replace("_", "."))
        for lead in leads()
    ]  # fmt: skip
    return write(folder / "Anfragen.csv", header, rows, delimiter=";", encoding="cp1252")


def repeated(folder: Path, *, of_several_people: bool = False, mailed: bool = True) -> Path:
    """Return an export with a row for each deal, so that ids come again, or with ids that two systems gave twice."""
    header = ["ID", "Email", "Create Date", "Stage", "Closed On", "Original Source"]
    rows = []
    for lead in leads():
        number = lead.number % 200 if of_several_people else lead.number
        mail = f"person{lead.number}@example.com" if mailed or lead.number % 3 else ""
        row = (
            number,
            mail,
            f"{lead.created:%Y-%m-%d}",
            _said(lead),
            lead.ended and f"{lead.ended:%Y-%m-%d}",
            lead.source,
        )
        again = (*row[:3], "Closed Lost", f"{lead.created + timedelta(days=90):%Y-%m-%d}", lead.source)
        rows += [row] * (2 if lead.number % 10 == 0 else 1) + [again] * (lead.number % 25 == 1 and bool(lead.ended))
    return write(folder / "deals.csv", header, rows)


def _said(lead: Lead) -> str:
    return "Working" if not lead.ended else "Closed Won" if lead.won else "Closed Lost"
