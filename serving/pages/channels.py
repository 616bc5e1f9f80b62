"""Channels: what each channel earned and cost, by which model, and how journeys go. Marketing's morning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from attribution.decision import LEAST_SPEND
from serving import ledger
from serving.pages import drawing
from serving.pages.book import STEPS, Edition
from serving.pages.choice import CAMPAIGN, PERIODS, SEGMENT, Choice, chosen
from serving.pages.earned import Credited, Table, table_of, usual
from serving.pages.flows import flow_says, flows_of
from serving.pages.pace import by_first_touch
from serving.pages.pledges import trued_up
from serving.pages.site import Form, Site, asked
from serving.pages.together import together
from serving.pages.words import NOTHING, money, number, percent, span
from serving.words import plain

FLOW_STEPS = 3
FEWEST = 10  # leads of which a share is worth telling
SHOWN_PATHS = 12
COHORT_DAYS = (30, 60, 90, 180)

QUALITY = f"""
    SELECT channel, count(*) AS leads, avg(first_probability) AS promised,
           avg(CAST(coalesce(won_at <= first_scored_at + $horizon * INTERVAL 1 DAY, false) AS INTEGER)) AS realised
    FROM book WHERE first_scored_at + $horizon * INTERVAL 1 DAY <= $as_of AND {SEGMENT} AND {CAMPAIGN}
    GROUP BY channel HAVING count(*) >= {FEWEST} ORDER BY leads DESC
"""
CLOSING = f"""
    SELECT channel, count(*) AS won, median(epoch(won_at - created_at) / 86400) AS days, median(touches) AS touches
    FROM book WHERE won_at >= $since AND {SEGMENT} AND {CAMPAIGN} GROUP BY channel ORDER BY won DESC, channel
"""
WON_PATHS = f"""
    SELECT path[:{FLOW_STEPS}] AS path, count(*) AS leads FROM journeys JOIN book USING (lead_id)
    WHERE won_at >= $since AND {SEGMENT} AND {CAMPAIGN} GROUP BY ALL
"""
PATHS = f"""
    SELECT array_to_string(path, ' → ') || CASE WHEN length > {STEPS} THEN ' → …' ELSE '' END AS path,
           count(*) FILTER (won_at >= $since) AS won, count(*) AS leads, sum(value) FILTER (won_at >= $since) AS value
    FROM journeys JOIN book USING (lead_id)
    WHERE coalesce(won_at, lost_at) >= $since AND {SEGMENT} AND {CAMPAIGN}
    GROUP BY ALL HAVING won > 0 ORDER BY won DESC, value DESC, path LIMIT {SHOWN_PATHS}
"""
VELOCITY = f"""
    SELECT before, stage, count(*) AS leads, median(days) AS days FROM steps_taken
    WHERE before IS NOT NULL AND entered_at >= $since
          AND lead_id IN (SELECT lead_id FROM book WHERE {SEGMENT} AND {CAMPAIGN})
    GROUP BY ALL HAVING count(*) >= {FEWEST} ORDER BY leads DESC LIMIT 8
"""
WON_WITHIN = ", ".join(
    f"count(*) FILTER (won_at <= created_at + INTERVAL {days} DAY) AS won_{days}" for days in COHORT_DAYS
)
COHORTS = f"""
    SELECT CAST(date_trunc('month', created_at) AS DATE) AS month, count(*) AS leads,
           {WON_WITHIN},
           max(created_at) AS latest
    FROM book
    WHERE created_at >= date_trunc('month', $as_of) - INTERVAL 11 MONTH AND {SEGMENT} AND {CAMPAIGN}
    GROUP BY month ORDER BY month
