"""Troubles: what goes wrong with a company's records, each with a knob; by default only that some come late."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pandas as pd
from numpy.random import Generator

MACHINE = "Mozilla/5.0"  # what a mail client's proxy calls itself when it fetches every picture in advance
SCANNER = "SecurityScanner/2.1 (+https://scanner.example/bot)"


@dataclass(frozen=True)
class Troubles:
    """Shares are between 0 and 1 of the rows they concern."""

    late: float = 0.02  # share of touches that are received one to twelve hours late
    twice: float = 0.0  # share of touches that are delivered twice
    machine_opens: float = 0.0  # share of e-mails that a machine opens within seconds
    bot_clicks: float = 0.0  # share of e-mails in which a machine follows every link
    zone: str | None = None  # touches are written in this local time, without saying so
    label_delay_days: float = 0.0  # stages are received so much later
    refunds: float = 0.0  # share of the wins that are paid back within two months
    duplicate_leads: float = 0.0  # share of leads that are recorded a second time, under another id
    leaks: bool = False  # leads carry a lifecycle and a note that were written after their end

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        shares = [f.name for f in fields(self) if f.type == "float" and f.name != "label_delay_days"]
        wrong = [name for name in shares if not 0 <= getattr(self, name) <= 1]
        wrong += ["label_delay_days"] * (self.label_delay_days < 0)
        if wrong:
            raise ValueError(f"Troubles are shares from 0 to 1 and days from 0; mend {', '.join(wrong)}.")


def troubled(tables: dict[str, pd.DataFrame], troubles: Troubles, rng: Generator) -> dict[str, pd.DataFrame]:
    """Return the tables of a chapter with what goes wrong in them."""
    leads, touches, stages = (tables[name] for name in ("leads", "touches", "stages"))
    if troubles.duplicate_leads:
        leads, touches = _recorded_twice(leads, touches, troubles.duplicate_leads, rng)
    if troubles.machine_opens or troubles.bot_clicks:
        opens = _by_machine(touches, "email_open", MACHINE, troubles.machine_opens, rng)
        clicks = _by_machine(touches, "email_click", SCANNER, troubles.bot_clicks, rng)
        touches = pd.concat([touches.assign(user_agent=pd.Series(dtype="str")), opens, clicks])
    late = rng.random(len(touches)) < troubles.late
    delay = pd.to_timedelta(rng.integers(3_600, 12 * 3_600, len(touches)) * late, unit="s")
    touches = touches.assign(received_at=touches["received_at"] + delay)
    touches = pd.concat([touches, touches[rng.random(len(touches)) < troubles.twice]])
    refunds = stages[(stages["stage"] == "won") & (rng.random(len(stages)) < troubles.refunds)]
    wait = pd.to_timedelta(rng.integers(5 * 86_400, 60 * 86_400, len(refunds)), unit="s")
    at = refunds["occurred_at"] + wait
    paid_back = refunds.assign(stage="refund", amount=-refunds["amount"], occurred_at=at, received_at=at)
    stages = pd.concat([stages, paid_back])
    stages = stages.assign(received_at=stages["received_at"] + pd.Timedelta(days=troubles.label_delay_days))
    return {**tables, "leads": leads, "touches": touches, "stages": stages}


def retold(tables: dict[str, pd.DataFrame], troubles: Troubles) -> dict[str, pd.DataFrame]:
    """Return what is known of a chapter as an export tells it: with columns that leak, or by a local clock."""
    leads, touches = tables["leads"], tables["touches"]
    if troubles.leaks:
        leads = _written_afterwards(leads, tables["stages"])
    if troubles.zone:
        touches = touches.copy()
        for column in ("occurred_at", "received_at"):
            touches[column] = touches[column].dt.tz_convert(troubles.zone).dt.tz_localize(None)
    return {**tables, "leads": leads, "touches": touches}


def _by_machine(touches: pd.DataFrame, kind: str, agent: str, share: float, rng: Generator) -> pd.DataFrame:
    """Return what machines do with e-mails as soon as they arrive."""
    sent = touches[(touches["kind"] == "email_sent") & (rng.random(len(touches)) < share)]
    at = sent["occurred_at"] + pd.to_timedelta(rng.integers(1, 8, len(sent)), unit="s")
    event_id = sent["event_id"] + "-" + kind
    done = sent.assign(event_id=event_id, kind=kind, occurred_at=at, received_at=at, user_agent=agent)
    return done.astype({"user_agent": "str"})


def _recorded_twice(
    leads: pd.DataFrame, touches: pd.DataFrame, share: float, rng: Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return leads of whom some come back under another address, and what they do from then on under its id."""
    first = leads.drop_duplicates("lead_id")
    again = first[rng.random(len(first)) < share]
    at = again["created_at"] + pd.to_timedelta(rng.integers(86_400, 30 * 86_400, len(again)), unit="s")
    user, domain = (again["email"].str.split("@").str[part] for part in (0, 1))
    email = user.str.title() + "+" + "news@" + domain
    second = again.assign(lead_id=again["lead_id"] + "-2", email=email, created_at=at, observed_at=at)
    since = pd.Series(at.array, again["lead_id"].array).reindex(touches["lead_id"]).array
    theirs = (touches["occurred_at"] >= since) & ~touches["kind"].str.startswith("sales")
    moved = touches["lead_id"].mask(theirs, touches["lead_id"] + "-2")
    return pd.concat([leads, second]), touches.assign(lead_id=moved)


def _written_afterwards(leads: pd.DataFrame, stages: pd.DataFrame) -> pd.DataFrame:
    """Return leads with columns that were filled after their end, and look as if they had always been there."""
    end = stages[stages["stage"].isin(["won", "lost"])].set_index("lead_id")["stage"]
    known = leads["lead_id"].map(end)
    notes = {"won": "Contract signed, hand over to onboarding.", "lost": "Closed, do not call again."}
    return leads.assign(lifecycle=known.map({"won": "customer", "lost": "closed"}), note=known.map(notes))
