/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Calls that have been entered and are to be looked at again when they return. What they were given is read at the
 * entry: another thread may change it meanwhile, and the kernel may have let go of it.
 */
#ifndef TRIGON_HOOK_PENDING_H
#define TRIGON_HOOK_PENDING_H

#include "call.h"
#include "value.h"

/* A function may be entered again before it returns: file systems lie upon file systems. */
#define NESTED 4

struct pending_key {
	__u64 thread;
	__u32 hook;
	__u32 depth;
};

struct pending {
	struct mask mask;
	__u64 raw[8];
	__u32 table;
	__u8 captured; /* there is an entry in that map, too */
	__u8 compat;
	__u8 reserved[2];
};

/* Without a limit that is reached: a thread waits in a call or two. User space takes out what never returned. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct pending_key);
	__type(value, struct pending);
} pending SEC(".maps");

/* Values and their texts, one after the other; room for a text more, for the verifier. */
struct captured {
	__u32 end;
	__u32 reserved;
	struct value value[16];
	char text[2 * TEXT_BYTES_MOST];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct pending_key);
	__type(value, struct captured);
} captured SEC(".maps");

/* Too large for the stack, of which all functions of a call share 512 bytes. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct pending);
} pending_scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct captured);
} captured_scratch SEC(".maps");

/* Keeps one value, where the table asks for it. */
static long step_capture(__u32 number, void *context)
{
	__u32 index = *(__u32 *)context;
	struct call *call = call_at(index);
	struct table *table = call ? bpf_map_lookup_elem(&tables, &call->table) : NULL;
	struct captured *to = bpf_map_lookup_elem(&captured_scratch, &index);

	if (!table || !to || number >= VALUES)
		return 1;
	to->value[number].state = VALUE_UNREAD;
	if (!(table->captures >> number & 1))
		return 0;
	struct value *value = value_of(call, index, number);
	char *text = value && value->length ? text_at(index, value->text) : NULL;
	__u32 end = to->end;

	if (!value)
		return 1;
	to->value[number] = *value;
	to->value[number].flags |= VALUE_CAPTURED;
	to->value[number].offset = end;
	if (!text || value->state != VALUE_READ)
		return 0;
	/* Two texts of full length fit; what comes after them does not. */
	if (end >= TEXT_BYTES_MOST) {
		to->value[number].state = VALUE_ABSENT;
		count_lost(LOST_TEXT);
		return 0;
	}
	__u32 length = value->length & (TEXT_BYTES_MOST - 1);

	bpf_probe_read_kernel(&to->text[end & (TEXT_BYTES_MOST - 1)], length,
			      &text[value->offset & (TEXT_BYTES_MOST - 1)]);
	to->end = end + length;
	return 0;
}

static long step_restore(__u32 number, void *context)
{
	__u32 index = *(__u32 *)context;
	struct call *call = call_at(index);
	struct captured *from = bpf_map_lookup_elem(&captured_scratch, &index);

	if (!call || !from || number >= VALUES)
		return 1;
	if (from->value[number].state == VALUE_UNREAD)
		return 0;
	struct value *value = &call->value[number];

	*value = from->value[number];
	__u32 offset = value->offset & (2 * TEXT_BYTES_MOST - 1);
	__u32 length = value->length & (TEXT_BYTES_MOST - 1);

	value->offset = 0;
	if (!length || value->state != VALUE_READ)
		return 0;
	char *text = take_text(call, index, value);

	if (!text || offset >= TEXT_BYTES_MOST) {
		value->state = VALUE_ABSENT;
		return 0;
	}
	bpf_probe_read_kernel(text, length, &from->text[offset & (TEXT_BYTES_MOST - 1)]);
	return 0;
}

/* Keeps a call with the selectors of its mask until its function returns. */
__attribute__((noinline)) int await_return(int index)
{
	__u32 slot = index;
	struct call *call = call_at(index);
	struct table *table = call ? bpf_map_lookup_elem(&tables, &call->table) : NULL;
	struct pending *later = bpf_map_lookup_elem(&pending_scratch, &slot);
	struct captured *values = bpf_map_lookup_elem(&captured_scratch, &slot);

	if (!call || !table || !later || !values)
		return 0;
	struct pending_key key = { .thread = bpf_get_current_pid_tgid(), .hook = call->hook };

	later->mask = call->mask;
	__builtin_memcpy(later->raw, call->raw, sizeof(later->raw));
	later->table = call->table;
	later->compat = call->compat;
	later->captured = table->captures != 0;
	long full = 1;

#pragma unroll
	for (int depth = 0; depth < NESTED; depth++) {
		key.depth = depth;
		full = bpf_map_update_elem(&pending, &key, later, BPF_NOEXIST);
		if (!full)
			break;
	}
	if (full) {
		/* Returns have been missed, or there is no room. The oldest goes, so that this is not for ever. */
		count_lost(LOST_PENDING);
		key.depth = 0;
		if (bpf_map_update_elem(&pending, &key, later, BPF_EXIST))
			return 0;
	}
	if (!later->captured)
		return 0;
	values->end = 0;
	bpf_loop(VALUES, step_capture, &slot, 0);
	if (bpf_map_update_elem(&captured, &key, values, BPF_ANY)) {
		count_lost(LOST_PENDING);
		bpf_map_delete_elem(&pending, &key);
	}
	return 0;
}

/* Whether a call of this hook waits for its return: of most none does, and they have no more to do. */
static __always_inline bool is_awaited(__u32 hook)
{
	struct pending_key key = { .thread = bpf_get_current_pid_tgid(), .hook = hook };

	return bpf_map_lookup_elem(&pending, &key);
}

/* Takes up the call that this hook's function now returns from; 0 where there is none. */
__attribute__((noinline)) int resume(int index)
{
	__u32 slot = index;
	struct call *call = call_at(index);
	struct pending_key key = { .thread = bpf_get_current_pid_tgid() };
	struct captured *values = bpf_map_lookup_elem(&captured_scratch, &slot);

	if (!call || !values)
		return 0;
	key.hook = call->hook;
	struct pending *earlier = bpf_map_lookup_elem(&pending, &key);

	if (!earlier)
		return 0;
	/* The innermost: it returns first. */
#pragma unroll
	for (int depth = 1; depth < NESTED; depth++) {
		struct pending_key inner = { .thread = key.thread, .hook = key.hook, .depth = depth };
		struct pending *deeper = bpf_map_lookup_elem(&pending, &inner);

		if (!deeper)
			break;
		earlier = deeper;
		key.depth = depth;
	}
	bool restores = earlier->captured;

	call->mask = earlier->mask;
	call->table = earlier->table;
	call->compat = earlier->compat;
	__builtin_memcpy(call->raw, earlier->raw, sizeof(earlier->raw));
	bpf_map_delete_elem(&pending, &key);
	if (!restores)
		return 1;
	struct captured *kept = bpf_map_lookup_elem(&captured, &key);

	if (!kept)
		return 0;
	bpf_probe_read_kernel(values, sizeof(*values), kept);
	bpf_map_delete_elem(&captured, &key);
	bpf_loop(VALUES, step_restore, &slot, 0);
	return 1;
}

#endif
