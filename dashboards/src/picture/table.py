"""Tables of what queries give now."""

from collections.abc import Mapping

from picture import fields, frames
from picture.colors import color
from picture.errors import Unsupported
from picture.scene import Area, Scene, nothing

ROW = 28.0
TEXT = 12.0
PADDING = 8.0
KINDS = ("auto", "gauge", "color-text")


def draw(scene: Scene, panel: Mapping, area: Area) -> None:
    table = _table(scene, panel, area)
    if not table.rows or not table.columns:
        nothing(scene, area, fields.of_panel(panel).no_value)
        return
    canvas, theme = scene.canvas, scene.canvas.theme
    looks = {name: fields.of_column(panel, name) for name in table.columns}
    room = int((area.height - ROW) / ROW)
    shown = table.rows if len(table.rows) <= room else table.rows[: room - 1]
    widths = _widths(scene, table, looks, shown, area.width)
    y = area.y + ROW / 2
    x = area.x
    for name in table.columns:
        _cell(scene, name, x, y, widths[name], theme.faint, numeric=_is_numeric(table, name), weight="medium")
        x += widths[name]
    for row in shown:
        y += ROW
        canvas.lines([((area.x, y - ROW / 2), (area.right, y - ROW / 2))], theme.grid)
        x = area.x
        for name in table.columns:
            _value(scene, table, looks[name], name, row.get(name), Area(x, y - ROW / 2, widths[name], ROW))
            x += widths[name]
    if len(shown) < len(table.rows):
        canvas.text(area.x + PADDING, y + ROW, f"and {len(table.rows) - len(shown)} more rows", TEXT, theme.faint)


def _table(scene: Scene, panel: Mapping, area: Area) -> frames.Rows:
    found = list(scene.samples(panel, int(area.width / 2)))
    answers = []
    for target, samples in found:
        if target.get("format") != "table":
            raise Unsupported("tables of queries whose format is not a table")
        answers.append(frames.frame(samples, "Value" if len(found) == 1 else f"Value #{target['refId']}"))
    table = frames.transformed(answers, panel.get("transformations") or ())
    return frames.ordered(table, panel["options"].get("sortBy") or ())


def _is_numeric(table: frames.Rows, name: str) -> bool:
    return all(isinstance(row.get(name), float | None) for row in table.rows)


def _kind(look: fields.Field) -> str:
    kind = look.custom.get("cellOptions", {}).get("type", "auto")
    if kind not in KINDS:
        raise Unsupported(f"cells of the kind {kind!r}")
    return kind


def _text(look: fields.Field, cell: frames.Cell) -> str:
    if frames.empty(cell):
        return ""
    return look.text(cell) if isinstance(cell, float) else str(cell)


def _widths(scene: Scene, table: frames.Rows, looks, shown, room: float) -> dict[str, float]:
    """What each column needs; what is left over is shared, and what lacks is taken from the widest."""
    needs = {}
    for name in table.columns:
        texts = [name, *(_text(looks[name], row.get(name)) for row in shown)]
        needs[name] = max(scene.canvas.text_width(text, TEXT, "medium") for text in texts) + 2 * PADDING
        if _kind(looks[name]) == "gauge":
            needs[name] += 44
    while sum(needs.values()) > room + 1:
        widest = max(needs, key=lambda name: needs[name])
        needs[widest] -= min(sum(needs.values()) - room, needs[widest] * 0.1)
    spare = (room - sum(needs.values())) / sum(needs.values())
    return {name: width * (1 + spare) for name, width in needs.items()}


def _value(scene: Scene, table: frames.Rows, look: fields.Field, name: str, cell: frames.Cell, area: Area) -> None:
    theme = scene.canvas.theme
    kind = _kind(look)
    if kind == "gauge" and isinstance(cell, float) and not frames.empty(cell):
        _gauge(scene, table, look, name, cell, area)
        return
    shade = look.color(cell, theme) if kind == "color-text" and isinstance(cell, float) else theme.text
    numeric = _is_numeric(table, name)
    _cell(scene, _text(look, cell), area.x, area.y + ROW / 2, area.width, shade, numeric=numeric)


def _cell(scene: Scene, text: str, x, y, width, shade, *, numeric: bool, weight: str = "normal") -> None:
    text = scene.canvas.fitting(text, width - 2 * PADDING + 1, TEXT, weight)
    at = x + width - PADDING if numeric else x + PADDING
    scene.canvas.text(at, y, text, TEXT, shade, weight=weight, across="right" if numeric else "left")


def _gauge(scene: Scene, table: frames.Rows, look: fields.Field, name: str, cell: float, area: Area) -> None:
    """A bar, with its number behind it; all bars of a column are measured by the longest."""
    canvas, theme = scene.canvas, scene.canvas.theme
    values = [row[name] for row in table.rows if not frames.empty(row.get(name))]
    most = look.most if look.most is not None else max(values)
    least = look.least or 0.0
    told = max(canvas.text_width(look.text(value), TEXT) for value in values)
    wide = area.width - told - 3 * PADDING
    share = min(max((cell - least) / (most - least), 0), 1) if most > least else 0
    shade = look.color(cell, theme) if look.color_mode != "fixed" else color(look.fixed_color, theme)
    if wide > 4:
        canvas.box(area.x + PADDING, area.y + 8, wide, ROW - 16, theme.unfilled, radius=2)
        if share > 0:
            canvas.box(
                area.x + PADDING, area.y + 8, wide * share, ROW - 16, shade, radius=min(2, wide * share / 2), alpha=0.8
            )
    canvas.text(area.right - PADDING, area.y + ROW / 2, look.text(cell), TEXT, theme.text, across="right")
