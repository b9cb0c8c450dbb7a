"""Whether the agents do their work: loss first, then the way of an event from the kernel to its destination."""

import links
import panels as p
import targets as t
import variables as v
from board import Board
from queries import AGENT, bars, buckets, quantile, rate, seen, total


def of(family: str, *labels: str) -> str:
    """A family's series of the chosen agents."""
    return f"{family}{{{', '.join((AGENT, *labels))}}}"


# What rate limits drop is meant to be dropped.
LOST = of("trigon_lost_events_total", 'reason!="rate_limit"')
LIMITED = of("trigon_lost_events_total", 'reason="rate_limit"')
FILTERED = of("trigon_filtered_events_total")
RECEIVED = of("trigon_records_received_total")
SPOOL = of("trigon_export_queue_bytes")
SPOOL_ROOM = of("trigon_export_queue_capacity_bytes")
DELAY = of("trigon_event_delay_seconds")
LATENCY = of("trigon_export_latency_seconds")
FILL = of("trigon_ring_buffer_fill_ratio")


def share(part: str, whole: str, by: str) -> str:
    """How much of a room is taken, at the fullest."""
    return f"max by ({by}) ({part} / {whole})"


def _stats(board: Board) -> None:
    board.line(
        4,
        p.stat(
            "Agents",
            "Agents that Prometheus has reached.",
            t.now(f"count({of('trigon_build_info')})"),
            empty="none",
        ),
        p.stat(
            "Lost events",
            "Events that did not reach their destination, within the time shown.",
            t.now(total(LOST)),
            steps=p.BAD,
        ),
        p.stat(
            "Read from the kernel",
            "Records, a second.",
            t.over_time(f"sum(rate({RECEIVED}[$__rate_interval]))"),
            "ops",
            spark=True,
        ),
        p.stat(
            "Delivered",
            "Records that destinations acknowledged, a second.",
            t.over_time(f"sum(rate({of('trigon_export_records_total')}[$__rate_interval]))"),
            "ops",
            spark=True,
            empty="no OTLP destination",
        ),
        p.stat(
            "Latency, p99",
            "From the kernel's time of the oldest event of a batch to its acknowledgement.",
            t.over_time(quantile(0.99, LATENCY)),
            "s",
            spark=True,
            empty="nothing was delivered",
        ),
        p.stat(
            "Fullest spool",
            "Encoded batches that wait for their destination, of the room that they have.",
            t.now(f"max({SPOOL} / {SPOOL_ROOM})"),
            "percentunit",
            steps=p.ROOM,
            empty="no OTLP destination",
        ),
        p.stat(
            "CPU",
            "Of one CPU, the busiest agent.",
            t.over_time(f"max(rate({of('process_cpu_seconds_total')}[$__rate_interval]))"),
            "percentunit",
            spark=True,
        ),
        p.stat(
            "Memory",
            "Resident, the largest agent.",
            t.over_time(f"max({of('process_resident_memory_bytes')})"),
            "bytes",
            spark=True,
        ),
    )


def _loss(board: Board) -> None:
    board.row("Loss")
    board.line(
        8,
        p.timeseries(
            "Lost, by where and why",
            "Events in each step. kernel: the agent did not read fast enough; queue, "
            "spool: a way out was too slow or away; export: refused. docs/outputs.md tells of each.",
            t.over_time(bars(LOST, "stage, reason, exporter"), "{{stage}} {{reason}} {{exporter}}"),
            bars=True,
            stack=True,
            empty="no loss",
        ),
        p.table(
            "Lost, within the time shown",
            "By where, why, on the way to whom, and what.",
            t.rows(f"sum by (instance, stage, reason, exporter, type) ({seen(LOST, '$__range')}) > 0"),
            ["instance", "stage", "reason", "exporter", "type", "Value #A"],
            empty="no loss",
            renamed={"Value #A": "events"},
            overrides={"instance": p.linked(links.to_agent(links.column)), "events": p.bar(color=p.RED)},
            sort="Value #A",
        ),
        p.timeseries(
            "Held back by filters and rate limits",
            "Events a second that a filter kept from a way out, or that a rate limit dropped, as configured.",
            [
                t.over_time(rate(FILTERED, "exporter, type") + " > 0", "{{exporter}} {{type}}"),
                t.over_time(rate(LIMITED, "stage, exporter") + " > 0", "rate limit, {{stage}} {{exporter}}"),
            ],
            "ops",
            stack=True,
            empty="nothing was filtered",
        ),
    )
    board.line(
        8,
        p.timeseries(
            "Lost, by agent",
            "Events in each step.",
            t.over_time(bars(LOST, "instance"), "{{instance}}"),
            bars=True,
            stack=True,
            empty="no loss",
            links=[links.to_agent(links.label)],
        ),
        p.timeseries(
            "Missed and repeated",
            "Starts that were not seen, and ends that were told twice, in each step: "
            "what the process table had to make good.",
            [
                t.over_time(bars(of("trigon_missed_starts_total"), "instance"), "missed start {{instance}}"),
                t.over_time(bars(of("trigon_duplicate_exits_total"), "instance"), "repeated end {{instance}}"),
            ],
            bars=True,
            empty="none",
        ),
    )


