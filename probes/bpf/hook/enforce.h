/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What a selector does to the process or the call beside telling of it, and whether it may. */
#ifndef TRIGON_HOOK_ENFORCE_H
#define TRIGON_HOOK_ENFORCE_H

#include "call.h"

/* Policies that only watch, by their groups. User space turns one by one store, for all of its hooks at once. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
} monitored SEC(".maps");

/* Of the selectors that set arguments. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct selector_key);
	__type(value, struct setting);
} settings SEC(".maps");

struct notification_key {
	__u64 thread;
	__u32 group; /* the policy: its enforcer heeds no other's */
	__u32 reserved;
};

struct notification {
	__s16 error;
	__u8 signal;
	__u8 reserved[5];
};

/* Left by NotifyEnforcer. Those of threads that ended make room for new ones. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct notification_key);
	__type(value, struct notification);
} notifications SEC(".maps");

static __always_inline void deny(struct call *call, __s16 error)
{
	/* Of several policies the first one's error is returned. */
	if (call->denied)
		return;
	call->denied = 1;
	call->error = error;
}

/* What a selector may do to the call. The mode is looked at here alone: no call sees two of them. Global, for the sake of the stack. */
__attribute__((noinline)) int decide(int index, __u32 bit)
{
	struct call *call = call_at(index);
	struct selector_key key = { .table = call ? call->table : 0, .selector = bit };
	struct selector *selector = bpf_map_lookup_elem(&selectors, &key);

	if (!call || !selector)
		return 0;
	__u32 group = selector->group;

	call->monitored = 0;
	if (!selector->signal && !(selector->flags & (SELECTOR_OVERRIDE | SELECTOR_NOTIFY | SELECTOR_ENFORCER | SELECTOR_SET)))
		return 0;
	if (bpf_map_lookup_elem(&monitored, &group))
		call->monitored = 1;
	else if (selector->flags & SELECTOR_OVERRIDE)
		deny(call, selector->error);
	return 0;
}

/* Has arguments set, by the programs that can. Of several policies the first one's value counts. */
static __always_inline void set(struct call *call, struct selector_key *key)
{
	struct setting *setting = bpf_map_lookup_elem(&settings, key);

	for (int i = 0; setting && i < SETTABLE; i++) {
		if (setting->mask & ~call->set & 1 << i) {
			call->setting[i] = setting->value[i];
			call->set |= 1 << i;
		}
	}
}

/* Global, for the sake of the stack. */
__attribute__((noinline)) int enforce(int index, __u32 bit)
{
	struct call *call = call_at(index);
	struct selector_key key = { .table = call ? call->table : 0, .selector = bit };
	struct selector *selector = bpf_map_lookup_elem(&selectors, &key);

	if (!call || !selector)
		return 0;
	struct notification_key who = { .thread = bpf_get_current_pid_tgid(), .group = selector->group };

	if (selector->flags & SELECTOR_NOTIFY) {
		struct notification what = { .error = selector->notify_error, .signal = selector->notify_signal };

		if (what.error || what.signal)
			bpf_map_update_elem(&notifications, &who, &what, BPF_ANY);
		else
			bpf_map_delete_elem(&notifications, &who);
	}
	if (selector->flags & SELECTOR_ENFORCER) {
		struct notification *left = bpf_map_lookup_elem(&notifications, &who);

		if (left) {
			struct notification what = *left;

			bpf_map_delete_elem(&notifications, &who);
			if (what.error)
				deny(call, what.error);
			if (what.signal)
				bpf_send_signal(what.signal);
		}
	}
	if (selector->flags & SELECTOR_SET)
		set(call, &key);
	if (selector->signal)
		bpf_send_signal(selector->signal);
	return 0;
}

#endif
