"""Time series: lines or bars, stacked or not, with axes and a legend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from picture import fields, scales, units
from picture.colors import of_series
from picture.errors import Unsupported
from picture.scene import Area, Line, Scene, nothing

SMALL = 11.0
LEGEND_LINE = 17.0


@dataclass(frozen=True)
class Plot:
    """Where values are drawn: an area of the page, for times and values from a least to a most."""

    area: Area
    start: float
    end: float
    least: float
    most: float

    def x(self, times):
        return self.area.x + (np.asarray(times) - self.start) / (self.end - self.start) * self.area.width

    def y(self, values):
        return self.area.bottom - (np.asarray(values) - self.least) / (self.most - self.least) * self.area.height


def draw(scene: Scene, panel: Mapping, area: Area) -> None:
    field = fields.of_panel(panel)
    custom = field.custom
    is_bars = custom.get("drawStyle", "line") == "bars"
    if custom.get("drawStyle", "line") not in ("line", "bars"):
        raise Unsupported(f"the style {custom['drawStyle']!r} of a graph")
    stacking = custom.get("stacking", {}).get("mode", "none")
    if stacking not in ("none", "normal"):
        raise Unsupported(f"stacking of the mode {stacking!r}")
    # A bar takes more room than a point of a line.
    lines = scene.lines(panel, int(area.width / (6 if is_bars else 2)))
    lines = [line for line in lines if np.isfinite(line.series.values).any()]
    if not lines:
        nothing(scene, area, field.no_value)
        return
    colors = of_series(line.name for line in lines)
    if panel["options"]["legend"].get("showLegend", True):
        area = _legend(scene, panel["options"]["legend"], field, lines, colors, area)
    tops = [line.series.values for line in lines]
    bottoms = [np.zeros_like(values) for values in tops]
    if stacking == "normal":
        bottoms, tops = _stacked(tops)
    least = min(0.0, *(np.nanmin(values) for values in tops)) if field.least is None else field.least
    most = max(np.nanmax(values) for values in tops) if field.most is None else field.most
    plot = axes(scene, area, least, most, field.unit, bounded=field.most is not None)
    opacity = custom.get("fillOpacity", 0) / 100
    width = custom.get("lineWidth", 1)
    for line, bottom, top in zip(lines, bottoms, tops):
        paint = _bars if is_bars else _curve
        paint(scene, plot, line, bottom, top, colors[line.name], opacity, width)


def axes(scene: Scene, area: Area, least: float, most: float, unit: str, *, bounded: bool = False) -> Plot:
    """Draws the axes; returns what is left of the area between them."""
    canvas, theme, span = scene.canvas, scene.canvas.theme, scene.span
    ticks = scales.value_ticks(least, most, max(2, int((area.height - 22) / 38)), unit)
    labels = [units.text(tick, unit) for tick in ticks]
    left = max(canvas.text_width(label, SMALL) for label in labels) + 8
    inner = area.within(left, 6, 6, 20)
    # A graph that fills its room has no tick above it, and some air.
    top = ticks[-1] if bounded or most > ticks[-1] * 0.95 else max(most * 1.05, ticks[-2] if len(ticks) > 1 else 0)
    if top <= least:
        top = ticks[-1]
    plot = Plot(inner, span.start, span.end, least, top)
    for tick, label in zip(ticks, labels):
        if tick > top * 1.0001:
            continue
        y = float(plot.y(tick))
        canvas.lines([((inner.x, y), (inner.right, y))], theme.grid)
        canvas.text(inner.x - 8, y, label, SMALL, theme.faint, across="right")
    times_below(scene, plot)
    return plot


def times_below(scene: Scene, plot: Plot) -> None:
    """The axis of time."""
    canvas, theme, area = scene.canvas, scene.canvas.theme, plot.area
    # A label with seconds is wider.
    room = 80 if plot.end - plot.start < 180 else 60
    marked = scales.time_ticks(plot.start, plot.end, max(2, int(area.width / room)))
    step = marked[1] - marked[0] if len(marked) > 1 else plot.end - plot.start
    for at in marked:
        x = float(plot.x(at))
        canvas.lines([((x, area.y), (x, area.bottom))], theme.grid)
        label = scales.clock(at, step, plot.end - plot.start)
        half = canvas.text_width(label, SMALL) / 2
        # Half of a label would stick out of its panel.
        if x - half >= area.x - 40 and x + half <= area.right + 8:
            canvas.text(x, area.bottom + 12, label, SMALL, theme.faint, across="center")


def _stacked(values: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Where each series begins and ends when each stands on those before it; one without a value takes no room."""
    bottoms, tops = [], []
    height = np.zeros_like(values[0])
    for one in values:
        bottoms.append(height)
        height = height + np.nan_to_num(one)
        tops.append(np.where(np.isnan(one), np.nan, height))
    return bottoms, tops


def _curve(scene: Scene, plot: Plot, line: Line, bottom, top, color: str, opacity: float, width: float) -> None:
    xs, ys = plot.x(line.series.times), plot.y(np.clip(top, plot.least, plot.most))
    inside = (xs >= plot.area.x - 0.5) & (xs <= plot.area.right + 0.5)
    xs, ys, floor = xs[inside], ys[inside], plot.y(bottom)[inside]
    if opacity:
        scene.canvas.axes.fill_between(xs, floor, ys, color=color, alpha=opacity, linewidth=0, zorder=2)
    scene.canvas.line(xs, ys, color, max(width, 1) * 1.3)
    there = np.isfinite(np.concatenate(([np.nan], ys, [np.nan])))
    # A value between two gaps is no line, but a dot.
    alone = there[1:-1] & ~there[:-2] & ~there[2:]
    scene.canvas.axes.plot(xs[alone], ys[alone], ".", color=color, markersize=3, zorder=3)


