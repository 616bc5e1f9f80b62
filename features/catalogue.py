"""The catalogue: one line a feature. It is the data dictionary.

Lines with ``each`` are templates; ``features/templates.py`` writes them out for the names and categories that a history
shows, and the model keeps the result, so that tomorrow's names cannot change yesterday's features. A team adds lines of
its own, or removes some of ours, under [features] in touchstone.toml.
"""

from __future__ import annotations

import runpy
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from features.contract import TABLES
from features.errors import ConfigError
from features.history import PROPERTY
from features.people import DEPARTMENTS, EMAIL_KINDS, SENIORITIES
from features.plan import Where
from features.settings import Features
from features.settings.score import FeatureLine
from features.settings.section import problems
from features.verbs import OF_A_COLUMN, VERBS, Feature, feature_of

TOUCHED = tuple(column.name for column in TABLES["touches"].columns)
INTENT: Where = (("kind", (
    "demo_request", "demo_requested", "contact_request", "contact_sales", "form", "form_submit", "form_submission",
    "pricing_view", "pricing_page", "trial_start", "trial_started", "quote_request", "buying_signal",
)),)  # fmt: skip
SALES: Where = (("kind", (
    "call", "sales_call", "meeting", "sales_meeting", "meeting_booked", "task", "sales_email", "sales_email_sent",
    "sales_email_replied", "email_reply", "linkedin_message",
)),)  # fmt: skip
MEETING: Where = (("kind", ("meeting", "sales_meeting", "meeting_booked")),)
EMAIL_SENT: Where = (("kind", ("email_sent", "email_delivered", "email_send")),)
EMAIL_CLICK: Where = (("kind", ("email_click", "email_clicked")),)
WEB: Where = (("kind", ("page_view", "visit", "web_visit", "pricing_view", "pricing_page", "session")),)
PAID: Where = (("channel", (
    "Paid Search", "Brand Search", "Paid Social", "Display", "Paid Shopping", "Paid Video", "Paid Other",
    "Cross-network", "Affiliates", "Content Syndication", "Review Sites",
)),)  # fmt: skip


def count(name: str, about: str, days: float | None = None, where: Where = (), **more: Any) -> Feature:
    """Count events within the last ``days``."""
    return Feature(name, "count", about, more.pop("unit", "touches"), days=days, where=where, **more)


def recency(name: str, about: str, where: Where = (), **more: Any) -> Feature:
    """Return days since the last event; missing if there was none."""
    return Feature(name, "recency", about, "days", where=where, **more)


def distinct(name: str, column: str, about: str, days: float | None = None, **more: Any) -> Feature:
    """Count different names in a column of the events within the last ``days``."""
    return Feature(name, "distinct", about, f"{column}s", days=days, column=column, **more)


def decayed(name: str, about: str, days: float, where: Where = (), **more: Any) -> Feature:
    """Add up events, each counting half after ``days``."""
    return Feature(name, "decayed", about, "touches", days=days, where=where, **more)


def share(name: str, about: str, days: float | None = None, where: Where = (), **more: Any) -> Feature:
    """Return the share of the touches within the last ``days`` that match."""
    return Feature(name, "share", about, "share", days=days, where=where, **more)


