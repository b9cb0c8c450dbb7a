"""What happens on all nodes: executions, failures, policies, what is new."""

import links
import panels as p
import targets as t
import variables as v
from attributes import log
from board import Board
from queries import (
    BAD_CODE,
    BAD_EXIT,
    ENFORCED,
    ENFORCES,
    EXEC,
    FIRST_SEEN,
    WHO,
    bars,
    logs,
    quantile,
    rate,
    seen,
    total,
    total_by,
)

EVENTS = f"trigon_events_total{{{WHO}}}"
EXECS = f'trigon_events_total{{{WHO}, type="PROCESS_EXEC"}}'
EXITS = f'trigon_events_total{{{WHO}, type="PROCESS_EXIT"}}'
CODES = f"trigon_process_exits_total{{{WHO}, {BAD_CODE}}}"
FAILURES = f"trigon_process_exits_total{{{WHO}, {BAD_EXIT}}}"
SIGNALS = f'trigon_process_exits_total{{{WHO}, signal!=""}}'
MATCHES = f"trigon_policy_events_total{{{WHO}}}"
ENFORCED_MATCHES = f"trigon_policy_events_total{{{WHO}, {ENFORCES}}}"
PRIVILEGES = f"trigon_privileges_gained_total{{{WHO}}}"
NEW = "trigon_first_seen_binaries_total{" + WHO + "}"
# The busiest workloads, which the table of them is about.
BUSIEST = f"topk(25, {rate(EXECS, 'namespace, workload')})"


def _stats(board: Board) -> None:
    down = "(up == 0) and on (job) count by (job) (max_over_time(trigon_build_info[1h]))"
    lost = 'trigon_lost_events_total{reason!="rate_limit"}'
    board.line(
        4,
        p.stat(
            "Agents up",
            "Agents that Prometheus has reached.",
            t.now("count(trigon_build_info)"),
            empty="none",
            links=[links.to_agent(lambda _: "$__all")],
        ),
        p.stat(
            "Agents down",
            "Addresses that Prometheus cannot reach, of jobs that have agents.",
            t.now(f"count({down}) or vector(0)"),
            steps=p.BAD,
        ),
        p.stat(
            "Executions",
            "Programs started, a second.",
            t.over_time(f"sum(rate({EXECS}[$__rate_interval]))"),
            "ops",
            spark=True,
        ),
        p.stat(
            "Failed exits",
            "Share of processes that ended with a code other than 0, or by a signal.",
            t.over_time(
                f"sum(rate({FAILURES}[$__rate_interval])) / "
                f"sum(rate(trigon_process_exits_total{{{WHO}}}[$__rate_interval]))"
            ),
            "percentunit",
            spark=True,
            empty="no failures",
        ),
        p.stat("Policy matches", "Events that policies posted, within the time shown.", t.now(total(MATCHES))),
        p.stat(
            "Enforced",
            "Matches where a policy killed, signalled or refused, within the time shown.",
            t.now(total(ENFORCED_MATCHES)),
            steps=p.BAD,
        ),
        p.stat(
            "First-seen programs",
            "Executions of a program that its workload, or the host, had not run since the agent began.",
            t.now(total(NEW)),
            steps=p.NOTABLE,
        ),
        p.stat(
            "Lost events",
            "Events that did not reach their destination, of all agents, within the time shown.",
            t.now(total(lost)),
            steps=p.BAD,
            links=[links.to_agent(lambda _: "$__all")],
        ),
    )


