"""Variables: the data sources, and what is looked at."""

from grafana_foundation_sdk.builders.dashboard import DatasourceVariable, QueryVariable, TextBoxVariable
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableOption, VariableRefresh, VariableSort

METRICS = DataSourceRef(type_val="prometheus", uid="${datasource}")
LOGS = DataSourceRef(type_val="loki", uid="${loki}")
TRACES = DataSourceRef(type_val="tempo", uid="${tempo}")

# What every link between dashboards hands on.
SOURCES = ("datasource", "loki", "tempo")


def source(name: str, kind: str, label: str) -> DatasourceVariable:
    return DatasourceVariable(name).label(label).type(kind)


def sources() -> list[DatasourceVariable]:
    """A data source for metrics, one for logs, one for traces."""
    return [
        source("datasource", "prometheus", "Metrics"),
        source("loki", "loki", "Logs"),
        source("tempo", "tempo", "Traces"),
    ]


def choice(name: str, label: str, series: str, what: str, of: str | None = None) -> QueryVariable:
    """Values of a label, any number of them; `.*` for all, which is true of an empty label too."""
    query = {
        "qryType": 1,
        "query": f"label_values({series}, {of or name})",
        "refId": "PrometheusVariableQueryEditor-VariableQuery",
    }
    return (
        QueryVariable(name)
        .label(label)
        .description(what)
        .datasource(METRICS)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def namespace() -> QueryVariable:
    return choice("namespace", "Namespace", "trigon_events_total", "Kubernetes namespaces; all has the hosts too.")


def workload() -> QueryVariable:
    series = 'trigon_events_total{namespace=~"$namespace"}'
    return choice("workload", "Workload", series, "What made the pods: a Deployment, a StatefulSet and so on.")


def pod() -> QueryVariable:
    series = 'trigon_events_total{namespace=~"$namespace", workload=~"$workload"}'
    return choice("pod", "Pod", series, "Pods of the workload.")


def policy() -> QueryVariable:
    series = '{__name__=~"trigon_policy_kernel_memory_bytes|trigon_policy_events_total"}'
    return choice("policy", "Policy", series, "Policies that are loaded or had a match.")


def instance() -> QueryVariable:
    return choice(
        "instance", "Agent", "trigon_build_info", "Agents, by the address that Prometheus asks: one a node."
    )


def text(name: str, label: str, what: str) -> TextBoxVariable:
    """A field to write in."""
    return TextBoxVariable(name).label(label).description(what).default_value("")
