"""Touchstone's command line: the story of a lead, from its first touch to its score, command by command.

Heavy libraries are imported inside the commands, so that ``--help`` answers at once. The clock is read here,
and handed down; nothing below knows what time it is.
"""

from __future__ import annotations

import json as jsonlib
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import terminal

if TYPE_CHECKING:
    from features.settings import Settings

app = typer.Typer(
    help="Which leads will close, and which touches made them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

models = typer.Typer(help="List, compare, promote and roll back models.", no_args_is_help=True)
app.add_typer(models, name="models")
tokens = typer.Typer(help="Who may ask the service what: make, list and revoke tokens.", no_args_is_help=True)
app.add_typer(tokens, name="tokens")


def _up_to_date(workspace: Path) -> Path:
    """Return a workspace, brought up to date if it mirrors what a team shares."""
    if (workspace / "store.json").exists():
        from features.store import store_of

        store = store_of(workspace)
        if store:
            store.pull()
    return workspace


Workspace = Annotated[
    Path, typer.Option(help="Folder of touchstone.toml, the lake and the models.", callback=_up_to_date)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
AsOf = Annotated[
    str | None, typer.Option(help="Moment, as 2026-02-28T09:00:00Z; without a zone it is UTC. Default: now.")
]
Engine = Annotated[Literal["local", "spark"], typer.Option(help="Where to work: on this machine, or by Apache Spark.")]
Goal = Annotated[str | None, typer.Option(help="A goal of [goals] in touchstone.toml. Default: the main one.")]
Port = Annotated[int | None, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)]
HERE = Path()

DONE, FAILED, USAGE, REFUSED, NOTHING_TO_DO, PARTLY = 0, 1, 2, 3, 4, 5


@app.command()
def demo(
    workspace: Workspace = HERE,
    once: Annotated[bool, typer.Option("--once", help="Score one lead over HTTP, print it, and stop.")] = False,
    export: Annotated[Path | None, typer.Option(help="Only write the company's files to this folder.")] = None,
    with_crm: Annotated[
        bool, typer.Option("--with-crm", help="Instead: read its people from four CRMs, and write their scores back.")
    ] = False,
    port: Port = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Simulate a company, run every step below, and serve its scores."""
    import demonstration
    from serving.running import ask, free, running, until_interrupted

    now = _now()
    if export:
        written = [str(path) for path in demonstration.simulate(now, export)]
        terminal.finish({"files": written}, json, quiet, lambda: typer.echo("\n".join(written)))
        return
    with terminal.progress(quiet, "Simulating a company") as step:
        if with_crm:
            trip = demonstration.demonstrate_with_crm(workspace, now, step)
        else:
            settings, ingested, trained, scores, run = demonstration.demonstrate(workspace, now, step)
    if with_crm:
        told = {"trained": vars(trip.trained), "systems": [vars(one) for one in trip.synced], "there": trip.there}
        terminal.finish(told, json, quiet, lambda: terminal.show_round_trip(trip))
        return
    if not (json or quiet):
        terminal.show_ingested(ingested)
        terminal.show_trained(trained)
        terminal.show_scores(scores)
        terminal.show_credit(run.summary())
    asked = {"lead_ids": [str(scores["lead_id"].iloc[0])], "as_of": now.isoformat()}
    if port is None:
        port = 0 if once else free(settings.serve.port)
    with running(workspace, settings, port) as url:
        reply = ask(f"{url}/score", asked)
        if json:
            document = {"trained": vars(trained), "scored": len(scores), **run.summary(), **reply, "url": url}
            terminal.print_json(document)
        elif not quiet:
            terminal.print_json(reply)
            typer.echo(f"\nThe MLflow run {trained.run_id} is finished. The service on {url} answered:")
            typer.echo(
                f"  curl -s {url}/score -H 'content-type: application/json' -d '{jsonlib.dumps(asked)}'\n"
                f"Its pages for sales, marketing and engineers: {url}/"
            )
        if not once:
            typer.echo("It goes on answering. Stop it with Ctrl-C.", err=True)
            until_interrupted()


@app.command()
def init(
    workspace: Workspace = HERE,
    sheet: Annotated[
        Path | None, typer.Option("--from", help="Guess how this CSV export, with one row a lead, is to be read.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write touchstone.toml, with every setting explained, or with the mapping of your own leads."""
    from features.errors import NothingToDo
    from features.settings import FILE, settings_page

    path = workspace / FILE
    if path.exists():
        raise NothingToDo(f"{path} is there already; it was left as it is.")
    document: dict[str, Any] = {"written": str(path)}
    if sheet:
        from connectors.proposal import proposal
        from connectors.sheet import opened

        with opened(sheet) as rows:
            guessed = proposal(rows, _now())
        document |= {"found": guessed.found, "notes": guessed.notes}
        if not (json or quiet):
            terminal.show_proposal(sheet, guessed)
        if not yes and sys.stdin.isatty() and not terminal.agreed(f"Write this to {path}?"):
            raise NothingToDo(
                "Nothing was written. Rename columns of the file, or map them in touchstone.toml yourself."
            )
    workspace.mkdir(parents=True, exist_ok=True)
    path.write_text(guessed.page if sheet else settings_page(), "utf-8")
    terminal.finish(document, json, quiet, lambda: terminal.show_initialised(path, sheet))


@app.command()
def join(
    store: Annotated[str, typer.Argument(help="Address of an object store, such as s3://bucket/touchstone.")],
    workspace: Workspace = HERE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Share the lake and the models with a team: make the workspace a mirror of an object store."""
    from features.store import join as join_store

    with terminal.progress(quiet, "Bringing both together"):
        brought = join_store(workspace, store)
    document = {"store": store, "brought": brought}
    said = "now holds what this workspace held" if brought else "is what this workspace shows now"
    terminal.finish(document, json, quiet, lambda: typer.echo(f"{store} {said}."))


@app.command()
def ingest(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files or folders (CSV, Parquet, JSON Lines), or hubspot, salesforce, marketo, mailchimp."),
    ] = None,
    workspace: Workspace = HERE,
    retry: Annotated[
        bool, typer.Option("--retry", help="Take quarantined rows again, after a mapping is mended.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read history from files or connected systems into the lake; refused rows go to quarantine, with a sentence."""
    from connectors.connections import landed
    from connectors.mapping import SYSTEMS, mapped
    from features.errors import Partly
    from features.ingestion import files_in
    from features.ingestion import ingest as ingest_files
    from features.lake import Lake
    from features.retry import retry as retry_quarantined
    from features.settings import read_settings

    if not paths and not retry:
        raise typer.BadParameter("Name files or folders, or give --retry.")
    systems = [str(path) for path in paths or [] if str(path) in SYSTEMS and not path.exists()]
    files = files_in(path for path in paths or [] if str(path) not in systems)
    lake, settings, partly = Lake(workspace / "lake"), read_settings(workspace), None
    with terminal.progress(quiet, "Reading files", len(files) or None) as step:
        results = ingest_files(lake, settings, files, _now(), step)
        if retry:
            results += retry_quarantined(lake, mapped(settings, workspace), _now(), step)
        try:
            for system in systems:
                for result in landed(system, workspace, settings, _now(), step):
                    results.append(result)  # what was landed before the day's quota was used up counts
        except Partly as stopped:
            partly = stopped
    document: dict[str, Any] = {"files": [vars(result) for result in results]}
    terminal.finish(
        document | ({"partly": str(partly)} if partly else {}), json, quiet, lambda: terminal.show_ingested(results)
    )
    if partly:
        raise partly
    if any(result.refused for result in results):
        raise typer.Exit(REFUSED)
    if not any(result.stored for result in results):
        raise typer.Exit(NOTHING_TO_DO)


@app.command()
def check(
    workspace: Workspace = HERE,
    duplicates: Annotated[
        Path | None, typer.Option(help="Write leads that seem to be one person to this CSV or Parquet file.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what the lake holds, and what is wrong with it."""
    from features.checkup import checkup
    from features.lake import Lake
    from features.settings import read_settings

    if duplicates:
        from features.duplicates import duplicates as proposed
        from serving.batch import write

        proposals = proposed(Lake(workspace / "lake"), _now()).to_pandas()
        write(proposals, duplicates)
        document = {"written": str(duplicates), "reasons": proposals.groupby("why").size().to_dict()}
        terminal.finish(document, json, quiet, lambda: terminal.show_duplicates(document))
        return
    found = checkup(Lake(workspace / "lake"), read_settings(workspace).goal, _now())
    terminal.finish(found, json, quiet, lambda: terminal.show_checkup(found))


@app.command()
def features(
    workspace: Workspace = HERE,
    moments: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file of lead_id and as_of: the moments to look at.")
    ] = None,
    every: Annotated[float | None, typer.Option(help="Instead: every lead, each so many days.", min=0.01)] = None,
    start: Annotated[str | None, typer.Option("--from", help="First of these moments.", metavar="DATE")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of these moments, not included.", metavar="DATE")] = None,
    output: Annotated[Path | None, typer.Option(help="Parquet or CSV file to write.")] = None,
    dictionary: Annotated[Path | None, typer.Option(help="Write what each feature means to this .md or .json.")] = None,
    engine: Engine = "local",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the feature table for given moments."""
    from features.memory import keep_freed_memory

    keep_freed_memory()
    from features.catalogue import catalogue_of
    from features.dictionary import write_dictionary
    from features.history import microseconds
    from features.lake import Lake
    from features.moments import chosen
    from features.rows import write_features
    from features.settings import read_settings

    catalogue, document = catalogue_of(read_settings(workspace).features), dict[str, Any]()
    if dictionary:
        write_dictionary(catalogue, dictionary)
        document = {"dictionary": str(dictionary)}
    if output or not dictionary:
        asked = chosen(moments, every, *(microseconds(_moment(date)) if date else None for date in (start, end)))
        with terminal.progress(quiet, "Measuring leads"):
            document |= write_features(Lake(workspace / "lake"), catalogue, asked, output, engine)
    terminal.finish(document, json, quiet, lambda: terminal.show_features(document))


@app.command()
def train(
    workspace: Workspace = HERE,
    goal: Goal = None,
    as_of: AsOf = None,
    tune: Annotated[float, typer.Option(help="Try other settings for so many seconds first.", min=0)] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a model, judge it on later data, record it in MLflow, and promote it if the gate lets it."""
    from features.lake import Lake
    from training.train import train as train_model

    (settings, room), cut = _towards(goal, workspace), _moment(as_of)
    with terminal.progress(quiet, "Training", 5 if tune else 4) as step:
        trained = train_model(Lake(workspace / "lake"), settings, room, cut, step, tune)
    terminal.finish(vars(trained), json, quiet, lambda: terminal.show_trained(trained))
    terminal.warn(trained.unrecorded)
    if not trained.promoted:
        raise typer.Exit(REFUSED)


@app.command()
def backtest(
    workspace: Workspace = HERE,
    test_from: Annotated[str | None, typer.Option(help="Make one fold: test on snapshots from this moment on.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Write every prediction to this CSV or Parquet file.")
    ] = None,
    goal: Goal = None,
    plots: Annotated[Path | None, typer.Option(help="Draw reliability, folds and lift into this folder.")] = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge honestly: train on what was known, test on what came later."""
    from features.catalogue import catalogue_of
    from features.history import microseconds
    from features.lake import Lake
    from features.reading import read_history
    from features.verbs import columns_of
    from serving.batch import write
    from training.backtest import backtest as judge

    (settings, _), cut = _towards(goal, workspace), microseconds(_moment(as_of))
    origins = [microseconds(_moment(test_from))] if test_from else []
    with terminal.progress(quiet, "Reading history", len(origins) or 4) as step:
        looked_at = columns_of(catalogue_of(settings.features))
        judged = judge(read_history(Lake(workspace / "lake"), more=looked_at), settings, cut, origins, step)
    if predictions:
        write(judged.predictions, predictions)
    if plots:
        from training.plots import write_plots

        write_plots(plots, judged.folds, judged.predictions)
    document = {"overall": judged.overall, "folds": judged.folds}
    terminal.finish(document, json, quiet, lambda: terminal.show_backtest(document))


@app.command()
def score(
    workspace: Workspace = HERE,
    goal: Goal = None,
    as_of: AsOf = None,
    output: Annotated[Path | None, typer.Option(help="Write the scores to this CSV or Parquet file.")] = None,
    outlook: Annotated[
        Path | None, typer.Option(help="Write when each lead may close, or be lost, to this CSV or Parquet file.")
    ] = None,
    engine: Engine = "local",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score every open lead."""
    from features.errors import NothingToDo
    from features.history import microseconds
    from features.lake import Lake
    from serving import batch
    from serving.exploration import WHY

    (settings, room), cut = _towards(goal, workspace), _moment(as_of)
    with terminal.progress(quiet, "Scoring open leads"):
        scores, objectors, outlooks, withheld = batch.score_and_store(
            room,
            Lake(workspace / "lake"),
            settings.goal,
            microseconds(cut),
            settings.exploration,
            engine,
            outlook=outlook is not None,
        )
    if scores.empty and objectors and not withheld:
        raise NothingToDo(f"All {len(objectors)} open leads objected to profiling and are not scored.")
    if scores.empty and not withheld:
        raise NothingToDo(
            f"No lead is open as of {cut:%Y-%m-%d %H:%M} UTC. Ingest newer leads, or give another --as-of."
        )
    if output:
        batch.write(scores, output)
    if outlook is not None and outlooks is not None:
        batch.write(outlooks, outlook)
    document = {
        "scores": jsonlib.loads(scores.to_json(orient="records", date_format="iso")),
        "not_scored": [
            *({"lead_id": lead, "why": "objected to profiling"} for lead in objectors),
            *({"lead_id": lead, "why": WHY} for lead in withheld),
        ],
    }
    terminal.finish(document, json, quiet, lambda: terminal.show_scores(scores, objectors, withheld))


@app.command()
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
    settings, named, lake, cut = read_settings(workspace), model or [], Lake(workspace / "lake"), _moment(as_of)
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
    terminal.finish(document, json, quiet, lambda: terminal.show_credit(document))


@app.command()
def retrain(
    workspace: Workspace = HERE,
    force: Annotated[bool, typer.Option("--force", help="Train although nothing is due.")] = False,
    goal: Goal = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train when it is due, by age, new outcomes or drift; promote only through the gate."""
    from features.lake import Lake
    from training.retrain import retrain as train_if_due

    (settings, room), cut = _towards(goal, workspace), _moment(as_of)
    with terminal.progress(quiet, "Looking whether it is due", 5) as step:
        due, trained = train_if_due(Lake(workspace / "lake"), settings, room, cut, step, force=force)
    terminal.finish({"due": due, **vars(trained)}, json, quiet, lambda: terminal.show_trained(trained, due))
    terminal.warn(trained.unrecorded)
    if not trained.promoted:
        raise typer.Exit(REFUSED)


@app.command()
def monitor(
    workspace: Workspace = HERE,
    alarms: Annotated[Path | None, typer.Option(help="Write the alarms to this JSON file.")] = None,
    webhook: Annotated[
        str | None, typer.Option(help="Post alarms, if any, to this address. Default: monitor.webhook.")
    ] = None,
    goal: Goal = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say whether promises are kept, what drifted, and what to do; the exit status is 3 if there is an alarm."""
    from features.durable import write_durably
    from features.lake import Lake
    from serving.monitoring import FILE
    from training.monitor import monitored, posted

    settings, room = _towards(goal, workspace)
    with terminal.progress(quiet, "Watching"):
        found = monitored(Lake(workspace / "lake"), settings, room, _moment(as_of))
    terminal.finish(found, json, quiet, lambda: terminal.show_monitored(found))
    write_durably(room / FILE, jsonlib.dumps(found, ensure_ascii=False, allow_nan=False))
    webhook = webhook or settings.monitor.webhook
    if alarms:
        write_durably(alarms, jsonlib.dumps(found["alarms"], ensure_ascii=False, indent=1))
    if webhook and found["alarms"]:
        terminal.warn(posted(webhook, found))
    if found["alarms"]:
        raise typer.Exit(REFUSED)


@app.command()
def report(
    workspace: Workspace = HERE,
    output: Annotated[Path | None, typer.Option(help="Write one HTML page that needs no service to this file.")] = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say how sales and marketing stand together: the hand-over, the funnel, what each channel brought."""
    from features.durable import write_durably
    from features.lake import Lake
    from features.settings import read_settings
    from serving.pages.report import page
    from serving.pages.report import report as together

    with terminal.progress(quiet, "Counting"):
        told = together(workspace, Lake(workspace / "lake"), read_settings(workspace), _moment(as_of))
    if output:
        write_durably(output, page(told))
    terminal.finish(told, json, quiet, lambda: terminal.show_report(told))


@app.command()
def sync(
    systems: Annotated[
        list[str] | None, typer.Argument(help="hubspot, salesforce, marketo or mailchimp; default: all that were read.")
    ] = None,
    workspace: Workspace = HERE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the scores that changed back to the connected systems."""
    from connectors.connections import opened
    from connectors.mapping import SYSTEMS
    from connectors.writeback import sync as write_back
    from features.errors import NothingToDo
    from features.settings import read_settings

    settings = read_settings(workspace)
    named = systems or [system for system in SYSTEMS if (workspace / "connectors" / system).exists()]
    if not named:
        raise NothingToDo("No system was read yet. Give `touchstone ingest hubspot`, or name a system.")
    results = []
    with terminal.progress(quiet, "Writing scores back") as step:
        for system in named:
            with opened(system, workspace, settings, _now()) as (connection, dock):
                band = getattr(settings.connectors, system).band
                results.append(write_back(connection, dock, band, step, dry=dry_run))
    terminal.finish({"systems": [vars(one) for one in results]}, json, quiet, lambda: terminal.show_synced(results))
    if any(one.refused for one in results):
        raise typer.Exit(PARTLY)
    if not any(one.written or one.changes for one in results):
        raise typer.Exit(NOTHING_TO_DO)


@models.command("list")
def models_list(workspace: Workspace = HERE, goal: Goal = None, json: Json = False, quiet: Quiet = False) -> None:
    """List the models, the latest first, and say which one serves."""
    from training.registry import listed

    found = listed(_towards(goal, workspace)[1] / "models")
    terminal.finish({"models": found}, json, quiet, lambda: terminal.show_models(found))


@models.command("compare")
def models_compare(
    versions: Annotated[tuple[str, str], typer.Argument(help="Two versions.")],
    workspace: Workspace = HERE,
    goal: Goal = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge two models on the same snapshots, taken after both had learned."""
    from features.history import microseconds
    from features.lake import Lake
    from features.reading import read_history
    from features.verbs import columns_of
    from serving.scorer import load
    from training.registry import compared

    settings, room = _towards(goal, workspace)
    one, other = (load(room / "models" / version) for version in versions)
    history = read_history(Lake(workspace / "lake"), more=columns_of([*one.spec.features, *other.spec.features]))
    found = compared(one, other, history, settings, microseconds(_moment(as_of)))
    terminal.finish({"models": found}, json, quiet, lambda: terminal.show_compared(found))


@models.command("promote")
def models_promote(
    version: Annotated[str, typer.Argument(help="The version that is to serve.")],
    workspace: Workspace = HERE,
    goal: Goal = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Let a model serve, after it was loaded on trial."""
    from training.registry import marked
    from training.registry import serve as serve_version

    room = _towards(goal, workspace)[1]
    said = {"champion": serve_version(room / "models", version)}
    terminal.finish(said, json, quiet, lambda: typer.echo(f"{version} is champion."))
    terminal.warn(marked(room, version))


@models.command("rollback")
def models_rollback(workspace: Workspace = HERE, goal: Goal = None, json: Json = False, quiet: Quiet = False) -> None:
    """Let the model serve that served before."""
    from training.registry import marked, serve_again

    room = _towards(goal, workspace)[1]
    version = serve_again(room / "models")
    terminal.finish({"champion": version}, json, quiet, lambda: typer.echo(f"{version} is champion again."))
    terminal.warn(marked(room, version))


@tokens.command("create")
def tokens_create(
    name: Annotated[str, typer.Argument(help="Whose token it is, or what for.")],
    scope: Annotated[list[str], typer.Option(help="read, score, ingest or admin (all of them); repeat for several.")],
    workspace: Workspace = HERE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a token and print it, once."""
    from serving.tokens import create

    made = {"name": name, "scopes": scope, "token": create(workspace, name, scope, _now())}
    terminal.finish(made, json, quiet, lambda: typer.echo(made["token"]))


@tokens.command("list")
def tokens_list(workspace: Workspace = HERE, json: Json = False, quiet: Quiet = False) -> None:
    """List the tokens; what proves them is not kept."""
    from serving.tokens import listed

    found = listed(workspace)
    terminal.finish({"tokens": found}, json, quiet, lambda: terminal.show_tokens(found))


@tokens.command("revoke")
def tokens_revoke(
    name: Annotated[str, typer.Argument(help="The token that is to be refused from now on.")],
    workspace: Workspace = HERE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take a token away; a running service refuses it at once."""
    from serving.tokens import revoke

    revoke(workspace, name)
    terminal.finish({"revoked": name}, json, quiet, lambda: typer.echo(f"{name} is revoked."))


@app.command()
def export(
    person: Annotated[str, typer.Argument(help="A lead_id, or the e-mail address of a lead.")],
    workspace: Workspace = HERE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print everything that is held about a person, as one JSON document."""
    from features.erasure import held
    from features.lake import Lake

    document = held(Lake(workspace / "lake"), person)
    terminal.finish(document, json, quiet, lambda: terminal.print_json(document))


@app.command()
def erase(
    person: Annotated[str, typer.Argument(help="A lead_id, or the e-mail address of a lead.")],
    workspace: Workspace = HERE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Forget a person everywhere, keep the channels' totals, and name the models to train again."""
    from features.erasure import erase as erase_person
    from features.erasure import to_erase
    from features.errors import ConfigError, NothingToDo
    from features.goals import rooms
    from features.lake import Lake
    from features.tombstones import rows_of
    from features.traces import traces
    from serving.witnesses import witnesses

    lake = Lake(workspace / "lake")
    if not yes:
        wanted = to_erase(lake, person)
        if not sys.stdin.isatty():
            raise ConfigError("Nothing was erased. There is no terminal on which to ask; give --yes to erase at once.")
        terminal.show_person(person, wanted, rows_of(lake, wanted))
        typer.echo("Erase all of it? It cannot be undone. [y/N] ", err=True, nl=False)
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise NothingToDo("Nothing was erased.")
    with terminal.progress(quiet, "Looking for the person", 10) as step:
        erased = erase_person(lake, person, step)
        step("Searching the workspace")
        elsewhere = traces(workspace, lake.folder, erased)
    document = {
        "erased": person,
        "records": len(erased.lead_ids),
        "models": [one for room in rooms(workspace) for one in witnesses(room / "models", erased.since)],
        "elsewhere": elsewhere,
        "shared": list(erased.shared_emails),
    }
    terminal.finish(document, json, quiet, lambda: terminal.show_erased(document))


@app.command()
def serve(
    workspace: Workspace = HERE,
    port: Port = None,
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback every request needs a token.")] = (
        "127.0.0.1"
    ),
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run the service: scores, events, the work list and its pages; SIGHUP takes over new code."""
    from features.settings import read_settings
    from serving.supervision import supervise

    def say(url: str) -> None:
        terminal.finish({"url": url}, json, quiet, lambda: typer.echo(f"Serving on {url}. Stop with Ctrl-C."))

    configured = read_settings(workspace).serve.port
    raise typer.Exit(supervise(workspace, configured if port is None else port, host, say))


def main() -> None:
    """Run a command; an error that the user can mend is one sentence and an exit status, not a traceback."""
    from features.errors import ConfigError, NothingToDo, Partly, TouchstoneError

    try:
        app()
    except TouchstoneError as error:
        typer.secho(f"{type(error).__name__}: {error}", err=True, fg=typer.colors.RED)
        status = {ConfigError: USAGE, NothingToDo: NOTHING_TO_DO, Partly: PARTLY}.get(type(error), FAILED)
        sys.exit(status)
    except KeyboardInterrupt:
        sys.exit(FAILED)


def _refuse_together(engine: str, paths: Path | None, *, pipeline: bool, robustness: bool) -> None:
    """Refuse options of ``attribute`` of which one has no meaning beside the other."""
    from features.errors import ConfigError

    if engine == "spark" and (paths or pipeline):
        raise typer.BadParameter("--paths and --pipeline are counted on this machine. Leave out --engine spark.")
    if paths and (pipeline or robustness):
        raise ConfigError("--pipeline and --robustness ask for leads, which --paths does not know. Leave --paths out.")


def _towards(goal: str | None, workspace: Path) -> tuple[Settings, Path]:
    """Return the settings by which a goal is pursued, and the folder of its models."""
    from features.goals import room_of
    from features.settings import read_settings

    settings = read_settings(workspace)
    return (settings if goal is None else settings.for_goal(goal)), room_of(workspace, goal or "")


def _journeys_by(engine: str) -> Any:
    """Return the function that makes journeys on an engine."""
    if engine == "spark":
        from attribution import spark  # an optional extra

        return spark.journeys_in
    from attribution import deals

    return deals.journeys_in


def _now() -> datetime:
    return datetime.now(UTC)


def _moment(text: str | None) -> datetime:
    from features.errors import ConfigError

    if text is None:
        return _now()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f'"{text}" is not a moment. Write it as 2026-02-28 or 2026-02-28T09:00:00Z.') from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


if __name__ == "__main__":
    main()
