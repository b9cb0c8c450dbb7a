/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Looking numbers and texts up: which selectors they satisfy. */
#ifndef TRIGON_HOOK_LOOKUP_H
#define TRIGON_HOOK_LOOKUP_H

#include "call.h"

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

#define FIXED_KEY_BITS 32 /* the set */
#define SUFFIX_BYTES 128

static __always_inline void number_key(struct number_key *key, __u32 set, __u64 value)
{
	key->bits = FIXED_KEY_BITS + 64;
	key->set = set;
	/* Signed numbers sort before unsigned ones with their sign bit turned. */
	value = bpf_cpu_to_be64(value ^ (1ULL << 63));
	__builtin_memcpy(key->value, &value, sizeof(value));
}

static __always_inline struct mask *look_up_number(__u32 set, __u64 value)
{
	struct number_key key = {};

	number_key(&key, set, value);
	return bpf_map_lookup_elem(&numbers, &key);
}

static __always_inline struct text_key *text_key(__u32 index, __u32 set)
{
	__u32 slot = index;
	struct text_key *key = bpf_map_lookup_elem(&text_keys, &slot);

	if (key)
		key->set = set;
	return key;
}

/* Looks a text up from its start. Its NUL belongs to it: what equals a value is what begins with it and its NUL. */
static __always_inline struct mask *look_up_prefix(__u32 index, __u32 set, struct value *value)
{
	struct text_key *key = text_key(index, set);
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
	/* One that is as long as the key, or longer, has a byte of its own where the NUL would be. */
	if (value->length > length &&
	    bpf_probe_read_kernel(&key->text[TEXT_KEY_BYTES - 1], 1, &text[offset + TEXT_KEY_BYTES - 1]))
		return NULL;
	key->bits = FIXED_KEY_BITS + 8 * (length + 1);
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
static __always_inline struct mask *look_up_suffix(__u32 index, __u32 set, __u32 number, struct value *value)
{
	struct text_key *key = text_key(index, set);
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

#endif
