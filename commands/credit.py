"""Which channels closes are owed to."""

from __future__ import annotations

import json as jsonlib
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import terminal
from commands.clock import moment
from commands.options import HERE, AsOf, Engine, Json, Quiet, Workspace


def attribute(
    workspace: Workspace = HERE,
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
    compare: Annotated[str | None, typer.Option(help="Set what each channel gets beside a stored run.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the channels' credit to this CSV or Parquet file.")] = None,
    engine: Engine = "local",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Credit the channels with what closed."""
    from attribution import pipeline as pipelines
    from attribution import runs
    from features.history import microseconds
    from features.lake import Lake
    from features.settings import read_settings
    from serving import ledger

    _refuse_together(engine, paths, pipeline=pipeline, robustness=robustness)
    settings, named, lake, cut = read_settings(workspace), model or [], Lake(workspace / "lake"), moment(as_of)
    if stage:
        how = settings.attribution.model_copy(update={"stage": stage})
        settings = settings.model_copy(update={"attribution": how})
    with terminal.progress(quiet, "Crediting channels"):
        if paths:
            run = runs.attribute_paths(paths, settings, named)
        else:
            from training.baseline import baseline

            asked, own = (lake, settings, cut, named), partial(baseline, settings=settings, as_of=microseconds(cut))
            with lake.writing():  # nobody is erased between reading and storing
                run = pipelines.pipeline(*asked) if pipeline else runs.attribute(*asked, own, _journeys_by(engine))
                runs.store(lake, run)
    if run.stage == "won" and not paths:  # the pages tell of closes
        ledger.keep(workspace, run.summary(), cut.isoformat())
    document = run.summary()
    if robustness:
        from attribution.robustness import robustness as changes

        with terminal.progress(quiet, "Changing the history"):
            moved = changes(lake, settings, cut, run.answer.models, own)
        document["robustness"] = jsonlib.loads(moved.to_json(orient="records"))
    if compare and pipeline:
        trued_up = pipelines.trued_up(lake, settings, cut, compare)
        document["trued_up"] = jsonlib.loads(trued_up.to_json(orient="records"))
    elif compare:
        with_stored = runs.compared(lake, run, compare)
        document["compared"] = jsonlib.loads(with_stored.astype({"value": "float64"}).to_json(orient="records"))
    if output:
        from serving.batch import write

        write(run.answer.channels.assign(run_id=run.run_id).astype({"value": "float64"}), output)
    terminal.finish(document, json, quiet, lambda: show_credit(document))


def _refuse_together(engine: str, paths: Path | None, *, pipeline: bool, robustness: bool) -> None:
    """Refuse options of ``attribute`` of which one has no meaning beside the other."""
    from features.errors import ConfigError

    if engine == "spark" and (paths or pipeline):
        raise typer.BadParameter("--paths and --pipeline are counted on this machine. Leave out --engine spark.")
    if paths and (pipeline or robustness):
        raise ConfigError("--pipeline and --robustness ask for leads, which --paths does not know. Leave --paths out.")


def _journeys_by(engine: str) -> Any:
    """Return the function that makes journeys on an engine."""
    if engine == "spark":
        from attribution import spark  # an optional extra

        return spark.journeys_in
    from attribution import deals

    return deals.journeys_in


def show_credit(document: dict[str, Any]) -> None:
    """Print each channel's closes under each model; the columns add up to all that closed."""
    models, nobody = document["models"], document["unattributed"]["credit"]
    best_first = next(iter(models.values()))
    rows = [
        (channel, *(f"{models[m].get(channel, {}).get('credit', 0):,.1f}" for m in models)) for channel in best_first
    ]
    anyway = document.get("anyway", {})
    left = {m: anyway[m]["credit"] if m in anyway else nobody for m in models}
    totals = [sum(row["credit"] for row in models[m].values()) + left[m] for m in models]
    rows.append(("(unattributed)", *("–" if m in anyway else f"{nobody:,.1f}" for m in models)))
    if anyway:
        rows.append(("(would have closed anyway)", *(f"{left[m]:,.1f}" if m in anyway else "–" for m in models)))
    rows.append(("all of them", *(f"{total:,.1f}" for total in totals)))
    stage = document.get("stage", "won")
    said = {"won": "Closes credited to channels", "open": "Closes expected of open leads, by channel"}
    title = f"{said.get(stage, f'Entries of {stage} credited to channels')} (run {document['run_id']})"
    terminal.show_table(title, ("channel", *(model.replace("_", " ") for model in models)), rows)
    for channel in document.get("harvests", ()):
        typer.echo(
            f"• {channel} comes right before closes that were decided: score_adjusted gives it nothing for that."
        )
    for one in document.get("experiments", ()):
        typer.echo(
            f"• {one['channel']}: the experiment of {one['since']} to {one['until']} says {one['says']:,.1f} closes; "
            f"its weight of {one['weight']:.0%} moves score_adjusted from {one['before']:,.1f} to {one['after']:,.1f}."
        )
    if "decision" in document:
        typer.echo(f"• {document['decision']['sentence']}")
    if "pipeline" in document:
        of = document["pipeline"]
        lacking = f"{of['without_amount']:,} name no amount"
        typer.echo(f"• {of['leads']:,} open leads with a score of {of['horizon_days']:g} days; {lacking}.")
    if "robustness" in document:
        cases = list(dict.fromkeys(row["scenario"] for row in document["robustness"]))
        moved = {(row["scenario"], row["model"]): row for row in document["robustness"]}
        shares = [(name, *(_moved(moved.get((name, m))) for m in models)) for name in cases]
        terminal.show_table(
            "Share of the credit that moves, and where most", ("if", *(m.replace("_", " ") for m in models)), shares
        )
    if "trued_up" in document:
        names = ("promised", "decided", "came", "difference", "open")
        money = [
            (row["model"], row["channel"], *(f"{row[name]:,.2f}" for name in names)) for row in document["trued_up"]
        ]
        terminal.show_table("What came of that pipeline, in money", ("model", "channel", *names), money)
    if "compared" in document:
        figures = [
            (each["model"], each["channel"], *(terminal.figure(each[name]) for name in ("before", "credit", "change")))
            for each in document["compared"]
        ]
        terminal.show_table("Beside the stored run", ("model", "channel", "before", "now", "change"), figures)


def _moved(row: dict[str, Any] | None) -> str:
    return "–" if row is None else f"{row['moved']:.0%} ({row['channel']} {row['before']:.0%} → {row['after']:.0%})"