def _bars(scene: Scene, plot: Plot, line: Line, bottom, top, color: str, opacity: float, width: float) -> None:
    times = line.series.times
    step = float(times[1] - times[0]) if len(times) > 1 else plot.end - plot.start
    wide = max(1.5, float(plot.x(plot.start + step)) - plot.area.x - 1)
    for at, low, high in zip(times, bottom, np.clip(top, plot.least, plot.most)):
        # The first point can be before the time that is shown, since points are at whole steps.
        if not np.isfinite(high) or high <= low or at < plot.start:
            continue
        # Of a bar at either end, that part is drawn which is inside.
        left = max(float(plot.x(at)) - wide / 2, plot.area.x)
        right = min(float(plot.x(at)) + wide / 2, plot.area.right)
        y = float(plot.y(high))
        if right > left:
            high = float(plot.y(low)) - y
            scene.canvas.box(left, y, right - left, high, color, alpha=min(opacity + 0.2, 1), order=2)


# === Legends ===


def _legend(scene: Scene, options: Mapping, field: fields.Field, lines, colors, area: Area) -> Area:
    """Draws the names of the series; returns the area that is left for the graph."""
    # Series of one name are one in the legend.
    names = dict.fromkeys(line.name for line in lines)
    if options.get("placement") == "right":
        return _legend_right(scene, options, field, {line.name: line for line in lines}, colors, area)
    return _legend_below(scene, list(names), colors, area)


def _legend_below(scene: Scene, names: list[str], colors: Mapping[str, str], area: Area) -> Area:
    canvas = scene.canvas
    most_lines = 3 if area.height > 240 else 2
    rows: list[list[tuple[str, float]]] = [[]]
    used = 0.0
    left_out = 0
    for index, name in enumerate(names):
        told = canvas.fitting(name, area.width - 40, SMALL)
        wide = 18 + canvas.text_width(told, SMALL) + 12
        # The last line keeps room for how many there is none for.
        room = area.width - (60 if len(rows) == most_lines and index + 1 < len(names) else 0)
        if used + wide > room and rows[-1]:
            if len(rows) == most_lines:
                left_out = len(names) - index
                break
            rows.append([])
            used = 0.0
        rows[-1].append((name, used))
        used += wide
    top = area.bottom - LEGEND_LINE * len(rows)
    for row_index, row in enumerate(rows):
        y = top + LEGEND_LINE * (row_index + 0.5) + 2
        for name, x in row:
            canvas.box(area.x + x + 2, y - 1.5, 11, 3, colors[name], radius=1.5)
            canvas.text(area.x + x + 18, y, canvas.fitting(name, area.width - 40, SMALL), SMALL, canvas.theme.faint)
        if left_out and row_index + 1 == len(rows):
            canvas.text(area.right - 4, y, f"+ {left_out}", SMALL, canvas.theme.faint, across="right")
    return area.within(0, 0, 0, LEGEND_LINE * len(rows) + 4)


def _legend_right(scene: Scene, options: Mapping, field: fields.Field, lines, colors, area: Area) -> Area:
    """A table beside the graph: names, and what is computed of each series."""
    canvas, theme = scene.canvas, scene.canvas.theme
    computed = {"lastNotNull": ("Last", _last), "max": ("Max", np.nanmax), "mean": ("Mean", np.nanmean)}
    columns = []
    for calc in options.get("calcs", []):
        if calc not in computed:
            raise Unsupported(f"the calculation {calc!r} of a legend")
        columns.append(computed[calc])
    cells = {name: [field.text(float(of(line.series.values))) for _, of in columns] for name, line in lines.items()}
    wides = [
        max(canvas.text_width(text, SMALL) for text in [title, *(row[index] for row in cells.values())]) + 12
        for index, (title, _) in enumerate(columns)
    ]
    longest = max(canvas.text_width(name, SMALL) for name in lines) + 20
    wide = min(longest + sum(wides) + 8, area.width * 0.55)
    left = area.right - wide
    named = wide - sum(wides) - 20
    ends = [area.right - sum(wides[index + 1 :]) - 4 for index in range(len(wides))]
    for (title, _), end in zip(columns, ends):
        canvas.text(end, area.y + 8, title, SMALL, theme.faint, across="right")
    room = int((area.height - 20) / LEGEND_LINE)
    for index, (name, row) in enumerate(cells.items()):
        y = area.y + 8 + LEGEND_LINE * (index + 1)
        if index + 1 == room and len(cells) > room:
            canvas.text(left + 18, y, f"+ {len(cells) - index}", SMALL, theme.faint)
            break
        canvas.box(left + 2, y - 1.5, 11, 3, colors[name], radius=1.5)
        canvas.text(left + 18, y, canvas.fitting(name, named, SMALL), SMALL, theme.faint)
        for text, end in zip(row, ends):
            canvas.text(end, y, text, SMALL, theme.text, across="right")
    return area.within(0, 0, wide + 12, 0)


def _last(values: np.ndarray) -> float:
    return values[np.isfinite(values)][-1]