def _processes(board: Board) -> None:
    board.row("Processes")
    board.line(
        8,
        p.timeseries(
            "Starts and ends",
            "Executions and ends of processes, a second. More starts than ends over a long "
            "time are processes that pile up.",
            [
                t.over_time(f"sum(rate({EXECS}[$__rate_interval]))", "exec"),
                t.over_time(f"sum(rate({EXITS}[$__rate_interval]))", "exit"),
            ],
            "ops",
        ),
        p.timeseries(
            "Failed, by code",
            "Ends with a code other than 0, a second. 127: no such command, 126: not "
            "executable, 137 and 143: shells tell of SIGKILL and SIGTERM so.",
            t.over_time(f"topk(10, {rate(CODES, 'code')} > 0)", "{{code}}"),
            "ops",
            stack=True,
            empty="no failures",
        ),
        p.timeseries(
            "Ended by signals",
            "Ends by a signal. SIGKILL is often the kernel's, out of memory; SIGSEGV and "
            "SIGABRT are crashes. Counted in each step.",
            t.over_time(bars(SIGNALS, "signal"), "{{signal}}"),
            bars=True,
            stack=True,
            empty="no process was ended by a signal",
        ),
        widths=(8, 8, 8),
    )
    failed, matches, new = (
        f"sum by (namespace, workload) ({seen(series, '$__range')}) and on (namespace, workload) {BUSIEST}"
        for series in (FAILURES, MATCHES, NEW)
    )
    columns = ["namespace", "workload", "Value #A", "Value #B", "Value #C", "Value #D", "Value #E"]
    board.line(
        10,
        p.table(
            "Busiest workloads",
            "The 25 workloads that execute most; an empty name is the host, or a pod that nothing "
            "made. A click leads to the workload.",
            [
                t.rows(BUSIEST),
                t.rows(failed),
                t.rows(matches),
                t.rows(new),
                t.rows(
                    f"({quantile(0.99, 'trigon_process_run_seconds{' + WHO + '}', 'namespace, workload')}) "
                    f"and on (namespace, workload) {BUSIEST}"
                ),
            ],
            columns,
            renamed={
                "Value #A": "Executions/s",
                "Value #B": "Failed",
                "Value #C": "Policy matches",
                "Value #D": "First seen",
                "Value #E": "p99 run time",
            },
            overrides={
                "workload": p.linked(links.to_workload(links.column)),
                "Executions/s": p.bar("ops"),
                "Failed": p.number(warn=True),
                "Policy matches": p.number(warn=True),
                "First seen": p.number(warn=True),
                "p99 run time": p.number("s"),
            },
            sort="Value #A",
        ),
        p.timeseries(
            "Executions, by namespace",
            "Programs started, a second.",
            t.over_time(f"topk(10, {rate(EXECS, 'namespace')})", "{{namespace}}/"),
            "ops",
            stack=True,
            hosts=True,
            legend_right=True,
        ),
        widths=(15, 9),
    )


def _policies(board: Board) -> None:
    board.row("Policies")
    board.line(
        8,
        p.timeseries(
            "Matches, by policy",
            "Events that policies posted, in each step.",
            t.over_time(bars(MATCHES, "policy"), "{{policy}}"),
            bars=True,
            stack=True,
            empty="no policy matched",
            links=[links.to_policy(links.label)],
        ),
        p.timeseries(
            "Enforcement",
            "Matches where the policy stepped in, in each step.",
            t.over_time(bars(ENFORCED_MATCHES, "policy, action"), "{{policy}}: {{action}}"),
            bars=True,
            stack=True,
            empty="no policy stepped in",
            links=[links.to_policy(links.label)],
        ),
        p.bargauge(
            "Top policies",
            "Matches within the time shown.",
            t.now(f"topk(10, {total_by(MATCHES, 'policy')})", "{{policy}}"),
            empty="no policy matched",
            links=[links.to_policy(links.label)],
        ),
        widths=(9, 9, 6),
    )
    board.line(
        9,
        p.logs(
            "Latest enforcement",
            "What policies killed, signalled or refused.",
            t.lines(logs(ENFORCED)),
            empty="no policy stepped in",
        ),
    )


def _new(board: Board) -> None:
    board.row("New, and privileged")
    time, pod, exec_id = "Time", log("k8s.pod.name"), log("trigon.exec_id")
    columns = [
        time,
        log("host.name"),
        log("k8s.namespace.name"),
        pod,
        log("process.executable.path"),
        "Line",
        log("process.user.id"),
        exec_id,
        log("trace_id"),
    ]
    board.line(
        8,
        p.timeseries(
            "First-seen programs, by workload",
            "In each step. A new workload has many at once; one that has run for days should have none.",
            t.over_time(bars(NEW, "namespace, workload"), "{{namespace}}/{{workload}}"),
            bars=True,
            stack=True,
            hosts=True,
            empty="nothing new",
            links=[links.to_workload(links.label)],
        ),
        p.timeseries(
            "Privileges gained",
            "Executions that gained privileges by their file: setuid, setgid, capabilities; in each step.",
            t.over_time(bars(PRIVILEGES, "gained, namespace, workload"), "{{gained}} {{namespace}}/{{workload}}"),
            bars=True,
            stack=True,
            hosts=True,
            empty="none",
            links=[links.to_workload(links.label)],
        ),
    )
    board.line(
        10,
        p.log_table(
            "First-seen programs",
            "Executions of a program that its workload, or the host, had not run before, the newest "
            "first. The id of an execution leads to all that is known of it.",
            t.lines(logs(EXEC, FIRST_SEEN)),
            columns,
            empty="nothing new",
            renamed={
                "host_name": "node",
                "k8s_namespace_name": "namespace",
                "k8s_pod_name": "pod",
                "process_executable_path": "program",
                "Line": "command",
                "process_user_id": "uid",
                exec_id: "execution",
                "trace_id": "trace",
            },
            overrides={
                **p.ids(),
                "uid": p.wide(70),
                "Time": p.wide(180),
            },
        ),
    )


def board():
    board = Board(
        "trigon-overview",
        "Trigon: overview",
        "Executions, failures, policies and what is new, on all nodes.",
        [v.namespace(), v.workload()],
    )
    _stats(board)
    _processes(board)
    _policies(board)
    _new(board)
    return board.build()
