"""Heat maps of a classic histogram's buckets."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from picture import fields, units
from picture.errors import Unsupported
from picture.graph import SMALL, Plot, times_below
from picture.scene import Area, Scene, nothing


def draw(scene: Scene, panel: Mapping, area: Area) -> None:
    field = fields.of_panel(panel)
    options = panel["options"]
    if options.get("calculate"):
        raise Unsupported("heat maps which make their own buckets")
    lines = scene.lines(panel, int(area.width / 6))
    buckets = {line.series.labels.get("le"): line.series for line in lines}
    if None in buckets or len(buckets) != len(lines):
        raise Unsupported("heat maps of series which don't differ by the label `le`")
    found = sorted(((float(bound), series) for bound, series in buckets.items()), key=lambda bucket: bucket[0])
    least = options.get("filterValues", {}).get("le", 0)
    if not found or not any((series.values > least).any() for _, series in found):
        nothing(scene, area, field.no_value)
        return
    bounds = [bound for bound, _ in found]
    counts = np.array([series.values for _, series in found])
    # Each bucket counts those below it, too. Extrapolation may make a larger one smaller.
    counts[1:] = np.maximum(np.diff(counts, axis=0), 0)
    counts[~(counts > least)] = np.nan
    _draw(scene, area, field, options, bounds, counts, found[0][1].times)


def _draw(scene: Scene, area: Area, field, options: Mapping, bounds, counts, times) -> None:
    canvas, theme = scene.canvas, scene.canvas.theme
    unit = options.get("yAxis", {}).get("unit") or field.unit
    labels = [units.text(bound, unit) for bound in bounds]
    left = max(canvas.text_width(label, SMALL) for label in labels) + 8
    plot = Plot(area.within(left, 6, 6, 38), scene.span.start, scene.span.end, 0, len(bounds))
    times_below(scene, plot)
    every = max(1, -(-len(bounds) * 16 // int(plot.area.height)))
    for index, label in enumerate(labels):
        # A bucket's bound is its upper edge.
        if (len(labels) - 1 - index) % every == 0:
            canvas.text(plot.area.x - 8, float(plot.y(index + 1)) + 4, label, SMALL, theme.faint, across="right")
    most = float(np.nanmax(counts))
    exponent = options.get("color", {}).get("exponent", 0.5)
    colors = LinearSegmentedColormap.from_list("heat", theme.heat)
    step = times[1] - times[0] if len(times) > 1 else scene.span.seconds
    width = float(plot.x(plot.start + step)) - plot.area.x
    height = plot.area.height / len(bounds)
    for row, column in zip(*np.nonzero(np.isfinite(counts))):
        # What was counted up to a time is drawn before it.
        x = float(plot.x(times[column])) - width
        start, end = max(x, plot.area.x), min(x + width - 0.7, plot.area.right)
        if end > start:
            share = (counts[row, column] / most) ** exponent
            canvas.box(start, float(plot.y(row + 1)) + 0.5, end - start, height - 1, colors(share), order=2)
    _scale(scene, area, colors, most, exponent)


def _scale(scene: Scene, area: Area, colors, most: float, exponent: float) -> None:
    """How many a colour stands for, below the map."""
    canvas, theme = scene.canvas, scene.canvas.theme
    wide = min(140.0, area.width / 2)
    x, y = area.x + 26, area.bottom - 10
    for index in range(40):
        share = ((index + 0.5) / 40) ** exponent
        canvas.box(x + wide / 40 * index, y, wide / 40 + 0.3, 5, colors(share), order=2)
    canvas.text(x - 6, y + 2.5, "0", SMALL, theme.faint, across="right")
    canvas.text(x + wide + 6, y + 2.5, units.text(most), SMALL, theme.faint)
