/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the kernel knows of a task without looking at its memory or files. */
#ifndef TRIGON_TASK_H
#define TRIGON_TASK_H

#include "cgroup.h"
#include "record.h"

/*
 * How many executed images a process had left behind when its counter of execs stood at `execs`. The kernel
 * counts execs from its first process down (fork copies the counter), and keeps in the child what the parent's
 * counter was at the fork: the difference is the process's own. The first exec does not leave an image behind,
 * only what fork copied.
 */
static __always_inline __u32 image_number(struct task_struct *leader, __u64 execs)
{
	__u64 own = execs - BPF_CORE_READ(leader, parent_exec_id);

	return own > 1 ? own - 1 : 0;
}

static __always_inline struct exec_key key_of(struct task_struct *leader, __u32 image)
{
	struct exec_key key = {
		.ktime = BPF_CORE_READ(leader, start_boottime) + image,
		.pid = BPF_CORE_READ(leader, tgid),
		.image = image,
	};

	return key;
}

static __always_inline struct exec_key task_key(struct task_struct *leader)
{
	return key_of(leader, image_number(leader, BPF_CORE_READ(leader, self_exec_id)));
}

/* The execution that forked this process, as far as the parent it has now can be that one. */
static __always_inline struct exec_key task_parent(struct task_struct *leader)
{
	struct task_struct *parent = BPF_CORE_READ(leader, real_parent, group_leader);
	__u64 now = BPF_CORE_READ(parent, self_exec_id);
	__u64 then = BPF_CORE_READ(leader, parent_exec_id);

	/* A parent that took the process over has counted other execs. */
	if (then > now || then < BPF_CORE_READ(parent, parent_exec_id))
		then = now;
	return key_of(parent, image_number(parent, then));
}

/* numbers[] is as long as the PID namespace is deep: its entries are found by hand. */
static __always_inline struct upid *pid_number(struct pid *pid, __u32 level)
{
	__u64 first = bpf_core_field_offset(struct pid, numbers);

	return (void *)pid + first + level * bpf_core_type_size(struct upid);
}

static __always_inline __u32 pid_in_root(struct task_struct *task, int type)
{
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	struct pid *pid = NULL;
	int nr = 0;

	bpf_core_read(&pid, sizeof(pid), &signal->pids[type]);
	struct upid *number = pid_number(pid, 0);
	bpf_core_read(&nr, sizeof(nr), &number->nr);
	return nr;
}

static __always_inline void read_namespaces(struct task_struct *task, struct task_namespaces *out)
{
	struct nsproxy *proxy = BPF_CORE_READ(task, nsproxy);

	out->uts = BPF_CORE_READ(proxy, uts_ns, ns.inum);
	out->ipc = BPF_CORE_READ(proxy, ipc_ns, ns.inum);
	out->mnt = BPF_CORE_READ(proxy, mnt_ns, ns.inum);
	out->pid_for_children = BPF_CORE_READ(proxy, pid_ns_for_children, ns.inum);
	out->net = BPF_CORE_READ(proxy, net_ns, ns.inum);
	out->cgroup = BPF_CORE_READ(proxy, cgroup_ns, ns.inum);
	if (bpf_core_field_exists(proxy->time_ns)) {
		out->time = BPF_CORE_READ(proxy, time_ns, ns.inum);
		out->time_for_children = BPF_CORE_READ(proxy, time_ns_for_children, ns.inum);
	}
}

static __always_inline void read_credentials(struct task_struct *task, struct task_credentials *out,
					     struct task_namespaces *namespaces)
{
	const struct cred *cred = BPF_CORE_READ(task, real_cred);

	out->uid = BPF_CORE_READ(cred, uid.val);
	out->gid = BPF_CORE_READ(cred, gid.val);
	out->suid = BPF_CORE_READ(cred, suid.val);
	out->sgid = BPF_CORE_READ(cred, sgid.val);
	out->euid = BPF_CORE_READ(cred, euid.val);
	out->egid = BPF_CORE_READ(cred, egid.val);
	out->fsuid = BPF_CORE_READ(cred, fsuid.val);
	out->fsgid = BPF_CORE_READ(cred, fsgid.val);
	out->securebits = BPF_CORE_READ(cred, securebits);
	out->auid = task_loginuid(task);
	/* Whole sets, not their field: its name and type differ between kernels, its eight bytes don't. */
	bpf_core_read(&out->inheritable, sizeof(__u64), &cred->cap_inheritable);
	bpf_core_read(&out->permitted, sizeof(__u64), &cred->cap_permitted);
	bpf_core_read(&out->effective, sizeof(__u64), &cred->cap_effective);
	bpf_core_read(&out->ambient, sizeof(__u64), &cred->cap_ambient);
	namespaces->user = BPF_CORE_READ(cred, user_ns, ns.inum);
}

/* `leader` is the leader of the thread group. */
static __always_inline void read_task(struct task_struct *leader, struct task_facts *out)
{
	struct pid *pid = BPF_CORE_READ(leader, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	struct upid *number = pid_number(pid, level);
	struct pid_namespace *ns = NULL;

	out->key = task_key(leader);
	out->parent = task_parent(leader);
	out->parent_pid = BPF_CORE_READ(leader, real_parent, tgid);
	out->tid = out->key.pid;

	bpf_core_read(&out->vpid, sizeof(out->vpid), &number->nr);
	bpf_core_read(&ns, sizeof(ns), &number->ns);
	out->namespaces.pid = BPF_CORE_READ(ns, ns.inum);

	out->session = pid_in_root(leader, PIDTYPE_SID);
	out->group = pid_in_root(leader, PIDTYPE_PGID);
	out->flags = BPF_CORE_READ(leader, flags) & PF_KTHREAD ? TASK_KERNEL_THREAD : 0;
	if (BPF_CORE_READ(leader, signal, tty))
		out->flags |= TASK_TTY;
	read_credentials(leader, &out->credentials, &out->namespaces);
	read_namespaces(leader, &out->namespaces);
	out->cgroup_id = BPF_CORE_READ(task_cgroup(leader), id);
	BPF_CORE_READ_STR_INTO(&out->comm, leader, comm);
}

#endif
