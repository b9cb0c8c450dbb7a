"""What panels are drawn with: the page, the data, the choices."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from picture import frames, templates
from picture.canvas import Canvas
from picture.errors import Unsupported
from picture.prometheus import Prometheus, Sample, Series
from picture.times import Span, parse_duration


@dataclass(frozen=True)
class Area:
    """A part of the page, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    def within(self, left: float, top: float, right: float, bottom: float) -> "Area":
        """Without so much at each side."""
        return Area(self.x + left, self.y + top, self.width - left - right, self.height - top - bottom)


@dataclass(frozen=True)
class Line:
    """A series with the name that its panel gives it."""

    name: str
    series: Series


@dataclass(frozen=True)
class Scene:
    canvas: Canvas
    prometheus: Prometheus
    span: Span
    choices: Mapping[str, templates.Choice]

    def fill(self, text: str, step: float = 15) -> str:
        return templates.fill(text, self.choices, templates.built_in(self.span, step))

    def lines(self, panel: Mapping, points: int) -> list[Line]:
        """What a panel's queries give over the time that is shown, of which there is room for so many points.

        Raises `QueryError` for a query that fails.
        """
        step = self._step(panel, points)
        lines = []
        for target in _shown(panel):
            found = self.prometheus.over(self.fill(target["expr"], step), self.span.start, self.span.end, step)
            labels = [series.labels for series in found]
            for series in found:
                name = frames.legend(series.labels, self.fill(target.get("legendFormat") or "", step), labels)
                # An empty name is one that transformations can match; Grafana trims none, a legend needs no spaces.
                name = frames.renamed(name, panel.get("transformations") or ())
                lines.append(Line(name.strip() or "(none)", series))
        return lines

    def samples(self, panel: Mapping, points: int) -> Iterator[tuple[Mapping, list[Sample]]]:
        """Each query of a panel with what it gives now.

        Raises `QueryError` for a query that fails.
        """
        step = self._step(panel, points)
        for target in _shown(panel):
            yield target, self.prometheus.instant(self.fill(target["expr"], step), self.span.end)

    def _step(self, panel: Mapping, points: int) -> float:
        """How far a panel's points are apart; `interval` is what it wants at least."""
        least = parse_duration(panel["interval"]) if panel.get("interval") else 0
        return self.span.step(points, least)


def _shown(panel: Mapping) -> list[Mapping]:
    targets = [target for target in panel.get("targets", []) if not target.get("hide")]
    if any(target.get("interval") for target in targets):
        raise Unsupported("queries with an interval of their own")
    return targets


def nothing(scene: Scene, area: Area, words: str) -> None:
    """What a panel says where there is no data."""
    canvas = scene.canvas
    middle = area.y + area.height / 2
    lines = canvas.wrapped(words, area.width - 16, 12.5)
    for index, line in enumerate(lines):
        y = middle + (index - (len(lines) - 1) / 2) * 17
        canvas.text(area.x + area.width / 2, y, line, 12.5, canvas.theme.faint, across="center")
