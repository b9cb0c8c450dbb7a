/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Reading the values of a call: numbers, texts, paths. Each is read once, when something first asks for it. */
#ifndef TRIGON_HOOK_VALUE_H
#define TRIGON_HOOK_VALUE_H

#include "bytes.h"
#include "chain.h"
#include "../placement.h"
#include "call.h"
#include "follow.h"
#include "mark.h"
#include "object.h"
#include "path.h"
#include "process.h"

static __always_inline void read_file_facts(struct value *value, struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	value->file = (__u64)file;
	value->extra = BPF_CORE_READ(inode, i_mode);
	value->number = BPF_CORE_READ(file, f_flags);
	if (!BPF_CORE_READ(inode, i_nlink))
		value->flags |= VALUE_DELETED;
}

/* A function of its own, for the sake of the stack. */
static __attribute__((noinline)) struct file *file_of_fd(int fd)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd);
	struct file *file = NULL;

	if (fd < 0 || (__u32)fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), &files[fd]);
	return file;
}

/* A string that the user's memory or the kernel's holds: the address says which. */
static __always_inline void read_string(struct call *call, int index, struct value *value, const void *from)
{
	char *text = take_text(call, index, value);
	long length;

	if (!text)
		return;
	if ((long)from >= 0)
		length = bpf_probe_read_user_str(text, TEXT_BYTES_MOST, from);
	else
		length = bpf_probe_read_kernel_str(text, TEXT_BYTES_MOST, from);
	if (length < 0)
		return;
	value->offset = 0;
	/* Before 6.13 an empty text of the user's had no NUL (strncpy_from_user_nofault). */
	value->length = length ? length - 1 : 0;
	if (length == TEXT_BYTES_MOST)
		value->flags |= VALUE_TRUNCATED;
	value->state = VALUE_READ;
}

static __always_inline void read_followed(struct call *call, int index, struct value *value, int fd, __u32 group)
{
	struct file *file = file_of_fd(fd);
	struct followed *followed = followed_of(file);
	struct follower *follower = followed ? follower_of(followed, group) : NULL;
	char *text = follower ? take_text(call, index, value) : NULL;

	if (!follower || !text)
		return;
	__u32 length = followed->length & (TEXT_BYTES_MOST - 1);

	bpf_probe_read_kernel(text, length, followed->path);
	value->offset = 0;
	value->length = length;
	value->file = (__u64)file;
	value->opened = follower->opened;
	value->extra = followed->mode;
	value->number = followed->flags;
	value->state = VALUE_READ;
}

static __always_inline void read_number(struct value *value, __u64 raw, __u8 type)
{
	switch (type) {
	case TYPE_S8: value->number = (__s64)(__s8)raw; break;
	case TYPE_S16: value->number = (__s64)(__s16)raw; break;
	case TYPE_S32: value->number = (__s64)(__s32)raw; break;
	case TYPE_U8: value->number = (__u8)raw; break;
	case TYPE_U16: value->number = (__u16)raw; break;
	case TYPE_U32: value->number = (__u32)raw; break;
	default: value->number = raw;
	}
	value->state = VALUE_READ;
}

