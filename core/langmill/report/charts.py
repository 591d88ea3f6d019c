"""Small charts as inline SVG: no script, no style of their own, colours from the page. Lengths are percentages, so that they
fit a phone and a sheet of paper; words stand in HTML beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from markupsafe import Markup


LINE = 16  # pixels between figures that stand under each other
LINES = 9  # of a chart, that dashes and colours still tell apart
FEW = 24  # draws from which on their shares say something
MOST = 400  # points of a line; more can not be told apart, and a long training has a hundred thousand


class Series(NamedTuple):
    """A line of a chart: its name, the class its colour hangs on, its points, and whether each is marked by a dot."""

    name: str
    look: str
    points: Sequence[tuple[float, float]]
    dots: bool = False

    @property
    def key(self) -> Markup:
        """A piece of the line, for the legend: dashed as it is, so that lines are told apart without colours, too."""
        from markupsafe import Markup

        return Markup(
            '<svg class="plot key" aria-hidden="true"><line class="line {}" x1="0" x2="30" y1="6" y2="6"/></svg>'
        ).format(self.look)


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


def line_chart(series: Sequence[Series], title: str, *, share: bool = False) -> Plot | None:
    """Lines over steps; None when no line has a point. A line of one point is drawn as a dot; of a long one MOST points are.
    ``share``: figures are parts of one, told in percent from 0 on."""
    from markupsafe import Markup

    drawn = [item._replace(points=thinned(item.points)) for item in series if item.points]
    if not drawn:
        return None
    xs = [x for item in drawn for x, _ in item.points]
    ys = [y for item in drawn for _, y in item.points]
    y_at = ticks(0.0, max(ys)) if share else ticks(min(ys), max(ys))
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
        [(round(place(left, y)[1], 2), f"{100 * y:g} %" if share else f"{y:g}") for y in y_at],
    )


def shares(ends: Sequence[int], draws: Mapping[str, Sequence[int]]) -> list[Series]:
    """The share of each source in stretches of a stage that end at these steps: in the middle of so many stretches together that
    chance, with FEW draws in each, does not hide the course. Of more than LINES sources those that came least are one line. Sources
    whose share is largest early come first."""
    whole = sum(map(sum, draws.values()))
    groups = max(1, min(len(ends), whole // FEW))
    cuts = [round(len(ends) * group / groups) for group in range(groups + 1)]
    named = sorted(draws, key=lambda name: -sum(draws[name]))
    if len(named) > LINES:
        rest = named[LINES - 1 :]
        draws = {name: draws[name] for name in named[: LINES - 1]} | {
            f"{len(rest)} other sources": [sum(counts) for counts in zip(*(draws[name] for name in rest), strict=True)]
        }
    starts = [0, *ends[:-1]]
    middles = [(starts[low] + ends[high - 1]) / 2 for low, high in pairwise(cuts)]
    sums = {name: [sum(counts[low:high]) for low, high in pairwise(cuts)] for name, counts in draws.items()}
    totals = [max(1, sum(counts[group] for counts in sums.values())) for group in range(groups)]
    mean_place = {
        name: sum(m * n for m, n in zip(middles, counts, strict=True)) / sum(counts) for name, counts in sums.items()
    }
    return [
        Series(
            name,
            f"source{number}",
            [(middle, n / total) for middle, n, total in zip(middles, sums[name], totals, strict=True)],
        )
        for number, name in enumerate(sorted(sums, key=lambda name: (mean_place[name], name)), 1)
    ]


def thinned(points: Sequence[tuple[float, float]], most: int = MOST) -> Sequence[tuple[float, float]]:
    """At most so many points, evenly chosen, both ends among them."""
    if len(points) <= most:
        return points
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]


class Dot(NamedTuple):
    """A figure with the ends of its interval, the class its colour hangs on, and what to say of it."""

    value: float
    low: float
    high: float
    look: str
    title: str


class Scale(NamedTuple):
    """From figures to percent of a track: even, or by logarithm where figures differ by more than a factor of ten."""

    low: float
    high: float
    marks: tuple[float, ...]
    by_logarithm: bool = False

    def place(self, value: float) -> float:
        """Where a figure lies, in percent; at the edge what lies beyond it."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.by_logarithm:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return 100 * (at - low) / (high - low)


def scale(values: Sequence[float], *, share: bool = False, logarithm: bool = False) -> Scale:
    """A scale that holds all values. One of shares begins at 0; ``logarithm``: figures that are all above 0 may have theirs."""
    low, high = min(values), max(values)
    if logarithm and low > 0 and high / low > 10:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        first = max(index for index, step in enumerate(steps) if step <= low)
        last = min(index for index, step in enumerate(steps) if step >= high)
        marks = steps[first : last + 1]
        return Scale(marks[0], marks[-1], tuple(marks if len(marks) < 8 else marks[::-3][::-1]), True)
    marks = ticks(0.0, min(1.0, high) or 1.0) if share else ticks(low, high)
    return Scale(marks[0], marks[-1], tuple(marks))


def dot_lines(dots: Sequence[Dot], scale: Scale, chance: float | None, title: str) -> Markup:
    """Figures under each other on one track, each with its whisker, and the line of what guessing would get."""
    from markupsafe import Markup

    height = LINE * len(dots) + 6
    parts = [Markup('<svg class="dots" width="100%" height="{}" role="img"><title>{}</title>').format(height, title)]
    for mark in scale.marks:
        line = '<line class="grid" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="100%"/>'
        parts.append(Markup(line).format(scale.place(mark)))
    if chance is not None:
        line = '<line class="chance" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="100%"/>'
        parts.append(Markup(line).format(scale.place(chance)))
    for number, dot in enumerate(dots):
        places = {"low": scale.place(dot.low), "high": scale.place(dot.high), "at": scale.place(dot.value)}
        parts.append(
            Markup(
                '<g class="{look}"><title>{title}</title>'
                '<line class="whisker" x1="{low:.2f}%" x2="{high:.2f}%" y1="{y}" y2="{y}"/>'
                '<circle class="dot" cx="{at:.2f}%" cy="{y}" r="4.5"/></g>'
            ).format(look=dot.look, title=dot.title, y=LINE * number + LINE // 2 + 3, **places)
        )
    return Markup("").join([*parts, Markup("</svg>")])


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
