"""The OTLP attributes that the dashboards' queries name.

This is the only list of them, one a line; a query gets at one through `log` or `span`, which refuse what isn't
here, and `check.py` finds those in queries that are not. All are attributes that the agent emits (docs/outputs.md).
"""

# Of the resource: what the records are from.
RESOURCE = (
    "container.image.name",
    "host.name",
    "k8s.container.name",
    "k8s.container.restart_count",
    "k8s.cronjob.name",
    "k8s.daemonset.name",
    "k8s.deployment.name",
    "k8s.job.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.replicaset.name",
    "k8s.statefulset.name",
    "service.name",
    "telemetry.distro.name",
)

# Of log records and spans.
RECORD = (
    "file.path",
    "process.command_args",
    "process.executable.path",
    "process.exit.code",
    "process.exit.time",
    "process.parent_pid",
    "process.pid",
    "process.user.id",
    "process.working_directory",
    "trigon.action",
    "trigon.args",
    "trigon.auid",
    "trigon.binary.first_seen",
    "trigon.exec_id",
    "trigon.exit.signal",
    "trigon.flags",
    "trigon.hook.function",
    "trigon.parent_exec_id",
    "trigon.policy.name",
    "trigon.policy.namespace",
    "trigon.privileges_gained",
    "trigon.script.path",
)

# What Loki makes of the fields of a log record that are no attributes, and of the scope.
FIELDS = (
    "event_name",
    "scope_name",
    "severity_text",
    "trace_id",
)

# Attributes of which Loki's OTLP endpoint makes labels of streams, as it comes: only these stand in `{…}`.
STREAM = ("k8s.namespace.name", "service.name")

# Which attribute has the name of a workload, by its kind.
WORKLOADS = (
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
    "k8s.replicaset.name",
)


def in_loki(name: str) -> str:
    """Loki's name of an attribute: no dots."""
    return name.replace(".", "_")


def log(name: str) -> str:
    """An attribute or a field in LogQL."""
    if name not in RESOURCE + RECORD + FIELDS:
        raise KeyError(f"{name} is in no list of attributes.py")
    return in_loki(name)


def span(name: str) -> str:
    """An attribute in TraceQL."""
    if name in RESOURCE:
        return f"resource.{name}"
    if name in RECORD:
        return f"span.{name}"
    raise KeyError(f"{name} is in no list of attributes.py")
