/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The way through a hook, whatever mechanism it is entered by. */
#ifndef TRIGON_HOOK_ENTER_H
#define TRIGON_HOOK_ENTER_H

#include "act.h"
#include "call.h"
#include "pending.h"
#include "select.h"

/* Takes an area for a call of this hook; returns its number, or -1 where there is nothing to do. */
static __always_inline int enter(__u32 hook)
{
	__u32 *table = bpf_map_lookup_elem(&hooks, &hook);

	if (!table || !*table)
		return -1;
	int index = take_call();
	struct call *call = index < 0 ? NULL : call_at(index);

	if (!call)
		return index;
	call->hook = hook;
	call->table = *table;
	call->texts = 0;
	call->late = 0;
	call->compat = 0;
	call->denied = 0;
	call->monitored = 0;
	call->error = 0;
	call->unread = 0;
	call->set = 0;
	call->returned = 0;
	call->regs = 0;
	call->owner.pid = 0;
#pragma unroll
	for (int i = 0; i < VALUES; i++) {
		call->value[i].state = VALUE_UNREAD;
		call->value[i].flags = 0;
		call->value[i].length = 0;
		call->value[i].opened = 0;
		call->value[i].extra = 0;
	}
	return index;
}

/* What the function is to return in place of what it would; 0 for that. */
static __always_inline int override_of(int index)
{
	struct call *call = index < 0 ? NULL : call_at(index);

	return call && call->denied ? call->error : 0;
}

static __always_inline void leave(int index)
{
	if (index >= 0)
		release_call(index);
}

/*
 * The rest is global: the kernel verifies a global function once, and not again at each place that calls it. `index`
 * is the call's area, whose raw values are the arguments.
 */
__attribute__((noinline)) int on_entry(int index)
{
	struct call *call = call_at(index);
	struct table *table = call ? bpf_map_lookup_elem(&tables, &call->table) : NULL;

	if (!call || !table)
		return 0;
	call->mask = table->selectors;
	select_call(index, 0);
#pragma unroll
	for (int i = 0; i < MASK_WORDS; i++) {
		call->left.words[i] = call->mask.words[i] & ~table->late.words[i];
		call->mask.words[i] &= table->late.words[i];
	}
	if (!is_empty(&call->mask))
		await_return(index);
	act(index);
	return 0;
}

__attribute__((noinline)) int on_return(int index, __u64 returned)
{
	struct call *call = call_at(index);

	if (!call || !resume(index))
		return 0;
	call->returned = returned;
	call->late = 1;
	select_call(index, 1);
	call->left = call->mask;
	act(index);
	return 0;
}

/* One call from start to end, of a hook that is not told apart by entry and return. */
static __always_inline void once(__u32 hook, __u64 first, __u64 second)
{
	int index = enter(hook);
	struct call *call = index < 0 ? NULL : call_at(index);

	if (call) {
		call->raw[0] = first;
		call->raw[1] = second;
		on_entry(index);
		on_return(index, 0);
	}
	leave(index);
}

#endif
