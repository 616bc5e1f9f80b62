"""Returns: what each channel's credit is worth beside what was spent on it.

Both sides are in the reporting currency at the rates of their own days. Ratios are made of summed parts, never of
ratios, so the line of all channels is not a mean of the others. Of a period,

- *simple* ROI sets what closed in it against what was spent in it;
- *realized* ROI follows the money: what touches of the period earned, whenever it closed, against what they cost.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pandas as pd

from attribution.credit import Attribution
from features.errors import DataError
from features.lake import Lake
from features.money import COSTS, UNTOLD_COST, unpriced
from features.settings import Settings

ALL = "(all)"
CENT = Decimal("0.01")


def costs(lake: Lake, settings: Settings, as_of: datetime) -> pd.DataFrame:
    """Return what was spent, as known before a moment: day, channel, campaign, currency, cost.

    The cost is a Decimal in the reporting currency; None where no rate is known.
    """
    how = settings.attribution
    asked = {"as_of": as_of, "currency": how.currency, "rate_days": how.rate_days}
    with lake.connection(("spend", "rates")) as connection:
        rows: pd.DataFrame = connection.sql(COSTS, params=asked).to_arrow_table().to_pandas()
    cost = [None if pd.isna(cents) else Decimal(int(cents)).scaleb(-2) for cents in rows["cost_cents"]]
    told = rows[["day", "channel", "campaign", "currency"]]
    return told.assign(cost=pd.Series(cost, index=rows.index, dtype=object))


def unknown(spent: pd.DataFrame, reporting: str) -> str:
    """Return a sentence on costs of which no rate is known; nothing, if there are none."""
    unrated = spent[spent["cost"].isna()]
    return unpriced(len(unrated), "cost", sorted(set(unrated["currency"])), UNTOLD_COST, reporting)


def returns(
    answer: Attribution, spent: pd.DataFrame, model: str, since: date | None = None, until: date | None = None
) -> pd.DataFrame:
    """Return a row a channel and one of all: spend, credit, revenue, cac, roas, roi, realized, realized_roi.

    Args:
        answer: of a run; a period asks for a model that credits touches.
        spent: of ``costs``.
        model: whose credit is looked at.
        since: first day of the period, or None.
        until: the day after its last, or None.

    What has no denominator (nothing spent, or nobody won) is None, and so is what a cost of unknown rate is a part of.

    Raises:
        DataError: when a model that knows no touches is asked about a period.

    """
    rows = answer.touches[answer.touches["model"] == model]
    if (since or until) and len(rows) and rows["touched_at"].isna().all():
        raise DataError(f"{model} credits channels, not touches, so no period can be told apart. Ask for linear.")
    in_time = (_within(rows[moment], since, until) for moment in ("closed_at", "touched_at"))
    closed, touched = (rows[within] for within in in_time)
    paid = spent[_within(pd.to_datetime(spent["day"]), since, until)]
    names = sorted({*answer.channels["channel"], *paid["channel"]})
    tables = [(table, dict(list(table.groupby("channel")))) for table in (paid, closed, touched)]
    lines = [_line(name, *(of.get(name, table[:0]) for table, of in tables)) for name in names]
    return pd.DataFrame([*lines, _line(ALL, paid, closed, touched)])


def spent_on(lake: Lake, settings: Settings, as_of: datetime) -> dict[str, Decimal] | None:
    """Return what was spent on each channel, as known before a moment; None where a currency has no rate."""
    spent = costs(lake, settings, as_of)
    if spent["cost"].isna().any():
        return None
    by_channel = spent.groupby("channel")["cost"].sum()
    return {str(channel): cost for channel, cost in by_channel.items()}


def blended(answer: Attribution, spent: pd.DataFrame) -> dict[str, float | None]:
    """Return spend, closes, revenue, cac and roas of all that closed, credited to a channel or not."""
    model = answer.models[0]  # under each all that closed is the same
    earned = answer.channels[answer.channels["model"] == model]
    left, paid = answer.anyway.get(model, answer.unattributed), _sum(spent["cost"])
    spend = None if paid is None else float(paid)
    closes = float(earned["credit"].sum()) + left["credit"]
    revenue = float(sum(earned["value"], Decimal(0)) + left["value"])
    return {
        "spend": spend,
        "closes": closes,
        "revenue": revenue,
        "cac": spend / closes if spend and closes else None,
        "roas": revenue / spend if spend else None,
    }


def by_month(answer: Attribution, spent: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return the rows of ``returns`` of each month (its first day) in which something was spent, touched or closed.

    A channel without any of it in a month has no row there. Of a model that credits channels, not touches, it is empty.
    """
    rows = answer.touches[answer.touches["model"] == model]
    if rows["touched_at"].isna().all():
        return pd.DataFrame()
    days = [
        pd.to_datetime(spent["day"]),
        *(rows[moment].dt.tz_localize(None) for moment in ("touched_at", "closed_at")),
    ]
    months = sorted(pd.concat(days).dropna().dt.to_period("M").unique())
    tables = [
        returns(answer, spent, model, month.start_time.date(), (month + 1).start_time.date())
        .assign(month=month.start_time.date())
        for month in months
    ]  # fmt: skip
    table = pd.concat(tables, ignore_index=True)
    return table[(table[["spend", "credit", "revenue", "realized"]] != 0).any(axis=1)].reset_index(drop=True)


def _within(moments: pd.Series, since: date | None, until: date | None) -> pd.Series:
    day = moments.dt.tz_localize(None) if moments.dt.tz is not None else moments
    first, end = (None if edge is None else pd.Timestamp(edge) for edge in (since, until))
    every = pd.Series(data=True, index=moments.index)
    return (every if first is None else day >= first) & (every if end is None else day < end)


def _sum(cost: pd.Series) -> Decimal | None:
    return None if cost.isna().any() else sum(cost, Decimal(0))


def _line(name: str, paid: pd.DataFrame, closed: pd.DataFrame, touched: pd.DataFrame) -> dict[str, object]:
    spend = _sum(paid["cost"])
    revenue, realized = (sum(part, Decimal(0)) for part in (closed["value"], touched["value"]))
    credit = float(closed["credit"].sum())
    return {
        "channel": name,
        "spend": spend,
        "credit": credit,
        "revenue": revenue,
        "cac": (spend / Decimal(repr(credit))).quantize(CENT) if spend and credit > 0 else None,
        "roas": float(revenue / spend) if spend else None,
        "roi": float((revenue - spend) / spend) if spend else None,
        "realized": realized,
        "realized_roi": float((realized - spend) / spend) if spend else None,
    }