CATALOGUE: tuple[Feature, ...] = (
    # Fit: who they are
    Feature("{}", "attribute", "{} of the lead, as known then", group="fit", each="attribute"),
    Feature("age_days", "age", "Days since the lead was created", "days", "fit"),
    Feature("email_kind", "email_kind", "Kind of the e-mail address's domain", group="fit", column="email",
            levels=EMAIL_KINDS, each="column"),
    Feature("seniority", "seniority", "Seniority by the job title", group="fit", column="title",
            levels=("staff", *SENIORITIES), each="column"),
    Feature("department", "department", "Department by the job title", group="fit", column="title",
            levels=DEPARTMENTS, each="column"),
    Feature("attributes_known", "filled", "Attributes that are filled", "attributes", "fit"),
    # Intent: what they ask for
    count("intent_touches", "Demo requests, forms and looks at prices so far", None, INTENT, group="intent"),
    count("intent_touches_7d", "Demo requests, forms and looks at prices in 7 days", 7, INTENT, group="intent"),
    count("intent_touches_30d", "Demo requests, forms and looks at prices in 30 days", 30, INTENT, group="intent"),
    recency("days_since_intent", "Days since the last demo request, form or look at prices", INTENT, group="intent"),
    decayed("intent_14d", "Demo requests, forms and looks at prices, each counting half after 14 days", 14, INTENT,
            group="intent"),
    share("intent_share_90d", "Demo requests, forms and looks at prices, of all touches in 90 days", 90, INTENT,
          group="intent"),
    Feature("days_to_first_intent", "delay", "Days from creation to the first demo request, form or look at prices",
            "days", "intent", INTENT),
    # Engagement: how much they do
    count("touches", "Touches so far"),
    count("touches_1d", "Touches in the last day", 1),
    count("touches_7d", "Touches in the last 7 days", 7),
    count("touches_14d", "Touches in the last 14 days", 14),
    count("touches_30d", "Touches in the last 30 days", 30),
    count("touches_90d", "Touches in the last 90 days", 90),
    count("touches_180d", "Touches in the last 180 days", 180),
    count("{}_touches", "Touches of kind {} so far", each="kind"),
    count("{}_touches_7d", "Touches of kind {} in the last 7 days", 7, each="kind"),
    count("{}_touches_30d", "Touches of kind {} in the last 30 days", 30, each="kind"),
    count("{}_touches_90d", "Touches of kind {} in the last 90 days", 90, each="kind"),
    count("web_touches_7d", "Visits and page views in the last 7 days", 7, WEB),
    count("web_touches_30d", "Visits and page views in the last 30 days", 30, WEB),
    Feature("active_days_7d", "active_days", "Days with a touch, of the last 7", "days", days=7),
    Feature("active_days_30d", "active_days", "Days with a touch, of the last 30", "days", days=30),
    Feature("active_days_90d", "active_days", "Days with a touch, of the last 90", "days", days=90),
    distinct("kinds", "kind", "Different kinds of touch so far"),
    distinct("kinds_7d", "kind", "Different kinds of touch in the last 7 days", 7),
    distinct("kinds_30d", "kind", "Different kinds of touch in the last 30 days", 30),
    count("email_clicks_30d", "Clicks in e-mails in the last 30 days", 30, EMAIL_CLICK),
    share("email_click_share_90d", "Clicks in e-mails, as a share of all touches in 90 days", 90, EMAIL_CLICK),
    count("emails_sent_30d", "E-mails sent in the last 30 days", 30, EMAIL_SENT),
    # Recency: when they did it
    recency("days_since_touch", "Days since the last touch"),
    recency("days_since_{}", "Days since the last touch of kind {}", each="kind"),
    recency("days_since_web", "Days since the last visit or page view", WEB),
    Feature("days_since_first_touch", "first_seen", "Days since the first touch", "days"),
    Feature("days_between_touches", "rhythm", "Mean days between two touches", "days"),
    Feature("silence_overdue", "overdue", "Days of silence now, in mean days between two touches", "times"),
    Feature("longest_silence", "silence", "Longest time between two touches", "days"),
    # Momentum: whether it grows
    Feature("momentum_7d", "trend", "Touches this week against the weekly mean of four", "times", days=7),
    Feature("momentum_30d", "trend", "Touches in 30 days against the mean of four such months", "times", days=30),
    Feature("web_momentum_7d", "trend", "Visits and page views this week against the weekly mean of four", "times",
            where=WEB, days=7),
    decayed("activity_3d", "Touches, each counting half after 3 days", 3),
    decayed("activity_7d", "Touches, each counting half after 7 days", 7),
    decayed("activity_30d", "Touches, each counting half after 30 days", 30),
    Feature("weeks_in_a_row", "streak", "Weeks with a touch, one after the other up to now", "weeks", days=7),
    # Channel mix: how they come
    count("{}_channel_touches", "Touches through {} so far", each="channel"),
    count("{}_channel_touches_90d", "Touches through {} in the last 90 days", 90, each="channel"),
    share("{}_channel_share_90d", "Share of {} among the touches of 90 days", 90, each="channel"),
    recency("days_since_{}_channel", "Days since the last touch through {}", each="channel"),
    share("paid_share_90d", "Share of paid channels among the touches of 90 days", 90, PAID),
    distinct("channels", "channel", "Different channels so far"),
    distinct("channels_30d", "channel", "Different channels in the last 30 days", 30),
    Feature("first_channel", "first", "Channel of the first touch", column="channel", each="levels"),
    Feature("last_channel", "last", "Channel of the last touch", column="channel", each="levels"),
    Feature("last_kind", "last", "Kind of the last touch", column="kind", each="levels"),
    # Sales activity: what we did
    Feature("stage", "last", "Stage the lead is in", column="stage", each="levels", events="stages"),
    Feature("days_in_stage", "in_stage", "Days since the stage last changed", "days"),
    count("stage_changes", "Changes of stage so far", unit="changes", events="stages"),
    count("stage_changes_30d", "Changes of stage in the last 30 days", 30, unit="changes", events="stages"),
    Feature("days_since_{}_stage", "first_seen", "Days since stage {} was first reached", "days", each="stage",
            events="stages"),
    count("sales_touches", "Calls, meetings and mails of sales so far", None, SALES),
    count("sales_touches_7d", "Calls, meetings and mails of sales in the last 7 days", 7, SALES),
    count("sales_touches_30d", "Calls, meetings and mails of sales in the last 30 days", 30, SALES),
    count("meetings", "Meetings so far", None, MEETING),
    recency("days_since_sales_touch", "Days since the last call, meeting or mail of sales", SALES),
    Feature("days_to_first_sales_touch", "delay", "Days from creation to the first call, meeting or mail of sales",
            "days", where=SALES),
    # Feedback: what sales said
    count("rejections", "Times sales rejected the lead", None, (("verdict", "rejected"),), unit="rejections",
          events="feedback"),
    recency("days_since_verdict", "Days since sales last accepted or rejected the lead", events="feedback"),
    Feature("last_verdict", "last", "What sales last said of the lead", column="verdict", each="levels",
            events="feedback"),
    recency("days_since_rejected_for_{}", "Days since sales last rejected the lead for: {}", (("verdict", "rejected"),),
            each="reason", events="feedback"),
    # Account: what their colleagues do
    count("account_contacts", "Contacts of the account", unit="contacts", events="contacts", of="account"),
    distinct("account_active_contacts_30d", "contact", "Contacts of the account with a touch in 30 days", 30,
             of="account"),
    count("account_touches_7d", "Touches of all contacts of the account in 7 days", 7, of="account"),
    count("account_touches_30d", "Touches of all contacts of the account in 30 days", 30, of="account"),
    count("account_intent_30d", "Demo requests, forms and looks at prices of the account in 30 days", 30, INTENT,
          group="intent", of="account"),
    recency("account_days_since_touch", "Days since the last touch of any contact of the account", of="account"),
    decayed("account_activity_14d", "Touches of the account, each counting half after 14 days", 14, of="account"),
    distinct("account_channels_90d", "channel", "Different channels of the account in 90 days", 90, of="account"),
    count("account_stage_changes_90d", "Changes of stage of all contacts in 90 days", 90, unit="changes",
          events="stages", of="account"),
)  # fmt: skip


