"""How a command speaks: tables, progress bars, questions, and one JSON document when a program asks."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of figures, none of which is cut: what has no room stands below, beside the first column again."""
    from rich.console import Console

    console, below = Console(markup=False), [[row[place] for row in rows] for place in range(len(columns))]
    least = [max(map(len, (*name.split(), *cells)), default=0) for name, cells in zip(columns, below, strict=True)]
    whole = [max(width, len(name)) for width, name in zip(least, columns, strict=True)]

    def fits(widths: Sequence[int], shown: int) -> bool:
        return sum(widths[:shown]) + 3 * shown < console.width  # with the lines between

    shown = max(sum(fits(least, n + 1) for n in range(len(columns))), FEWEST)
    widths = whole if fits(whole, shown) else least  # of which headings wrap
    table = _titled(title)
    for place, name in enumerate(columns[:shown]):
        table.add_column(name, justify="right" if place else "left", width=widths[place])
    for row in rows:
        table.add_row(*row[:shown])
    console.print(table)
    if shown < len(columns):
        show_table("", (columns[0], *columns[shown:]), [(row[0], *row[shown:]) for row in rows])


def show_sentences(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose last column holds sentences: it takes the room that is left, and wraps."""
    from rich.console import Console

    table = _titled(title, expand=True)
    table.add_column(columns[0], no_wrap=True)
    for name in columns[1:-1]:
        table.add_column(name, justify="right")
    table.add_column(columns[-1], ratio=1, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(markup=False).print(table)


def _titled(title: str, *, expand: bool = False) -> Any:
    from rich.table import Table

    return Table(title=title, title_justify="left", title_style="bold", header_style="bold", expand=expand)


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
