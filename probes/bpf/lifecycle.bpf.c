// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Every process's start and end, and every cgroup's, on every kernel: tracepoints with BTF types, and raw ones for
 * kernels that refuse those. Prototypes: include/trace/events/sched.h and cgroup.h.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "arguments.h"
#include "exec.h"
#include "maps.h"
#include "placement.h"
#include "record.h"
#include "task.h"
#include "text.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline void begin(struct record_header *header, enum record_type type)
{
	header->type = type;
	header->flags = 0;
	header->time = bpf_ktime_get_boot_ns();
}

static __always_inline void read_file(struct linux_binprm *bprm, struct exec_record *record)
{
	struct file *file = BPF_CORE_READ(bprm, file);
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	record->inode = BPF_CORE_READ(inode, i_ino);
	record->links = BPF_CORE_READ(inode, i_nlink);
	record->mode = BPF_CORE_READ(inode, i_mode);
	record->file_uid = BPF_CORE_READ(inode, i_uid.val);
	record->file_gid = BPF_CORE_READ(inode, i_gid.val);
	/* Unhashed, as the kernel's d_unlinked() asks: nobody finds it by its name any more. */
	if (!record->links || !BPF_CORE_READ(file, f_path.dentry, d_hash.pprev))
		record->header.flags |= RECORD_DELETED;
}

/*
 * sched_process_exec(struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm): after the point of no
 * return; credentials are the new ones, a thread that called exec is the leader now and `old_pid` was its id.
 */
static __always_inline int on_exec(struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct buffer *buffer = buffer_of_cpu();
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	__u32 end = sizeof(struct exec_record), start;
	bool cut;

	if (!buffer)
		return 0;
	struct exec_record *record = (void *)buffer;
	__builtin_memset(record, 0, sizeof(*record));
	begin(&record->header, RECORD_EXEC);
	read_task(task, &record->task);
	record->task.tid = old_pid;
	if (is_untold(record->task.key.pid))
		record->header.flags |= RECORD_UNTOLD;
	read_file(bprm, record);

	start = end;
	end = append_path(end, BPF_CORE_READ(bprm, file, f_path.dentry), BPF_CORE_READ(bprm, file, f_path.mnt), task,
			  &cut);
	record->binary_length = end - start;
	if (cut)
		record->header.flags |= RECORD_TRUNC_BINARY;

	start = end;
	end = append_path(end, BPF_CORE_READ(task, fs, pwd.dentry), BPF_CORE_READ(task, fs, pwd.mnt), task, &cut);
	record->cwd_length = end - start;
	if (cut)
		record->header.flags |= RECORD_TRUNC_CWD;

	start = end;
	end = append_cgroup(end, task, &cut);
	record->cgroup_length = end - start;
	if (cut)
		record->header.flags |= RECORD_TRUNC_CGROUP;

	start = end;
	if (BPF_CORE_READ(bprm, interp) != BPF_CORE_READ(bprm, filename) && end < TEXT_BYTES - PATH_BYTES) {
		long length = bpf_probe_read_kernel_str(&buffer->bytes[end], PATH_BYTES, BPF_CORE_READ(bprm, filename));
		if (length > 1)
			end += length - 1;
	}
	record->script_length = end - start;

	search_environment(mm, &record->header.flags);
	start = end;
	end = append_traceparent(buffer, end);
	record->traceparent_length = end - start;

	start = end;
	end = append_args(buffer, end, mm, &record->header.flags);
	record->args_length = end - start;

	start = end;
	end = append_environment(buffer, end, &record->header.flags);
	record->environment_length = end - start;

	if (end > BUFFER_BYTES)
		return 0;
	record->header.length = end;
	submit(record, end);
	return 0;
}

