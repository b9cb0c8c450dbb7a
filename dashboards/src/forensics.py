"""One execution: what it was, what it did, its children, its trace."""

import links
import panels as p
import targets as t
import variables as v
from attributes import log
from board import Board
from queries import EXEC, EXIT, POLICY, all_logs, log_count, traces

EXEC_ID = log("trigon.exec_id")
# An empty field finds nothing, rather than the records that have no such attribute.
IT = f'{EXEC_ID}!="" | {EXEC_ID}=`$exec_id`'
PARENT = log("trigon.parent_exec_id")
CHILDREN = f'{PARENT}!="" | {PARENT}=`$exec_id`'
IN_TRACE = f'{log("trace_id")}!="" | {log("trace_id")}=`$trace_id`'
NOTHING = "nothing of this execution in this time: widen it, or check the id"

# What a line is, in a word.
KIND = (
    "label_format kind=`"
    f'{{{{if ne .{log("trigon.policy.name")} ""}}}}{{{{.{log("trigon.policy.name")}}}}}'
    f'{{{{else if ne .{log("process.exit.time")} ""}}}}exit{{{{else}}}}exec{{{{end}}}}`'
)
OVERRIDES = p.ids() | {
    "parent": p.linked(links.to_process(), width=140),
    "Time": p.wide(180),
    "pid": p.wide(90),
    "uid": p.wide(70),
}
NAMES = {
    "host_name": "node",
    "k8s_namespace_name": "namespace",
    "k8s_pod_name": "pod",
    "k8s_container_name": "container",
    "container_image_name": "image",
    "process_executable_path": "program",
    "process_command_args": "arguments",
    "process_working_directory": "in",
    "process_pid": "pid",
    "process_parent_pid": "parent's pid",
    "process_user_id": "uid",
    "trigon_auid": "login uid",
    "process_exit_code": "code",
    "trigon_exit_signal": "signal",
    "trigon_script_path": "script",
    "trigon_privileges_gained": "gained",
    "trigon_flags": "flags",
    "trigon_exec_id": "execution",
    "trigon_parent_exec_id": "parent",
    "trace_id": "trace",
    "trigon_policy_name": "policy",
    "trigon_hook_function": "function",
    "trigon_action": "action",
    "trigon_args": "with",
    "file_path": "file",
    "trigon_policy_namespace": "policy's namespace",
    "event_name": "event",
}


def table(title: str, what: str, query: str, columns: list[str], empty: str):
    renamed = {name: NAMES[name] for name in columns if name in NAMES}
    shown = [renamed.get(name, name) for name in columns]
    return p.log_table(
        title,
        what,
        t.lines(query),
        columns,
        empty=empty,
        oldest_first=True,
        renamed=renamed,
        overrides={name: OVERRIDES[name] for name in shown if name in OVERRIDES},
    )


def count(title: str, what: str, *filters: str, steps=p.NEUTRAL):
    query = log_count(all_logs(*filters), over="$__range")
    return p.stat(title, what, t.log_number(query), source=v.LOGS, steps=steps)


def _process(board: Board) -> None:
    board.line(
        4,
        count("Records", "All that the agent told of this execution, within the time shown.", IT),
        count("Policy matches", "What policies saw of it.", IT, POLICY, steps=p.NOTABLE),
        count(
            "Enforced",
            "Where a policy killed, signalled or refused.",
            IT,
            POLICY,
            f'{log("severity_text")}="ERROR"',
            steps=p.BAD,
        ),
        count("Children", "Executions that it started.", CHILDREN, EXEC),
        count("Ends", "1 where its end was told; 0 while it runs, or its end is not in the time shown.", IT, EXIT),
    )
    board.line(
        5,
        table(
            "The process",
            "Who, where and with what; a line from its start, one from its end.",
            all_logs(IT, f'({log("trigon.policy.name")}="")'),
            [
                "Time",
                "Line",
                *map(
                    log,
                    (
                        "process.pid",
                        "process.parent_pid",
                        "process.user.id",
                        "trigon.auid",
                        "process.executable.path",
                        "trigon.script.path",
                        "process.working_directory",
                        "process.exit.code",
                        "trigon.exit.signal",
                        "trigon.privileges_gained",
                        "trigon.flags",
                        "trigon.parent_exec_id",
                        "trace_id",
                    ),
                ),
            ],
            NOTHING,
        ),
    )
    board.line(
        5,
        table(
            "Where it ran",
            "Node, pod, container and image.",
            all_logs(IT, f'({log("trigon.policy.name")}="")'),
            [
                "Time",
                *map(
                    log,
                    (
                        "host.name",
                        "k8s.namespace.name",
                        "k8s.pod.name",
                        "k8s.container.name",
                        "container.image.name",
                        "process.command_args",
                    ),
                ),
            ],
            NOTHING,
        ),
    )


