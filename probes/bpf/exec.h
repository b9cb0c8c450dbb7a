/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * How an exec comes to its record. Where policies filter executions, their filter runs first and leaves its decision for
 * the program that writes the record: both run for the same exec, one after the other, by tail calls.
 */
#ifndef TRIGON_EXEC_H
#define TRIGON_EXEC_H

#include <bpf/bpf_helpers.h>

/* Places in the array of programs. The first is empty where nothing is filtered. */
#define EXEC_FILTER 0
#define EXEC_WRITE 1

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} exec_programs SEC(".maps");

/* Of the exec that this CPU is at. */
struct exec_decision {
	__u32 pid; /* whose it is; 0 for nobody's */
	__u32 untold;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_decision);
} exec_decisions SEC(".maps");

static __always_inline struct exec_decision *exec_decision_of_cpu(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&exec_decisions, &key);
}

/* Takes the decision about a process's exec: whether it is not to be told. Where nobody decided, it is. */
static __always_inline bool is_untold(__u32 pid)
{
	struct exec_decision *decision = exec_decision_of_cpu();

	if (!decision || decision->pid != pid)
		return false;
	decision->pid = 0;
	return decision->untold;
}

#endif
