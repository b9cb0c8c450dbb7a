/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Files that policies follow. A descriptor leads to its open file (struct file), which dup, fork, exec and passing it
 * over a socket share: following the open file follows all of them. It ends with the file's last descriptor. A freed
 * file's memory is used again: dentry, inode and the count of opens tell that it is another.
 */
#ifndef TRIGON_HOOK_FOLLOW_H
#define TRIGON_HOOK_FOLLOW_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "../drift.h"
#include "../kernel.h"

#define FOLLOWED_PATH_BYTES 4096

struct followed_key {
	__u64 file;
	__u32 group; /* who follows it: a policy */
	__u32 reserved;
};

struct followed {
	__u64 dentry;
	__u64 inode;
	__u64 opened; /* boot clock, nanoseconds */
	__u32 length;
	__u32 mode;
	__u32 flags;
	__u32 reserved;
	char path[FOLLOWED_PATH_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct followed_key);
	__type(value, struct followed);
} followed SEC(".maps");

/* An entry is too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct followed);
} followed_scratch SEC(".maps");

static __always_inline struct followed *followed_of(struct file *file, __u32 group)
{
	struct followed_key key = { .file = (__u64)file, .group = group };
	struct followed *found = file ? bpf_map_lookup_elem(&followed, &key) : NULL;

	if (!found)
		return NULL;
	if (found->dentry == (__u64)BPF_CORE_READ(file, f_path.dentry) &&
	    found->inode == (__u64)BPF_CORE_READ(file, f_inode))
		return found;
	bpf_map_delete_elem(&followed, &key);
	return NULL;
}

#endif
