/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Following pointers from what a call has at hand to what a policy looks for: user space laid the way by BTF. */
#ifndef TRIGON_HOOK_CHAIN_H
#define TRIGON_HOOK_CHAIN_H

#include "bytes.h"
#include "call.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct chain);
} chains SEC(".maps");

/* On the way. */
struct walking {
	__u64 address;
	__u32 chain;
	__u32 failed;
};

/* What a value is, or where the way to it begins. */
static __always_inline __u64 source_of(struct call *call, struct value_spec *spec)
{
	switch (spec->source) {
	case SOURCE_ARG: return call->raw[spec->index & 7];
	case SOURCE_RETURN: return call->returned;
	case SOURCE_CURRENT_TASK: return bpf_get_current_task();
	default: return call->regs;
	}
}

static long step_chain(__u32 index, void *context)
{
	struct walking *at = context;
	struct chain *chain = bpf_map_lookup_elem(&chains, &at->chain);

	at->failed = 1;
	if (!chain || index >= CHAIN_STEPS || !at->address)
		return 1;
	at->address += chain->offset[index];
	at->failed = 0;
	if (index + 1 >= chain->steps)
		return 1;
	at->failed = read_any(&at->address, sizeof(at->address), (void *)at->address) != 0;
	return at->failed;
}

/* A number of that many bytes, or a part of it. */
static __always_inline long read_field(__u64 *to, struct chain *chain, const void *from)
{
	__u64 value = 0;
	long error;

	switch (chain->width) {
	case 1: error = read_any(&value, 1, from); break;
	case 2: error = read_any(&value, 2, from); break;
	case 4: error = read_any(&value, 4, from); break;
	default: error = read_any(&value, 8, from); break;
	}
	__u32 bits = chain->bits ? chain->bits : 8 * chain->width;

	/* To the upper end and back: what is beside it falls off, and its sign comes along. */
	value <<= (64 - bits - chain->shift) & 63;
	*to = chain->is_signed ? (__s64)value >> ((64 - bits) & 63) : value >> ((64 - bits) & 63);
	return error;
}

/* Finds what a chained value is; 0 where the way ends before, and the value is absent. */
__attribute__((noinline)) int follow_chain(int index, __u32 number)
{
	struct call *call = call_at(index);
	struct table *table = call ? bpf_map_lookup_elem(&tables, &call->table) : NULL;

	if (!call || !table || number >= VALUES)
		return 0;
	struct value *value = &call->value[number];
	struct walking at = { .address = value->number, .chain = table->value[number].chain };
	struct chain *chain = bpf_map_lookup_elem(&chains, &at.chain);

	value->state = VALUE_ABSENT;
	if (!chain)
		return 0;
	bpf_loop(CHAIN_STEPS, step_chain, &at, 0);
	if (at.failed)
		return 0;
	value->number = at.address;
	if (chain->width && read_field(&value->number, chain, (void *)at.address))
		return 0;
	value->flags |= VALUE_FOUND;
	return 1;
}

#endif
