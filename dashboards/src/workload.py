"""One workload, or one pod: its processes, files, traces and lines of log."""

import links
import panels as p
import targets as t
import variables as v
from attributes import log
from board import Board
from queries import (
    BAD_CODE,
    BAD_EXIT,
    ENFORCES,
    EXEC,
    FAILED,
    FILE,
    FILE_HOOKS,
    POLICY,
    WHO_POD,
    bars,
    buckets,
    log_count,
    quantile,
    rate,
    total,
    workload_logs,
    workload_traces,
)

EXECS = f'trigon_events_total{{{WHO_POD}, type="PROCESS_EXEC"}}'
EXITS = f"trigon_process_exits_total{{{WHO_POD}}}"
FAILURES = f"trigon_process_exits_total{{{WHO_POD}, {BAD_EXIT}}}"
CODES = f"trigon_process_exits_total{{{WHO_POD}, {BAD_CODE}}}"
SIGNALS = f'trigon_process_exits_total{{{WHO_POD}, signal!=""}}'
MATCHES = f"trigon_policy_events_total{{{WHO_POD}}}"
ENFORCED_MATCHES = f"trigon_policy_events_total{{{WHO_POD}, {ENFORCES}}}"
FILES = f"trigon_policy_events_total{{{WHO_POD}, {FILE_HOOKS}}}"
PRIVILEGES = f"trigon_privileges_gained_total{{{WHO_POD}}}"
# Pods are no label of these two.
RUN_TIME = 'trigon_process_run_seconds{namespace=~"$namespace", workload=~"$workload"}'
NEW = 'trigon_first_seen_binaries_total{namespace=~"$namespace", workload=~"$workload"}'


def _stats(board: Board) -> None:
    board.line(
        4,
        p.stat(
            "Executions",
            "Programs started, a second.",
            t.over_time(f"sum(rate({EXECS}[$__rate_interval]))"),
            "ops",
            spark=True,
        ),
        p.stat(
            "Failed exits",
            "Share of ends with a code other than 0, or by a signal.",
            t.over_time(f"sum(rate({FAILURES}[$__rate_interval])) / sum(rate({EXITS}[$__rate_interval]))"),
            "percentunit",
            spark=True,
            empty="no failures",
        ),
        p.stat("Ended by signals", "Within the time shown.", t.now(total(SIGNALS)), steps=p.NOTABLE),
        p.stat(
            "Run time, p99",
            "Of processes that ended, of the whole workload.",
            t.over_time(quantile(0.99, RUN_TIME)),
            "s",
            empty="no process ended",
            spark=True,
        ),
        p.stat("Policy matches", "Within the time shown.", t.now(total(MATCHES)), steps=p.NOTABLE),
        p.stat(
            "Enforced",
            "Matches where a policy killed, signalled or refused.",
            t.now(total(ENFORCED_MATCHES)),
            steps=p.BAD,
        ),
        p.stat(
            "First-seen programs",
            "Executions of programs that this workload had not run before.",
            t.now(total(NEW)),
            steps=p.NOTABLE,
        ),
        p.stat(
            "Privileges gained",
            "Executions that gained privileges by their file.",
            t.now(total(PRIVILEGES)),
            steps=p.NOTABLE,
        ),
    )


def _processes(board: Board) -> None:
    board.row("Processes")
    board.line(
        8,
        p.timeseries(
            "Executions, by pod",
            "Programs started, a second.",
            t.over_time(f"topk(15, {rate(EXECS, 'namespace, workload, pod')})", "{{namespace}}/{{pod}}"),
            "ops",
            stack=True,
            hosts=True,
            links=[links.to_pod(links.label)],
        ),
        p.timeseries(
            "Run time",
            "How long processes ran, by their ends.",
            [t.over_time(quantile(q, RUN_TIME), f"p{round(q * 100)}") for q in (0.5, 0.9, 0.99)],
            "s",
            empty="no process ended",
        ),
        p.heatmap(
            "Run time, spread",
            "How many processes ran for how long.",
            t.heat(buckets(RUN_TIME)),
            "s",
            empty="no process ended",
        ),
    )
    columns = [
        "Time",
        log("k8s.pod.name"),
        log("k8s.container.name"),
        "Line",
        log("process.pid"),
        log("process.user.id"),
        log("trigon.flags"),
        log("trigon.exec_id"),
        log("trace_id"),
    ]
    board.line(
        10,
        p.log_table(
            "Executions",
            "The newest. An execution's id leads to all that is known of it.",
            t.lines(workload_logs(EXEC)),
            columns,
            empty="nothing was executed",
            renamed={
                "k8s_pod_name": "pod",
                "k8s_container_name": "container",
                "Line": "command",
                "process_pid": "pid",
                "process_user_id": "uid",
                "trigon_flags": "flags",
                "trigon_exec_id": "execution",
                "trace_id": "trace",
            },
            overrides=p.ids() | {"Time": p.wide(180), "pid": p.wide(90), "uid": p.wide(70)},
        ),
    )


