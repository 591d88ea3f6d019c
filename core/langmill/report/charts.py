"""Small charts as inline SVG: no script, no style of their own, colours from the page. Lengths are percentages, so that they
fit a phone and a sheet of paper; words stand in HTML beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from markupsafe import Markup


MOST = 400  # points of a line; more can not be told apart, and a long training has a hundred thousand


class Series(NamedTuple):
    """A line of a chart: its name, the class its colour hangs on, its points, and whether each is marked by a dot."""

    name: str
    look: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


class Plot(NamedTuple):
    """A line chart cut into what the page sets around it: the drawing, and the ticks with their place in percent."""

    drawing: Markup
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round figures that span low to high."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def line_chart(series: Sequence[Series], title: str) -> Plot | None:
    """Lines over steps; None when no line has a point. A line of one point is drawn as a dot; of a long one MOST points are."""
    from markupsafe import Markup

    drawn = [item._replace(points=_thinned(item.points)) for item in series if item.points]
    if not drawn:
        return None
    xs = [x for item in drawn for x, _ in item.points]
    ys = [y for item in drawn for _, y in item.points]
    y_at = ticks(min(ys), max(ys))
    x_at = [x for x in ticks(min(xs), max(xs)) if min(xs) <= x <= max(xs)] or [min(xs)]
    left, right = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1
    low, high = y_at[0], y_at[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        return 100 * (x - left) / (right - left), 100 * (high - y) / (high - low)

    parts = [
        Markup(
            '<svg class="plot" viewBox="0 0 100 100" preserveAspectRatio="none" role="img"><title>{}</title>'
        ).format(title)
    ]
    for y in y_at:
        at = place(left, y)[1]
        parts.append(Markup('<line class="grid" x1="0" x2="100" y1="{0:.2f}" y2="{0:.2f}"/>').format(at))
    for item in drawn:
        points = [place(x, y) for x, y in item.points]
        if len(points) > 1:
            path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
            parts.append(Markup('<polyline class="line {}" points="{}"/>').format(item.look, path))
        for x, y in points if item.dots or len(points) == 1 else ():
            dot = f"{x:.2f},{y:.2f} {x + 0.01:.2f},{y:.2f}"  # a stroke keeps its shape where the drawing is stretched
            parts.append(Markup('<polyline class="line {} alone" points="{}"/>').format(item.look, dot))
    parts.append(Markup("</svg>"))
    return Plot(
        Markup("").join(parts),
        [(round(place(x, low)[0], 2), f"{x:g}") for x in x_at],
        [(round(place(left, y)[1], 2), f"{y:g}") for y in y_at],
    )


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most MOST points, evenly chosen, both ends among them."""
    if len(points) <= MOST:
        return points
    return [points[round(index * (len(points) - 1) / (MOST - 1))] for index in range(MOST)]


def interval_bar(value: float, low: float, high: float, chance: float, look: str, title: str) -> Markup:
    """A share in 0..1 with its interval, and the line of chance, on a track that is 0 to 1 wide."""
    from markupsafe import Markup

    return Markup(
        '<svg class="interval {look}" width="100%" height="18" role="img"><title>{title}</title>'
        '<line class="track" x1="0" x2="100%" y1="9" y2="9"/>'
        '<line class="chance" x1="{chance:.2f}%" x2="{chance:.2f}%" y1="0" y2="18"/>'
        '<line class="whisker" x1="{low:.2f}%" x2="{high:.2f}%" y1="9" y2="9"/>'
        '<circle class="dot" cx="{value:.2f}%" cy="9" r="4.5"/></svg>'
    ).format(look=look, title=title, chance=100 * chance, low=100 * low, high=100 * high, value=100 * value)


def share_bar(parts: Mapping[str, int], whole: int, title: str) -> Markup:
    """A bar cut into parts (class name: count) of a whole."""
    from markupsafe import Markup

    pieces, at = [], 0.0
    for look, n in parts.items():
        width = 100 * n / whole if whole else 0.0
        if n:
            pieces.append(
                Markup('<rect class="{}" x="{:.2f}%" width="{:.2f}%" y="0" height="100%"/>').format(look, at, width)
            )
        at += width
    return Markup('<svg class="share" width="100%" height="8" role="img"><title>{}</title>{}</svg>').format(
        title, Markup("").join(pieces)
    )