def _kernel(board: Board) -> None:
    board.row("From the kernel")
    used, room = of("trigon_ring_buffer_used_bytes"), of("trigon_ring_buffer_capacity_bytes")
    board.line(
        8,
        p.timeseries(
            "Records read", "A second, by type.", t.over_time(rate(RECEIVED, "type"), "{{type}}"), "ops", stack=True
        ),
        p.heatmap(
            "Fill of the ring buffer",
            "How full it was, each time that the agent read it. Full means loss.",
            t.heat(buckets(FILL)),
            "percentunit",
        ),
        p.timeseries(
            "Fill at the last read",
            "The fullest agents; what lies between two reads is in the heat map.",
            t.over_time(f"topk(10, {share(used, room, 'instance')})", "{{instance}}"),
            "percentunit",
            maximum=1,
            links=[links.to_agent(links.label)],
        ),
        p.timeseries(
            "Delay of events",
            "From the kernel's time of an event to when the agent read it.",
            [t.over_time(quantile(q, DELAY), f"p{round(q * 100)}") for q in (0.5, 0.9, 0.99)],
            "s",
        ),
        widths=(6, 6, 6, 6),
    )


def _export(board: Board) -> None:
    board.row("To the destinations")
    board.line(
        8,
        p.timeseries(
            "Queues",
            "Events that wait for a way out, before they are encoded.",
            t.over_time(f"sum by (exporter) ({of('trigon_queue_events')})", "{{exporter}}"),
            empty="no queues",
        ),
        p.timeseries(
            "Spool",
            "Encoded batches that wait for their destination, of the room; the fullest agent.",
            t.over_time(share(SPOOL, SPOOL_ROOM, "exporter"), "{{exporter}}"),
            "percentunit",
            maximum=1,
            empty="no OTLP destination",
        ),
        p.timeseries(
            "Spool, events",
            "Events in encoded batches that wait, of all agents.",
            t.over_time(f"sum by (exporter) ({of('trigon_export_queue_events')})", "{{exporter}}"),
            empty="no OTLP destination",
        ),
    )
    codes = of("trigon_export_requests_total")
    board.line(
        8,
        p.timeseries(
            "Export latency",
            "From the kernel's time of the oldest event of a batch to its acknowledgement.",
            [
                t.over_time(quantile(q, LATENCY, "exporter"), f"p{round(q * 100)} {{{{exporter}}}}")
                for q in (0.5, 0.99)
            ],
            "s",
            empty="nothing was delivered",
        ),
        p.timeseries(
            "Requests, by code",
            "A second. `connect`: no connection; `timeout`: no reply.",
            t.over_time(rate(codes, "exporter, code"), "{{exporter}} {{code}}"),
            "reqps",
            stack=True,
            empty="no requests",
        ),
        p.timeseries(
            "Requests sent again",
            "A second: those that failed.",
            t.over_time(rate(of("trigon_export_retries_total"), "exporter"), "{{exporter}}"),
            "reqps",
            empty="none failed",
        ),
        p.timeseries(
            "Bytes sent",
            "A second, before gRPC's compression and after that of HTTP.",
            t.over_time(rate(of("trigon_export_bytes_total"), "exporter"), "{{exporter}}"),
            "Bps",
            stack=True,
            empty="no OTLP destination",
        ),
    )


def _resources(board: Board) -> None:
    board.row("What the agents need")
    board.line(
        8,
        p.timeseries(
            "CPU",
            "Of one CPU.",
            t.over_time(f"topk(15, {rate(of('process_cpu_seconds_total'), 'instance')})", "{{instance}}"),
            "percentunit",
            links=[links.to_agent(links.label)],
        ),
        p.timeseries(
            "Memory",
            "Resident.",
            t.over_time(f"topk(15, {of('process_resident_memory_bytes')})", "{{instance}}"),
            "bytes",
            links=[links.to_agent(links.label)],
        ),
        p.timeseries(
            "Kernel memory",
            "Of the agents' own programs and maps, and of the policies'; one agent's, the largest.",
            [
                t.over_time(f"max by (part) ({of('trigon_kernel_memory_bytes')})", "{{part}}"),
                t.over_time(f"max(sum by (instance) ({of('trigon_policy_kernel_memory_bytes')}))", "policies"),
            ],
            "bytes",
            stack=True,
        ),
        p.timeseries(
            "Threads and files",
            "Of one agent, the most.",
            [
                t.over_time(f"max({of('process_threads')})", "threads"),
                t.over_time(f"max({of('process_open_fds')})", "open files"),
            ],
        ),
    )
    table = share(of("trigon_process_table_size"), of("trigon_process_table_capacity"), "instance")
    series = f"{of('trigon_metrics_series')} / on (job, instance) group_left () {of('trigon_metrics_series_limit')}"
    evictions = of("trigon_process_table_evictions_total")
    board.line(
        8,
        p.timeseries(
            "Process table",
            "Processes that are known, of the room; the fullest agents.",
            t.over_time(f"topk(10, {table})", "{{instance}}"),
            "percentunit",
            maximum=1,
        ),
        p.timeseries(
            "Forgotten processes",
            "Entries of the process table that made way, in each step.",
            t.over_time(bars(evictions, "reason"), "{{reason}}"),
            bars=True,
            stack=True,
            empty="none",
        ),
        p.timeseries(
            "Series, of the limit",
            "Series of a family of metrics, of `metrics.max_series`; the fullest agent.",
            t.over_time(f"max by (family) ({series})", "{{family}}"),
            "percentunit",
        ),
        p.timeseries(
            "Folded",
            "Events a second that were counted under `other`, since their family was full.",
            t.over_time(rate(of("trigon_metrics_folded_total"), "family"), "{{family}}"),
            "ops",
            empty="nothing was folded",
        ),
    )
    board.line(
        7,
        p.timeseries(
            "Followed files, placements",
            "What policies make the agents keep.",
            [
                t.over_time(f"sum({of('trigon_followed_files')})", "open files"),
                t.over_time(f"sum({of('trigon_placements')})", "placements"),
            ],
            empty="no policies",
        ),
        p.timeseries(
            "Texts made safe",
            "Texts a second that were no UTF-8, and values that were redacted.",
            [
                t.over_time(f"sum(rate({of('trigon_escaped_texts_total')}[$__rate_interval]))", "escaped"),
                t.over_time(f"sum(rate({of('trigon_redacted_values_total')}[$__rate_interval]))", "redacted"),
            ],
            "ops",
            empty="none",
        ),
    )