/* Each way of reading stands here once: the verifier goes through all of them. */
static __always_inline void read_argument(struct call *call, int index, struct value *value,
					  struct value_spec *spec, __u64 raw)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct dentry *dentry = NULL;
	struct vfsmount *vfs = NULL;
	const void *string = NULL;
	struct file *file = NULL;

	if (spec->type >= TYPE_OBJECTS && spec->type < TYPE_OBJECTS_END) {
		value->number = raw;
		value->state = VALUE_OBJECT;
		return;
	}
	switch (spec->type) {
	case TYPE_STRING:
		string = (void *)raw;
		break;
	case TYPE_FILENAME:
		string = BPF_CORE_READ((struct filename *)raw, name);
		break;
	case TYPE_FD:
		file = file_of_fd(raw);
		break;
	case TYPE_FILE:
		file = (void *)raw;
		break;
	case TYPE_BINPRM:
		file = BPF_CORE_READ((struct linux_binprm *)raw, file);
		break;
	case TYPE_KIOCB:
		file = BPF_CORE_READ((struct kiocb *)raw, ki_filp);
		break;
	case TYPE_PATH:
		dentry = BPF_CORE_READ((struct path *)raw, dentry);
		vfs = BPF_CORE_READ((struct path *)raw, mnt);
		value->extra = BPF_CORE_READ(dentry, d_inode, i_mode);
		break;
	case TYPE_DENTRY:
		dentry = (void *)raw;
		break;
	case TYPE_FOLLOWED:
		read_followed(call, index, value, raw, spec->most);
		return;
	case TYPE_BYTES:
		read_buffer(call, index, value, spec, raw);
		return;
	case TYPE_IOVEC:
		read_iovec(call, index, value, spec, raw);
		return;
	default:
		/* Of a 32-bit call the registers' lower halves count. */
		if (call->compat && spec->source == SOURCE_ARG && spec->type == TYPE_S64)
			raw = (__s64)(__s32)raw;
		read_number(value, raw, spec->type);
		return;
	}
	if (string) {
		read_string(call, index, value, string);
		return;
	}
	if (file) {
		read_file_facts(value, file);
		dentry = BPF_CORE_READ(file, f_path.dentry);
		vfs = BPF_CORE_READ(file, f_path.mnt);
	}
	read_path(call, index, value, task, dentry, vfs);
}

static __always_inline void read_binary(struct call *call, int index, struct value *value, __u32 pid)
{
	struct process *process = bpf_map_lookup_elem(&processes, &pid);
	char *text = process ? take_text(call, index, value) : NULL;

	if (!process || !text)
		return;
	bpf_probe_read_kernel(text, BINARY_BYTES, process->binary);
	value->offset = 0;
	value->length = process->length & (BINARY_BYTES - 1);
	value->state = VALUE_READ;
}

static __always_inline __u64 lineage_of(struct task_struct *leader)
{
	__u32 pid = BPF_CORE_READ(leader, tgid);
	struct process *process = bpf_map_lookup_elem(&processes, &pid);

	return process ? process->lineage : own_lineage(leader);
}

/* The current task's namespaces, put together aside: the stack has no room for them. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct task_namespaces);
} namespaces_scratch SEC(".maps");

static __attribute__((noinline)) struct task_namespaces *current_namespaces(void)
{
	__u32 key = 0;
	struct task_namespaces *all = bpf_map_lookup_elem(&namespaces_scratch, &key);

	if (all)
		read_all_namespaces((void *)bpf_get_current_task(), all);
	return all;
}

static __always_inline __u64 namespace_inode(__u32 kind)
{
	struct task_namespaces *all = current_namespaces();

	if (!all)
		return 0;
	switch (kind) {
	case 0: return all->uts;
	case 1: return all->ipc;
	case 2: return all->mnt;
	case 3: return all->pid;
	case 4: return all->pid_for_children;
	case 5: return all->net;
	case 6: return all->time;
	case 7: return all->time_for_children;
	case 8: return all->cgroup;
	case 9: return all->user;
	default: return 0;
	}
}

#define CHANGED(kind, field) ((__u64)(now->field != then->field) << (kind))

/* A bit for each kind of namespace that is not the one from when the process executed its program. */
static __always_inline __u64 namespace_changes(struct process *process)
{
	struct task_namespaces *now = current_namespaces();
	struct task_namespaces *then = &process->namespaces;

	if (!now)
		return 0;
	return CHANGED(0, uts) | CHANGED(1, ipc) | CHANGED(2, mnt) | CHANGED(3, pid) | CHANGED(4, pid_for_children) |
	       CHANGED(5, net) | CHANGED(6, time) | CHANGED(7, time_for_children) | CHANGED(8, cgroup) |
	       CHANGED(9, user);
}

