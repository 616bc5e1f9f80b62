"""How answers look on a terminal: tables, progress bars, and one JSON document when a program asks."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from shlex import quote
from typing import Any, Literal

import typer

SHOWN = 10  # leads in a table
ARROWS = {"improving": "▲", "declining": "▼", "steady": "="}
METRICS = {
    "n": "rows",
    "base_rate": "base rate",
    "mean_probability": "mean score",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "ece": "calib. error",
    "lift_at_10": "lift top 10 %",
}


def finish(document: dict[str, Any], json: bool, quiet: bool, show: Callable[[], None]) -> None:
    """Print a command's answer: for a program, for a person, or not at all."""
    if json:
        print_json(document)
    elif not quiet:
        show()


def warn(sentence: str) -> None:
    """Print a sentence, if there is one, on standard error: something went wrong that stopped nothing."""
    if sentence:
        typer.echo(sentence, err=True)


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on standard output."""
    typer.echo(jsonlib.dumps(document, ensure_ascii=False, indent=2, default=str, allow_nan=False))


@contextmanager
def progress(quiet: bool, start: str, steps: int | None = None) -> Iterator[Callable[[str], None]]:
    """Show what is being done, on a terminal's standard error; each step says what comes next."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(start, total=steps)
        begun = False

        def step(sentence: str) -> None:
            nonlocal begun
            progress.update(task, description=sentence, advance=1 if begun else 0)
            begun = True

        yield step


