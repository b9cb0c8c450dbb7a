/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Which selectors of a hook's table match a call: plan.h says how. */
#ifndef TRIGON_HOOK_SELECT_H
#define TRIGON_HOOK_SELECT_H

#include "call.h"
#include "value.h"

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct number_key);
	__type(value, struct mask);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct text_key);
	__type(value, struct mask);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct text_key);
	__type(value, struct mask);
} suffixes SEC(".maps");

/* Keys are too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct text_key);
} text_keys SEC(".maps");

/* Where in the table a call stands. */
struct selecting {
	__u64 bits;
	__u32 call;
	__u32 late;
	__u32 dimension;
	__u32 reserved;
};

#define FIXED_KEY_BITS 64 /* table and dimension */
#define SUFFIX_BYTES 128

static __always_inline void number_key(struct number_key *key, __u32 table, __u32 dimension, __u64 value)
{
	key->bits = FIXED_KEY_BITS + 64;
	key->table = table;
	key->dimension = dimension;
	/* Signed numbers sort before unsigned ones with their sign bit turned. */
	value = bpf_cpu_to_be64(value ^ (1ULL << 63));
	__builtin_memcpy(key->value, &value, sizeof(value));
}

static __always_inline struct mask *look_up_number(struct call *call, __u32 dimension, __u64 value)
{
	struct number_key key = {};

	number_key(&key, call->table, dimension, value);
	return bpf_map_lookup_elem(&numbers, &key);
}

static __always_inline struct text_key *text_key(struct call *call, __u32 index, __u32 dimension)
{
	__u32 slot = index;
	struct text_key *key = bpf_map_lookup_elem(&text_keys, &slot);

	if (key) {
		key->table = call->table;
		key->dimension = dimension;
	}
	return key;
}

/* Looks a text up from its start. Its NUL belongs to it: what equals a value is what begins with it and its NUL. */
static __always_inline struct mask *look_up_prefix(struct call *call, __u32 index, __u32 dimension,
						   struct value *value)
{
	struct text_key *key = text_key(call, index, dimension);
	__u32 length = value->length;
	__u32 offset = value->offset & (TEXT_BYTES_MOST - 1);
	char *text = text_at(index, value->text);

	if (!key || !text)
		return NULL;
	if (length > TEXT_KEY_BYTES - 1)
		length = TEXT_KEY_BYTES - 1;
	if (bpf_probe_read_kernel(key->text, length, &text[offset]))
		return NULL;
	if (length < TEXT_KEY_BYTES)
		key->text[length] = 0;
	/* One that is longer than the key has no NUL in it. */
	key->bits = FIXED_KEY_BITS + 8 * (value->length > length ? length : length + 1);
	return bpf_map_lookup_elem(&prefixes, key);
}

struct turning {
	__u32 call;
	__u32 value;
};

/* One byte of a text that is turned round. */
static long step_turn(__u32 at, void *context)
{
	struct turning *turning = context;
	struct call *call = call_at(turning->call);
	__u32 slot = turning->call, number = turning->value;
	struct text_key *key = bpf_map_lookup_elem(&text_keys, &slot);

	if (!call || !key || at >= SUFFIX_BYTES || number >= VALUES)
		return 1;
	struct value *value = &call->value[number];
	char *text = text_at(turning->call, value->text);
	__u32 end = value->offset + value->length;

	if (!text || at >= value->length)
		return 1;
	key->text[at] = text[(end - 1 - at) & (TEXT_BYTES_MOST - 1)];
	return 0;
}

/* Looks a text up from its end, turned round. */
static __always_inline struct mask *look_up_suffix(struct call *call, __u32 index, __u32 dimension, __u32 number,
						   struct value *value)
{
	struct text_key *key = text_key(call, index, dimension);
	struct turning turning = { .call = index, .value = number };
	__u32 length = value->length;

	if (!key)
		return NULL;
	bpf_loop(SUFFIX_BYTES, step_turn, &turning, 0);
	if (length > SUFFIX_BYTES)
		length = SUFFIX_BYTES;
	key->bits = FIXED_KEY_BITS + 8 * length;
	return bpf_map_lookup_elem(&suffixes, key);
}

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
	struct mask *asks = look_up_number(call, at->dimension, bit);

	if (asks) {
#pragma unroll
		for (int i = 0; i < MASK_WORDS; i++)
			call->asked.words[i] |= asks->words[i];
	}
	return 0;
}

static __always_inline void and_bits(struct call *call, struct selecting *at, struct dimension *dimension,
				     __u32 index, __u64 bits)
{
	__builtin_memset(&call->asked, 0, sizeof(call->asked));
	at->bits = bits;
	at->dimension = index;
	if (bits)
		bpf_loop(64, step_bit, at, 0);
#pragma unroll
	for (int i = 0; i < MASK_WORDS; i++)
		call->mask.words[i] &= dimension->miss.words[i] ^ call->asked.words[i];
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

	if (dimension->class == CLASS_BITS) {
		and_bits(call, at, dimension, index, value && value->state == VALUE_READ ? value->number : 0);
		return is_empty(&call->mask);
	}
	if (value && value->state == VALUE_READ) {
		if (dimension->class == CLASS_PRESENT)
			return 0;
		switch (dimension->class) {
		case CLASS_NUMBER:
			found = look_up_number(call, index, value->number);
			break;
		case CLASS_FILE_TYPE:
			found = look_up_number(call, index, value->extra & 0170000);
			break;
		case CLASS_PREFIX:
			found = look_up_prefix(call, at->call, index, value);
			break;
		case CLASS_SUFFIX:
			found = look_up_suffix(call, at->call, index, dimension->value, value);
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