def catalogue_of(wanted: Features) -> tuple[Feature, ...]:
    """Return our lines without the removed ones, and a team's own after them.

    Raises:
        ConfigError: naming every line that cannot be used, and why.

    """
    removed = set(wanted.remove)
    own = [*_lines_in(wanted.file), *(feature_of(line.model_dump()) for line in wanted.add)]
    lines = (*(line for line in CATALOGUE if line.name not in removed), *own)
    known, counted = [line.name for line in CATALOGUE], Counter(line.name for line in lines)
    problems = [
        f"{name} cannot be removed: there is no such feature{_meant(name, known)}."
        for name in sorted(removed - {*known})
    ]
    problems += [f"{name} is there {count} times. Name each once." for name, count in counted.items() if count > 1]
    problems += [problem for line in own for problem in _problems(line)]
    if problems:
        raise ConfigError(f"[features] cannot be used. {' '.join(problems)}")
    return lines


def _problems(line: Feature) -> Iterator[str]:
    """Yield a sentence for everything in a team's line that cannot be measured."""
    if line.verb not in VERBS:
        yield f"{line.name} has the verb {line.verb}, which there is not{_meant(line.verb, list(VERBS))}."
        return
    if line.each not in {"", "levels", "column"} and "{}" not in line.name:
        yield f"{line.name} has a template for each {line.each}, but no {{}} in its name."
    if line.verb in OF_A_COLUMN and not line.column and not line.each:
        yield f"{line.name} needs a column: what {line.verb} looks at."
    if (line.table == "contacts" and line.of == "lead") or (
        line.table in {"versions", "feedback"} and line.of == "account"
    ):
        yield f"{line.name} looks at {line.table} of the {line.of}, of which there are none."
    known = {"touches": (*TOUCHED, "contact") if line.of == "account" else TOUCHED, "stages": ("stage",),
             "feedback": ("verdict", "reason", "by")}  # fmt: skip
    of_names = {line.column, line.each, *dict(line.where)} - {"", "levels", "column", "attribute"}
    for column in sorted(of_names if line.table in known else dict(line.where)):
        if not column.startswith(PROPERTY) and column not in known.get(line.table, ()):
            meant = _meant(column, list(known.get(line.table, ())))
            yield f"{line.name} looks at {column}, which no row of {line.table} has{meant}."


def _lines_in(file: Path | None) -> tuple[Feature, ...]:
    """Return the tuple FEATURES of a Python file."""
    if file is None:
        return ()
    try:
        found = runpy.run_path(str(file)).get("FEATURES", ())
    except Exception as error:  # noqa: BLE001  # whatever a user's file does
        frames = traceback.extract_tb(error.__traceback__)
        where = "".join(f", line {frame.lineno}," for frame in frames if frame.filename == str(file))
        raise ConfigError(f"{file}{where} cannot be run: {type(error).__name__}: {error}. Mend it.") from None
    if not (isinstance(found, tuple) and found and all(isinstance(line, Feature) for line in found)):
        raise ConfigError(f"{file} has no tuple FEATURES of features. Write FEATURES = (count(…), …).")
    return tuple(_held(found, file))


def _held(lines: Sequence[Feature], file: Path) -> Iterator[Feature]:
    """Yield the lines of a Python file, each held to what a line of touchstone.toml is held to."""
    wrong = []
    for line in lines:
        pairs = all(len(pair) == 2 for pair in line.where)  # noqa: PLR2004  # as in our lines; else as in TOML
        row = vars(line) | {"where": dict(line.where) if pairs else line.where}
        try:
            yield feature_of(FeatureLine.model_validate(row).model_dump())
        except ValidationError as error:
            wrong.append(f"{line.name}: {problems(error)}.")
    if wrong:
        raise ConfigError(f"{file} cannot be used. {' '.join(wrong)}")


def _meant(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, 1)
    return f" (did you mean {close[0]}?)" if close else ""
