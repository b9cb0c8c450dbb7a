// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Followed files (hook/follow.h) that end without a close that a policy hooks: dup2 over the descriptor, close_range,
 * close-on-exec, the end of a process, a message with descriptors that nobody received.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "hook/follow.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* A function that the kernel calls with each open file that it frees: what this is on, user space says. */
SEC("fentry")
int BPF_PROG(file_freed, struct file *file)
{
	__u64 key = (__u64)file;
	struct task_struct *task = (void *)bpf_get_current_task();

	if (bpf_map_lookup_elem(&followed, &key))
		release(key, BPF_CORE_READ(task, flags) & PF_EXITING ? RELEASE_EXIT : RELEASE_CLOSED);
	return 0;
}

struct bpf_map;

struct sweeping {
	__u32 group;
	__u32 left;
};

static long step_sweep(struct bpf_map *map, __u64 *file, struct followed *entry, struct sweeping *at)
{
	if (at->group) {
		struct follower *follower = follower_of(entry, at->group);

		if (follower) {
			post_release(follower, RELEASE_UNFOLLOWED);
			follower->group = 0;
		}
		if (is_unfollowed(entry)) {
			release(*file, 0);
			return 0;
		}
	} else if (!is_of(entry, (void *)*file)) {
		release(*file, RELEASE_FOUND);
		return 0;
	}
	at->left += 1;
	return 0;
}

/*
 * Run by user space: releases the files of a policy that is gone, its first argument, or for 0 those that nobody
 * holds any more. Returns how many files are left.
 */
SEC("raw_tp")
int sweep(struct bpf_raw_tracepoint_args *ctx)
{
	struct sweeping sweeping = { .group = ctx->args[0] };

	bpf_for_each_map_elem(&followed, step_sweep, &sweeping, 0);
	return sweeping.left;
}