/* A bit for each capability that is not as it was when the process executed its program. */
static __attribute__((noinline)) __u64 capability_changes(struct process *process, __u32 set)
{
	if (set >= CAPABILITY_SETS)
		return 0;
	return capabilities((void *)bpf_get_current_task(), set) ^ process->capabilities[set];
}

/* A function of its own, for the sake of the stack. */
static __attribute__((noinline)) __u64 current_scopes(__u32 word)
{
	struct placement *placement = current_placement();

	return placement && word < SCOPE_WORDS ? placement->scopes[word] : 0;
}

/* Reads a value. Global: the kernel verifies a global function once, and not again at each place that calls it. */
__attribute__((noinline)) int read_value(int index, __u32 number)
{
	struct call *call = call_at(index);
	struct table *table = call ? bpf_map_lookup_elem(&tables, &call->table) : NULL;

	if (!call || !table || number >= VALUES)
		return 0;
	struct value *value = &call->value[number];
	struct value_spec *spec = &table->value[number];
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct pid_namespace *ns = NULL;

	value->state = VALUE_ABSENT;
	switch (spec->source) {
	case SOURCE_ARG:
	case SOURCE_RETURN:
	case SOURCE_CURRENT_TASK:
	case SOURCE_REGISTERS: {
		__u64 raw = value->number;

		if (spec->source == SOURCE_ARG && call->unread >> (spec->index & 7) & 1)
			break;
		if (!(value->flags & VALUE_FOUND))
			raw = source_of(call, spec);
		value->number = raw;
		if (spec->chain && !(value->flags & VALUE_FOUND)) {
			value->state = VALUE_CHAINED;
			break;
		}
		read_argument(call, index, value, spec, raw);
		break;
	}
	case SOURCE_PID:
		read_number(value, BPF_CORE_READ(task, tgid), TYPE_U32);
		break;
	case SOURCE_NAMESPACE_PID:
		read_number(value, namespace_pid(leader, &ns), TYPE_U32);
		break;
	case SOURCE_LINEAGE:
	case SOURCE_PARENT_LINEAGE: {
		struct task_struct *whose = spec->source == SOURCE_LINEAGE
						    ? leader
						    : BPF_CORE_READ(leader, real_parent, group_leader);

		read_number(value, lineage_of(whose), TYPE_U64);
		break;
	}
	case SOURCE_BINARY:
	case SOURCE_PARENT_BINARY: {
		struct task_struct *whose = spec->source == SOURCE_BINARY ? task : BPF_CORE_READ(leader, real_parent);

		read_binary(call, index, value, BPF_CORE_READ(whose, tgid));
		break;
	}
	case SOURCE_NAMESPACE:
		read_number(value, namespace_inode(spec->index), TYPE_U32);
		break;
	case SOURCE_CAPABILITIES:
		read_number(value, capabilities(task, spec->index), TYPE_U64);
		break;
	case SOURCE_SCOPES:
		read_number(value, current_scopes(spec->index), TYPE_U64);
		break;
	case SOURCE_MARKS:
		read_number(value, current_marks(spec->most), TYPE_U64);
		break;
	case SOURCE_NAMESPACE_CHANGES:
	case SOURCE_CAPABILITY_CHANGES: {
		__u32 pid = BPF_CORE_READ(task, tgid);
		struct process *process = bpf_map_lookup_elem(&processes, &pid);
		bool of_namespaces = spec->source == SOURCE_NAMESPACE_CHANGES;

		if (!process)
			break;
		read_number(value,
			    of_namespaces ? namespace_changes(process) : capability_changes(process, spec->index),
			    TYPE_U64);
		break;
	}
	}
	return 0;
}

/* A value, read where that was not done yet; NULL for none. */
static __always_inline struct value *value_of(struct call *call, int index, __u8 number)
{
	if (number >= VALUES)
		return NULL;
	if (call->value[number].state == VALUE_UNREAD)
		read_value(index, number);
	if (call->value[number].state == VALUE_CHAINED && follow_chain(index, number))
		read_value(index, number);
	if (call->value[number].state == VALUE_OBJECT)
		read_object(index, number);
	return &call->value[number];
}

#endif
