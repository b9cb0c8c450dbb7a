/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Reading the values of a call: numbers, texts, paths. Each is read once, when something first asks for it. */
#ifndef TRIGON_HOOK_VALUE_H
#define TRIGON_HOOK_VALUE_H

#include "call.h"
#include "follow.h"
#include "process.h"

/* A walk from a leaf to the root, each component put before the last one. Kept in a map as in ../text.h. */
struct climb {
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *root;
	struct vfsmount *root_mount;
	__u32 call;
	__u32 text;
	__u32 offset;
	__u32 done;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct climb);
} climbs SEC(".maps");

static __always_inline bool prepend(struct climb *climb, struct dentry *dentry)
{
	struct call *call = call_at(climb->call);
	__u32 length = BPF_CORE_READ(dentry, d_name.len);
	__u32 offset = climb->offset;

	if (!call || length >= TEXT_SLACK || offset < length + 1 || offset > TEXT_BYTES_MOST)
		return false;
	offset = (offset - length - 1) & (TEXT_BYTES_MOST - 1);
	char *text = call->text[climb->text & (TEXTS - 1)];
	text[offset] = '/';
	if (bpf_probe_read_kernel(&text[offset + 1], length & (TEXT_SLACK - 1), BPF_CORE_READ(dentry, d_name.name)))
		return false;
	climb->offset = offset;
	return true;
}

static long step_climb(__u32 index, void *context)
{
	__u32 key = *(__u32 *)context;
	struct climb *climb = bpf_map_lookup_elem(&climbs, &key);

	if (!climb)
		return 1;
	struct dentry *dentry = climb->dentry;
	struct mount *mount = climb->mount;
	struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
	struct vfsmount *vfs = (void *)mount + bpf_core_field_offset(struct mount, mnt);

	if (dentry == climb->root && vfs == climb->root_mount) {
		climb->done = true;
		return 1;
	}
	if (mount && dentry == BPF_CORE_READ(vfs, mnt_root)) {
		struct mount *above = BPF_CORE_READ(mount, mnt_parent);

		if (above == mount) {
			climb->done = true;
			return 1;
		}
		climb->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		climb->mount = above;
		return 0;
	}
	/* A dentry without a mount (TYPE_DENTRY) ends at the root of its file system. */
	if (dentry == parent && !mount) {
		climb->done = true;
		return 1;
	}
	if (!prepend(climb, dentry))
		return 1;
	if (dentry == parent) {
		climb->done = true;
		return 1;
	}
	climb->dentry = parent;
	return 0;
}

/*
 * Reads the path of a dentry, as `task` sees it, into the next free text; `vfs` is NULL where the mount is not known.
 */
static __always_inline void read_path(struct call *call, int index, struct value *value, struct task_struct *task,
				      struct dentry *dentry, struct vfsmount *vfs)
{
	__u32 key = index;
	struct climb *climb = bpf_map_lookup_elem(&climbs, &key);

	if (!climb || !dentry || call->texts >= TEXTS)
		return;
	climb->dentry = dentry;
	climb->mount = vfs ? mount_of(vfs) : NULL;
	climb->root = BPF_CORE_READ(task, fs, root.dentry);
	climb->root_mount = BPF_CORE_READ(task, fs, root.mnt);
	climb->call = index;
	climb->text = call->texts;
	climb->offset = TEXT_BYTES_MOST;
	climb->done = false;
	bpf_loop(PATH_LEVELS, step_climb, &key, 0);
	__u32 offset = climb->offset;
	/* The root itself has no component. */
	if (offset >= TEXT_BYTES_MOST) {
		offset = TEXT_BYTES_MOST - 1;
		call->text[call->texts & (TEXTS - 1)][offset] = '/';
	}
	value->text = call->texts;
	value->offset = offset;
	value->length = TEXT_BYTES_MOST - offset;
	value->state = VALUE_READ;
	if (!climb->done)
		value->flags |= VALUE_TRUNCATED;
	call->texts += 1;
}

static __always_inline void read_file(struct call *call, int index, struct value *value, struct task_struct *task,
				      struct file *file)
{
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	value->extra = BPF_CORE_READ(inode, i_mode);
	value->number = BPF_CORE_READ(file, f_flags);
	if (!BPF_CORE_READ(inode, i_nlink))
		value->flags |= VALUE_DELETED;
	read_path(call, index, value, task, dentry, BPF_CORE_READ(file, f_path.mnt));
}

static __always_inline struct file *file_of_fd(int fd)
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
static __always_inline void read_string(struct call *call, struct value *value, const void *from)
{
	long length;

	if (call->texts >= TEXTS)
		return;
	char *text = call->text[call->texts & (TEXTS - 1)];
	if ((long)from >= 0)
		length = bpf_probe_read_user_str(text, TEXT_BYTES_MOST, from);
	else
		length = bpf_probe_read_kernel_str(text, TEXT_BYTES_MOST, from);
	if (length <= 0)
		return;
	value->text = call->texts;
	value->offset = 0;
	value->length = length - 1;
	if (length == TEXT_BYTES_MOST)
		value->flags |= VALUE_TRUNCATED;
	value->state = VALUE_READ;
	call->texts += 1;
}

