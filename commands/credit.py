"""Which channels closes are owed to."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import terminal
from commands.clock import moment
from commands.credited import show_credit
from commands.options import HERE, TABLE, AnyWorkspace, AsOf, Engine, Json, Quiet, there

if TYPE_CHECKING:
    from pandas import DataFrame

    from attribution.credit import Attribution
    from attribution.journeys import Journeys
    from attribution.lead_days import Probability
    from attribution.runs import Baseline, Run
    from features.history import History
    from features.lake import Lake
    from features.settings import Settings


def attribute(
    workspace: AnyWorkspace = HERE,
    as_of: AsOf = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model to run; repeat for several. Default: as configured.")
    ] = None,
    paths: Annotated[
        Path | None, typer.Option(help="Read path, conversions, value and nulls from this file; needs no workspace.")
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="What is credited: won, opportunity, lead (its creation) or any stage.")
    ] = None,
    pipeline: Annotated[
        bool, typer.Option("--pipeline", help="Credit p × amount of open leads; --compare trues an earlier one up.")
    ] = False,
    robustness: Annotated[
        bool,
        typer.Option("--robustness", help="Say how far models move if touches are lost, doubled or invented."),
    ] = False,
    velocity: Annotated[
        bool,
        typer.Option("--velocity", help="Say how many days leads take to each stage, by channel, cohort and segment."),
    ] = False,
    returns: Annotated[
        bool,
        typer.Option("--returns", help="Set each model's credit beside what was spent: CAC, ROAS and ROI; by month."),
    ] = False,
    places: Annotated[
        bool, typer.Option("--places", help="Say at which place of the journey each channel earns (ordered Shapley).")
    ] = False,
    compare: Annotated[str | None, typer.Option(help="Set what each channel gets beside a stored run.")] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Draw shares, the decision and open pipeline into this folder.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the channels' credit to this CSV or Parquet file.", callback=TABLE)
    ] = None,
    engine: Engine = "local",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Credit the channels with what closed."""
    if paths:
        from features.memory import keep_freed_memory

        keep_freed_memory()  # a file of any length goes part by part
    else:
        there(workspace)
    from attribution import pipeline as pipelines
    from attribution import runs
    from features.history import microseconds
    from features.lake import Lake
    from serving import ledger

    of_leads = bool(stage) or robustness or velocity or returns
    _refuse_together(engine, paths, pipeline=pipeline, stage=bool(stage), of_leads=of_leads)
    settings, named, lake, cut = _settings(workspace, stage), model or [], Lake(workspace / "lake"), moment(as_of)
    with terminal.progress(quiet, "Crediting channels"):
        if paths:
            run = runs.attribute_paths(paths, settings, named)
        else:
            asked, own = (lake, settings, cut, named), partial(_baseline, settings=settings, as_of=microseconds(cut))
            with lake.writing():  # nobody is erased between reading and storing
                run = pipelines.pipeline(*asked) if pipeline else runs.attribute(*asked, own, _journeys_by(engine))
                runs.store(lake, run)
    if run.stage in {"won", "open"} and not paths:  # the pages tell of closes, and of what is promised
        ledger.keep(workspace, run.summary(), cut.isoformat())
    document = run.summary()
    of_lake = (lake, settings, cut)
    more = (
        (velocity, partial(_velocity, *of_lake)),
        (returns, partial(_returns, *of_lake, run.answer)),
        (places, partial(_places, paths, partial(_journeys_by(engine), *of_lake))),
    )
    for asked_for, told in more:
        document |= told() if asked_for else {}
    if robustness:
        with terminal.progress(quiet, "Changing the history"):
            document["robustness"] = _robustness(lake, settings, cut, run.answer.models, own)
    if compare and pipeline:
        document["trued_up"] = _records(pipelines.trued_up(lake, settings, cut, compare))
    elif compare:
        document["compared"] = _records(runs.compared(lake, run, compare).astype({"value": "float64"}))
    if plots:
        _draw(plots, run, settings)
    if output:
        from serving.batch import write

        write(run.answer.channels.assign(run_id=run.run_id).astype({"value": "float64"}), output)
    terminal.finish(document, json, quiet, lambda: show_credit(document))


