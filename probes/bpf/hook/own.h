/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Whom a call is told of where it is about a tracked socket; and what selectors do to sockets: track, or not any more. */
#ifndef TRIGON_HOOK_OWN_H
#define TRIGON_HOOK_OWN_H

#include "../task.h"
#include "call.h"
#include "track.h"
#include "value.h"

/* A selector that is being acted on. */
struct acting {
	__u32 call;
	__u32 bit;
	__u32 forget;
};

static __always_inline bool is_socket(__u8 type)
{
	return type == TYPE_SOCK || type == TYPE_SOCKET || type == TYPE_SKB;
}

/* Whether a process lives, and this is its first thread: the memory of one that is gone can be another's. */
static __always_inline bool leads(struct task_struct *leader, const struct exec_key *process)
{
	return BPF_CORE_READ(leader, tgid) == process->pid &&
	       BPF_CORE_READ(leader, start_boottime) == process->ktime - process->image &&
	       BPF_CORE_READ(leader, signal, live.counter) > 0;
}

/* Takes over whose a socket is; 0 where it is nobody's. Global, for the sake of the stack. */
__attribute__((noinline)) int take_owner(int index, __u64 socket)
{
	struct call *call = call_at(index);
	struct tracked_socket *entry = tracked_of(socket);

	if (!call || !entry)
		return 0;
	struct task_struct *leader = (void *)entry->leader;
	bool lives = leads(leader, &entry->owner);

	/* It may have executed another image since. */
	if (lives)
		entry->owner = task_key(leader);
	call->owner = entry->owner;
	call->owner_leader = entry->leader;
	call->owner_tid = entry->tid;
	call->owner_gone = !lives;
	return 1;
}

static long step_owner(__u32 index, void *context)
{
	struct acting *at = context;
	struct call *call = call_at(at->call);
	struct table *table = call ? bpf_map_lookup_elem(&tables, &call->table) : NULL;
	struct selector_key key = { .table = call ? call->table : 0, .selector = at->bit };
	struct selector *selector = bpf_map_lookup_elem(&selectors, &key);

	if (!table || !selector || index >= POST_ARGS || index >= selector->args)
		return 1;
	__u8 number = selector->arg[index].value;

	if (number >= VALUES)
		return 1;
	if (!is_socket(table->value[number].type))
		return 0;
	struct value *value = value_of(call, at->call, number);

	return value && value->state == VALUE_READ && take_owner(at->call, value->file);
}

/* Finds the first tracked socket among a selector's arguments. A call has one owner, for all policies. */
__attribute__((noinline)) int find_owner(int index, __u32 bit)
{
	struct acting at = { .call = index, .bit = bit };
	struct call *call = call_at(index);

	if (call && !call->owner.pid)
		bpf_loop(POST_ARGS, step_owner, &at, 0);
	return 0;
}

/* Tracks a socket for whom the call is told of. One that is tracked keeps its owner. Global, for the sake of the stack. */
__attribute__((noinline)) int track(int index, __u64 socket)
{
	struct sock *sk = (void *)socket;
	struct call *call = call_at(index);
	struct task_struct *task = (void *)bpf_get_current_task();
	struct tracked_socket entry = {};

	if (!call || !sk || tracked_of(socket))
		return 0;
	if (call->owner.pid) {
		entry.owner = call->owner;
		entry.leader = call->owner_leader;
		entry.tid = call->owner_tid;
	} else {
		entry.leader = (__u64)BPF_CORE_READ(task, group_leader);
		entry.owner = task_key((void *)entry.leader);
		entry.tid = BPF_CORE_READ(task, pid);
	}
	/* A CPU that was idle when it was interrupted: this is nobody's. */
	if (!entry.owner.pid)
		return 0;
	entry.net = net_of(sk);
	entry.inode = inode_of_socket(sk);
	entry.cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	if (bpf_map_update_elem(&tracked, &socket, &entry, BPF_ANY))
		count_lost(LOST_TRACKED);
	return 0;
}

static long step_track(__u32 number, void *context)
{
	struct acting *at = context;
	struct call *call = call_at(at->call);
	struct selector_key key = { .table = call ? call->table : 0, .selector = at->bit };
	struct selector *selector = bpf_map_lookup_elem(&selectors, &key);

	if (!call || !selector || number >= VALUES)
		return 1;
	__u32 wanted = at->forget ? selector->untrack : selector->track;

	if (!(wanted >> number & 1))
		return 0;
	struct value *value = value_of(call, at->call, number);

	if (!value || value->state != VALUE_READ)
		return 0;
	__u64 socket = value->file;

	if (at->forget)
		bpf_map_delete_elem(&tracked, &socket);
	else
		track(at->call, socket);
	return 0;
}

/* Tracks the sockets that a selector says, or forgets them. */
__attribute__((noinline)) int do_track(int index, __u32 bit, __u32 forget)
{
	struct acting at = { .call = index, .bit = bit, .forget = forget };

	bpf_loop(VALUES, step_track, &at, 0);
	return 0;
}

#endif
