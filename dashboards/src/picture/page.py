"""A dashboard as a page: what is above its panels, and each of them in its place."""

from collections.abc import Callable, Iterable, Mapping

from picture import graph, heatmap, numbers, prose, table, templates
from picture.canvas import Canvas
from picture.colors import Theme
from picture.errors import PictureError, Unsupported
from picture.prometheus import Prometheus
from picture.scene import Area, Scene
from picture.times import Span

# Grafana's grid: columns, the height of a row of it, what is between panels.
COLUMNS, ROW, GAP = 24, 30.0, 8.0
MARGIN = 14.0
HEADER = 52.0
FOOTER = 24.0
TITLE = 34.0

# What would change a picture, and isn't drawn.
UNKNOWN = {
    "repeat": "panels that repeat",
    "timeFrom": "panels with a time of their own",
    "timeShift": "panels whose time is shifted",
    "maxDataPoints": "panels which say how many points they have",
}
DRAWERS: dict[str, Callable[[Scene, Mapping, Area], None]] = {
    "stat": numbers.stat,
    "bargauge": numbers.bar_gauge,
    "timeseries": graph.draw,
    "heatmap": heatmap.draw,
    "table": table.draw,
    "text": prose.text,
}


def draw(
    dashboard: Mapping,
    prometheus: Prometheus,
    span: Span,
    chosen: Mapping[str, templates.Choice],
    theme: Theme,
    *,
    width: int,
    scale: float,
    sections: Iterable[str] = (),
    only_metrics: bool = False,
) -> Canvas:
    """The page; with `sections`, only the panels above the first row and those below these rows; with `only_metrics`
    none of logs and traces, which is told below.

    Raises `PictureError`, which names the panel.
    """
    panels = _chosen(dashboard["panels"], list(sections))
    left_out = [panel for panel in panels if only_metrics and _source(panel) in prose.SERVERS]
    if left_out:
        panels = _moved_up(_without(panels, left_out))
    bottom = max((panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels), default=0)
    height = HEADER + MARGIN + bottom * (ROW + GAP) + (FOOTER if left_out else 0)
    scene = Scene(Canvas(width, height, scale, theme), prometheus, span, chosen)
    _header(scene, dashboard)
    for panel in panels:
        try:
            _panel(scene, panel)
        except PictureError as error:
            raise type(error)(f"{dashboard['title']}, panel {panel.get('title', '')!r}: {error}") from error
    if left_out:
        titles = ", ".join(dict.fromkeys(panel["title"] for panel in left_out))
        words = scene.canvas.fitting(
            f"Not in this picture, since they show logs or traces: {titles}", width - 2 * MARGIN
        )
        scene.canvas.text(MARGIN + 2, height - MARGIN - FOOTER / 2 + 4, words, 12, theme.faint)
    return scene.canvas


def _source(panel: Mapping) -> str | None:
    """The kind of the panel's data source."""
    return (panel.get("datasource") or {}).get("type")


def _without(panels: Iterable[Mapping], left_out: list[Mapping]) -> list[Mapping]:
    """The panels but for these, and but for rows which nothing is left below."""
    kept: list[Mapping] = []
    for panel in [*(panel for panel in panels if panel not in left_out), None]:
        if (
            kept
            and kept[-1]["type"] == "row"
            and not kept[-1].get("collapsed")
            and (not panel or panel["type"] == "row")
        ):
            kept.pop()
        if panel:
            kept.append(panel)
    return kept


def _moved_up(panels: Iterable[Mapping]) -> list[Mapping]:
    """The panels as high as they can be, as Grafana places them."""
    placed: list[Mapping] = []
    for panel in panels:
        at = panel["gridPos"]
        above = [other["gridPos"] for other in placed]
        y = max(
            (up["y"] + up["h"] for up in above if up["x"] < at["x"] + at["w"] and at["x"] < up["x"] + up["w"]),
            default=0,
        )
        placed.append({**panel, "gridPos": {**at, "y": y}})
    return placed


