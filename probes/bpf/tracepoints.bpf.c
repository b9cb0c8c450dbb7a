// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Hooks on tracepoints. Raw ones see the arguments of the tracepoint's prototype; the others the fields of its record
 * (/sys/kernel/tracing/events/SUBSYSTEM/EVENT/format), at the offsets that user space found there.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "hook/enter.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Where the fields lie that a hook's arguments are, by the number of the argument: offset and size. */
struct fields {
	__u16 offset[RAW_ARGS];
	__u16 size[RAW_ARGS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HOOKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct fields);
} tracepoint_fields SEC(".maps");

SEC("tracepoint")
int tracepoint_entry(void *ctx)
{
	__u32 hook = bpf_get_attach_cookie(ctx);
	struct fields *fields = bpf_map_lookup_elem(&tracepoint_fields, &hook);
	int index = fields ? enter(hook) : -1;
	struct call *call = index < 0 ? NULL : call_at(index);

	if (call) {
		for (int i = 0; i < RAW_ARGS; i++) {
			__u16 size = fields->size[i];
			__u64 value = 0;

			if (size == 0 || size > sizeof(value))
				continue;
			bpf_probe_read_kernel(&value, size, ctx + fields->offset[i]);
			call->raw[i] = value;
		}
		on_entry(index);
	}
	leave(index);
	return 0;
}
