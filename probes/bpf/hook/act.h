/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What is done when selectors match: of each policy the first one that does. */
#ifndef TRIGON_HOOK_ACT_H
#define TRIGON_HOOK_ACT_H

#include "call.h"
#include "enforce.h"
#include "follow.h"
#include "mark.h"
#include "own.h"
#include "post.h"
#include "select.h"
#include "try.h"

/* Policies that one call can match: as many as there are selectors. */
#define MATCHES (64 * MASK_WORDS)

struct rate_key {
	__u32 table;
	__u32 selector;
	__u64 who;
	__u64 what; /* a digest of the arguments */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct rate_key);
	__type(value, __u64);
} rates SEC(".maps");

/* The number of the lowest bit that is set, without a branch: the verifier goes each way of one. */
static __always_inline __u32 lowest_bit(__u64 word)
{
	__u64 below = (word & -word) - 1;

	below -= below >> 1 & 0x5555555555555555ULL;
	below = (below & 0x3333333333333333ULL) + (below >> 2 & 0x3333333333333333ULL);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return below * 0x0101010101010101ULL >> 56;
}

/* The first selector that is left, or a number beyond all where there is none. */
static __always_inline __u32 first_left(const struct mask *mask)
{
	for (int i = 0; i < MASK_WORDS; i++) {
		if (mask->words[i])
			return 64 * i + lowest_bit(mask->words[i]);
	}
	return 64 * MASK_WORDS;
}

/* Takes off all selectors below `end`: the rest of a policy that has had its match. */
static __always_inline void clear_below(struct mask *mask, __u32 end)
{
	for (int i = 0; i < MASK_WORDS; i++) {
		__u32 first = 64 * i;

		if (end >= first + 64)
			mask->words[i] = 0;
		else if (end > first)
			mask->words[i] &= ~0ULL << ((end - first) & 63);
	}
}

#define DIGEST_WORDS 8

/* What tells one event from another for a rate limit. In a map, for the sake of the stack. */
struct digest {
	__u64 digest;
	__u64 words[DIGEST_WORDS];
	struct selector_key selector;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct digest);
} digests SEC(".maps");

/* Mixes an argument in: a number, or the end of a text with its length. */
static long step_digest(__u32 index, void *context)
{
	__u32 area = *(__u32 *)context;
	struct digest *at = bpf_map_lookup_elem(&digests, &area);
	struct call *call = call_at(area);
	struct selector *selector = at ? bpf_map_lookup_elem(&selectors, &at->selector) : NULL;

	if (!at || !call || !selector || index >= POST_ARGS || index >= selector->args)
		return 1;
	struct value *value = value_of(call, area, selector->arg[index].value);

	if (!value || value->state != VALUE_READ)
		return 0;
	char *text = value->length ? text_at(area, value->text) : NULL;

	__builtin_memset(at->words, 0, sizeof(at->words));
	if (!text)
		at->words[0] = value->number;
	else if (value->length >= sizeof(at->words))
		bpf_probe_read_kernel(at->words, sizeof(at->words),
				      &text[(value->offset + value->length - sizeof(at->words)) & (TEXT_BYTES_MOST - 1)]);
	else
		bpf_probe_read_kernel(at->words, value->length & (sizeof(at->words) - 1),
				      &text[value->offset & (TEXT_BYTES_MOST - 1)]);
#pragma unroll
	for (int i = 0; i < DIGEST_WORDS; i++)
		at->digest = (at->digest ^ at->words[i]) * 0x9e3779b97f4a7c15ULL + value->length;
	return 0;
}

__attribute__((noinline)) int digest_call(int index, __u32 bit)
{
	__u32 area = index;
	struct digest *at = bpf_map_lookup_elem(&digests, &area);
	struct call *call = call_at(index);

	if (!at || !call)
		return 0;
	at->digest = 0;
	at->selector.table = call->table;
	at->selector.selector = bit;
	bpf_loop(POST_ARGS, step_digest, &area, 0);
	return 0;
}

/* Whether a post is within its rate, by the digest that was made of the call. */
__attribute__((noinline)) int is_within_rate(int index)
{
	__u32 area = index;
	__u64 task = bpf_get_current_pid_tgid(), now = bpf_ktime_get_boot_ns();
	struct digest *digest = bpf_map_lookup_elem(&digests, &area);
	struct selector *selector = digest ? bpf_map_lookup_elem(&selectors, &digest->selector) : NULL;

	if (!digest || !selector)
		return 0;
	struct rate_key key = { .table = selector->policy_hook, .selector = selector->number };

	key.who = selector->rate_scope == 0 ? task : selector->rate_scope == 1 ? task >> 32 : 0;
	key.what = digest->digest;
	__u64 *last = bpf_map_lookup_elem(&rates, &key);

	if (last && now - *last < selector->rate_interval) {
		if (!(selector->flags & SELECTOR_TRY))
			count_lost(LOST_RATE_LIMIT);
		return 0;
	}
	bpf_map_update_elem(&rates, &key, &now, BPF_ANY);
	return 1;
}