def _events(board: Board) -> None:
    board.row("What it did")
    board.line(
        7,
        p.timeseries(
            "Timeline",
            "Its records over time: start, end, and what each policy saw.",
            t.log_numbers(log_count(all_logs(IT, KIND), "kind"), "{{kind}}"),
            source=v.LOGS,
            bars=True,
            stack=True,
            empty=NOTHING,
        ),
    )
    board.line(
        12,
        p.logs(
            "Every record",
            "All that the agent told of it, the newest first. A click shows a record's attributes.",
            t.lines(all_logs(IT)),
            empty=NOTHING,
        ),
        table(
            "What policies saw",
            "Its matches, from the first on.",
            all_logs(IT, POLICY),
            [
                "Time",
                *map(
                    log,
                    (
                        "trigon.policy.name",
                        "trigon.policy.namespace",
                        "event_name",
                        "trigon.hook.function",
                        "trigon.action",
                        "file.path",
                        "trigon.args",
                    ),
                ),
            ],
            "no policy matched",
        ),
        widths=(11, 13),
    )


def _family(board: Board) -> None:
    board.row("Children")
    board.line(
        9,
        table(
            "Children",
            "What it started, from the first on. An id leads to that execution.",
            all_logs(CHILDREN, EXEC),
            [
                "Time",
                "Line",
                *map(log, ("process.pid", "process.user.id", "trigon.flags", "trigon.exec_id", "trace_id")),
            ],
            "it started nothing in this time",
        ),
        table(
            "How they ended",
            "Ends of what it started.",
            all_logs(CHILDREN, EXIT),
            [
                "Time",
                "Line",
                *map(log, ("process.pid", "process.exit.code", "trigon.exit.signal", "trigon.exec_id")),
            ],
            "nothing that it started has ended in this time",
        ),
    )


def _trace(board: Board) -> None:
    board.row("Trace")
    select = ("process.pid", "process.executable.path", "process.exit.code", "trigon.exit.signal", "trigon.exec_id")
    to_process = p.SPAN_LINKS | {"trigon.exec_id": [links.to_process(links.column("traceIdHidden"))]}
    board.line(
        7,
        p.span_table(
            "Its spans",
            "The span of this execution, and those of the files that policies followed. The id of the "
            "trace fills the field above.",
            t.spans(traces('span.trigon.exec_id = "$exec_id"', select=select)),
            links=to_process,
            empty="no span: the execution runs still, or its traces are not exported",
        ),
        p.span_table(
            "Spans of its children",
            "What it started.",
            t.spans(traces('span.trigon.parent_exec_id = "$exec_id"', select=select)),
            links=to_process,
            empty="no spans",
        ),
    )
    board.line(
        16,
        p.trace(
            "Trace",
            "The whole trace of the field `Trace`: executions below what started them, with files "
            "and policies' matches.",
            t.trace("$trace_id"),
        ),
    )
    board.line(
        10,
        p.logs(
            "Records of the trace",
            "All that the agent told of the trace's executions.",
            t.lines(all_logs(IN_TRACE)),
            empty="no records of this trace in this time",
        ),
    )


def board():
    board = Board(
        "trigon-forensics",
        "Trigon: process forensics",
        "All that is known of one execution, and its trace.",
        [
            v.text("exec_id", "Execution", "The id of an execution: trigon.exec_id of its records and spans."),
            v.text("trace_id", "Trace", "The id of a trace, 32 hexadecimal digits: trace_id of its records."),
        ],
        since="now-24h",
        refresh="",
    )
    _process(board)
    _events(board)
    _family(board)
    _trace(board)
    return board.build()
