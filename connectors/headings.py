"""Headings: what the columns of a sheet are called, in English and German, and what the words in them mean."""

from __future__ import annotations

import re

from connectors.sheet import Sheet

# What a column is called, in lower case and with spaces for all but letters and digits.
WHEN = r"( ?(at|on|date|time|datum|am|day))"
BEGUN = (
    r"create[d]?|creation|entered|registered|sign ?up|inquiry|enquiry|lead|"
    r"erstellt|angelegt|erfasst|eingang|eingangs|anfrage|erstell|anlage"
)
ENDED = (
    r"closed?|became (a )?customer|won|lost|win|convert(ed)?|conversion|decision|decided|signed|sold|purchased?|"
    r"abschluss|abgeschlossen|entschieden|gewonnen"
)
WON_ON = r"won|win|conver|customer|sold|sign|purchas|gewonnen"
ROLES = {
    "lead_id": (
        r"((lead|contact|record|person|prospect|customer|client|opportunity|deal|kunden?|kontakt|interessenten) ?)?"
        r"(id|no|nr|number|nummer)"
    ),
    "created_at": rf"((lead|record) )?({BEGUN}){WHEN}*|date|datum",
    "closed_at": rf"(deal )?({ENDED}){WHEN}+",
    "channel": (
        r"((lead|original|traffic|marketing) )?(source|channel|origin|quelle|herkunft|kanal)|leadquelle|"
        r"how did you hear about us"
    ),
    "campaign": r"(utm )?(campaign|kampagne)( name)?",
    "amount": (
        r"((deal|contract|order) )?(amount|value|revenue|volume|wert|betrag|umsatz|auftragswert|summe)"
        r"( (in )?(eur|usd|gbp|chf))?"
    ),
    "currency": r"(deal )?(currency|währung)( code)?",
    "owner": (
        r"((lead|contact|deal|account) )?(owner|rep|sales (rep|agent)|assigned to|salesperson|bearbeiter|zuständig|"
        r"betreuer)( name)?"
    ),
}
AT_CREATION = {  # what is filled in when a lead is created, and changes with the person if at all
    "email": r"((work|business) )?(e ?mail)( address| adresse)?",
    "first_name": r"first name|vorname",
    "last_name": r"((last|family) |sur ?)name|nachname",
    "name": r"((full|contact|lead) )?name|ansprechpartner",
    "company": r"(company|account|organi[sz]ation|firma|unternehmen)( name)?",
    "title": r"(job )?(title|position|role|funktion)",
    "country": r"country|land",
    "region": r"region|state|province|bundesland|city|ort|stadt",
    "industry": r"industry|branche|sector|vertical",
    "employees": r"((number of|company) )?(employees|size|headcount)|mitarbeiter(zahl)?|unternehmensgröße",
    "language": r"language|sprache",
    "utm_source": r"utm source",
    "utm_medium": r"(utm )?medium",
    "product": r"product( interest)?|interest(ed in)?|produkt|interesse",
}
# What the values of a column say of how a lead ended.
WON = r"(closed? ?)?won|win|customer|converted|sold|signed|purchased|gewonnen|kunde|abgeschlossen|auftrag( erhalten)?"
LOST = (
    r"(closed? ?)?lost( .*)?|disqualified|unqualified|not (interested|qualified)|rejected|dead|junk|spam|no fit|"
    r"bad data|cancell?ed|verloren|abgelehnt|absage|kein interesse|storniert"
)
YES = r"yes|true|1|y|ja|x"
FLAG = r"((is|has) )?(closed )?(won|converted|customer|sold|gewonnen|kunde)"  # a column that says yes or no


def roles_of(sheet: Sheet) -> dict[str, str]:
    """Return which column is what, by its name: the first that is called so."""
    called = {column: plain(column) for column in sheet.columns}
    roles: dict[str, str] = {}
    for role, pattern in (ROLES | AT_CREATION).items():
        fitting = (c for c, name in called.items() if re.fullmatch(pattern, name) and c not in roles.values())
        fits = [c for c in fitting if (not role.endswith("_at") or c in sheet.dates) and sheet.values(c, 1)]
        if role == "amount":
            fits = [column for column in fits if column in sheet.numbers]
        if fits:
            roles[role] = fits[0]
    others = [column for column in sheet.dates if column not in roles.values()]
    if "created_at" not in roles and len(others) == 1:
        roles["created_at"] = others[0]
    return roles


def plain(text: str) -> str:
    """Return a name or value in lower case, with spaces for all but letters and digits.

    >>> plain("Lead-ID: (SFDC)")
    'lead id sfdc'
    """
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"([a-zäöü])([A-Z])", r"\1 \2", text).lower()))
