"""Drawings: small charts as inline SVG, made on the server. Each says in words what it shows, and scripts nothing.

Colours and fonts are the stylesheet's, by class; sizes are attributes, since the pages allow no inline style.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup, escape

Point = tuple[float, float]
HALF = 0.5
WON = "Won"  # the end of a flow
WIDE, TALL = 1100.0, 220.0  # of a chart that fills a section; on a narrow screen it is scrolled
FLOWS_WIDE, FLOWS_TALL = 900.0, 420.0
SIDE = 320.0  # of a reliability diagram


def _svg(kind: str, width: float, height: float, says: str, parts: Iterator[str]) -> Markup:
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    named = f'role="img" aria-label="{escape(says)}"'
    return Markup(f'<svg class="{kind}" {size} {named}>{"".join(parts)}</svg>')  # noqa: S704  # every text is escaped


def _text(x: float, y: float, text: str, *classes: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{" ".join(classes)}">{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, name: str, round_: float = 0) -> str:
    corner = f' rx="{round_:g}"' if round_ else ""
    size = f'width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} class="{name}"{corner}/>'


def _dot(x: float, y: float, radius: float, says: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="dot"><title>{escape(says)}</title></circle>'


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{name}"/>'


def interval(
    said: float, low: float, high: float, top: float, says: str, usual: float | None = None, width: float = 150
) -> Markup:
    """Return a bar up to what is said, with its interval, on a scale from 0 to ``top``; ``usual`` is marked."""

    def parts() -> Iterator[str]:
        scale = width / (top or 1)
        yield _rect(0, 4, width, 10, "track", 5)
        yield _rect(low * scale, 4, (min(high, top) - low) * scale, 10, "range", 5)
        yield _rect(0, 7, min(said, top) * scale, 4, "bar", 2)
        yield _rect(min(said * scale, width - 3), 1, 3, 16, "mark", 1.5)
        if usual is not None:
            yield _line(usual * scale, 0, usual * scale, 18, "usual")

    return _svg("interval", width, 18, says, parts())


def bar(value: float, top: float, says: str, width: float = 120) -> Markup:
    """Return a plain bar on a scale from 0 to ``top``."""
    return _svg(
        "plainbar",
        width,
        10,
        says,
        iter([_rect(0, 1, width, 8, "track", 4), _rect(0, 1, max(value, 0) / (top or 1) * width, 8, "bar", 4)]),
    )


def lever(effect: float, top: float, says: str) -> Markup:
    """Return a bar from the middle to the right for what raises, to the left for what lowers."""
    width = 90.0
    middle, reach = width / 2, min(abs(effect) / (top or 1), 1) * width / 2
    return _svg(
        "lever",
        width,
        12,
        says,
        iter(
            [
                _rect(middle if effect > 0 else middle - reach, 2, reach, 8, "bar" if effect > 0 else "against", 2),
                _line(middle, 0, middle, 12, "axis"),
            ]
        ),
    )


def ticks(top: float, most: int = 5) -> list[float]:
    """Return round numbers from 0 up to the first that is not below ``top``.

    >>> ticks(0.23), ticks(930)
    ([0.0, 0.05, 0.1, 0.15, 0.2, 0.25], [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0])
    """
    if top <= 0 or not math.isfinite(top):
        return [0.0, 1.0]
    raw = top / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * round_ for round_ in (1, 2, 5, 10) if power * round_ >= raw * 0.999999)
    return [round(step * i, 12) for i in range(math.ceil(top / step - 1e-9) + 1)]


def columns(labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], says: str) -> Markup:
    """Return columns side by side: one group for each label, one column in it for each series."""
    left, bottom, width, height = 44.0, 24.0, WIDE, TALL
    steps = ticks(max((value for _, values in series for value in values), default=1))
    top, inner = steps[-1], height - bottom - 10

    def parts() -> Iterator[str]:
        for step in steps:
            y = 10 + inner * (1 - step / top)
            yield _line(left, y, width, y, "grid") + _text(left - 6, y + 4, f"{step:,g}", "end")
        group = (width - left) / max(len(labels), 1)
        each = group * 0.72 / max(len(series), 1)
        every = max(1, math.ceil(len(labels) / 12))
        for i, label in enumerate(labels):
            for k, (name, values) in enumerate(series):
                tall = values[i] / top * inner
                x = left + group * i + group * 0.14 + each * k
                yield f"<g><title>{escape(f'{label}, {name}: {values[i]:,g}')}</title>"
                yield _rect(x, 10 + inner - tall, each * 0.92, tall, f"series-{k + 1}", 1.5) + "</g>"
            if i % every == 0:
                yield _text(left + group * (i + HALF), height - 6, label, "middle")

    return _svg("chart", width, height, says, parts())


def lines(
    labels: Sequence[str], middle: Sequence[float], low: Sequence[float], high: Sequence[float], says: str
) -> Markup:
    """Return shares (0 to 1) over time as a line with its band."""
    left, bottom, width, height = 44.0, 24.0, WIDE, TALL
    steps = ticks(max([*high, *middle, 0.01]))
    top, inner = steps[-1], height - bottom - 10
    gap = (width - left - 16) / max(len(labels) - 1, 1)
    xs = [left + 8 + gap * i for i in range(len(labels))]

    def y(value: float) -> float:
        return 10 + inner * (1 - value / top)

    def parts() -> Iterator[str]:
        for step in steps:
            yield _line(left, y(step), width, y(step), "grid") + _text(left - 6, y(step) + 4, f"{step:.0%}", "end")
        around = [*zip(xs, map(y, high), strict=True), *reversed([*zip(xs, map(y, low), strict=True)])]
        yield f'<polygon class="band" points="{_points(around)}"/>'
        yield f'<polyline class="curve" points="{_points([*zip(xs, map(y, middle), strict=True)])}"/>'
        every = max(1, math.ceil(len(labels) / 8))
        for i, label in enumerate(labels):
            yield _dot(xs[i], y(middle[i]), 2.5, f"{label}: {middle[i]:.1%}")
            if i % every == 0 and (i == 0 or i + every <= len(labels)):
                yield _text(xs[i], height - 6, label, "start" if i == 0 else "end" if i == len(xs) - 1 else "middle")

    return _svg("chart", width, height, says, parts())


def promises(
    promised: Sequence[float],
    realised: Sequence[float],
    sizes: Sequence[float],
    errors: Sequence[float],
    says: str,
) -> Markup:
    """Return a reliability diagram: what was promised against what came true, whose standard errors are given."""
    left, bottom, side = 44.0, 40.0, SIDE
    steps = ticks(max([*promised, *realised, 0.05]), 4)
    top, inner = steps[-1], side - bottom - 10

    def x(value: float) -> float:
        return left + (side - left - 10) * value / top

    def y(value: float) -> float:
        return 10 + inner * (1 - min(value, top) / top)

    def parts() -> Iterator[str]:
        for step in steps:
            yield _line(left, y(step), side - 10, y(step), "grid") + _text(left - 6, y(step) + 4, f"{step:.0%}", "end")
            yield _text(x(step), side - 22, f"{step:.0%}", "middle")
        yield _line(x(0), y(0), x(top), y(top), "ideal")
        for said, came, size, error in zip(promised, realised, sizes, errors, strict=True):
            reach = 1.645 * max(error, 0.5 / size)
            yield _line(x(said), y(max(came - reach, 0)), x(said), y(came + reach), "whisker")
            yield _dot(x(said), y(came), 4, f"promised {said:.1%}, came true {came:.1%} of {size:,.0f}")
        yield _text(x(top / 2), side - 4, "promised", "middle") + _text(left + 4, 20, "came true", "start")

    return _svg("reliability", side, side, says, parts())


def sankey(flows: Sequence[tuple[int, str, str, float]], says: str) -> Markup:
    """Return flows (step, from, to, how many) as bands between columns of names; a step leads to the next column."""
    steps = max((step for step, *_ in flows), default=0) + 2
    columns_ = [_heights(flows, step) for step in range(steps)]
    total = max((sum(column.values()) for column in columns_), default=1) or 1
    most = max((len(column) for column in columns_), default=1)
    width, height, gap, bar_width, label = FLOWS_WIDE, FLOWS_TALL, 14.0, 10.0, 118.0
    scale = (height - gap * (most + 1)) / total
    pitch = (width - bar_width - label) / max(steps - 1, 1)
    top = [_stacked(column, scale, gap) for column in columns_]

    def parts() -> Iterator[str]:
        out, into = [dict(column) for column in top], [dict(column) for column in top]
        for step, source, target, count in sorted(
            flows, key=lambda flow: (flow[0], top[flow[0]][flow[1]], top[flow[0] + 1][flow[2]])
        ):
            thick = count * scale
            x1, x2 = pitch * step + bar_width, pitch * (step + 1)
            y1, y2 = out[step][source], into[step + 1][target]
            out[step][source] += thick
            into[step + 1][target] += thick
            bend = (x1 + x2) / 2
            over = f"M{x1:.1f} {y1:.1f}C{bend:.1f} {y1:.1f} {bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
            y1, y2 = y1 + thick, y2 + thick
            under = f"L{x2:.1f} {y2:.1f}C{bend:.1f} {y2:.1f} {bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}Z"
            yield f'<path class="flow{" won" if target == WON else ""}" d="{over}{under}">'
            yield f"<title>{escape(f'{source} → {target}: {count:,.0f}')}</title></path>"
        for step, column in enumerate(columns_):
            for name, count in column.items():
                tall = max(count * scale, 1)
                yield _rect(pitch * step, top[step][name], bar_width, tall, "node won" if name == WON else "node", 2)
                yield _text(
                    pitch * step + bar_width + 5,
                    top[step][name] + max(tall / 2 + 4, 8),
                    f"{name} {count:,.0f}",
                    "start",
                    "halo",
                )

    return _svg("sankey", width, height, says, parts())


def _heights(flows: Sequence[tuple[int, str, str, float]], step: int) -> dict[str, float]:
    """Return how many are at each name of a column, the most first."""
    out, into = dict[str, float](), dict[str, float]()
    for at, source, target, count in flows:
        if at == step:
            out[source] = out.get(source, 0) + count
        elif at == step - 1:
            into[target] = into.get(target, 0) + count
    both = {name: max(out.get(name, 0), into.get(name, 0)) for name in {**out, **into}}
    return dict(sorted(both.items(), key=lambda item: (-item[1], item[0])))


def _stacked(column: dict[str, float], scale: float, gap: float) -> dict[str, float]:
    places, y = dict[str, float](), gap / 2
    for name, count in column.items():
        places[name] = y
        y += count * scale + gap
    return places


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
