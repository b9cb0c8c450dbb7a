/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Paths, read from the leaf to the root. */
#ifndef TRIGON_HOOK_PATH_H
#define TRIGON_HOOK_PATH_H

#include "../task.h"
#include "../text.h"
#include "call.h"

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
	char *text = text_at(climb->call, climb->text);
	__u32 length = BPF_CORE_READ(dentry, d_name.len);
	__u32 offset = climb->offset;

	if (!text || length >= TEXT_SLACK || offset < length + 1 || offset > TEXT_BYTES_MOST)
		return false;
	offset = (offset - length - 1) & (TEXT_BYTES_MOST - 1);
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
	char *text = dentry ? take_text(call, index, value) : NULL;

	if (!climb || !text)
		return;
	climb->dentry = dentry;
	climb->mount = vfs ? mount_of(vfs) : NULL;
	climb->root = BPF_CORE_READ(task, fs, root.dentry);
	climb->root_mount = BPF_CORE_READ(task, fs, root.mnt);
	climb->call = index;
	climb->text = value->text;
	climb->offset = TEXT_BYTES_MOST;
	climb->done = false;
	bpf_loop(PATH_LEVELS, step_climb, &key, 0);
	__u32 offset = climb->offset;
	/* The root itself has no component. */
	if (offset >= TEXT_BYTES_MOST) {
		offset = TEXT_BYTES_MOST - 1;
		text[offset] = '/';
	}
	value->offset = offset;
	value->length = TEXT_BYTES_MOST - offset;
	value->state = VALUE_READ;
	if (!climb->done)
		value->flags |= VALUE_TRUNCATED;
}

#endif
