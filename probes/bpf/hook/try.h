/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What a policy that is tried would do: counted here, by who made the call, and not done. */
#ifndef TRIGON_HOOK_TRY_H
#define TRIGON_HOOK_TRY_H

#include "call.h"
#include "process.h"

/* Who made calls that a selector matched. Without cgroup and binary: those for whom there was no room. */
struct try_key {
	__u32 policy_hook;
	__u16 selector; /* its number within the hook */
	__u16 reserved;
	__u64 cgroup;
	/* What the process executes; in brackets, without the last, its name, where that is not known. */
	char binary[BINARY_BYTES];
};

struct try_count {
	__u64 matched;
	__u64 posted; /* of these, what would be posted: within the rate limit */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct try_key);
	__type(value, struct try_count);
} tries SEC(".maps");

/* Keys are too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct try_key);
} try_keys SEC(".maps");

/* Counts a match. User space made the entry of those without room. Global, for the sake of the stack. */
__attribute__((noinline)) int count_try(int index, __u32 bit, int within_rate)
{
	__u32 area = index, pid = bpf_get_current_pid_tgid() >> 32;
	struct call *call = call_at(index);
	struct selector_key selector_key = { .table = call ? call->table : 0, .selector = bit };
	struct selector *selector = bpf_map_lookup_elem(&selectors, &selector_key);
	struct try_key *key = bpf_map_lookup_elem(&try_keys, &area);
	struct process *process = bpf_map_lookup_elem(&processes, &pid);
	struct task_struct *task = (void *)bpf_get_current_task();
	struct kernfs_node *cgroup = task_cgroup(BPF_CORE_READ(task, group_leader));

	if (!selector || !key)
		return 0;
	__builtin_memset(key, 0, sizeof(*key));
	key->policy_hook = selector->policy_hook;
	key->selector = selector->number;
	key->cgroup = BPF_CORE_READ(cgroup, id);
	if (process) {
		bpf_probe_read_kernel(key->binary, BINARY_BYTES, process->binary);
	} else {
		key->binary[0] = '[';
		bpf_get_current_comm(&key->binary[1], 16);
	}
	struct try_count *count = bpf_map_lookup_elem(&tries, key);

	if (!count) {
		struct try_count none = {};

		bpf_map_update_elem(&tries, key, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&tries, key);
	}
	if (!count) {
		key->cgroup = 0;
		__builtin_memset(key->binary, 0, BINARY_BYTES);
		count = bpf_map_lookup_elem(&tries, key);
	}
	if (!count)
		return 0;
	__sync_fetch_and_add(&count->matched, 1);
	if (within_rate && selector->flags & SELECTOR_POST)
		__sync_fetch_and_add(&count->posted, 1);
	return 0;
}

#endif
