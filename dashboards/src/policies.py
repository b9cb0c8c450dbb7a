"""What policies see, what they do about it, and what they cost."""

import links
import panels as p
import targets as t
import variables as v
from attributes import log
from board import Board
from queries import ENFORCED, ENFORCES, POLICY, WHO, bars, log_count, logs, total, total_by

MATCHES = f'trigon_policy_events_total{{policy=~"$policy", {WHO}}}'
ENFORCED_MATCHES = f'trigon_policy_events_total{{policy=~"$policy", {WHO}, {ENFORCES}}}'
MEMORY = 'trigon_policy_kernel_memory_bytes{policy=~"$policy"}'
INFO = 'trigon_policy_hook_info{policy=~"$policy"}'
CHOSEN = f'{log("trigon.policy.name")}=~"$policy"'
OF_POLICY = {"policy": p.linked(links.to_policy(links.column))}


def of_policies(series: str, by: str) -> str:
    """A rate of hooks, for each policy that has the hook."""
    return (
        f"sum by ({by}) (rate({series}[$__rate_interval]) "
        f"* on (job, instance, hook, mechanism) group_right () {INFO})"
    )


def _stats(board: Board) -> None:
    board.line(
        4,
        p.stat(
            "Policies enabled",
            "Of all agents: a policy on ten nodes counts ten times.",
            t.now('sum(trigon_policies{state="enabled"})'),
            empty="none",
        ),
        p.stat(
            "With errors",
            "Policies that an agent could not load, or not in full.",
            t.now('sum(trigon_policies{state=~"error|load_error|partially_enabled"})'),
            steps=p.BAD,
        ),
        p.stat("Matches", "Events that the policies posted, within the time shown.", t.now(total(MATCHES))),
        p.stat(
            "Enforced",
            "Matches where a policy killed, signalled or refused, within the time shown.",
            t.now(total(ENFORCED_MATCHES)),
            steps=p.BAD,
        ),
        p.stat(
            "Kernel memory",
            "Maps and programs of the policies, of all agents.",
            t.now(f"sum({MEMORY})"),
            "bytes",
            empty="no policies",
        ),
        p.stat(
            "CPU time in hooks",
            "Share of one CPU that the policies' programs take, of all agents. Only measured with "
            "`metrics.bpf_stats = true`.",
            t.over_time(f"sum({of_policies('trigon_hook_seconds_total', 'policy')})"),
            "percentunit",
            spark=True,
            empty="not measured",
        ),
    )


def _matches(board: Board) -> None:
    board.row("Matches")
    board.line(
        8,
        p.timeseries(
            "By policy",
            "Matches in each step.",
            t.over_time(bars(MATCHES, "policy"), "{{policy}}"),
            bars=True,
            stack=True,
            empty="no policy matched",
            links=[links.to_policy(links.label)],
        ),
        p.timeseries(
            "By hook",
            "Matches in each step, by where in the kernel.",
            t.over_time(bars(MATCHES, "hook"), "{{hook}}"),
            bars=True,
            stack=True,
            empty="no policy matched",
        ),
        p.timeseries(
            "By action",
            "Matches in each step, by what was done.",
            t.over_time(bars(MATCHES, "action"), "{{action}}"),
            bars=True,
            stack=True,
            empty="no policy matched",
        ),
    )
    board.line(
        9,
        p.table(
            "Policy, hook, action",
            "Within the time shown.",
            t.rows(total_by(MATCHES, "policy, policy_namespace, hook, action")),
            ["policy", "policy_namespace", "hook", "action", "Value #A"],
            empty="no policy matched",
            renamed={"policy_namespace": "namespace", "Value #A": "matches"},
            overrides=OF_POLICY | {"matches": p.bar()},
            sort="Value #A",
        ),
        p.table(
            "Who",
            "Workloads and pods whose processes matched, within the time shown; an empty name is the host.",
            t.rows(f"topk(50, {total_by(MATCHES, 'policy, namespace, workload, pod')})"),
            ["policy", "namespace", "workload", "pod", "Value #A"],
            empty="no policy matched",
            renamed={"Value #A": "matches"},
            overrides=OF_POLICY
            | {
                "workload": p.linked(links.to_workload(links.column)),
                "pod": p.linked(links.to_pod(links.column)),
                "matches": p.bar(),
            },
            sort="Value #A",
        ),
    )
    board.line(
        7,
        p.timeseries(
            "Who, over time",
            "Workloads whose processes matched, in each step.",
            t.over_time(bars(MATCHES, "namespace, workload"), "{{namespace}}/{{workload}}"),
            bars=True,
            stack=True,
            hosts=True,
            empty="no policy matched",
            links=[links.to_workload(links.label)],
        ),
    )


