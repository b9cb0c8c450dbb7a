/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Marks that policies leave on processes: what one hook has seen of a process is there for another one to ask. They are
 * the process's as long as it lives, whatever it executes; what it forks is another one.
 */
#ifndef TRIGON_HOOK_MARK_H
#define TRIGON_HOOK_MARK_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "../kernel.h"
#include "../maps.h"

/* A pid that is another's by now has another start: so the next process has none of its marks. */
struct mark_key {
	__u64 start; /* of the process: an exec by another thread keeps it */
	__u32 pid;
	__u32 group; /* whose marks these are: a policy */
};

/* Value: a bit for each mark. Processes that nothing asked about for longest make room: those that have ended, as a rule. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct mark_key);
	__type(value, __u64);
} marks SEC(".maps");

static __always_inline void mark_key(struct mark_key *key, __u32 group)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	key->start = BPF_CORE_READ(task, group_leader, start_boottime);
	key->pid = BPF_CORE_READ(task, tgid);
	key->group = group;
}

/* The marks of the current process. A function of its own, for the sake of the stack. */
static __attribute__((noinline)) __u64 current_marks(__u32 group)
{
	struct mark_key key;

	mark_key(&key, group);
	__u64 *bits = bpf_map_lookup_elem(&marks, &key);

	return bits ? *bits : 0;
}

/* Gives the current process marks, and takes some. Its threads may do so at once. */
static __always_inline void change_marks(__u32 group, __u64 given, __u64 taken)
{
	struct mark_key key;
	__u64 none = 0;

	mark_key(&key, group);
	/* A CPU that was idle when it was interrupted: this is nobody. */
	if (!key.pid)
		return;
	__u64 *bits = bpf_map_lookup_elem(&marks, &key);

	if (!bits && given) {
		bpf_map_update_elem(&marks, &key, &none, BPF_NOEXIST);
		bits = bpf_map_lookup_elem(&marks, &key);
		if (!bits)
			count_lost(LOST_MARKED);
	}
	if (!bits)
		return;
	__sync_fetch_and_or(bits, given);
	__sync_fetch_and_and(bits, ~taken);
}

#endif
