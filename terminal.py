"""How a command speaks: tables, progress bars, questions, and one JSON document when a program asks."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import typer

FEWEST = 2  # columns of a table, however narrow a terminal is


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


def agreed(question: str, *, by_default: bool) -> bool:
    """Ask on a terminal, and return whether the answer was yes; an empty line is the default, the end of input no."""
    typer.echo(f"{question} {'[Y/n]' if by_default else '[y/N]'} ", err=True, nl=False)
    line = sys.stdin.readline()  # empty only at the end
    return (line.strip().lower() or ("y" if line and by_default else "n")) in {"y", "yes"}


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


def show_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], last: Literal["fit", "wrap"] = "fit"
) -> None:
    """Print a table; the last column fits its content, or takes the room that is left and wraps.

    No number is cut: columns that the terminal has no room for stand below, beside the first column again.
    """
    from rich.console import Console
    from rich.table import Table

    least = [_least(column, [row[place] for row in rows]) for place, column in enumerate(columns)]
    console = Console()
    room = [sum(least[:shown]) + 3 * shown < console.width for shown in range(1, len(columns) + 1)]  # lines between
    shown = len(columns) if last == "wrap" else max(room.count(True), min(len(columns), FEWEST))
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", expand=last == "wrap")
    table.add_column(columns[0], no_wrap=True)
    for place in range(1, shown):
        if last == "wrap" and place == len(columns) - 1:
            table.add_column(columns[place], ratio=1, overflow="fold")
        else:
            table.add_column(columns[place], justify="right", min_width=least[place])
    for row in rows:
        table.add_row(*row[:shown])
    console.print(table)
    if shown < len(columns):
        show_table("", (columns[0], *columns[shown:]), [(row[0], *row[shown:]) for row in rows])


def _least(column: str, cells: Sequence[str]) -> int:
    """Return how wide a column has to be: a word of its heading is not broken, nor is what stands below."""
    return max(map(len, (*column.split(), *cells)), default=0)


def count(number: int | None) -> str:
    """Return a count as it is shown."""
    return "–" if number is None else f"{number:,}"


def figure(value: float | None) -> str:
    """Return a measurement as it is shown: a count whole, all else to three places."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def percent(probability: float | None) -> str:
    """Return a probability as it is shown."""
    return "–" if probability is None else f"{probability:.1%}"


def day(moment: Any) -> str:
    """Return a moment as it is shown, to the minute."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "–"
