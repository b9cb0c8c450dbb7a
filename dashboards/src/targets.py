"""What a panel asks: a query with its data source."""

from grafana_foundation_sdk.builders import loki, prometheus, tempo
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode
from grafana_foundation_sdk.models.tempo import SearchTableType

from variables import LOGS, METRICS, TRACES

# Lines of log and rows of spans that a panel asks for at most.
LINES = 200
SPANS = 100


def over_time(expr: str, legend: str = "") -> prometheus.Dataquery:
    """PromQL, at each moment of the time that is shown."""
    return _prometheus(expr, legend or "__auto").range()


def now(expr: str, legend: str = "") -> prometheus.Dataquery:
    """PromQL, at the end of the time that is shown."""
    return _prometheus(expr, legend or "__auto").instant()


def rows(expr: str) -> prometheus.Dataquery:
    """PromQL, each series a row of a table."""
    return now(expr).format(PromQueryFormat.TABLE)


def heat(expr: str) -> prometheus.Dataquery:
    """PromQL, buckets of a histogram."""
    return over_time(expr, "{{le}}").format(PromQueryFormat.HEATMAP)


def _prometheus(expr: str, legend: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().datasource(METRICS).editor_mode(QueryEditorMode.CODE)
    return query.expr(expr).legend_format(legend)


def lines(expr: str) -> loki.Dataquery:
    """LogQL that finds lines, the newest."""
    return loki.Dataquery().datasource(LOGS).query_type("range").max_lines(LINES).expr(expr)


def log_numbers(expr: str, legend: str = "") -> loki.Dataquery:
    """LogQL that counts, at each moment of the time that is shown."""
    return loki.Dataquery().datasource(LOGS).query_type("range").expr(expr).legend_format(legend)


def log_number(expr: str, legend: str = "") -> loki.Dataquery:
    """LogQL that counts, once for the time that is shown."""
    return loki.Dataquery().datasource(LOGS).query_type("instant").expr(expr).legend_format(legend)


def spans(query: str) -> tempo.TempoQuery:
    """TraceQL, each span a row."""
    return _tempo(query).limit(SPANS).spss(SPANS).table_type(SearchTableType.SPANS)


def trace(trace_id: str) -> tempo.TempoQuery:
    """A whole trace."""
    return _tempo(trace_id)


def _tempo(query: str) -> tempo.TempoQuery:
    return tempo.TempoQuery().datasource(TRACES).query_type("traceql").query(query)