def _ends(board: Board) -> None:
    board.row("Exit codes, signals, restarts")
    restarts, pod, container = log("k8s.container.restart_count"), log("k8s.pod.name"), log("k8s.container.name")
    known = f'{restarts}!=""'
    board.line(
        8,
        p.timeseries(
            "Exit codes",
            "Ends with a code other than 0, a second.",
            t.over_time(f"topk(10, {rate(CODES, 'code')} > 0)", "{{code}}"),
            "ops",
            stack=True,
            empty="no failures",
        ),
        p.timeseries(
            "Signals",
            "Ends by a signal, in each step.",
            t.over_time(bars(SIGNALS, "signal, pod"), "{{signal}} {{pod}}"),
            bars=True,
            stack=True,
            empty="no process was ended by a signal",
        ),
        p.timeseries(
            "Restarts of containers",
            "What the records of each container say of how often it was restarted; a step up is a restart.",
            t.log_numbers(
                f"max_over_time({workload_logs(known)} | unwrap {restarts} [$__auto]) by ({pod}, {container})",
                f"{{{{{pod}}}}}/{{{{{container}}}}}",
            ),
            source=v.LOGS,
            empty="no container told of itself",
        ),
    )
    columns = [
        "Time",
        pod,
        "Line",
        log("process.exit.code"),
        log("trigon.exit.signal"),
        log("trigon.exec_id"),
        log("trace_id"),
    ]
    board.line(
        9,
        p.log_table(
            "Failed processes",
            "Ends with a code other than 0, or by a signal, the newest.",
            t.lines(workload_logs(FAILED)),
            columns,
            empty="no failures",
            renamed={
                "k8s_pod_name": "pod",
                "Line": "command and end",
                "process_exit_code": "code",
                "trigon_exit_signal": "signal",
                "trigon_exec_id": "execution",
                "trace_id": "trace",
            },
            overrides=p.ids() | {"Time": p.wide(180), "code": p.wide(80), "signal": p.wide(110)},
        ),
    )


def _files(board: Board) -> None:
    board.row("Files and policies")
    path, policy = log("file.path"), log("trigon.policy.name")
    board.line(
        8,
        p.timeseries(
            "File events, by hook",
            "Matches of policies at calls that act on files, in each step.",
            t.over_time(bars(FILES, "policy, hook"), "{{policy}} {{hook}}"),
            bars=True,
            stack=True,
            empty="no policy saw files",
            links=[links.to_policy(links.label)],
        ),
        p.timeseries(
            "Policy matches",
            "All matches of policies, in each step.",
            t.over_time(bars(MATCHES, "policy, action"), "{{policy}}: {{action}}"),
            bars=True,
            stack=True,
            empty="no policy matched",
            links=[links.to_policy(links.label)],
        ),
        p.table(
            "Files",
            "The files that policies saw most, within the time shown.",
            t.log_number(f"topk(25, {log_count(workload_logs(FILE), f'{path}, {policy}', '$__range')})"),
            [path, policy, "Value #A"],
            source=v.LOGS,
            empty="no policy saw files",
            joined=True,
            renamed={"file_path": "file", "trigon_policy_name": "policy", "Value #A": "matches"},
            overrides={
                "matches": p.bar(),
                "policy": p.linked(links.to_policy(lambda _: links.column("trigon_policy_name"))),
            },
            sort="Value #A",
        ),
    )
    board.line(
        9,
        p.logs(
            "File events",
            "What policies saw of files, the newest.",
            t.lines(workload_logs(FILE)),
            empty="no policy saw files",
        ),
        p.logs(
            "Policy matches",
            "All that policies saw, the newest.",
            t.lines(workload_logs(POLICY)),
            empty="no policy matched",
        ),
    )


def _traces(board: Board) -> None:
    board.row("Traces and lines of log")
    board.line(
        9,
        p.span_table(
            "Spans that failed",
            "Executions that ended with a code other than 0, or by a signal.",
            t.spans(workload_traces("status = error", select=("process.exit.code", "trigon.exit.signal"))),
            links=p.SPAN_LINKS,
            empty="no failures",
        ),
        p.span_table(
            "Longest executions",
            "Executions that took more than a second.",
            t.spans(workload_traces("duration > 1s", select=("process.pid", "process.command_args"))),
            links=p.SPAN_LINKS,
            empty="no execution took more than a second",
        ),
    )
    board.line(
        12, p.logs("All records", "Starts, ends and policies' matches, the newest.", t.lines(workload_logs()))
    )
    board.line(
        6,
        p.timeseries(
            "Records, by severity",
            "INFO: starts and ends; WARN: a policy matched; ERROR: a policy stepped in.",
            t.log_numbers(log_count(workload_logs(), log("severity_text")), "{{severity_text}}"),
            source=v.LOGS,
            bars=True,
            stack=True,
        ),
    )


def board():
    board = Board(
        "trigon-workload",
        "Trigon: workload",
        "One workload or pod: processes, files, ends, traces, lines of log.",
        [v.namespace(), v.workload(), v.pod()],
        since="now-1h",
    )
    _stats(board)
    _processes(board)
    _ends(board)
    _files(board)
    _traces(board)
    return board.build()
