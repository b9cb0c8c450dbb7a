/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Which selectors of a hook's table match a call: plan.h says how. */
#ifndef TRIGON_HOOK_SELECT_H
#define TRIGON_HOOK_SELECT_H

#include "expression.h"
#include "field.h"
#include "lookup.h"
#include "search.h"
#include "value.h"

/* Where in the table a call stands. */
struct selecting {
	__u64 bits;
	__u32 call;
	__u32 late;
	__u32 set;
	__u32 reserved;
};

static __always_inline void and_mask(struct mask *into, const struct mask *with)
{
#pragma unroll
	for (int i = 0; i < MASK_WORDS; i++)
		into->words[i] &= with->words[i];
}

static __always_inline bool is_empty(const struct mask *mask)
{
	__u64 all = 0;

#pragma unroll
	for (int i = 0; i < MASK_WORDS; i++)
		all |= mask->words[i];
	return !all;
}

/* Each bit that is set turns the answer of what asks for it: of those that want it, and those that don't. */
static long step_bit(__u32 bit, void *context)
{
	struct selecting *at = context;
	struct call *call = call_at(at->call);

	if (!call)
		return 1;
	if (!(at->bits >> (bit & 63) & 1))
		return 0;
	struct mask *asks = look_up_number(at->set, bit);

	if (asks) {
#pragma unroll
		for (int i = 0; i < MASK_WORDS; i++)
			call->asked.words[i] |= asks->words[i];
	}
	return 0;
}

static __always_inline void and_bits(struct call *call, struct selecting *at, struct dimension *dimension, __u64 bits)
{
	__builtin_memset(&call->asked, 0, sizeof(call->asked));
	at->bits = bits;
	at->set = dimension->set;
	if (bits)
		bpf_loop(64, step_bit, at, 0);
#pragma unroll
	for (int i = 0; i < MASK_WORDS; i++)
		call->mask.words[i] &= dimension->miss.words[i] ^ call->asked.words[i];
}

/* Whatever takes more than one look. What is found is in `asked`. */
static __always_inline void and_other(struct call *call, __u32 index, struct dimension *dimension, bool is_read)
{
	bool found = false;

	switch (is_read ? dimension->class : 0) {
	case CLASS_FIELD:
		found = look_up_field(index, dimension->value, dimension->set, dimension->field);
		break;
	case CLASS_SEARCH:
	case CLASS_SEARCH_ANY_CASE:
		search_text(index, dimension->value, dimension->set, dimension->class == CLASS_SEARCH_ANY_CASE);
#pragma unroll
		for (int i = 0; i < MASK_WORDS; i++)
			call->asked.words[i] |= dimension->miss.words[i];
		found = true;
		break;
	case CLASS_EXPRESSION:
		if (holds(index, dimension->set))
			return;
		break;
	}
	and_mask(&call->mask, found ? &call->asked : &dimension->miss);
}

static long step_dimension(__u32 index, void *context)
{
	struct selecting *at = context;
	struct call *call = call_at(at->call);
	struct table *table = call ? bpf_map_lookup_elem(&tables, &call->table) : NULL;

	if (!table || index >= DIMENSIONS || index >= table->dimensions)
		return 1;
	struct dimension *dimension = &table->dimension[index];

	if (dimension->late != at->late)
		return 0;
	struct value *value = value_of(call, at->call, dimension->value);
	struct mask *found = NULL;

	if (dimension->class >= CLASS_FIELD) {
		and_other(call, at->call, dimension, value && value->state == VALUE_READ);
		return is_empty(&call->mask);
	}

	if (dimension->class == CLASS_BITS) {
		and_bits(call, at, dimension, value && value->state == VALUE_READ ? value->number : 0);
		return is_empty(&call->mask);
	}
	if (value && value->state == VALUE_READ) {
		if (dimension->class == CLASS_PRESENT)
			return 0;
		switch (dimension->class) {
		case CLASS_NUMBER:
			found = look_up_number(dimension->set, value->number);
			break;
		case CLASS_FILE_TYPE:
			found = look_up_number(dimension->set, value->extra & 0170000);
			break;
		case CLASS_PREFIX:
			found = look_up_prefix(at->call, dimension->set, value);
			break;
		case CLASS_SUFFIX:
			found = look_up_suffix(at->call, dimension->set, dimension->value, value);
			break;
		}
	}
	and_mask(&call->mask, found ? found : &dimension->miss);
	return is_empty(&call->mask);
}

/* Takes off the call's mask what does not match, early or late. */
__attribute__((noinline)) int select_call(int index, __u32 late)
{
	struct selecting at = { .call = index, .late = late };

	bpf_loop(DIMENSIONS, step_dimension, &at, 0);
	return 0;
}

#endif
