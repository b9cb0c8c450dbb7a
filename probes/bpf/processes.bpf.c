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

#include "exec.h"
#include "hook/enter.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Levels of ancestors that are looked at. */
#define ANCESTORS 64

/*
 * Puts together what is kept of a process: what it executes, its lineage, and, as it executes a program, what changes are
 * told from. Global, for the sake of the stack.
 */
__attribute__((noinline)) int enter_process(__u64 leader_address, __u64 file_address, __u32 executes)
{
	struct task_struct *leader = (void *)leader_address;
	struct file *file = (void *)file_address;
	struct process *process = process_scratch_of_cpu();
	__u32 pid = BPF_CORE_READ(leader, tgid);
	struct process *before = bpf_map_lookup_elem(&processes, &pid);
	int index = take_call();
	struct call *call = index < 0 ? NULL : call_at(index);

	if (!process || !call) {
		leave(index);
		return 0;
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
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	enter_process((__u64)BPF_CORE_READ(task, group_leader), (__u64)BPF_CORE_READ(bprm, file), true);
	return 0;
}

/* The hook that executions are for policies; 0 for none. User space alone writes it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} exec_hook SEC(".maps");

struct finding {
	__u64 at;
	__u64 end;
	__u32 call;
	__u32 reserved;
};

/* One argument of an exec is one of the call's: where it begins. How long it is, a copy tells that nobody needs. */
static long step_argument(__u32 index, void *context)
{
	struct finding *at = context;
	struct call *call = call_at(at->call);
	char *text = text_at(at->call, 0);

	if (!call || !text || index >= RAW_ARGS || at->at >= at->end)
		return 1;
	call->raw[index & 7] = at->at;
	long length = bpf_probe_read_user_str(text, TEXT_BYTES_MOST, (void *)at->at);

	/* One that is longer than a text hides where the next begins. */
	if (length < 0 || length == TEXT_BYTES_MOST)
		return 1;
	/* Before 6.13 an empty one has no NUL (strncpy_from_user_nofault). */
	at->at += length ? length : 1;
	return 0;
}

struct deciding {
	__u32 call;
	__u32 untold;
};

/* Of each policy the first selector that matches decides; one that will not have the exec told suffices. */
static long step_decide(__u32 step, void *context)
{
	struct deciding *at = context;
	struct call *call = call_at(at->call);

	if (!call)
		return 1;
	__u32 bit = first_left(&call->left);
	struct selector_key key = { .table = call->table, .selector = bit };
	struct selector *selector = bit < 64 * MASK_WORDS ? bpf_map_lookup_elem(&selectors, &key) : NULL;

	if (!selector)
		return 1;
	clear_below(&call->left, selector->next);
	if (!(selector->flags & SELECTOR_POST)) {
		at->untold = 1;
		return 1;
	}
	return 0;
}

/* Whether policies will not have an exec told. Global, for the sake of the stack. */
__attribute__((noinline)) int decide_exec(int index)
{
	struct call *call = call_at(index);
	struct table *table = call ? bpf_map_lookup_elem(&tables, &call->table) : NULL;
	struct deciding at = { .call = index };

	if (!call || !table)
		return 0;
	call->mask = table->selectors;
	select_call(index, 0);
	call->left = call->mask;
	if (!is_empty(&call->left))
		bpf_loop(MATCHES, step_decide, &at, 0);
	return at.untold;
}

__attribute__((noinline)) int filter_exec(__u32 hook, __u64 mm_address)
{
	struct mm_struct *mm = (void *)mm_address;
	int index = enter(hook);
	struct call *call = index < 0 ? NULL : call_at(index);
	struct finding at = { .call = index };
	int untold = 0;

	if (call) {
		__builtin_memset(call->raw, 0, sizeof(call->raw));
		at.at = BPF_CORE_READ(mm, arg_start);
		at.end = BPF_CORE_READ(mm, arg_end);
		bpf_loop(RAW_ARGS, step_argument, &at, 0);
		untold = decide_exec(index);
	}
	leave(index);
	return untold;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_filter, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	__u32 key = 0;
	__u32 *hook = bpf_map_lookup_elem(&exec_hook, &key);
	struct exec_decision *decision = exec_decision_of_cpu();

	if (hook && *hook && decision) {
		/* What it executes is known a moment before `process_exec` would say so. */
		enter_process((__u64)BPF_CORE_READ(task, group_leader), (__u64)BPF_CORE_READ(bprm, file), true);
		decision->untold = filter_exec(*hook, (__u64)BPF_CORE_READ(task, mm));
		decision->pid = BPF_CORE_READ(task, tgid);
	}
	bpf_tail_call(ctx, &exec_programs, EXEC_WRITE);
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
	enter_process((__u64)BPF_CORE_READ(task, group_leader), (__u64)BPF_CORE_READ(task, mm, exe_file), false);
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
