"""Links: from what a panel shows to the dashboard that tells more of it."""

from urllib.parse import quote

from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.models.dashboard import DashboardLinkType

from variables import SOURCES

TAG = "trigon"

# Where a link takes a value from: a column of the row, a label of the series, the value itself.
VALUE = "${__value.raw:percentencode}"


def column(name: str) -> str:
    return f"${{__data.fields.{name}:percentencode}}"


def label(name: str) -> str:
    return f"${{__field.labels.{name}:percentencode}}"


def to(uid: str, title: str, **variables: str) -> dict[str, object]:
    """A data link to a dashboard, for the same time and the same data sources."""
    parts = [f"${{{name}:queryparam}}" for name in SOURCES]
    parts += [f"var-{name}={value}" for name, value in variables.items()]
    return {"title": title, "url": f"/d/{uid}?{'&'.join(parts)}&${{__url_time_range}}"}


def to_workload(value) -> dict[str, object]:
    """To the workload of a row (`column`) or a series (`label`)."""
    return to("trigon-workload", "Workload", namespace=value("namespace"), workload=value("workload"))


def to_pod(value) -> dict[str, object]:
    return to("trigon-workload", "Pod", namespace=value("namespace"), workload=value("workload"), pod=value("pod"))


def to_policy(value) -> dict[str, object]:
    return to("trigon-policies", "Policy", policy=value("policy"))


def to_agent(value) -> dict[str, object]:
    return to("trigon-agent", "Agent", instance=value("instance"))


def to_process(trace_id: str = "") -> dict[str, object]:
    """From the id of an execution to all that is known of it, and to its trace where that is known."""
    return to("trigon-forensics", "Process", exec_id=VALUE, **({"trace_id": trace_id} if trace_id else {}))


def to_trace(trace_id: str = VALUE) -> dict[str, object]:
    """From the id of a trace to the dashboard that shows it."""
    return to("trigon-forensics", "Trace, here", trace_id=trace_id)


def to_explore(trace_id: str = "${__value.raw}") -> dict[str, object]:
    """From the id of a trace to Tempo, in Explore."""
    panes = (
        '{"t":{"datasource":"${tempo}","queries":[{"refId":"A","datasource":{"type":"tempo","uid":"${tempo}"},'
        f'"queryType":"traceql","query":"{trace_id}"}}],"range":{{"from":"${{__from}}","to":"${{__to}}"}}}}}}'
    )
    return {"title": "Trace, in Explore", "url": f"/explore?schemaVersion=1&panes={quote(panes, safe='${}:_.,')}"}


def siblings() -> DashboardLink:
    """The menu of all dashboards of the agent."""
    return (
        DashboardLink("Trigon")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