def _show(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], last: Literal["fit", "wrap", "cut"] = "fit"
) -> None:
    """Print a table; the last column fits its content, or takes the room that is left and wraps or is cut."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", expand=last != "fit")
    table.add_column(columns[0], no_wrap=True)
    for column in columns[1:-1]:
        table.add_column(column, justify="right")
    if last == "fit":
        table.add_column(columns[-1], justify="right")
    else:
        table.add_column(columns[-1], ratio=1, no_wrap=last == "cut", overflow="ellipsis" if last == "cut" else "fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def show_proposal(sheet: Any, guessed: Any) -> None:
    """Print how a sheet is going to be read."""
    _show(f"How {sheet.name} is read", ("what", "column", "how"), guessed.found, last="wrap")
    for note in guessed.notes:
        typer.echo(f"• {note}")


def agreed(question: str) -> bool:
    """Ask on a terminal, and return whether the answer was yes; yes is also what an empty line means."""
    typer.echo(f"{question} [Y/n] ", err=True, nl=False)
    return input().strip().lower() in {"", "y", "yes"}


def show_initialised(path: Any, sheet: Any) -> None:
    """Print that the settings are written, and what comes next."""
    if sheet is None:
        typer.echo(f"{path} is written. Every setting is explained in it.")
        return
    typer.echo(f"{path} is written: look it over, and change what was guessed wrong. Then:")
    where = "" if str(path.parent) == "." else f" --workspace {quote(str(path.parent))}"
    steps = (f"ingest {quote(str(sheet))}", "train", "score")
    typer.echo("\n".join(f"  touchstone {step}{where}" for step in steps))


def show_synced(results: Sequence[Any]) -> None:
    """Print what became of the scores of each connected system, and of a dry run what would change."""
    for one in results:
        typer.echo(
            f"{one.system}: {one.written:,} written, {one.unchanged:,} unchanged, {one.withheld:,} withheld, "
            f"{one.refused:,} refused"
        )
        for reason in one.reasons:
            typer.echo(f"  {reason}")
        if one.changes:
            rows = [
                (change["lead_id"], _percent(change["probability_before"]), _percent(change["probability"]),
                 f"{change['grade_before'] or '–'} → {change['grade']}")
                for change in one.changes[:SHOWN]
            ]  # fmt: skip
            _show(f"{len(one.changes):,} would be written", ("lead", "was", "is", "grade"), rows)


def show_round_trip(trip: Any) -> None:
    """Print what came from connected systems, what was learned, and what went back."""
    show_ingested(trip.ingested)
    show_trained(trip.trained)
    show_synced(trip.synced)
    typer.echo("\nThe most promising lead of each system, as sales sees it there:")
    print_json(trip.there)


def _percent(probability: float | None) -> str:
    return "–" if probability is None else f"{probability:.1%}"


def show_ingested(results: Sequence[Any]) -> None:
    """Print what became of each file, and why rows were refused."""
    rows = [(r.file, r.table, *(f"{n:,}" for n in (r.stored, r.already_there, r.refused))) for r in results]
    _show("Ingested", ("file", "table", "stored", "already there", "refused"), rows)
    for result in results:
        for why in result.reasons:
            typer.echo(f"refused from {result.file}: {why}")
    if any(not why.endswith("nothing of it was kept.") for result in results for why in result.reasons):
        typer.echo("Refused rows are kept in quarantine; `touchstone check` groups them.")


def show_checkup(found: dict[str, Any]) -> None:
    """Print what the lake holds, what is in quarantine, and what was found."""
    rows = [
        (name, f"{table['rows']:,}", _count(table["leads"]), _day(table["first"]), _day(table["last"]))
        for name, table in found["tables"].items()
    ]
    _show("The lake", ("table", "rows", "leads", "first", "last"), rows)
    if found["quarantine"]:
        refused = [(q["table"], q["source"], f"{q['rows']:,}", q["why"]) for q in found["quarantine"]]
        _show("Quarantine", ("table", "from", "rows", "why"), refused, last="wrap")
        advice = (f"• {q['why']} For example: {_cut(q['example'])}\n  {q['remedy']}" for q in found["quarantine"])
        typer.echo("\n".join(dict.fromkeys(advice)))  # a broken line of several tables is told once
    moved = [source for source in found["sources"] if source["column"] in {None, "kind"}]
    if moved:
        _show("What arrives", ("source", "newest", "last 7 days", "a week before"), [_arriving(s) for s in moved])
    for finding in found["findings"]:
        typer.echo(f"• {finding}")


def _arriving(source: dict[str, Any]) -> tuple[str, str, str, str]:
    before = source["weekly_before"]
    return (
        source["name"] or source["table"],
        f"{_day(source['newest'])} ({source['age_days']:,.1f} days ago)",
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
    _show("Leads that seem to be another lead", ("why", "leads"), rows)
    typer.echo(
        f"{document['written']} names each, and how sure it is. Nothing was merged: delete the rows that are wrong, "
        "name the file identities (.csv or .parquet), and merge the others with `touchstone ingest`."
    )


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _day(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "–"


def show_features(document: dict[str, Any]) -> None:
    """Print where the features, or what they mean, were written."""
    if "output" in document:
        typer.echo(f"{document['rows']:,} rows of {document['features']} features are in {document['output']}.")
    if "dictionary" in document:
        typer.echo(f"What each feature means is in {document['dictionary']}.")


def show_report(told: dict[str, Any]) -> None:
    """Print how sales and marketing stand together."""
    handed, currency = told["passed_on"], told["currency"]
    typer.echo(
        f"Since {told['since']:%Y-%m-%d} marketing passed on {handed['passed']:,} (stage "
        f"{handed['stage']}); sales accepted {handed['accepted']:,} and rejected {handed['rejected']:,}."
    )
    _show("The funnel", ("stage", "leads"), [(step["stage"], f"{step['leads']:,}") for step in told["funnel"]])
    rows = [
        (one["channel"], f"{one['leads']:,}", _percent(one["promised"]), f"{one['won']:,}", f"{one['revenue']:,.0f}",
         *("–" if one[name] is None else f"{one[name]:,.0f}" for name in ("spend", "cac")), f"{one['pipeline']:,.0f}")
        for one in told["channels"]
    ]  # fmt: skip
    columns = ("channel", "leads", "promised", "won", f"revenue ({currency})", "spend", "CAC", "pipeline")
    _show("What each channel brought", columns, rows)
    if told["why_not"]:
        _show(
            "Why sales said no", ("reason", "leads"), [(r["reason"] or "–", f"{r['leads']:,}") for r in told["why_not"]]
        )


def show_monitored(found: dict[str, Any]) -> None:
    """Print how promises were kept, and each alarm: what moved, how sure that is, what to do."""
    kept = [
        (one["group"], f"{one['leads']:,}", f"{one['promised']:.1f}", f"{one['closed']:,}", f"{one['chance']:.1%}")
        for one in found["promises"]
    ]
    if kept:
        _show("Matured scores", ("group", "leads", "closes promised", "closed", "by chance"), kept)
    else:
        typer.echo("No score that was served is old enough to be judged yet.")
    for alarm in found["alarms"]:
        typer.echo(f"• {alarm['what']} {alarm['sure']} {alarm['do']}")
    if not found["alarms"]:
        typer.echo(f"No alarm. Model {found['model_version']} says what it said when it was judged.")


def show_trained(trained: Any, due: str = "") -> None:
    """Print why it was due, what a model learned from, how good it is, and whether it was promoted."""
    if due:
        typer.echo(due)
    typer.echo(
        f"Model {trained.version} ({trained.evidence}) learned from {trained.snapshots:,} snapshots with "
        f"{trained.wins:,} wins and is {'champion' if trained.promoted else 'challenger'}. {trained.why}"
    )
    if trained.tuning:
        typer.echo(trained.tuning)
    for leak in trained.leaks:
        typer.echo(f"• Left out: {leak['feature']}: {leak['why']}.")
    _show_metrics("On later data", [("latest", trained.metrics)])


def show_models(found: Sequence[dict[str, Any]]) -> None:
    """Print every model, the latest first, with what was measured on its later data."""
    figures = ("n", "roc_auc", "log_loss", "ece")
    rows = [
        (
            f"{one['version']}{' (champion)' if one['champion'] else ''}",
            str(one["as_of"] or "–")[:16],
            one["evidence"] or "–",
            *(_figure(one[name]) for name in figures),
        )
        for one in found
    ]
    _show("Models", ("version", "learned until", "evidence", *(METRICS[name] for name in figures)), rows)


def show_tokens(found: Sequence[dict[str, Any]]) -> None:
    """Print every token: whose it is, what it may do and when it was made."""
    rows = [(str(one["name"]), ", ".join(one["scopes"]), str(one["created_at"])) for one in found]
    _show("Tokens", ("name", "scopes", "made"), rows)


def show_compared(found: dict[str, dict[str, Any]]) -> None:
    """Print the metrics of two models on the same snapshots."""
    _show_metrics("On the same later snapshots", list(found.items()))


def show_backtest(document: dict[str, Any]) -> None:
    """Print the metrics of every fold and of all."""
    folds = [(str(fold["test_from"])[:10], fold) for fold in document["folds"]]
    _show_metrics("Backtest", [*folds, ("all", document["overall"])])


def _show_metrics(title: str, folds: Sequence[tuple[str, dict[str, Any]]]) -> None:
    rows = [(name, *(_figure(fold[key]) for key in METRICS)) for name, fold in folds]
    _show(title, ("test from", *METRICS.values()), rows)


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def show_scores(scores: Any, objectors: Sequence[str] = ()) -> None:
    """Print the most probable leads, and how many are not scored."""
    rows = [
        (
            row.lead_id,
            f"{row.probability:.0%}",
            f"{row.low:.0%} to {row.high:.0%}",
            f"{row.grade} {ARROWS.get(row.trend, '')}",
            next((reason["text"] for reason in jsonlib.loads(row.reasons)), ""),
        )
        for row in scores.head(SHOWN).itertuples()
    ]
    title = f"The {len(rows)} most probable of {len(scores):,} open leads"
    _show(title, ("lead", "closes", "90 % interval", "grade", "first reason"), rows, last="cut")
    if objectors:
        typer.echo(f"{_leads(len(objectors))} not scored: objected to profiling.")


def _leads(count: int) -> str:
    return "1 lead is" if count == 1 else f"{count:,} leads are"


def show_person(name: str, person: Any, counts: dict[str, int]) -> None:
    """Print on standard error who would be erased, and how many rows of which table."""
    rows = ", ".join(f"{count:,} in {table}" for table, count in counts.items())
    known = ", ".join(person.lead_ids)
    typer.echo(f'"{name}" is {known}. Rows held: {rows or "none any more; an erasure was interrupted"}.', err=True)


def show_erased(document: dict[str, Any]) -> None:
    """Print that a person is forgotten, and what is left for the user to do."""
    typer.echo(
        f"{document['erased']} is forgotten, in every table and every version of it. The channels' totals are as they "
        "were; versions of the lake before now are gone, so training runs that read them cannot be repeated."
    )
    versions = [f"{one['version']}{' (champion)' if one['champion'] else ''}" for one in document["models"]]
    if versions:
        typer.echo(f"Models that may have learned from the person: {', '.join(versions)}. Retrain to forget.")
    for email in document["shared"]:
        typer.echo(f"{email} stands in other leads, too. If they are this person: touchstone erase {email}")
    if document["elsewhere"]:
        rows = [(trace["file"], trace["what_to_do"]) for trace in document["elsewhere"]]
        _show("Files that still name the person", ("file", "what to do"), rows, last="wrap")
    typer.echo("Backups and copies outside the workspace are for you to clear.")


def _moved(row: dict[str, Any] | None) -> str:
    return "–" if row is None else f"{row['moved']:.0%} ({row['channel']} {row['before']:.0%} → {row['after']:.0%})"


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
    _show(title, ("channel", *(model.replace("_", " ") for model in models)), rows)
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
        _show("Share of the credit that moves, and where most", ("if", *(m.replace("_", " ") for m in models)), shares)
    if "trued_up" in document:
        names = ("promised", "decided", "came", "difference", "open")
        money = [
            (row["model"], row["channel"], *(f"{row[name]:,.2f}" for name in names)) for row in document["trued_up"]
        ]
        _show("What came of that pipeline, in money", ("model", "channel", *names), money)
    if "compared" in document:
        figures = [
            (each["model"], each["channel"], *(_figure(each[name]) for name in ("before", "credit", "change")))
            for each in document["compared"]
        ]
        _show("Beside the stored run", ("model", "channel", "before", "now", "change"), figures)
