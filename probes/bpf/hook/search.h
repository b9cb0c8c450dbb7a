/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Looking for texts anywhere in a text, all at once: an automaton (Aho and Corasick, 1975) goes over it byte by byte. A
 * state is the longest beginning of any of the texts that ends here. What leads to the first byte of one, or nowhere, is
 * said of state 0 alone.
 */
#ifndef TRIGON_HOOK_SEARCH_H
#define TRIGON_HOOK_SEARCH_H

#include "lookup.h"

#define STEP_BYTE_BITS 8

struct step_key {
	__u32 set;
	__u32 step; /* the state, and in the lower bits the byte that comes next */
};

/* A text ends in this state: which selectors wanted it is among the numbers. */
#define STATE_FOUND (1U << 31)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct step_key);
	__type(value, __u32);
} steps SEC(".maps");

struct searching {
	__u32 call;
	__u32 text;
	__u32 offset;
	__u32 length;
	__u32 set;
	__u32 state;
	__u32 any_case;
	__u32 reserved;
};

static __always_inline __u32 *next_state(__u32 set, __u32 state, __u8 byte)
{
	struct step_key key = { .set = set, .step = state << STEP_BYTE_BITS | byte };

	return bpf_map_lookup_elem(&steps, &key);
}

/* One byte of the text. */
static long step_search(__u32 at, void *context)
{
	struct searching *search = context;
	struct call *call = call_at(search->call);
	char *text = text_at(search->call, search->text);

	if (!call || !text || at >= search->length)
		return 1;
	__u8 byte = text[(search->offset + at) & (TEXT_BYTES_MOST - 1)];

	if (search->any_case && byte >= 'A' && byte <= 'Z')
		byte += 'a' - 'A';
	__u32 *next = next_state(search->set, search->state, byte);

	if (!next && search->state)
		next = next_state(search->set, 0, byte);
	__u32 state = next ? *next : 0;

	search->state = state & ~STATE_FOUND;
	if (!(state & STATE_FOUND))
		return 0;
	struct mask *wanted = look_up_number(search->set, search->state);

	if (wanted) {
#pragma unroll
		for (int i = 0; i < MASK_WORDS; i++)
			call->asked.words[i] |= wanted->words[i];
	}
	return 0;
}

/* Leaves in `asked` the selectors of which a text was found; a global function, verified once. */
__attribute__((noinline)) int search_text(int index, __u32 number, __u32 set, __u32 any_case)
{
	struct call *call = call_at(index);

	if (!call || number >= VALUES)
		return 0;
	struct value *value = &call->value[number];
	struct searching search = {
		.call = index,
		.text = value->text,
		.offset = value->offset,
		.length = value->length,
		.set = set,
		.any_case = any_case,
	};

	__builtin_memset(&call->asked, 0, sizeof(call->asked));
	bpf_loop(TEXT_BYTES_MOST, step_search, &search, 0);
	return 0;
}

#endif
