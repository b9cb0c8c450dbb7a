"""Panels, each with what is the same of all of its kind: calm colours, small legends, a word for when it is empty.

Every panel has a title, what it means, a unit, and a text for when it is empty; `check.py` sees to that.
"""

from grafana_foundation_sdk.builders import bargauge as bargauge_builder
from grafana_foundation_sdk.builders import common, dashboard
from grafana_foundation_sdk.builders import heatmap as heatmap_builder
from grafana_foundation_sdk.builders import logs as logs_builder
from grafana_foundation_sdk.builders import stat as stat_builder
from grafana_foundation_sdk.builders import table as table_builder
from grafana_foundation_sdk.builders import timeseries as timeseries_builder
from grafana_foundation_sdk.models import common as c
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models import heatmap as h

import links as data_links
from variables import LOGS, METRICS, TRACES

GREEN, YELLOW, ORANGE, RED, BLUE, GRAY = "green", "yellow", "orange", "red", "blue", "text"

# Colours from a value on; the first is for what is below.
NEUTRAL = ((None, GRAY),)
# What must not be at all. A counter's growth is estimated: less than one can still be one.
BAD = ((None, GREEN), (0.001, RED))
# What is worth a look.
NOTABLE = ((None, GRAY), (0.001, ORANGE))
# How much of a room is taken, from 0 to 1.
ROOM = ((None, GREEN), (0.7, YELLOW), (0.9, RED))

Link = dict[str, object]


