"""A dashboard, and where its panels are."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as d

from links import TAG, siblings
from variables import sources

# Columns of Grafana's grid.
WIDTH = 24


class Board:
    """A dashboard that is filled from top to bottom: rows with titles, and lines of panels. Ids count up from 1."""

    def __init__(
        self, uid: str, title: str, what: str, variables: list, since: str = "now-3h", refresh: str = "1m"
    ) -> None:
        self._y = 0
        self._id = 0
        self._builder = (
            dashboard.Dashboard(title)
            .uid(uid)
            .description(what)
            .tags([TAG])
            .timezone("browser")
            .tooltip(d.DashboardCursorSync.CROSSHAIR)
            .time(since, "now")
            .refresh(refresh)
            .editable()
            .variables([*sources(), *variables])
            .links([siblings()])
        )

    def row(self, title: str) -> None:
        """A heading."""
        position = d.GridPos(x=0, y=self._y, w=WIDTH, h=1)
        self._builder.with_row(dashboard.Row(title).id(self._next()).grid_pos(position))
        self._y += 1

    def line(self, height: int, *panels, widths: tuple[int, ...] = ()) -> None:
        """Panels side by side, of about the same width unless said."""
        if not widths:
            each, more = divmod(WIDTH, len(panels))
            widths = (each + 1,) * more + (each,) * (len(panels) - more)
        x = 0
        for panel, width in zip(panels, widths, strict=True):
            self._builder.with_panel(panel.id(self._next()).grid_pos(d.GridPos(x=x, y=self._y, w=width, h=height)))
            x += width
        self._y += height

    def build(self) -> d.Dashboard:
        return self._builder.build()

    def _next(self) -> int:
        self._id += 1
        return self._id
