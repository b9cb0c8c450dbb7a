// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What selectors ask of processes (hook/process.h), kept up while there are policies: from forks, execs and exits,
 * and for the processes that were there before by iterating over them.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "hook/enter.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Levels of ancestors that are looked at. */
#define ANCESTORS 64

/*
 * Puts together what is kept of a process; `before` is what it was until now, NULL where that is not known. What changes
 * are told from is what it has as it executes a program.
 */
static __always_inline void enter_process(struct task_struct *leader, struct file *file, struct process *before,
					  bool executes)
{
	struct process *process = process_scratch_of_cpu();
	__u32 pid = BPF_CORE_READ(leader, tgid);
	int index = take_call();
	struct call *call = index < 0 ? NULL : call_at(index);

	if (!process || !call) {
		leave(index);
		return;
	}
	struct value *value = &call->value[0];

	__builtin_memset(process, 0, sizeof(*process));
	call->texts = 0;
	value->state = VALUE_ABSENT;
	value->flags = 0;
	value->length = 0;
	read_path(call, index, value, leader, BPF_CORE_READ(file, f_path.dentry), BPF_CORE_READ(file, f_path.mnt));
	if (value->state == VALUE_READ) {
		char *text = text_at(index, value->text);
		__u32 length = value->length;

		if (length > BINARY_BYTES - 1)
			length = BINARY_BYTES - 1;
		if (text)
			bpf_probe_read_kernel(process->binary, length, &text[value->offset & (TEXT_BYTES_MOST - 1)]);
		process->length = length;
	}
	__u64 *bits = bpf_map_lookup_elem(&lineage_binaries, process->binary);

	process->start = BPF_CORE_READ(leader, start_boottime);
	process->lineage = own_lineage(leader) | (bits ? *bits : 0);
	if (before) {
		process->lineage |= before->lineage;
		process->flags = before->flags;
	}
	if (before && !executes) {
		process->namespaces = before->namespaces;
		__builtin_memcpy(process->capabilities, before->capabilities, sizeof(process->capabilities));
	} else {
		read_all_namespaces(leader, &process->namespaces);
#pragma unroll
		for (int set = 0; set < CAPABILITY_SETS; set++)
			process->capabilities[set] = capabilities(leader, set);
	}
	bpf_map_update_elem(&processes, &pid, process, BPF_ANY);
	leave(index);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	__u32 pid = BPF_CORE_READ(task, tgid);
	struct process *before = bpf_map_lookup_elem(&processes, &pid);

	enter_process(task, BPF_CORE_READ(bprm, file), before, true);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct lineage_control *control = lineage();
	struct process *process = process_scratch_of_cpu();
	struct task_struct *leader = BPF_CORE_READ(parent, group_leader);
	__u32 key = BPF_CORE_READ(parent, tgid);
	struct process *from = bpf_map_lookup_elem(&processes, &key);

	if (!control || !from || !process || BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
		return 0;
	bpf_probe_read_kernel(process, sizeof(*process), from);
	process->start = BPF_CORE_READ(child, start_boottime);
	process->lineage = inherited_lineage(control, from->lineage, leader, child) | own_lineage(child);
	key = BPF_CORE_READ(child, tgid);
	bpf_map_update_elem(&processes, &key, process, BPF_ANY);
	return 0;
}

/* As many descriptors of a process are looked at when it ends; what is beyond is found closed a little later. */
#define DESCRIPTORS 65536

struct closing {
	struct file **files;
	__u64 count;
};

static long step_closing(__u32 index, void *context)
{
	struct closing *at = context;
	struct file *file = NULL;

	if (index >= at->count)
		return 1;
	bpf_probe_read_kernel(&file, sizeof(file), &at->files[index]);
	__u64 key = (__u64)file;

	if (file && bpf_map_lookup_elem(&followed, &key) && is_last_reference(file))
		release(key, RELEASE_EXIT);
	return 0;
}

/* The descriptors of a task that ends are there still. Those of a table that others use too are not closed now. */
static __always_inline void close_followed(struct task_struct *task)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct closing closing = {
		.files = BPF_CORE_READ(table, fd),
		.count = BPF_CORE_READ(table, max_fds),
	};

	if (BPF_CORE_READ(task, files, count.counter) == 1)
		bpf_loop(DESCRIPTORS, step_closing, &closing, 0);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	__u32 key = BPF_CORE_READ(task, tgid);

	if (BPF_CORE_READ(task, signal, live.counter) != 0)
		return 0;
	struct process *process = bpf_map_lookup_elem(&processes, &key);

	if (process && process->flags & PROCESS_FOLLOWED)
		close_followed(task);
	bpf_map_delete_elem(&processes, &key);
	return 0;
}

/* First: every process with what it is itself. */
SEC("iter/task")
int each_process(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task || BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid) || !BPF_CORE_READ(task, mm))
		return 0;
	__u32 pid = BPF_CORE_READ(task, tgid);
	struct process *before = bpf_map_lookup_elem(&processes, &pid);

	enter_process(task, BPF_CORE_READ(task, mm, exe_file), before, false);
	return 0;
}

struct ascent {
	struct task_struct *child;
	__u64 lineage;
	__u64 allowed; /* bits that the path so far lets through */
};

static long step_ascent(__u32 index, void *context)
{
	struct ascent *at = context;
	struct task_struct *child = at->child;
	struct task_struct *parent = BPF_CORE_READ(child, real_parent, group_leader);
	__u32 pid = BPF_CORE_READ(parent, tgid);
	struct process *process = bpf_map_lookup_elem(&processes, &pid);
	struct lineage_control *control = lineage();

	if (!control || pid == 0 || parent == child)
		return 1;
	at->allowed = inherited_lineage(control, at->allowed, parent, child);
	at->lineage |= at->allowed & (process ? process->lineage : own_lineage(parent));
	at->child = parent;
	return 0;
}

/* Then: what each inherited. */
SEC("iter/task")
int each_lineage(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task || BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid))
		return 0;
	__u32 pid = BPF_CORE_READ(task, tgid);
	struct process *process = bpf_map_lookup_elem(&processes, &pid);
	struct ascent at = { .child = task, .allowed = ~0ULL };

	if (!process)
		return 0;
	bpf_loop(ANCESTORS, step_ascent, &at, 0);
	__sync_fetch_and_or(&process->lineage, at.lineage);
	return 0;
}