/* sched_process_fork(struct task_struct *parent, struct task_struct *child): before the child first runs. */
static __always_inline int on_fork(struct task_struct *parent, struct task_struct *child)
{
	struct buffer *buffer = buffer_of_cpu();
	__u32 end = sizeof(struct fork_record);
	bool cut;

	/* A thread is no process. */
	if (!buffer || BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
		return 0;
	struct fork_record *record = (void *)buffer;
	__builtin_memset(record, 0, sizeof(*record));
	begin(&record->header, RECORD_FORK);
	read_task(child, &record->task);
	if (record->task.cgroup_id != BPF_CORE_READ(task_cgroup(parent), id)) {
		end = append_cgroup(end, child, &cut);
		record->cgroup_length = end - sizeof(struct fork_record);
		if (cut)
			record->header.flags |= RECORD_TRUNC_CGROUP;
	}
	if (end > BUFFER_BYTES)
		return 0;
	record->header.length = end;
	submit(record, end);
	return 0;
}

/*
 * sched_process_exit(struct task_struct *task): once for each thread. The kernel has taken this one off the count
 * of live ones already, so the last finds zero. Two that end at the same moment can both find it: user space
 * takes the first.
 */
static __always_inline int on_exit(struct task_struct *task)
{
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct exit_record record = {};

	if (BPF_CORE_READ(signal, live.counter))
		return 0;
	begin(&record.header, RECORD_EXIT);
	record.header.length = sizeof(record);
	record.key = task_key(leader);
	record.parent = task_parent(leader);
	record.tid = BPF_CORE_READ(task, pid);
	/* As wait_task_zombie() decides. */
	record.code = BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT ? BPF_CORE_READ(signal, group_exit_code)
								       : BPF_CORE_READ(leader, exit_code);
	/* Threads that are gone left their times in `signal`; the leader's are its own until it is reaped. */
	record.user_time = BPF_CORE_READ(signal, utime) + BPF_CORE_READ(task, utime);
	record.system_time = BPF_CORE_READ(signal, stime) + BPF_CORE_READ(task, stime);
	record.run_time = BPF_CORE_READ(signal, sum_sched_runtime) + BPF_CORE_READ(task, se.sum_exec_runtime);
	if (leader != task) {
		record.user_time += BPF_CORE_READ(leader, utime);
		record.system_time += BPF_CORE_READ(leader, stime);
		record.run_time += BPF_CORE_READ(leader, se.sum_exec_runtime);
	}
	record.cgroup_id = BPF_CORE_READ(task_cgroup(task), id);
	record.uid = BPF_CORE_READ(task, real_cred, uid.val);
	BPF_CORE_READ_STR_INTO(&record.comm, leader, comm);
	submit(&record, sizeof(record));
	return 0;
}

static __always_inline bool is_told_of(struct cgroup *cgroup)
{
	struct cgroup_control *control = cgroups();

	return control && BPF_CORE_READ(cgroup, root, hierarchy_id) == control->hierarchy;
}

/*
 * cgroup_mkdir(struct cgroup *cgrp, const char *path): before anybody can see it. It begins as a part of what it is in,
 * and user space tells the difference later: so no process in it goes unseen, the first one included.
 */
static __always_inline int on_cgroup_made(struct cgroup *cgroup)
{
	struct buffer *buffer = buffer_of_cpu();
	__u32 end = sizeof(struct cgroup_made_record);
	bool cut;

	if (!buffer || !is_told_of(cgroup))
		return 0;
	struct cgroup_made_record *record = (void *)buffer;
	struct kernfs_node *node = BPF_CORE_READ(cgroup, kn);

	__builtin_memset(record, 0, sizeof(*record));
	begin(&record->header, RECORD_CGROUP_MADE);
	record->cgroup_id = BPF_CORE_READ(node, id);
	record->parent_id = BPF_CORE_READ(kernfs_parent(node), id);
	__u64 id = record->cgroup_id, parent = record->parent_id;
	struct placement *above = bpf_map_lookup_elem(&placements, &parent);

	if (above && bpf_map_update_elem(&placements, &id, above, BPF_ANY))
		count_lost(LOST_PLACEMENT);
	end = append_cgroup_path(end, node, &cut);
	record->cgroup_length = end - sizeof(struct cgroup_made_record);
	if (cut)
		record->header.flags |= RECORD_TRUNC_CGROUP;
	/* One register: 6.1 learns nothing of a number's copies. */
	asm volatile("" : "+r"(end));
	if (end > BUFFER_BYTES)
		return 0;
	record->header.length = end;
	submit(record, end);
	return 0;
}

/* cgroup_rmdir(struct cgroup *cgrp, const char *path): nobody is in it any more. */
static __always_inline int on_cgroup_gone(struct cgroup *cgroup)
{
	struct cgroup_gone_record record = {};

	if (!is_told_of(cgroup))
		return 0;
	begin(&record.header, RECORD_CGROUP_GONE);
	record.header.length = sizeof(record);
	record.cgroup_id = BPF_CORE_READ(cgroup, kn, id);
	bpf_map_delete_elem(&placements, &record.cgroup_id);
	submit(&record, sizeof(record));
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_btf, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	/* A tail call to an empty place comes back. */
	bpf_tail_call(ctx, &exec_programs, EXEC_FILTER);
	bpf_tail_call(ctx, &exec_programs, EXEC_WRITE);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_write, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	return on_exec(task, old_pid, bprm);
}

SEC("raw_tp/sched_process_exec")
int exec_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return on_exec((void *)ctx->args[0], ctx->args[1], (void *)ctx->args[2]);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(fork_btf, struct task_struct *parent, struct task_struct *child)
{
	return on_fork(parent, child);
}

SEC("raw_tp/sched_process_fork")
int fork_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return on_fork((void *)ctx->args[0], (void *)ctx->args[1]);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(exit_btf, struct task_struct *task)
{
	return on_exit(task);
}

SEC("raw_tp/sched_process_exit")
int exit_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return on_exit((void *)ctx->args[0]);
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(cgroup_made_btf, struct cgroup *cgroup)
{
	return on_cgroup_made(cgroup);
}

SEC("raw_tp/cgroup_mkdir")
int cgroup_made_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return on_cgroup_made((void *)ctx->args[0]);
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(cgroup_gone_btf, struct cgroup *cgroup)
{
	return on_cgroup_gone(cgroup);
}

SEC("raw_tp/cgroup_rmdir")
int cgroup_gone_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return on_cgroup_gone((void *)ctx->args[0]);
}
