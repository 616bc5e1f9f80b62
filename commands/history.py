"""What is known of leads: read into the lake, looked over, and measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import terminal
from commands.clock import moment, now
from commands.options import FILE, HERE, TABLE, AnyWorkspace, Engine, Json, Quiet, Workspace, lake_with_leads
from commands.statuses import NOTHING_TO_DO, REFUSED
from commands.systems import each, fail


def ingest(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files or folders (CSV, Parquet, JSON Lines), or hubspot, salesforce, marketo, mailchimp."),
    ] = None,
    workspace: AnyWorkspace = HERE,
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
    from features.files import of_no_known_kind
    from features.ingestion import files_in, passed_over
    from features.ingestion import ingest as ingest_files
    from features.lake import Lake
    from features.retry import retry as retry_quarantined
    from features.settings import read_settings

    if not paths and not retry:
        raise typer.BadParameter("Name files or folders, or give --retry.")
    systems = [str(path) for path in paths or [] if str(path) in SYSTEMS and not path.exists()]
    given = [path for path in paths or [] if str(path) not in systems]
    files = files_in(given)
    if left_out := of_no_known_kind(passed_over(given)):
        terminal.warn(f"Left out: {left_out}")
    lake, settings = Lake(workspace / "lake"), read_settings(workspace)
    with terminal.progress(quiet, "Reading files", len(files) or None) as step:
        results = ingest_files(lake, settings, files, now(), step)
        if retry:
            results += retry_quarantined(lake, mapped(settings, workspace), now(), step)

        def read(system: str) -> None:
            results.extend(landed(system, workspace, settings, now(), step))  # what came before it failed counts

        failed = each(systems, read)
    document: dict[str, Any] = {"files": [vars(result) for result in results]}
    if partly := [str(error) for error in failed if isinstance(error, Partly)]:
        document["partly"] = " ".join(partly)
    terminal.finish(document, json, quiet, lambda: show_ingested(results) if results or not failed else None)
    fail(failed)
    if any(result.refused for result in results):
        raise typer.Exit(REFUSED)
    if not any(result.stored for result in results):
        raise typer.Exit(NOTHING_TO_DO)


def check(
    workspace: Workspace = HERE,
    duplicates: Annotated[
        Path | None,
        typer.Option(help="Write leads that seem to be one person to this CSV or Parquet file.", callback=TABLE),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what the lake holds, and what is wrong with it."""
    from features.checkup import aimless, checkup
    from features.lake import Lake
    from features.settings import read_settings

    if duplicates:
        from features.duplicates import duplicates as proposed
        from serving.batch import write

        proposals = proposed(Lake(workspace / "lake"), now()).to_pandas()
        write(proposals, duplicates)
        document = {"written": str(duplicates), "reasons": proposals.groupby("why").size().to_dict()}
        terminal.finish(document, json, quiet, lambda: show_duplicates(document))
        return
    settings = read_settings(workspace)
    found = checkup(Lake(workspace / "lake"), settings.goal, now())
    found["findings"] += aimless(found, settings.goals)
    terminal.finish(found, json, quiet, lambda: show_checkup(found))