def _records(board: Board) -> None:
    board.row("Latest")
    program, name = log("process.executable.path"), log("trigon.policy.name")
    columns = [
        "Time",
        name,
        log("k8s.namespace.name"),
        log("k8s.pod.name"),
        "Line",
        log("trigon.action"),
        log("trigon.exec_id"),
        log("trace_id"),
    ]
    board.line(
        11,
        p.log_table(
            "Matches",
            "The newest. An execution's id leads to all that is known of it.",
            t.lines(logs(POLICY, CHOSEN)),
            columns,
            empty="no policy matched",
            renamed={
                "trigon_policy_name": "policy",
                "k8s_namespace_name": "namespace",
                "k8s_pod_name": "pod",
                "Line": "what happened",
                "trigon_action": "action",
                "trigon_exec_id": "execution",
                "trace_id": "trace",
            },
            overrides={
                **p.ids(),
                "Time": p.wide(180),
            },
        ),
    )
    by_program = log_count(logs(POLICY, CHOSEN), f"{name}, {program}", "$__range")
    board.line(
        9,
        p.logs(
            "Enforcement",
            "Where a policy stepped in, the newest.",
            t.lines(logs(ENFORCED, CHOSEN)),
            empty="no policy stepped in",
        ),
        p.table(
            "Programs",
            "Whose processes matched most, within the time shown.",
            t.log_number(f"topk(25, {by_program})"),
            [program, name, "Value #A"],
            source=v.LOGS,
            empty="no policy matched",
            joined=True,
            renamed={"process_executable_path": "program", "trigon_policy_name": "policy", "Value #A": "matches"},
            overrides={
                "matches": p.bar(),
                "policy": p.linked(links.to_policy(lambda _: links.column("trigon_policy_name"))),
            },
            sort="Value #A",
        ),
    )


def _cost(board: Board) -> None:
    board.row("Cost and state")
    by = "policy, policy_namespace, hook, mechanism"
    board.line(
        9,
        p.table(
            "Cost, by hook",
            "Runs and time of the programs at the hooks of each policy, of all agents. A hook that "
            "several policies share has one program, whose cost stands at each. Runs and time need "
            "`metrics.bpf_stats = true`.",
            [
                t.rows(f"sum by ({by}) ({INFO})"),
                t.rows(of_policies("trigon_hook_runs_total", by)),
                t.rows(of_policies("trigon_hook_seconds_total", by)),
                t.rows(of_policies("trigon_hook_missed_total", by)),
                t.rows(
                    f"{of_policies('trigon_hook_seconds_total', by)} / "
                    f"({of_policies('trigon_hook_runs_total', by)} > 0)"
                ),
            ],
            [
                "policy",
                "policy_namespace",
                "hook",
                "mechanism",
                "Value #A",
                "Value #B",
                "Value #C",
                "Value #E",
                "Value #D",
            ],
            empty="no policies",
            renamed={
                "policy_namespace": "namespace",
                "Value #A": "agents",
                "Value #B": "runs/s",
                "Value #C": "CPU",
                "Value #D": "missed/s",
                "Value #E": "time of a run",
            },
            overrides=OF_POLICY
            | {
                "runs/s": p.bar("ops"),
                "CPU": p.number("percentunit"),
                "missed/s": p.number("ops", warn=True),
                "time of a run": p.number("s"),
            },
            sort="Value #C",
        ),
        p.bargauge(
            "Kernel memory, by policy",
            "Maps and programs, of all agents.",
            t.now(f"sort_desc(sum by (policy, policy_namespace) ({MEMORY}))", "{{policy_namespace}} {{policy}}"),
            "bytes",
            empty="no policies",
            links=[links.to_policy(links.label)],
        ),
        widths=(17, 7),
    )
    board.line(
        8,
        p.timeseries(
            "Policies, by state",
            "Of all agents. `load_error` and `partially_enabled`: this kernel lacks what the "
            "policy asks for; the agent's log says what.",
            t.over_time("sum by (state) (trigon_policies) > 0", "{{state}}"),
            stack=True,
            empty="no policies",
        ),
        p.timeseries(
            "CPU time, by policy",
            "Share of one CPU that the programs of the policies' hooks take.",
            t.over_time(of_policies("trigon_hook_seconds_total", "policy"), "{{policy}}"),
            "percentunit",
            empty="not measured: metrics.bpf_stats is off",
        ),
        p.timeseries(
            "Missed runs",
            "Calls at which the kernel skipped the program, as it ran there already: what policies did not see.",
            t.over_time(of_policies("trigon_hook_missed_total", "policy, hook"), "{{policy}} {{hook}}"),
            "ops",
            empty="none were missed",
        ),
    )


def board():
    board = Board(
        "trigon-policies",
        "Trigon: policies",
        "What policies see and do, who triggers them, and what they cost.",
        [v.namespace(), v.workload(), v.policy()],
        since="now-6h",
    )
    _stats(board)
    _matches(board)
    _records(board)
    _cost(board)
    return board.build()
