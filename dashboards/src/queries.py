"""Queries: PromQL, LogQL, TraceQL, and the pieces that many of them share."""

from attributes import WORKLOADS, log, span

# Whose events: `.*` stands for all, which is also true of the host's, whose labels are empty.
WHO = 'namespace=~"$namespace", workload=~"$workload"'
WHO_POD = f'{WHO}, pod=~"$pod"'
# Which agent, of the agents' own metrics.
AGENT = 'instance=~"$instance"'
# Actions that stop or change what a process does. Cases differ between Tetragon's names and those of programs.
ENFORCES = 'action=~"(?i)(sigkill|signal|override|notifyenforcer|set)"'
# Ends that went wrong; an end by a signal has no code.
BAD_CODE = 'code!~"0|"'
BAD_EXIT = 'code!="0"'
# How calls of the kernel are named that act on files.
FILE_HOOKS = (
    'hook=~".*(file|inode|path|open|read|write|unlink|rename|link|chmod|chown|truncate|mkdir|rmdir|mmap).*"'
)


# === PromQL ===


def rate(series: str, by: str) -> str:
    """Events a second."""
    return f"sum by ({by}) (rate({series}[$__rate_interval]))"


def seen(series: str, over: str) -> str:
    """How much a counter of rare events grew.

    A series that begins with 1 has not grown for `increase`: what was not there before counts in full.
    """
    return f"(({series} unless {series} offset {over}) or increase({series}[{over}]))"


def total(series: str) -> str:
    """Events within the time that the dashboard shows."""
    return f"sum({seen(series, '$__range')})"


def total_by(series: str, by: str) -> str:
    """The same for each of something."""
    return f"sum by ({by}) ({seen(series, '$__range')}) > 0"


def bars(series: str, by: str) -> str:
    """Rare events in each step, each of them in one: by how much the counter is above what it was a step ago.

    What was not there a step ago, or was more since the agent began anew, counts in full. A quarter of an hour without
    samples is bridged, so that a restart of Prometheus is no burst of events.
    """
    before = f"last_over_time({series}[15m] offset $__interval)"
    return f"sum by ({by}) (({series} - {before}) >= 0 or {series}) > 0"


def quantile(q: float, histogram: str, by: str = "") -> str:
    """A quantile of a classic histogram, whose selector this is, without `_bucket`."""
    name, brace, labels = histogram.partition("{")
    by = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {rate(f'{name}_bucket{brace}{labels}', by)})"


def buckets(histogram: str) -> str:
    """The buckets of a classic histogram, for a heat map."""
    name, brace, labels = histogram.partition("{")
    return f"sum by (le) (increase({name}_bucket{brace}{labels}[$__rate_interval]))"


# === LogQL ===

# Applications send logs under the same service's name; the scope tells the agent's from theirs.
_OURS = f"{log('scope_name')}=`trigon`"
_ALL = f'{{{log("service.name")}=~".+", {log("k8s.namespace.name")}=~"$namespace"}} | {_OURS}'
_EVERYWHERE = f'{{{log("service.name")}=~".+"}} | {_OURS}'
# A record's kind by what only its kind has: Loki before 3.8 does not keep the name of an event.
EXEC = f'{log("process.exit.time")}="" | {log("trigon.policy.name")}="" | {log("trigon.exec_id")}!=""'
EXIT = f'{log("process.exit.time")}!=""'
POLICY = f'{log("trigon.policy.name")}!=""'
FILE = f'{POLICY} | {log("file.path")}!=""'
FIRST_SEEN = f'{log("trigon.binary.first_seen")}="true"'
ENFORCED = f'{POLICY} | {log("severity_text")}="ERROR"'
_CODE = log("process.exit.code")
FAILED = f'{EXIT} | ({_CODE}!="" and {_CODE}!="0") or {log("trigon.exit.signal")}!=""'


def _of_workload() -> str:
    return " or ".join(f'{log(name)}=~"$workload"' for name in WORKLOADS)


def logs(*filters: str) -> str:
    """The agent's records of the chosen namespaces."""
    return " | ".join((_ALL, *filters))


def workload_logs(*filters: str) -> str:
    """The same of the chosen workloads and pods."""
    return logs(f'{log("k8s.pod.name")}=~"$pod"', f"({_of_workload()})", *filters)


def all_logs(*filters: str) -> str:
    """The agent's records, wherever they are from."""
    return " | ".join((_EVERYWHERE, *filters))


def log_count(query: str, by: str = "", over: str = "$__auto") -> str:
    """How many lines a query finds."""
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (count_over_time({query} [{over}]))"


# === TraceQL ===


def _either_all(variable: str, condition: str) -> str:
    """A condition, or the variable stands for all: an attribute that isn't there matches no expression."""
    return f'({condition} || "${variable}" = ".*")'


def traces(*filters: str, select: tuple[str, ...] = ()) -> str:
    """The agent's spans."""
    ours = f'{span("telemetry.distro.name")} = "trigon"'
    selected = f" | select({', '.join(span(name) for name in select)})" if select else ""
    return f"{{ {' && '.join((ours, *filters))} }}{selected}"


def workload_traces(*filters: str, select: tuple[str, ...] = ()) -> str:
    """The same of the chosen namespaces, workloads and pods."""
    workload = " || ".join(f'{span(name)} =~ "$workload"' for name in WORKLOADS)
    return traces(
        _either_all("namespace", f'{span("k8s.namespace.name")} =~ "$namespace"'),
        _either_all("workload", workload),
        _either_all("pod", f'{span("k8s.pod.name")} =~ "$pod"'),
        *filters,
        select=select,
    )