def _kubernetes(board: Board) -> None:
    board.row("Kubernetes and configuration")
    board.line(
        8,
        p.timeseries(
            "Pods waited for",
            "Events a second that had to wait until their pod was known, by what came of it.",
            t.over_time(rate(of("trigon_pod_waits_total"), "outcome"), "{{outcome}}"),
            "ops",
            stack=True,
            empty="none had to wait",
        ),
        p.timeseries(
            "Waiting, and pods",
            "Events that wait for their pod now, and pods that are known.",
            [
                t.over_time(f"sum({of('trigon_pod_waiting_events')})", "events waiting"),
                t.over_time(f"sum by (state) ({of('trigon_pods')})", "pods {{state}}"),
            ],
            empty="not in Kubernetes",
        ),
        p.timeseries(
            "Watches",
            "Changes that the API server told of, a second.",
            t.over_time(rate(of("trigon_watch_events_total"), "watch"), "{{watch}}"),
            "ops",
            empty="not in Kubernetes",
        ),
        p.timeseries(
            "Failed watches",
            "In each step; each is tried again.",
            t.over_time(bars(of("trigon_watch_errors_total"), "watch, error"), "{{watch}} {{error}}"),
            bars=True,
            stack=True,
            empty="none failed",
        ),
    )
    reload = of("trigon_config_last_reload_success_timestamp_seconds")
    cpu, memory = of("process_cpu_seconds_total"), of("process_resident_memory_bytes")
    by = "instance"
    board.line(
        10,
        p.table(
            "Agents",
            "One a row. Synced: the agent has the whole list of what it watches in Kubernetes. Configuration: whether "
            "the last reload took effect.",
            [
                t.rows(f"sum by (instance, version, arch) ({of('trigon_build_info')})"),
                t.rows(f"sum by ({by}) ({seen(LOST, '$__range')})"),
                t.rows(f"time() - max by ({by}) ({of('trigon_start_time_seconds')})"),
                t.rows(f"sum by ({by}) (rate({cpu}[$__rate_interval]))"),
                t.rows(f"sum by ({by}) ({memory})"),
                t.rows(f"min by ({by}) ({of('trigon_watch_synced')})"),
                t.rows(f"min by ({by}) ({of('trigon_config_last_reload_successful')})"),
                t.rows(f"max by ({by}) ({reload}) * 1000"),
            ],
            ["instance", "version", "arch", *(f"Value #{letter}" for letter in "BCDEFGH")],
            empty="no agents",
            renamed={
                "instance": "agent",
                "Value #B": "lost",
                "Value #C": "up for",
                "Value #D": "CPU",
                "Value #E": "memory",
                "Value #F": "synced",
                "Value #G": "configuration",
                "Value #H": "configured",
            },
            overrides={
                "agent": p.linked(links.to_agent(lambda _: links.column("instance"))),
                "lost": p.number(warn=True),
                "up for": p.number("s"),
                "CPU": p.bar("percentunit"),
                "memory": p.bar("bytes"),
                "synced": p.yes_or_no(),
                "configuration": p.yes_or_no(),
                "configured": p.number("dateTimeFromNow"),
            },
        ),
    )


def board():
    board = Board(
        "trigon-agent",
        "Trigon: agents",
        "Health of the agents: loss, queues, destinations, resources.",
        [v.instance()],
    )
    _stats(board)
    _loss(board)
    _kernel(board)
    _export(board)
    _resources(board)
    _kubernetes(board)
    return board.build()
