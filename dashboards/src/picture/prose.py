"""Panels that are words: text, and those of logs and traces, of which there is no data here."""

from collections.abc import Mapping

from picture.scene import Area, Scene

LINE = 17.0
# What a panel of a kind of data source shows.
SERVERS = {"loki": ("Logs", "Loki"), "tempo": ("Traces", "Tempo")}


def text(scene: Scene, panel: Mapping, area: Area) -> None:
    """The lines as they are; the marks of Markdown before headings go."""
    lines = []
    for line in scene.fill(panel["options"].get("content", "")).splitlines():
        lines += scene.canvas.wrapped(line.lstrip("# "), area.width, 12.5)
    _lines(scene, lines, area, 12.5, "normal", scene.canvas.theme.text)


def elsewhere(scene: Scene, panel: Mapping, area: Area) -> None:
    """Says what the panel would ask which server; there are no data for it, and none are made up."""
    canvas, theme = scene.canvas, scene.canvas.theme
    what, server = SERVERS[panel["datasource"]["type"]]
    canvas.box(area.x, area.y, area.width, area.height, theme.unfilled, radius=3)
    words = canvas.wrapped(f"{what} from {server}, which this picture is made without. The query:", area.width - 24)
    _lines(scene, words, area.within(12, 10, 12, 4), 12, "normal", theme.faint)
    queries = [scene.fill(target.get("expr") or target.get("query") or "") for target in panel.get("targets", [])]
    lines = [line for query in queries for line in canvas.wrapped(query, area.width - 24, 10.5, "mono")]
    _lines(scene, lines, area.within(12, 18 + LINE * len(words), 12, 4), 10.5, "mono", theme.faint)


def _lines(scene: Scene, lines: list[str], area: Area, size: float, weight: str, color: str) -> None:
    room = int(area.height / LINE)
    for index, line in enumerate(lines):
        if index + 1 == room and len(lines) > room:
            line = "…"
        scene.canvas.text(area.x, area.y + LINE * (index + 0.5), line, size, color, weight=weight)
        if index + 1 >= room:
            return