def _refuse_together(engine: str, paths: Path | None, *, pipeline: bool, stage: bool, of_leads: bool) -> None:
    """Refuse options of ``attribute`` of which one has no meaning beside the other."""
    from features.errors import ConfigError

    if engine == "spark" and (paths or pipeline):
        raise typer.BadParameter("--paths and --pipeline are counted on this machine. Leave out --engine spark.")
    if paths and (pipeline or of_leads):
        raise ConfigError(
            "--pipeline, --stage, --robustness, --velocity and --returns ask for leads, which --paths does not know. "
            "Leave --paths out."
        )
    if pipeline and stage:
        raise ConfigError("--pipeline credits what open leads may be won for, and no other stage. Leave --stage out.")


def _settings(workspace: Path, stage: str | None) -> Settings:
    """Return the workspace's settings, which credit the stage that was named, if any."""
    from features.settings import read_settings

    settings = read_settings(workspace)
    if not stage:
        return settings
    return settings.model_copy(update={"attribution": settings.attribution.model_copy(update={"stage": stage})})


def _records(table: DataFrame) -> list[dict[str, Any]]:
    """Return the rows for JSON."""
    return list(jsonlib.loads(table.to_json(orient="records", default_handler=float)))


def _velocity(lake: Lake, settings: Settings, cut: datetime) -> dict[str, Any]:
    from attribution.velocity import velocity

    return {"velocity": _records(velocity(lake, settings, cut))}


def _returns(lake: Lake, settings: Settings, cut: datetime, answer: Attribution) -> dict[str, Any]:
    """Return returns and returns_by_month, by model and channel, and blended; what has no denominator is None.

    ``unpriced`` says of which costs no rate is known, if there are some.

    Of all time, what was realized is what closed; and only models that credit touches can tell months apart.
    """
    from attribution.returns import blended, by_month, costs, returns, unknown

    spent, names = costs(lake, settings, cut), ["model", "channel", "spend", "credit", "revenue", "cac", "roas", "roi"]
    told: dict[str, Any] = {"returns": [], "returns_by_month": [], "blended": blended(answer, spent)}
    if said := unknown(spent, settings.attribution.currency):
        told["unpriced"] = said
    for model in answer.models:
        table, months = returns(answer, spent, model).assign(model=model), by_month(answer, spent, model)
        told["returns"] += _records(table[names].astype(dict.fromkeys(names[2:], "float64")))
        if len(months):
            columns = ["month", *names, "realized", "realized_roi"]
            months = months.assign(model=model, month=months["month"].astype("str"))
            told["returns_by_month"] += _records(months[columns].astype(dict.fromkeys(columns[3:], "float64")))
    return told


def _places(paths: Path | None, of_lake: Callable[[], tuple[Journeys, DataFrame]]) -> dict[str, Any]:
    """Return places: channel, place (1 is the first channel met) and credit, a row each that earned anything."""
    from attribution.coalitions import ordered_values
    from attribution.paths import read_paths

    journeys = read_paths(paths) if paths else of_lake()[0]
    values = ordered_values(journeys)
    return {"places": [
        {"channel": name, "place": place + 1, "credit": float(values[k, place])}
        for k, name in enumerate(journeys.channels) for place in values[k].nonzero()[0].tolist()
    ]}  # fmt: skip


def _robustness(
    lake: Lake, settings: Settings, cut: datetime, models: Sequence[str], own: Baseline
) -> list[dict[str, Any]]:
    from attribution.robustness import robustness

    return _records(robustness(lake, settings, cut, models, own))


def _draw(folder: Path, run: Run, settings: Settings) -> None:
    from attribution.pipeline import OPEN
    from attribution.plots import write_plots

    answer, currency = run.answer, settings.attribution.currency
    write_plots(folder, answer.channels, run.decision, currency, is_open=run.stage == OPEN)


def _baseline(history: History, settings: Settings, as_of: int) -> Probability:
    from training.baseline import baseline  # its libraries take a second to import

    return baseline(history, settings, as_of)


def _journeys_by(engine: str) -> Any:
    """Return the function that makes journeys on an engine."""
    if engine == "spark":
        from attribution import spark  # an optional extra

        return spark.journeys_in
    from attribution import deals

    return deals.journeys_in