def _thresholds(steps) -> dashboard.ThresholdsConfig:
    steps = [d.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(d.ThresholdsMode.ABSOLUTE).steps(steps)


def _color(mode: d.FieldColorModeId, fixed: str | None = None) -> dashboard.FieldColor:
    color = dashboard.FieldColor().mode(mode)
    return color.fixed_color(fixed) if fixed else color


class _Links(dashboard.DashboardLink):
    """The builders take links of dashboards where Grafana has links of data, which are a title and a URL."""

    def __init__(self, link: Link) -> None:
        self._internal = link  # type: ignore[assignment]


def _common(panel, title: str, what: str, source: d.DataSourceRef, unit: str, empty: str, links: list[Link]):
    panel.title(title).description(what).datasource(source).unit(unit).no_value(empty)
    return panel.data_links([_Links(link) for link in links]) if links else panel


def _targets(panel, targets):
    targets = targets if isinstance(targets, list) else [targets]
    for index, target in enumerate(targets):
        panel.with_target(target.ref_id(chr(ord("A") + index)))
    return panel


def _last() -> common.ReduceDataOptions:
    """The newest value."""
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields("")


def stat(title, what, target, unit="short", *, steps=NEUTRAL, empty="0", links=(), spark=False, source=METRICS):
    """One number; `spark` draws how it went below it."""
    return (
        _targets(_common(stat_builder.Panel(), title, what, source, unit, empty, list(links)), target)
        .reduce_options(_last())
        .graph_mode(c.BigValueGraphMode.AREA if spark else c.BigValueGraphMode.NONE)
        .color_mode(c.BigValueColorMode.VALUE)
        .text_mode(c.BigValueTextMode.AUTO)
        .justify_mode(c.BigValueJustifyMode.AUTO)
        .orientation(c.VizOrientation.AUTO)
        .thresholds(_thresholds(steps))
        .color_scheme(_color(d.FieldColorModeId.THRESHOLDS))
    )


def timeseries(
    title,
    what,
    targets,
    unit="short",
    *,
    stack=False,
    bars=False,
    empty="nothing in this time",
    links=(),
    legend_right=False,
    maximum=None,
    source=METRICS,
    hosts=False,
):
    """Lines, or bars for what is rare; with `hosts`, a series named `/`, which has no namespace, is the host's."""
    panel = (
        _targets(_common(timeseries_builder.Panel(), title, what, source, unit, empty, list(links)), targets)
        .draw_style(c.GraphDrawStyle.BARS if bars else c.GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(70 if bars else 15 if stack else 8)
        .show_points(c.VisibilityMode.NEVER)
        .span_nulls(False)
        .min(0)
        .color_scheme(_color(d.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .legend(
            common.VizLegendOptions()
            .display_mode(c.LegendDisplayMode.TABLE if legend_right else c.LegendDisplayMode.LIST)
            .placement(c.LegendPlacement.RIGHT if legend_right else c.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"] if legend_right else [])
        )
        .tooltip(common.VizTooltipOptions().mode(c.TooltipDisplayMode.MULTI).sort(c.SortOrder.DESCENDING))
    )
    if bars:
        panel.interval("1m")
    if maximum is not None:
        panel.max(maximum)
    if stack:
        panel.stacking(common.StackingConfig().mode(c.StackingMode.NORMAL).group("A"))
    for regex, name in (("[/]", "host"), ("(.*) /", "$1 host"), ("(.+)/", "$1")) if hosts else ():
        panel.with_transformation(_transform("renameByRegex", {"regex": regex, "renamePattern": name}))
    return panel


def bargauge(title, what, targets, unit="short", *, empty="nothing in this time", links=()):
    """A bar for each series, as they are now."""
    return (
        _targets(_common(bargauge_builder.Panel(), title, what, METRICS, unit, empty, list(links)), targets)
        .reduce_options(_last())
        .orientation(c.VizOrientation.HORIZONTAL)
        .display_mode(c.BarGaugeDisplayMode.BASIC)
        .value_mode(c.BarGaugeValueMode.COLOR)
        .name_placement(c.BarGaugeNamePlacement.AUTO)
        .sizing(c.BarGaugeSizing.AUTO)
        .show_unfilled(True)
        .min(0)
        .color_scheme(_color(d.FieldColorModeId.FIXED, BLUE))
    )


def heatmap(title, what, target, unit, *, empty="nothing in this time"):
    """How values spread, over time: the buckets of a histogram."""
    color = (
        heatmap_builder.HeatmapColorOptions()
        .mode(h.HeatmapColorMode.SCHEME)
        .scheme("Blues")
        .scale(h.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .fill("dark-blue")
        .steps(64)
    )
    return (
        _targets(_common(heatmap_builder.Panel(), title, what, METRICS, unit, empty, []), target)
        .calculate(False)
        .color(color)
        .cell_gap(1)
        .y_axis(heatmap_builder.YAxisConfig().unit(unit).axis_placement(c.AxisPlacement.LEFT))
        .cell_values(heatmap_builder.CellValues().unit("short"))
        .filter_values(heatmap_builder.FilterValueRange().le(1e-9))
        .show_legend()
        .mode(c.TooltipDisplayMode.SINGLE)
        .hide_y_histogram()
        .show_value(c.VisibilityMode.NEVER)
    )


def logs(title, what, target, *, empty="no lines in this time"):
    """Lines of log, the newest first; a click on one shows its attributes, with their links."""
    return (
        _targets(_common(logs_builder.Panel(), title, what, LOGS, "string", empty, []), target)
        .show_time(True)
        .wrap_log_message(True)
        .enable_log_details(True)
        .prettify_log_message(False)
        .show_labels(False)
        .show_common_labels(False)
        .sort_order(c.LogsSortOrder.DESCENDING)
        .dedup_strategy(c.LogsDedupStrategy.NONE)
    )


def trace(title, what, target, *, empty="no trace of this id in this time"):
    """A trace, with its tree of spans. The SDK has no builder for this kind of panel; it has no options."""
    panel = dashboard.Panel().type("traces").options({})
    return _targets(_common(panel, title, what, TRACES, "ns", empty, []), target)


# === Tables ===


def _property(name: str, value: object) -> d.DynamicConfigValue:
    return d.DynamicConfigValue(id_val=name, value=value)


def bar(unit: str = "short", color: str = BLUE) -> list[d.DynamicConfigValue]:
    """A column whose numbers are bars."""
    return [
        _property("custom.cellOptions", {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}),
        _property("unit", unit),
        _property("min", 0),
        _property("color", {"mode": "fixed", "fixedColor": color}),
    ]


def number(unit: str = "short", *, warn: bool = False) -> list[d.DynamicConfigValue]:
    """A column of numbers; with `warn`, coloured where it isn't 0."""
    if not warn:
        return [_property("unit", unit)]
    steps = [{"value": value, "color": color} for value, color in NOTABLE]
    return [
        _property("unit", unit),
        _property("custom.cellOptions", {"type": "color-text"}),
        _property("thresholds", {"mode": "absolute", "steps": steps}),
        _property("color", {"mode": "thresholds"}),
    ]


def ids() -> dict[str, list[d.DynamicConfigValue]]:
    """The columns `execution` and `trace` of a table of records."""
    trace_id = data_links.column("trace_id")
    return {
        "execution": linked(data_links.to_process(trace_id), width=120),
        "trace": linked(data_links.to_trace(), data_links.to_explore(), width=120),
    }


def linked(*links: Link, width: int | None = None) -> list[d.DynamicConfigValue]:
    """A column whose cells lead on."""
    properties = [_property("links", list(links))]
    return properties + ([_property("custom.width", width)] if width else [])


def yes_or_no() -> list[d.DynamicConfigValue]:
    """A column of 1 and 0, as words."""
    words = {"1": {"text": "yes", "color": GREEN, "index": 0}, "0": {"text": "no", "color": RED, "index": 1}}
    return [
        _property("mappings", [{"type": "value", "options": words}]),
        _property("custom.cellOptions", {"type": "color-text"}),
    ]


def wide(width: int) -> list[d.DynamicConfigValue]:
    return [_property("custom.width", width)]


def table(
    title,
    what,
    targets,
    columns: list[str],
    *,
    renamed=None,
    overrides=None,
    sort=None,
    empty="nothing in this time",
    unit="short",
    source=METRICS,
    joined=True,
):
    """Rows from queries that have the same labels; `columns` are those that are shown, in their order.

    Values of the query A are `Value #A`, or `Value` where no other query found anything.
    """
    renamed = renamed or {}
    if "Value #A" in columns:
        columns = [*columns, "Value"]
        renamed = renamed | {"Value": renamed["Value #A"]}
    transformations = [_transform("merge", {})] if joined else []
    transformations += [_only(columns), _organize(columns, renamed)]
    panel = _table(title, what, targets, source, unit, empty, overrides)
    for transformation in transformations:
        panel.with_transformation(transformation)
    if sort:
        panel.sort_by([common.TableSortByFieldState().display_name(renamed.get(sort, sort)).desc(True)])
    return panel


def log_table(
    title,
    what,
    target,
    columns: list[str],
    *,
    renamed=None,
    overrides=None,
    empty="no records in this time",
    oldest_first=False,
):
    """Records as rows; columns are their attributes, as Loki names them, `Time` and `Line`."""
    panel = _table(title, what, target, LOGS, "string", empty, overrides)
    panel.with_transformation(_transform("extractFields", {"source": "labels", "format": "auto"}))
    panel.with_transformation(_only(columns))
    panel.sort_by([common.TableSortByFieldState().display_name("Time").desc(not oldest_first)])
    return panel.with_transformation(_organize(columns, renamed or {}))


# Tempo hides the id of a span's trace in a column of its own; that of the span is shown.
SPAN_LINKS = {
    "spanID": [
        data_links.to_trace(data_links.column("traceIdHidden")),
        data_links.to_explore("${__data.fields.traceIdHidden}"),
    ]
}


def span_table(title, what, target, *, links: dict[str, list[Link]], empty="no spans in this time"):
    """Spans as rows, with the columns that Tempo makes."""
    overrides = {name: linked(*to) for name, to in links.items()}
    return _table(title, what, target, TRACES, "string", empty, overrides)


def _table(title, what, targets, source, unit, empty, overrides):
    panel = (
        _targets(_common(table_builder.Panel(), title, what, source, unit, empty, []), targets)
        .show_header(True)
        .cell_height(c.TableCellHeight.SM)
        .footer(common.TableFooterOptions().show(False).reducer([]).enable_pagination(True))
        .cell_options(c.TableAutoCellOptions())
        .filterable(True)
    )
    for name, properties in (overrides or {}).items():
        panel.override_by_name(name, properties)
    return panel


def _transform(name: str, options: dict[str, object]) -> d.DataTransformerConfig:
    return d.DataTransformerConfig(id_val=name, options=options)


def _only(columns: list[str]) -> d.DataTransformerConfig:
    return _transform("filterFieldsByName", {"include": {"names": columns}})


def _organize(columns: list[str], renamed: dict[str, str]) -> d.DataTransformerConfig:
    return _transform(
        "organize",
        {
            "excludeByName": {},
            "indexByName": {name: index for index, name in enumerate(columns)},
            "renameByName": renamed,
        },
    )