static __always_inline void read_followed(struct call *call, struct value *value, int fd, __u32 group)
{
	struct file *file = file_of_fd(fd);
	struct followed *followed = followed_of(file);
	struct follower *follower = followed ? follower_of(followed, group) : NULL;

	if (!follower || call->texts >= TEXTS)
		return;
	__u32 length = followed->length & (TEXT_BYTES_MOST - 1);

	bpf_probe_read_kernel(call->text[call->texts & (TEXTS - 1)], length, followed->path);
	value->text = call->texts;
	value->offset = 0;
	value->length = length;
	value->opened = follower->opened;
	value->extra = followed->mode;
	value->number = followed->flags;
	value->state = VALUE_READ;
	call->texts += 1;
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

static __always_inline void read_argument(struct call *call, int index, struct value *value,
					  struct value_spec *spec, __u64 raw)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	switch (spec->type) {
	case TYPE_STRING:
		read_string(call, value, (void *)raw);
		return;
	case TYPE_FILENAME: {
		struct filename *name = (void *)raw;

		read_string(call, value, BPF_CORE_READ(name, name));
		return;
	}
	case TYPE_FD:
		read_file(call, index, value, task, file_of_fd(raw));
		return;
	case TYPE_FILE:
		read_file(call, index, value, task, (void *)raw);
		return;
	case TYPE_BINPRM: {
		struct linux_binprm *bprm = (void *)raw;

		read_file(call, index, value, task, BPF_CORE_READ(bprm, file));
		return;
	}
	case TYPE_PATH: {
		struct path *path = (void *)raw;

		read_path(call, index, value, task, BPF_CORE_READ(path, dentry), BPF_CORE_READ(path, mnt));
		return;
	}
	case TYPE_DENTRY:
		read_path(call, index, value, task, (void *)raw, NULL);
		return;
	case TYPE_FOLLOWED:
		read_followed(call, value, raw, spec->most);
		return;
	default:
		read_number(value, raw, spec->type);
	}
}

static __always_inline void read_binary(struct call *call, struct value *value, __u32 pid)
{
	struct process *process = bpf_map_lookup_elem(&processes, &pid);

	if (!process || call->texts >= TEXTS)
		return;
	__u32 length = process->length & (BINARY_BYTES - 1);

	bpf_probe_read_kernel(call->text[call->texts & (TEXTS - 1)], BINARY_BYTES, process->binary);
	value->text = call->texts;
	value->offset = 0;
	value->length = length;
	value->state = VALUE_READ;
	call->texts += 1;
}

static __always_inline __u64 namespace_inode(struct task_struct *task, __u8 kind)
{
	struct task_namespaces all = {};
	struct pid_namespace *ns = NULL;

	read_namespaces(task, &all);
	namespace_pid(task, &ns);
	switch (kind) {
	case 0: return all.uts;
	case 1: return all.ipc;
	case 2: return all.mnt;
	case 3: return BPF_CORE_READ(ns, ns.inum);
	case 4: return all.pid_for_children;
	case 5: return all.net;
	case 6: return all.time;
	case 7: return all.time_for_children;
	case 8: return all.cgroup;
	case 9: return BPF_CORE_READ(task, real_cred, user_ns, ns.inum);
	default: return 0;
	}
}

static __always_inline __u64 capabilities(struct task_struct *task, __u8 set)
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
		read_argument(call, index, value, spec, call->raw[spec->index & 7]);
		break;
	case SOURCE_RETURN:
		read_argument(call, index, value, spec, call->returned);
		break;
	case SOURCE_PID:
		read_number(value, BPF_CORE_READ(task, tgid), TYPE_U32);
		break;
	case SOURCE_NAMESPACE_PID:
		read_number(value, namespace_pid(leader, &ns), TYPE_U32);
		break;
	case SOURCE_LINEAGE: {
		__u32 pid = BPF_CORE_READ(task, tgid);
		struct process *process = bpf_map_lookup_elem(&processes, &pid);

		read_number(value, process ? process->lineage : own_lineage(leader), TYPE_U64);
		break;
	}
	case SOURCE_BINARY:
		read_binary(call, value, BPF_CORE_READ(task, tgid));
		break;
	case SOURCE_PARENT_BINARY:
		read_binary(call, value, BPF_CORE_READ(task, real_parent, tgid));
		break;
	case SOURCE_NAMESPACE:
		read_number(value, namespace_inode(task, spec->index), TYPE_U32);
		break;
	case SOURCE_CAPABILITIES:
		read_number(value, capabilities(task, spec->index), TYPE_U64);
		break;
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
	return &call->value[number];
}

#endif
