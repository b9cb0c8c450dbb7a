/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Files that policies follow. A descriptor leads to its open file (struct file), which dup, fork, exec and passing it
 * over a socket share: following the open file follows all of them. It ends with the last reference to the file,
 * which is found in three ways: a close that the policy hooks; the exit of who held it; and for all others, where the
 * kernel has trampolines, the freeing of the file itself, else a sweep (releases.bpf.c).
 *
 * Until a sweep finds it, the memory of a file that was freed can be another's. What tells them apart: its count of
 * references, its dentry and inode, and the credentials that it was opened with, which each exec makes anew.
 */
#ifndef TRIGON_HOOK_FOLLOW_H
#define TRIGON_HOOK_FOLLOW_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "../drift.h"
#include "../kernel.h"
#include "../maps.h"

#define FOLLOWED_PATH_BYTES 4096

/* Policies that can follow one open file. */
#define FOLLOWERS 8

struct follower {
	__u64 opened; /* boot clock, nanoseconds */
	__u32 group;  /* the policy; 0 for none */
	__u32 reserved;
};

struct followed {
	__u64 dentry;
	__u64 inode;
	__u64 cred;
	__u32 length;
	__u32 mode;
	__u32 flags;
	__u32 reserved;
	struct follower follower[FOLLOWERS];
	char path[FOLLOWED_PATH_BYTES];
};

/* Key: address of the file. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct followed);
} followed SEC(".maps");

/* An entry is too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct followed);
} followed_scratch SEC(".maps");

/* A policy among those that follow a file; NULL where it does not, for group 0 a free place. */
static __always_inline struct follower *follower_of(struct followed *followed, __u32 group)
{
#pragma unroll
	for (int i = 0; i < FOLLOWERS; i++) {
		if (followed->follower[i].group == group)
			return &followed->follower[i];
	}
	return NULL;
}

static __always_inline bool is_unfollowed(struct followed *followed)
{
	__u32 any = 0;

#pragma unroll
	for (int i = 0; i < FOLLOWERS; i++)
		any |= followed->follower[i].group;
	return !any;
}

/*
 * Put together where it goes to: on the stack of 6.1 there is no room. A release may have half of what hooks leave to
 * the lifecycle (is_room() in post.h): who only opens and closes files must not starve that.
 */
static __always_inline void post_release(struct follower *follower, __u32 reason)
{
	__u64 used = bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA);
	__u64 size = bpf_ringbuf_query(&records, BPF_RB_RING_SIZE);
	struct release_record *record = NULL;

	if (used < size / 8 * 7)
		record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		count_lost(RECORD_RELEASE);
		return;
	}
	record->header.type = RECORD_RELEASE;
	record->header.flags = 0;
	record->header.length = sizeof(*record);
	record->header.time = bpf_ktime_get_boot_ns();
	record->opened = follower->opened;
	record->group = follower->group;
	record->reason = reason;
	bpf_ringbuf_submit(record, waking());
}

/*
 * A file is followed no longer, by none. Two that find it at once both tell: user space takes the first. Global: the
 * kernel verifies a global function once, and not again at each place that calls it.
 */
__attribute__((noinline)) int release(__u64 file, __u32 reason)
{
	struct followed *entry = bpf_map_lookup_elem(&followed, &file);

	if (!entry)
		return 0;
#pragma unroll
	for (int i = 0; i < FOLLOWERS; i++) {
		if (entry->follower[i].group)
			post_release(&entry->follower[i], reason);
	}
	bpf_map_delete_elem(&followed, &file);
	return 0;
}

/* Whether an entry is of the file that has this address now. */
static __always_inline bool is_of(struct followed *entry, struct file *file)
{
	return is_referenced(file) && entry->dentry == (__u64)BPF_CORE_READ(file, f_path.dentry) &&
	       entry->inode == (__u64)BPF_CORE_READ(file, f_inode) &&
	       entry->cred == (__u64)BPF_CORE_READ(file, f_cred);
}

/* The entry of a file; NULL where it has none, or one that was another's. */
static __always_inline struct followed *followed_of(struct file *file)
{
	__u64 key = (__u64)file;
	struct followed *found = file ? bpf_map_lookup_elem(&followed, &key) : NULL;

	return found && is_of(found, file) ? found : NULL;
}

#endif