/* Adds a policy to those that follow a file, of which it may be the first; returns since when it does, 0 for never. */
static __always_inline __u64 follow(struct call *call, __u32 index, struct value *value, struct file *file,
				    __u32 group)
{
	__u64 key = (__u64)file, now = bpf_ktime_get_boot_ns();
	struct followed *known = followed_of(file);
	struct follower *follower;
	__u32 slot = index;

	if (known) {
		/* A copy of a descriptor is the same open file. */
		follower = follower_of(known, group);
		if (follower)
			return follower->opened;
		follower = follower_of(known, 0);
		if (!follower)
			return 0;
		follower->opened = now;
		follower->group = group;
		return now;
	}
	struct followed *entry = bpf_map_lookup_elem(&followed_scratch, &slot);
	__u32 length = value->length & (FOLLOWED_PATH_BYTES - 1);
	char *text = text_at(index, value->text);

	if (!entry || !text)
		return 0;
	/* There may be the entry of a file that was closed unseen, and whose memory it has. */
	release(key, RELEASE_FOUND);
	entry->dentry = (__u64)BPF_CORE_READ(file, f_path.dentry);
	entry->inode = (__u64)BPF_CORE_READ(file, f_inode);
	entry->cred = (__u64)BPF_CORE_READ(file, f_cred);
	entry->length = length;
	entry->mode = value->extra;
	entry->flags = value->number;
	__builtin_memset(entry->follower, 0, sizeof(entry->follower));
	entry->follower[0].opened = now;
	entry->follower[0].group = group;
	bpf_probe_read_kernel(entry->path, length, &text[value->offset & (TEXT_BYTES_MOST - 1)]);
	return bpf_map_update_elem(&followed, &key, entry, BPF_ANY) ? 0 : now;
}

/* What the exit of a process, or of what it forks, is looked at for. */
static __always_inline void mark_follower(void)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct process *process = bpf_map_lookup_elem(&processes, &pid);

	if (process)
		process->flags |= PROCESS_FOLLOWED;
}

static __always_inline void unfollow(struct file *file, __u32 group)
{
	__u64 key = (__u64)file;
	struct followed *entry = bpf_map_lookup_elem(&followed, &key);
	struct follower *follower = entry ? follower_of(entry, group) : NULL;

	/* Another descriptor, or another process, may have it open still. */
	if (!follower || !is_last_reference(file))
		return;
	post_release(follower, RELEASE_CLOSED);
	follower->group = 0;
	if (is_unfollowed(entry))
		bpf_map_delete_elem(&followed, &key);
}

/* Follows, or lets go, as a selector says. Global, for the sake of the stack. */
__attribute__((noinline)) int do_follow(int index, __u32 bit)
{
	struct call *call = call_at(index);
	struct selector_key key = { .table = call ? call->table : 0, .selector = bit };
	struct selector *selector = bpf_map_lookup_elem(&selectors, &key);
	struct value *value = call && selector ? value_of(call, index, selector->follow) : NULL;

	if (!value || value->state != VALUE_READ)
		return 0;
	struct file *file = (void *)value->file;

	if (!file)
		return 0;
	if (!(selector->flags & SELECTOR_FOLLOW)) {
		unfollow(file, selector->group);
		return 0;
	}
	value->opened = follow(call, index, value, file, selector->group);
	if (value->opened)
		mark_follower();
	else
		count_lost(LOST_FOLLOWED);
	return 0;
}

/* Marks the process as a selector says. Global, for the sake of the stack. */
__attribute__((noinline)) int do_mark(int index, __u32 bit)
{
	struct call *call = call_at(index);
	struct selector_key key = { .table = call ? call->table : 0, .selector = bit };
	struct selector *selector = bpf_map_lookup_elem(&selectors, &key);

	if (selector)
		change_marks(selector->group, selector->mark, selector->unmark);
	return 0;
}

static long step_act(__u32 step, void *context)
{
	__u32 index = *(__u32 *)context;
	struct call *call = call_at(index);

	if (!call)
		return 1;
	__u32 bit = first_left(&call->left);
	struct selector_key key = { .table = call->table, .selector = bit };
	struct selector *selector = bit < 64 * MASK_WORDS ? bpf_map_lookup_elem(&selectors, &key) : NULL;

	if (!selector)
		return 1;
	clear_below(&call->left, selector->next);
	if (selector->flags & SELECTOR_TRY) {
		if (selector->rate_interval)
			digest_call(index, bit);
		count_try(index, bit, !selector->rate_interval || is_within_rate(index));
		return 0;
	}
	/* Decided once, and first: the post tells what is done. */
	decide(index, bit);
	/* The post tells since when a file is followed; that it is followed no longer comes after. */
	if (selector->flags & SELECTOR_FOLLOW)
		do_follow(index, bit);
	if (selector->flags & SELECTOR_SOCKETS)
		find_owner(index, bit);
	if (selector->track)
		do_track(index, bit, 0);
	if (selector->mark | selector->unmark)
		do_mark(index, bit);
	if (selector->flags & SELECTOR_POST) {
		if (selector->rate_interval)
			digest_call(index, bit);
		if (!selector->rate_interval || is_within_rate(index))
			post_call(index, bit);
	}
	if (selector->flags & SELECTOR_UNFOLLOW)
		do_follow(index, bit);
	if (selector->untrack)
		do_track(index, bit, 1);
	if (!call->monitored)
		enforce(index, bit);
	return 0;
}

/* Acts on the selectors that are left. */
__attribute__((noinline)) int act(int index)
{
	__u32 area = index;
	struct call *call = call_at(index);

	if (call && !is_empty(&call->left))
		bpf_loop(MATCHES, step_act, &area, 0);
	return 0;
}

#endif
