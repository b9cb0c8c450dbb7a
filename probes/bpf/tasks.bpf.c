// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The processes that were there before the agent: one record each, read through the iterator's file. /proc tells
 * neither the exact start time nor how many images a process has left behind. In an object of its own, so that a
 * kernel that refuses it still gets the lifecycle.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "record.h"
#include "task.h"
#include "text.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("iter/task")
int each_task(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct buffer *buffer = buffer_of_cpu();
	__u32 end = sizeof(struct fork_record);
	bool cut;

	if (!task || !buffer || BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid))
		return 0;
	struct fork_record *record = (void *)buffer;
	__builtin_memset(record, 0, sizeof(*record));
	record->header.type = RECORD_TASK;
	record->header.time = BPF_CORE_READ(task, start_boottime);
	read_task(task, &record->task);
	/* A zombie: its exit was before the programs, and will not be told again. */
	if (!BPF_CORE_READ(task, signal, live.counter))
		record->task.flags |= TASK_EXITED;
	end = append_cgroup(end, task, &cut);
	record->cgroup_length = end - sizeof(struct fork_record);
	if (cut)
		record->header.flags |= RECORD_TRUNC_CGROUP;
	record->header.length = end;
	if (end > BUFFER_BYTES)
		return 0;
	bpf_seq_write(seq, record, end);
	return 0;
}
