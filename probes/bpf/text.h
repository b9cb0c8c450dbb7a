/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Appending text to a record that is built in a per-CPU buffer: paths leaf first, and strings. */
#ifndef TRIGON_TEXT_H
#define TRIGON_TEXT_H

#include <bpf/bpf_helpers.h>

#include "cgroup.h"

/* Longest component of a path with its NUL, and what a path may have of them in all (PATH_MAX). */
#define NAME_BYTES 256
#define PATH_BYTES 4096
#define PATH_LEVELS 512

/*
 * A per-CPU value may have 32 KiB at most. The last NAME_BYTES of the text are slack: a copy that begins within
 * the limit may end in them.
 */
#define BUFFER_BYTES (32 * 1024)
#define TEXT_BYTES (BUFFER_BYTES - 1024)

struct buffer {
	char bytes[BUFFER_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct buffer);
} buffers SEC(".maps");

static __always_inline struct buffer *buffer_of_cpu(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&buffers, &key);
}

/*
 * A walk from a leaf to the root, appending each component. It is kept in a map, not on the stack: what it holds
 * there is unknown to the verifier, which so needs to look at one step only and not at each length in turn.
 */
struct walk {
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *root;
	struct vfsmount *root_mount;
	struct kernfs_node *node;
	__u32 end;   /* of the text so far, from the start of the buffer */
	__u32 limit; /* where the path must end */
	__u32 done;
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct walk);
} walks SEC(".maps");

static __always_inline struct walk *walk_of_cpu(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&walks, &key);
}

/* Appends one component; false where there is no more room. */
static __always_inline bool append_name(struct walk *walk, const void *name)
{
	struct buffer *buffer = buffer_of_cpu();
	__u32 end = walk->end;

	if (!buffer || end >= walk->limit || end >= TEXT_BYTES)
		return false;
	long length = bpf_probe_read_kernel_str(&buffer->bytes[end], NAME_BYTES, name);
	if (length > 0)
		walk->end = end + length;
	return true;
}

/* As the kernel's prepend_path() goes up: within a mount by parents, then over to where it is mounted. */
static long step_path(__u32 index, void *context)
{
	struct walk *walk = walk_of_cpu();

	if (!walk)
		return 1;
	struct dentry *dentry = walk->dentry;
	struct mount *mount = walk->mount;
	struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
	struct vfsmount *vfs = (void *)mount + bpf_core_field_offset(struct mount, mnt);

	if (dentry == walk->root && vfs == walk->root_mount) {
		walk->done = true;
		return 1;
	}
	if (dentry == BPF_CORE_READ(vfs, mnt_root)) {
		struct mount *above = BPF_CORE_READ(mount, mnt_parent);

		if (above == mount) {
			walk->done = true;
			return 1;
		}
		walk->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		walk->mount = above;
		return 0;
	}
	if (!append_name(walk, BPF_CORE_READ(dentry, d_name.name)))
		return 1;
	/* A file that was never in a tree, such as a memfd's, is its own parent. */
	if (dentry == parent) {
		walk->done = true;
		return 1;
	}
	walk->dentry = parent;
	return 0;
}

static __always_inline struct mount *mount_of(struct vfsmount *vfs)
{
	return (void *)vfs - bpf_core_field_offset(struct mount, mnt);
}

/* Appends the path of a dentry as seen from the task's root directory; returns the end, sets *cut if some is missing. */
static __always_inline __u32 append_path(__u32 end, struct dentry *dentry, struct vfsmount *mount,
					 struct task_struct *task, bool *cut)
{
	struct walk *walk = walk_of_cpu();

	*cut = true;
	if (!walk || !dentry)
		return end;
	walk->dentry = dentry;
	walk->mount = mount_of(mount);
	walk->root = BPF_CORE_READ(task, fs, root.dentry);
	walk->root_mount = BPF_CORE_READ(task, fs, root.mnt);
	walk->end = end;
	walk->limit = end + PATH_BYTES - NAME_BYTES;
	walk->done = false;
	bpf_loop(PATH_LEVELS, step_path, NULL, 0);
	*cut = !walk->done;
	return walk->end;
}

static long step_cgroup(__u32 index, void *context)
{
	struct walk *walk = walk_of_cpu();

	if (!walk)
		return 1;
	struct kernfs_node *node = walk->node;
	struct kernfs_node *parent = kernfs_parent(node);

	/* The root of a hierarchy has an empty name: nothing to append. */
	if (!parent) {
		walk->done = true;
		return 1;
	}
	if (!append_name(walk, BPF_CORE_READ(node, name)))
		return 1;
	walk->node = parent;
	return 0;
}

static __always_inline __u32 append_cgroup_path(__u32 end, struct kernfs_node *node, bool *cut)
{
	struct walk *walk = walk_of_cpu();

	*cut = true;
	if (!walk)
		return end;
	walk->node = node;
	walk->end = end;
	walk->limit = end + CGROUP_BYTES - NAME_BYTES;
	walk->done = false;
	bpf_loop(CGROUP_LEVELS, step_cgroup, NULL, 0);
	*cut = !walk->done;
	return walk->end;
}

static __always_inline __u32 append_cgroup(__u32 end, struct task_struct *task, bool *cut)
{
	return append_cgroup_path(end, task_cgroup(task), cut);
}

#endif
