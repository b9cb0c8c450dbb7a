/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What selectors ask of a process and the kernel doesn't keep: what it executes, and what it inherited. Kept by the
 * lifecycle programs from the moment that there are policies.
 */
#ifndef TRIGON_HOOK_PROCESS_H
#define TRIGON_HOOK_PROCESS_H

#include <bpf/bpf_helpers.h>

#include "../kernel.h"
#include "../task.h"
#include "../text.h"
#include "plan.h"

#define BINARY_BYTES 256
#define CAPABILITY_SETS 3 /* inheritable, permitted, effective */

enum process_flags {
	PROCESS_FOLLOWED = 1 << 0, /* it, or an ancestor, opened a file that a policy follows: it may hold one */
};

struct process {
	__u64 start; /* of the process: a pid that is another's by now is told by it */
	__u64 lineage;
	__u32 length; /* of the binary's path, without NUL */
	__u32 flags;
	/* What it, or whoever forked it, had when it executed its program; where that was not seen, when it was first. */
	struct task_namespaces namespaces;
	__u64 capabilities[CAPABILITY_SETS];
	char binary[BINARY_BYTES]; /* root first, as far as it fits */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct process);
} processes SEC(".maps");

/* A process is too large for the stack: it is put together here. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct process);
} process_scratch SEC(".maps");

/* What gives bits of lineage: pids (kind 0), pids in their own namespace (kind 1). */
struct lineage_key {
	__u32 kind;
	__u32 pid;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct lineage_key);
	__type(value, __u64);
} lineage_pids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, char[BINARY_BYTES]);
	__type(value, __u64);
} lineage_binaries SEC(".maps");

/* User space alone writes it. */
struct lineage_control {
	__u32 enabled;
	__u32 reserved;
	__u64 namespaced; /* bits that are inherited within a PID namespace only */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lineage_control);
} lineage_control SEC(".maps");

static __always_inline struct lineage_control *lineage(void)
{
	__u32 key = 0;
	struct lineage_control *control = bpf_map_lookup_elem(&lineage_control, &key);

	return control && control->enabled ? control : NULL;
}

static __always_inline struct process *process_scratch_of_cpu(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&process_scratch, &key);
}

/* The number of a task in its own PID namespace, and that namespace. */
static __always_inline __u32 namespace_pid(struct task_struct *leader, struct pid_namespace **ns)
{
	struct pid *pid = BPF_CORE_READ(leader, thread_pid);
	struct upid *number = pid_number(pid, BPF_CORE_READ(pid, level));
	__u32 nr = 0;

	bpf_core_read(&nr, sizeof(nr), &number->nr);
	bpf_core_read(ns, sizeof(*ns), &number->ns);
	return nr;
}

static __always_inline void read_all_namespaces(struct task_struct *task, struct task_namespaces *out)
{
	struct pid_namespace *ns = NULL;

	read_namespaces(task, out);
	namespace_pid(task, &ns);
	out->pid = BPF_CORE_READ(ns, ns.inum);
	out->user = BPF_CORE_READ(task, real_cred, user_ns, ns.inum);
}

/* Whole sets, not their field: its name and type differ between kernels, its eight bytes don't. */
static __always_inline __u64 capabilities(struct task_struct *task, __u32 set)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);
	__u64 bits = 0;

	switch (set) {
	case 0: bpf_core_read(&bits, sizeof(bits), &cred->cap_inheritable); break;
	case 1: bpf_core_read(&bits, sizeof(bits), &cred->cap_permitted); break;
	default: bpf_core_read(&bits, sizeof(bits), &cred->cap_effective); break;
	}
	return bits;
}

/* The bits that a process has by what it is itself. */
static __always_inline __u64 own_lineage(struct task_struct *leader)
{
	struct pid_namespace *ns = NULL;
	struct lineage_key key = { .kind = 0, .pid = BPF_CORE_READ(leader, tgid) };
	__u64 *bits = bpf_map_lookup_elem(&lineage_pids, &key);
	__u64 own = bits ? *bits : 0;

	key.kind = 1;
	key.pid = namespace_pid(leader, &ns);
	bits = bpf_map_lookup_elem(&lineage_pids, &key);
	return bits ? own | *bits : own;
}

static __always_inline __u64 inherited_lineage(struct lineage_control *control, __u64 bits,
					       struct task_struct *parent, struct task_struct *child)
{
	struct pid_namespace *of_parent = NULL, *of_child = NULL;

	namespace_pid(parent, &of_parent);
	namespace_pid(child, &of_child);
	return of_parent == of_child ? bits : bits & ~control->namespaced;
}

#endif
