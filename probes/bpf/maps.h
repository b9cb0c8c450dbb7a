/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Maps that programs share, and the one way into the ring buffer. */
#ifndef TRIGON_MAPS_H
#define TRIGON_MAPS_H

#include <bpf/bpf_helpers.h>

#include "kernel.h"
#include "record.h"

/* How user space waits for records; it alone writes this. */
struct control {
	__u32 polling; /* it looks by itself every few milliseconds: waking it would only cost */
	__u32 reserved;
};

/* Its size is the loader's to set. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

/*
 * What was lost: records that found the ring buffer full, by record type; then what hooks lose beside that. The order
 * is that of LostReason in probes/src/lifecycle.rs.
 */
enum lost_kind {
	LOST_BUSY = RECORD_TYPES, /* calls that came while all areas of the CPU were in use */
	LOST_FOLLOWED,            /* files that found no room among the followed ones */
	LOST_RATE_LIMIT,          /* posts that a policy's own rate limit held back */
	LOST_PENDING,             /* calls that found no room to wait for their return */
	LOST_TEXT,                /* texts that a call had no room for */
	LOST_PLACEMENT,           /* cgroups that found no room among the placements */
	LOST_TRACKED,             /* sockets that found no room among the tracked ones */
	LOST_SET,                 /* arguments in memory that could not be written */
	LOST_MARKED,              /* processes that found no room among the marked ones */
	LOST_KINDS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOST_KINDS);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

static __always_inline void count_lost(__u32 kind)
{
	__u64 *count = bpf_map_lookup_elem(&lost, &kind);

	if (count)
		*count += 1;
}

/* Whether user space is to be woken for a record. */
static __always_inline __u64 waking(void)
{
	__u32 key = 0;
	struct control *wait = bpf_map_lookup_elem(&control, &key);

	return wait && wait->polling ? BPF_RB_NO_WAKEUP : 0;
}

static __always_inline void submit(void *record, __u64 length)
{
	if (bpf_ringbuf_output(&records, record, length, waking()) == 0)
		return;
	count_lost(((struct record_header *)record)->type);
}

#endif
