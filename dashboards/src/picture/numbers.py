"""Panels of numbers: a large one, with how it went, and bars."""

import math
from collections.abc import Mapping

import numpy as np

from picture import fields, frames
from picture.errors import Unsupported
from picture.scene import Area, Scene, nothing


def _reduced(panel: Mapping) -> None:
    calcs = panel["options"]["reduceOptions"]["calcs"]
    if calcs not in (["lastNotNull"], ["last"]):
        raise Unsupported(f"the calculation {', '.join(calcs)}")


def _values(scene: Scene, panel: Mapping, area: Area) -> list[tuple[str, float, np.ndarray | None]]:
    """Names, newest values, and how they went where the query asks for that."""
    _reduced(panel)
    targets = panel.get("targets", [])
    if any(not target.get("instant") for target in targets):
        found = []
        for line in scene.lines(panel, int(area.width / 2)):
            there = line.series.values[np.isfinite(line.series.values)]
            if len(there):
                found.append((line.name, float(there[-1]), line.series.values))
        return found
    found = []
    for target, samples in scene.samples(panel, int(area.width / 2)):
        labels = [sample.labels for sample in samples]
        for sample in samples:
            name = frames.legend(sample.labels, scene.fill(target.get("legendFormat") or ""), labels)
            if not math.isnan(sample.value):
                found.append((frames.renamed(name, panel.get("transformations") or ()), sample.value, None))
    return found


# === Large numbers ===


def stat(scene: Scene, panel: Mapping, area: Area) -> None:
    field = fields.of_panel(panel)
    found = _values(scene, panel, area)
    if not found:
        _large(scene, area, field.no_value, scene.canvas.theme.faint)
        return
    wide = area.width / len(found)
    for index, (name, value, went) in enumerate(found):
        part = Area(area.x + wide * index, area.y, wide, area.height)
        color = field.color(value, scene.canvas.theme)
        if went is not None and panel["options"].get("graphMode") == "area":
            _spark(scene, part, went, color)
        _large(scene, part, field.text(value), color, name if len(found) > 1 else "")


def _large(scene: Scene, area: Area, text: str, color: str, name: str = "") -> None:
    """The text as large as there is room for, up to a limit that is the same in all panels."""
    canvas = scene.canvas
    size = min(32.0, area.height * 0.5)
    wide = canvas.text_width(text, size, "bold")
    size = min(size, size * (area.width - 16) / wide) if wide else size
    middle = area.y + area.height * 0.38
    if size < 15:
        lines = canvas.wrapped(text, area.width - 12, 15, "medium")
        for index, line in enumerate(lines):
            y = middle + (index - (len(lines) - 1) / 2) * 19
            canvas.text(area.x + area.width / 2, y, line, 15, color, weight="medium", across="center")
        return
    canvas.text(area.x + area.width / 2, middle, text, size, color, weight="bold", across="center")
    if name:
        told = canvas.fitting(name, area.width - 8)
        canvas.text(area.x + area.width / 2, middle + size * 0.8, told, 12, canvas.theme.faint, across="center")


def _spark(scene: Scene, area: Area, values: np.ndarray, color: str) -> None:
    """How the number went, along the panel's lower edge; without axes, from 0 up."""
    room = Area(area.x - 8, area.bottom - area.height * 0.34, area.width + 16, area.height * 0.34 + 7)
    most = max(float(np.nanmax(values)), 1e-12)
    xs = np.linspace(room.x, room.right, len(values))
    ys = room.bottom - np.clip(values, 0, None) / most * room.height
    scene.canvas.axes.fill_between(xs, room.bottom, ys, color=color, alpha=0.12, linewidth=0, zorder=2)
    scene.canvas.line(xs, ys, color, 1.2)


# === Bars ===


def bar_gauge(scene: Scene, panel: Mapping, area: Area) -> None:
    canvas, theme = scene.canvas, scene.canvas.theme
    field = fields.of_panel(panel)
    if panel["options"].get("orientation") != "horizontal":
        raise Unsupported("bars that stand")
    found = _values(scene, panel, area)
    if not found:
        nothing(scene, area, field.no_value)
        return
    most = field.most if field.most is not None else max(value for _, value, _ in found)
    least = field.least or 0.0
    room = int(area.height / 24)
    shown = found if len(found) <= room else found[: room - 1]
    step = min(34.0, area.height / max(len(shown) + (len(shown) < len(found)), 1))
    named = min(max(canvas.text_width(name, 12) for name, _, _ in shown) + 12, area.width * 0.45)
    told = max(canvas.text_width(field.text(value), 12.5, "medium") for _, value, _ in shown) + 10
    wide = area.width - named - told
    for index, (name, value, _) in enumerate(shown):
        y = area.y + step * (index + 0.5)
        color = field.color(value, theme)
        high = min(20.0, step - 6)
        share = min(max((value - least) / (most - least), 0), 1) if most > least else 0
        canvas.text(area.x + named - 10, y, canvas.fitting(name, named - 10), 12, theme.text, across="right")
        canvas.box(area.x + named, y - high / 2, wide, high, theme.unfilled, radius=2)
        if share > 0:
            canvas.box(
                area.x + named, y - high / 2, wide * share, high, color, radius=min(2, wide * share / 2), alpha=0.8
            )
        canvas.text(area.right - 2, y, field.text(value), 12.5, color, weight="medium", across="right")
    if len(shown) < len(found):
        y = area.y + step * (len(shown) + 0.5)
        canvas.text(area.x + 2, y, f"and {len(found) - len(shown)} more", 12, theme.faint)
