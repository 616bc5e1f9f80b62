"""Model: what serves, how well it keeps its word, and what else could serve. The ML engineer's morning."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serving.pages import drawing
from serving.pages.book import Edition
from serving.pages.site import Form, Refusal, Site, back
from serving.pages.words import counted, day, number, percent
from serving.scorer import CARD, MANIFEST
from serving.words import plain

SHOWN_VERSIONS, SHOWN_SLICES, SHOWN_WEEKS = 12, 12, 26
COMMAND_SECONDS = 120
RELIABILITY = ("promised", "realised", "leads")
FEWEST = 10  # scores of a band that is shown
METRICS = (
    ("roc_auc", "ROC AUC", "ranks a won lead above a lost one"),
    ("log_loss", "Log loss", "nats; less is better"),
    ("ece", "Calibration error", "mean distance of promise and outcome"),
    ("brier", "Brier score", "less is better"),
    ("pr_auc", "PR AUC", "precision over recall"),
    ("lift_at_10", "Lift of the top tenth", "times the base rate"),
)
LIVE = f"FROM kept WHERE leads >= {FEWEST} ORDER BY band"
WEEKLY = f"""
    SELECT week, leads, promised / leads AS mean, CASE WHEN matured = leads THEN won / matured END AS realised
    FROM promises ORDER BY week DESC LIMIT {SHOWN_WEEKS}
"""


def model(site: Site, request: Request, _form: Form) -> Response:
    """Show the page."""
    edition = site.book.edition(site.clock())
    if edition is None:
        return site.show(request, "wait.html")
    folder, serves = site.desk.workspace / "models", site.desk.model()
    versions = _versions(folder, serves.version)
    card: dict[str, Any] = next((one["card"] for one in versions if one["version"] == serves.version), {})
    live, weekly = edition.rows(LIVE), list(reversed(edition.rows(WEEKLY)))
    held_back = card.get("reliability")
    runs = _runs(site.desk.workspace)
    for one in versions:
        one["run"] = runs.get(one["version"])
    slices = sorted(card.get("slices", []), key=lambda one: -float(one["ece"]))[:SHOWN_SLICES]
    return site.show(
        request, "model.html", serves=serves, card=card, metrics=_metrics(card), versions=versions,
        before=[version for version in serves.served_before if (folder / version / MANIFEST).exists()],
        may_promote=request.scope["touchstone.token"].allows("admin"), said=request.query_params.get("said"),
        tracking=os.environ.get("MLFLOW_TRACKING_URI", ""), slices=slices, drift=card.get("drift"),
        reliability=_reliability(held_back, "On later data, held back"),
        reliability_rows=_rows(*(held_back[name] for name in RELIABILITY)) if held_back else [],
        live=_reliability(_columns(live), "Of stored scores"), live_leads=sum(row["leads"] for row in live),
        live_rows=_rows(*(_columns(live)[name] for name in RELIABILITY)), weekly=[_week(row) for row in weekly],
        weekly_chart=_weekly(weekly), freshness=_freshness(edition), as_of=edition.as_of,
        top_effect=max((one["mean_effect"] for one in card.get("features", [])), default=1),
    )  # fmt: skip


def change(site: Site, request: Request, form: Form) -> Response:
    """Promote a version, or roll back, by the command that does it on a terminal, with its trial and its record."""
    site.demand(request, "admin")
    version = form.get("version", "")
    words = ["promote", version] if version else ["rollback"]
    if version and not any(version == one["version"] for one in _versions(site.desk.workspace / "models", "")):
        raise Refusal(HTTPStatus.BAD_REQUEST, f"There is no model {version}. Choose one of the list.")
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter; the version is one of ours
            [sys.executable, "-m", "touchstone", "models", *words, "--quiet", "--workspace", str(site.desk.workspace)],
            capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False, cwd=Path(__file__).parents[2],
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Refusal(
            HTTPStatus.GATEWAY_TIMEOUT, "The trial of the model takes too long. The champion stays."
        ) from None
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2].partition(": ")[2]
        raise Refusal(HTTPStatus.CONFLICT, said or "The model could not be promoted. The champion stays.")
    return back(f"/models?said={version or 'rolled-back'}")


def _versions(folder: Path, serves: str) -> list[dict[str, Any]]:
    """Return every saved version, the latest first, with its card."""
    found = []
    for file in folder.glob(f"*/{MANIFEST}"):
        try:
            card = json.loads((file.parent / CARD).read_bytes())
        except (OSError, ValueError):  # a model without its card is still a model
            card = {}
        found.append({"version": file.parent.name, "serves": file.parent.name == serves, "card": card})
    return sorted(found, key=lambda one: (one["card"].get("as_of") or "", one["version"]), reverse=True)[
        :SHOWN_VERSIONS
    ]


def _runs(workspace: Path) -> dict[str, dict[str, str]]:
    """Return MLflow's run of each version, as far as the workspace's own record tells; a team's server is not asked."""
    file = workspace / "mlflow.db"
    if not file.exists() or "MLFLOW_TRACKING_URI" in os.environ:
        return {}
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as record:
            found = record.execute("SELECT name, run_uuid, experiment_id FROM runs ORDER BY start_time").fetchall()
    except sqlite3.Error:
        return {}
    return {name: {"run_id": run, "experiment": str(experiment)} for name, run, experiment in found}


def _metrics(card: dict[str, Any]) -> list[dict[str, Any]]:
    said, usual, between = (card.get(name, {}) for name in ("metrics", "base_rate", "intervals"))
    return [{"name": name, "about": about, "value": said[key], "usual": usual.get(key), "between": between.get(key)}
            for key, name, about in METRICS if said.get(key) is not None]  # fmt: skip


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    return {name: [float(row[name]) for row in rows] for name in (*RELIABILITY, "error")}


def _reliability(found: dict[str, list[float]] | None, what: str) -> object:
    if not found or not found["leads"]:
        return ""
    promised, realised, leads = (found[name] for name in RELIABILITY)
    binomial = [math.sqrt(r * (1 - r) / n) for r, n in zip(realised, leads, strict=True)]
    total = sum(leads)
    said = sum(p * n for p, n in zip(promised, leads, strict=True)) / total
    came = sum(r * n for r, n in zip(realised, leads, strict=True)) / total
    return drawing.promises(
        promised,
        realised,
        leads,
        found.get("error", binomial),  # which an earlier version did not write down
        f"{what}: promised {percent(said)} on average, came true {percent(came)}, of {counted(total, 'score')}.",
    )


def _rows(promised: Sequence[float], realised: Sequence[float], leads: Sequence[float]) -> list[tuple[str, ...]]:
    return [(percent(p), percent(r), number(n)) for p, r, n in zip(promised, realised, leads, strict=True)]


def _weekly(weekly: Sequence[dict[str, Any]]) -> object:
    if len(weekly) < 2:
        return ""
    means = [row["mean"] for row in weekly]
    first, latest = percent(means[0]), percent(means[-1])
    says = f"Mean promised probability of open leads by week: {first} at first, {latest} in the latest."
    return drawing.lines([f"{row['week'].day} {row['week']:%b}" for row in weekly], means, means, means, says)


def _week(row: dict[str, Any]) -> tuple[str, ...]:
    week = f"week of {row['week'].day} {row['week']:%b}"
    return week, number(row["leads"]), percent(row["mean"]), percent(row["realised"])


def _freshness(edition: Edition) -> list[tuple[str, str, str]]:
    return [(plain(row["name"]), number(row["rows"]), day(row["latest"])) for row in edition.rows("FROM freshness")]
