/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* One call of a hooked function: what is known of it while its selectors are looked at. */
#ifndef TRIGON_HOOK_CALL_H
#define TRIGON_HOOK_CALL_H

#include <bpf/bpf_helpers.h>

#include "../kernel.h"
#include "../maps.h"
#include "../record.h"
#include "plan.h"

/* Texts that a call can hold: paths, strings, bytes. */
#define TEXTS 8
#define TEXT_BYTES_MOST 4096
#define TEXT_SLACK 256

enum value_state {
	VALUE_UNREAD = 0,
	VALUE_READ = 1,
	VALUE_ABSENT = 2,
	VALUE_CHAINED = 3, /* follow_chain has to find it first */
	VALUE_OBJECT = 4, /* its number says where it is, or what: read_object has to look */
};

enum value_flags {
	VALUE_TRUNCATED = 1 << 0,
	VALUE_DELETED = 1 << 1,
	VALUE_CAPTURED = 1 << 2, /* read when the function was entered */
	VALUE_FOUND = 1 << 3,    /* its number is what its chain led to */
};

struct value {
	__u64 number;
	__u64 file;   /* struct file, or of a socket or a packet struct sock */
	__u64 opened; /* when a followed descriptor was opened: names it, together with the process */
	__u32 extra;  /* of a file: its mode */
	__u16 length;
	__u16 offset; /* of the text in its buffer */
	__u8 text;
	__u8 state;
	__u8 flags;
	__u8 reserved[5];
};

struct call {
	struct mask mask;
	struct mask asked; /* while bits are looked at */
	struct mask left;  /* selectors that matched and have not been acted on */
	__u64 raw[SETTABLE]; /* arguments; the sixth and on are zero where the mechanism can't tell them */
	__u64 returned;
	__u64 regs; /* struct pt_regs; 0 where the mechanism has none */
	struct exec_key owner; /* whose the tracked socket is that it is about; without a pid for none */
	__u64 owner_leader;
	__u32 owner_tid;
	__u32 owner_gone; /* its process, or this image of it, has ended */
	__u32 hook;
	__u32 table;
	__u8 values;
	__u8 texts;
	__u8 late; /* the function has returned */
	__u8 compat; /* made as a 32-bit program does */
	__u8 denied; /* the function returns `error` instead of what it would */
	__u8 monitored; /* the policy that is acted for only watches */
	__s16 error;
	__u8 unread; /* a bit for each raw value that could not be read */
	__u8 set;    /* a bit for each raw value whose argument gets another */
	__u8 reserved[6];
	__s64 setting[SETTABLE];
	struct value value[16];
};

struct text_area {
	char bytes[TEXT_BYTES_MOST + TEXT_SLACK];
};

/*
 * A program that is preempted leaves its area in use, and another that runs on that CPU takes the next one; with
 * none left its call is lost, and counted.
 */
#define CALLS_PER_CPU 2

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct call);
} calls SEC(".maps");

/* The texts of each call, area by area. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU * TEXTS);
	__type(key, __u32);
	__type(value, struct text_area);
} texts SEC(".maps");

struct calls_in_use {
	__u64 used; /* a bit for each area */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct calls_in_use);
} calls_in_use SEC(".maps");

static __always_inline struct calls_in_use *in_use_of_cpu(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&calls_in_use, &key);
}

/* Takes an area; returns its number, or -1 where all are in use. */
static __always_inline int take_call(void)
{
	struct calls_in_use *use = in_use_of_cpu();

	if (!use)
		return -1;
	for (int index = 0; index < CALLS_PER_CPU; index++) {
		__u64 bit = 1ULL << index;

		if (!(__sync_fetch_and_or(&use->used, bit) & bit))
			return index;
	}
	count_lost(LOST_BUSY);
	return -1;
}

static __always_inline void release_call(int index)
{
	struct calls_in_use *use = in_use_of_cpu();

	if (use)
		__sync_fetch_and_and(&use->used, ~(1ULL << (index & 1)));
}

static __always_inline struct call *call_at(int index)
{
	__u32 key = index;

	return bpf_map_lookup_elem(&calls, &key);
}

/* One of a call's texts. */
static __always_inline char *text_at(__u32 index, __u32 number)
{
	__u32 key = index * TEXTS + (number & (TEXTS - 1));
	struct text_area *area = bpf_map_lookup_elem(&texts, &key);

	return area ? area->bytes : NULL;
}

/* A text for a value to be read into; NULL, and counted, where the call has used up its own. */
static __always_inline char *take_text(struct call *call, __u32 index, struct value *value)
{
	if (call->texts >= TEXTS) {
		count_lost(LOST_TEXT);
		return NULL;
	}
	value->text = call->texts;
	call->texts += 1;
	return text_at(index, value->text);
}

/* Which table a hook has; 0 for none. User space puts another in place in one store. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HOOKS);
	__type(key, __u32);
	__type(value, __u32);
} hooks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, HOOKS);
	__type(key, __u32);
	__type(value, struct table);
} tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct selector_key);
	__type(value, struct selector);
} selectors SEC(".maps");

#endif