def _chosen(panels: Iterable[Mapping], sections: list[str]) -> list[Mapping]:
    """The panels of these sections, moved up to where those between them were."""
    panels = sorted(panels, key=lambda panel: (panel["gridPos"]["y"], panel["gridPos"]["x"]))
    if not sections:
        return panels
    titles = [panel.get("title") for panel in panels if panel["type"] == "row"]
    if unknown := [title for title in sections if title not in titles]:
        raise Unsupported(f"the dashboard has no section {unknown[0]!r}; it has {', '.join(map(repr, titles))}")
    starts = [panel["gridPos"]["y"] for panel in panels if panel["type"] == "row"]
    ends = [*starts[1:], max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)]
    gone = [(start, end) for title, start, end in zip(titles, starts, ends) if title not in sections]
    kept = []
    for panel in panels:
        y = panel["gridPos"]["y"]
        if any(start <= y < end for start, end in gone):
            continue
        above = sum(end - start for start, end in gone if end <= y)
        kept.append({**panel, "gridPos": {**panel["gridPos"], "y": y - above}})
    return kept


def _header(scene: Scene, dashboard: Mapping) -> None:
    """The title, what is chosen, and the time."""
    canvas, theme = scene.canvas, scene.canvas.theme
    middle = HEADER / 2 + 2
    title = dashboard["title"]
    canvas.text(MARGIN + 2, middle, title, 18, weight="bold")
    x = MARGIN + canvas.text_width(title, 18, "bold") + 24
    when = scene.span.words()
    end = canvas.width - MARGIN - canvas.text_width(when, 12) - 24
    canvas.text(canvas.width - MARGIN - 2, middle, when, 12, theme.faint, across="right")
    sources = {v["name"] for v in dashboard.get("templating", {}).get("list", []) if v["type"] == "datasource"}
    for name, choice in scene.choices.items():
        value = choice.in_words()
        wide = canvas.text_width(choice.label, 12) + canvas.text_width(value, 12, "medium") + 26
        # Data sources are for who looks at a server.
        if name in sources or not value or x + wide > end:
            continue
        canvas.box(x, middle - 13, wide, 26, theme.panel, border=theme.border, radius=3)
        canvas.text(x + 9, middle, choice.label, 12, theme.faint)
        canvas.text(x + wide - 9, middle, value, 12, weight="medium", across="right")
        x += wide + 8


def _area(scene: Scene, at: Mapping) -> Area:
    column = (scene.canvas.width - 2 * MARGIN + GAP) / COLUMNS
    return Area(
        MARGIN + at["x"] * column,
        HEADER + at["y"] * (ROW + GAP),
        at["w"] * column - GAP,
        at["h"] * (ROW + GAP) - GAP,
    )


def _panel(scene: Scene, panel: Mapping) -> None:
    canvas, theme = scene.canvas, scene.canvas.theme
    area = _area(scene, panel["gridPos"])
    for key, what in UNKNOWN.items():
        if panel.get(key):
            raise Unsupported(what)
    if panel["type"] != "table" and panel.get("fieldConfig", {}).get("overrides"):
        raise Unsupported("overrides of anything but a table's columns")
    if panel["type"] == "row":
        y = area.y + area.height / 2
        marks = ((0, -4), (4, 0), (0, 4)) if panel.get("collapsed") else ((-4, -2), (0, 2), (4, -2))
        canvas.line([area.x + 8 + dx for dx, _ in marks], [y + dy for _, dy in marks], theme.faint, 1.5)
        canvas.text(area.x + 20, y, scene.fill(panel.get("title", "")), 14, weight="bold")
        return
    canvas.box(area.x, area.y, area.width, area.height, theme.panel, border=theme.border, radius=3)
    title = scene.fill(panel.get("title", ""))
    # Rather a bit smaller than cut.
    size = max(11.5, min(13, 13 * (area.width - 18) / max(canvas.text_width(title, 13, "medium"), 1)))
    canvas.text(area.x + 10, area.y + 18, canvas.fitting(title, area.width - 16, size, "medium"), size, weight="medium")
    inner = area.within(10, TITLE, 10, 8)
    source = _source(panel)
    if source in prose.SERVERS:
        prose.elsewhere(scene, panel, inner)
        return
    if panel["type"] not in DRAWERS:
        raise Unsupported(f"panels of the type {panel['type']!r}")
    if source not in ("prometheus", None):
        raise Unsupported(f"the data source {source!r}")
    DRAWERS[panel["type"]](scene, panel, inner)
