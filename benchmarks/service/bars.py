"""Bars: what a figure has to reach, and whether it does."""

from __future__ import annotations

MISSED = list[str]()


def bar(what: str, value: float, least: float = -float("inf"), most: float = float("inf")) -> None:
    """Print a figure and whether it meets its bar."""
    met = least <= value <= most
    wanted = f"at least {least:g}" if least > -float("inf") else f"at most {most:g}"
    print(f"  {what}: {value:,.3g}   bar: {wanted}   {'met' if met else 'MISSED'}")
    if not met:
        MISSED.append(what)