def features(
    workspace: Workspace = HERE,
    moments: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file of lead_id and as_of: the moments to look at.")
    ] = None,
    every: Annotated[float | None, typer.Option(help="Instead: every lead, each so many days.", min=0.01)] = None,
    start: Annotated[str | None, typer.Option("--from", help="First of these moments.", metavar="DATE")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of these moments, not included.", metavar="DATE")] = None,
    output: Annotated[Path | None, typer.Option(help="Parquet or CSV file to write.", callback=TABLE)] = None,
    dictionary: Annotated[
        Path | None, typer.Option(help="Write what each feature means to this .md or .json.", callback=FILE)
    ] = None,
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
    from features.moments import chosen
    from features.rows import write_features
    from features.settings import read_settings

    catalogue, document = catalogue_of(read_settings(workspace).features), dict[str, Any]()
    if dictionary:
        write_dictionary(catalogue, dictionary)
        document = {"dictionary": str(dictionary)}
    if output or not dictionary:
        asked = chosen(moments, every, *(microseconds(moment(date)) if date else None for date in (start, end)))
        with terminal.progress(quiet, "Measuring leads"):
            document |= write_features(lake_with_leads(workspace), catalogue, asked, output, engine)
    terminal.finish(document, json, quiet, lambda: show_features(document))


def show_ingested(results: Sequence[Any]) -> None:
    """Print what became of each file, and why rows were refused."""
    if not results:
        typer.echo("Nothing new came.")
        return
    rows = [(r.file, r.table, *(f"{n:,}" for n in (r.stored, r.already_there, r.refused))) for r in results]
    terminal.show_table("Ingested", ("file", "table", "stored", "already there", "refused"), rows)
    for result in results:
        for why in result.reasons:
            typer.echo(f"refused from {result.file}: {why}")
    if any(not why.endswith("nothing of it was kept.") for result in results for why in result.reasons):
        typer.echo("Refused rows are kept in quarantine; `touchstone check` groups them.")


def show_checkup(found: dict[str, Any]) -> None:
    """Print what the lake holds, what is in quarantine, and what was found."""
    rows = [
        (
            name,
            f"{table['rows']:,}",
            terminal.count(table["leads"]),
            terminal.day(table["first"]),
            terminal.day(table["last"]),
        )
        for name, table in found["tables"].items()
    ]
    terminal.show_table("The lake", ("table", "rows", "leads", "first", "last"), rows)
    if found["quarantine"]:
        refused = [(q["table"], q["source"], f"{q['rows']:,}", q["why"]) for q in found["quarantine"]]
        terminal.show_sentences("Quarantine", ("table", "from", "rows", "why"), refused)
        advice = (f"• {q['why']} For example: {_cut(q['example'])}\n  {q['remedy']}" for q in found["quarantine"])
        typer.echo("\n".join(dict.fromkeys(advice)))  # a broken line of several tables is told once
    moved = [source for source in found["sources"] if source["column"] in {None, "kind"}]
    if moved:
        terminal.show_table(
            "What arrives",
            ("source", "newest", "days ago", "last 7 days", "week before"),
            [_arriving(source) for source in moved],
        )
    for finding in found["findings"]:
        typer.echo(f"• {finding}")


def _arriving(source: dict[str, Any]) -> tuple[str, ...]:
    before = source["weekly_before"]
    return (
        source["name"] or source["table"],
        terminal.day(source["newest"]),
        f"{source['age_days']:,.1f}",
        f"{source['last_7_days']:,}",
        "–" if before is None else f"{before:,.1f}",
    )


def _cut(text: str | None, length: int = 200) -> str:
    shown = " ".join((text or "").split())
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def show_duplicates(document: dict[str, Any]) -> None:
    """Print how many leads seem to be duplicates, why, and how they are merged."""
    if not document["reasons"]:
        typer.echo("No two leads seem to be one person.")
        return
    rows = [(why, f"{count:,}") for why, count in document["reasons"].items()]
    terminal.show_table("Leads that seem to be another lead", ("why", "leads"), rows)
    typer.echo(
        f"{document['written']} names each, and how sure it is. Nothing was merged: delete the rows that are wrong, "
        "name the file identities (.csv or .parquet), and merge the others with `touchstone ingest`."
    )


def show_features(document: dict[str, Any]) -> None:
    """Print where the features, or what they mean, were written."""
    if "output" in document:
        typer.echo(f"{document['rows']:,} rows of {document['features']} features are in {document['output']}.")
        if document["left_out"]:
            typer.echo(
                f"Moments without a row: {document['left_out']:,}, of leads that are not in the lake or objected."
            )
    if "dictionary" in document:
        typer.echo(f"What each feature means is in {document['dictionary']}.")