"""


def channels(site: Site, request: Request, _form: Form) -> Response:
    """Show the page."""
    edition = site.book.edition(site.clock())
    if edition is None:
        return site.show(request, "wait.html")
    query = asked(request)
    choice, how = chosen(query, edition), site.desk.settings.attribution
    currency = how.currency
    horizon = int(site.desk.champion.scorer.spec.horizon_days)
    table = table_of(edition, choice, query)
    best = max((row for row in table.rows if not row["apart"]), key=lambda row: row["credit"], default=None)
    quality = edition.rows(QUALITY, choice.values(horizon=horizon, as_of=edition.as_of))
    closing, paths = (edition.rows(sql, choice.values()) for sql in (CLOSING, PATHS))
    velocity = edition.rows(VELOCITY, choice.values())
    flows = flows_of(edition.rows(WON_PATHS, choice.values()))
    names = [f"{plain(row['before'])} → {plain(row['stage'])}" for row in velocity]
    cost = "" if table.total["cost"] is None else f", for {money(table.total['cost'], currency)} of spend"
    said = f"{number(table.total['won'])} deals closed, worth {money(table.total['value'], currency)}{cost}."
    if best and best["credit"]:
        said += f" {best['channel']} earned most of them, by {plain(table.model).lower()}."
    said = f"{said} {edition.unrated}".rstrip()
    return site.show(
        request, "channels.html", query=query, said=said, as_of=edition.as_of, period_said=choice.said(edition.as_of),
        periods=PERIODS, models=[(name, plain(name)) for name in edition.models if name != usual(edition)],
        usual=plain(usual(edition)).lower(),
        segments=[(f"{name}={value}", f"{plain(name)}: {value}") for name, value in edition.segments],
        campaigns=[(name, name) for name in edition.campaigns], model=table.model, book_rows=table.rows,
        total=table.total,
        top_credit=max((row["credit"] for row in table.rows), default=1), flip=_flip(table), agree=_agree(table),
        compared=[name for name, _ in table.compared], matrix=_matrix(table),
        together=together(site.desk.workspace, [name for name, _ in table.compared]),
        horizon=horizon, quality=quality,
        top_quality=max((max(row["promised"], row["realised"]) for row in quality), default=1),
        closing=[(row["channel"], span(row["days"]), row["days"], (number(row["touches"]), number(row["won"])))
                 for row in closing],
        top_closing=max((row["days"] for row in closing), default=1),
        flows=flows, flow_chart=drawing.sankey(flows, flow_says(flows)),
        flow_rows=[(source, target, number(step + 1), number(count)) for step, source, target, count in flows],
        paths=[row | {"rate": row["won"] / row["leads"]} for row in paths],
        velocity=[(name, span(row["days"]), row["days"], (number(row["leads"]),))
                  for name, row in zip(names, velocity, strict=True)],
        top_velocity=max((row["days"] for row in velocity), default=1),
        cohorts=_cohorts(edition, choice), pace=by_first_touch(edition, choice), worth=_worth(table, currency),
        pledges=trued_up(edition, choice, table.model), by_account=how.of == "account",
        missing=ledger.missing(site.desk.workspace, how.models),
    )  # fmt: skip


def channels_file(site: Site, request: Request, _form: Form) -> Response:
    """Return a table of the page as CSV."""
    edition = site.book.edition(site.clock()) or site.book.make(site.clock())
    query = asked(request)
    choice, wanted = chosen(query, edition), query.get("table", "channels")
    if wanted == "paths":
        found = edition.rows(PATHS, choice.values())
        return site.table("paths", ("path", "won", "leads", "revenue"), [list(row.values()) for row in found])
    table = table_of(edition, choice, query)
    if wanted == "models":
        rows = [(name, channel, one.closes[channel], one.low[channel], one.high[channel], one.value[channel])
                for name, one in table.compared for channel in one.closes]  # fmt: skip
        return site.table("models", ("model", "channel", "closes", "low", "high", "revenue"), rows)
    columns = ("channel", "leads", "credit", "low", "high", "value", "pipeline", "cost", "cac", "roas", "roi")
    return site.table("channels", columns, [[row[name] for name in columns] for row in table.rows])


def _flip(table: Table) -> str:
    """Return a sentence if the channel that brings most per unit of spend depends on the model."""
    best: dict[str, list[str]] = {}
    least = LEAST_SPEND * sum(table.cost.values())
    for model, one in table.compared:
        roas = {name: one.value.get(name, 0) / cost for name, cost in table.cost.items() if cost > least}
        if roas:
            best.setdefault(max(roas, key=lambda name: (roas[name], name)), []).append(plain(model).lower())
    if len(best) < 2:
        return ""
    parts = [f"{channel} by {_listed(models)}" for channel, models in best.items()]
    return (f"which paid channel brings most for its money depends on it: {'; '.join(parts)}. "
            "Do not move budget on one of them alone.")  # fmt: skip


def _agree(table: Table) -> str:
    """Return where the models are furthest apart."""
    total = table.total["won"]
    if not total or len(table.compared) < 2:
        return ""
    apart = {}
    for name in {channel for _, one in table.compared for channel in one.closes}:
        shares = {model: one.closes.get(name, 0) / total for model, one in table.compared}
        low, high = min(shares, key=lambda m: shares[m]), max(shares, key=lambda m: shares[m])
        apart[name] = (shares[high] - shares[low], low, shares[low], high, shares[high])
    name = max(apart, key=lambda one: apart[one][0])
    _, low, least, high, most = apart[name]
    parts = (f"{percent(least)} by {plain(low).lower()}", f"{percent(most)} by {plain(high).lower()}")
    return f"they are furthest apart on {name}: {', '.join(parts)}"


def _matrix(table: Table) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the share of closes by channel (row) and model."""
    total = table.total["won"] or 1
    names = [
        row["channel"]
        for row in table.rows
        if not row["apart"] and any(one.closes.get(row["channel"]) for _, one in table.compared)
    ]
    top = max((one.high.get(name, 0) / total for name in names for _, one in table.compared), default=1)
    return [(name, [_cell(one, name, total, top) for _, one in table.compared]) for name in names]


def _worth(table: Table, currency: str) -> list[tuple[str, ...]]:
    """Return, for each channel that was paid for, what a close of it costs and what its spend brings, by model."""

    def said(one: Credited, name: str, cost: float) -> str:
        closes = one.closes.get(name, 0.0)
        return f"{money(cost / closes if closes > 0 else None, currency)} · {one.value.get(name, 0.0) / cost:.1f}×"

    paid = sorted((name for name, cost in table.cost.items() if cost > 0), key=lambda name: -table.cost[name])
    return [(name, money(table.cost[name], currency), *(said(one, name, table.cost[name]) for _, one in table.compared))
            for name in paid]  # fmt: skip


def _cell(one: Credited, name: str, total: float, top: float) -> dict[str, Any]:
    share, low, high = (part.get(name, 0) / total for part in (one.closes, one.low, one.high))
    says = f"{percent(share)}, 90 % interval {percent(low)} to {percent(high)}"
    return {"share": share, "low": low, "high": high, "drawn": drawing.interval(share, low, high, top, says, width=90)}


def _cohorts(edition: Edition, choice: Choice) -> list[list[str]]:
    rows = []
    for row in edition.rows(COHORTS, choice.values(as_of=edition.as_of)):
        cells = [f"{row['month']:%b %Y}", number(row["leads"])]
        for days in COHORT_DAYS:
            is_up = (edition.as_of - row["latest"]).days >= days
            cells.append(percent(row[f"won_{days}"] / row["leads"]) if is_up else NOTHING)
        rows.append(cells)
    return rows


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
