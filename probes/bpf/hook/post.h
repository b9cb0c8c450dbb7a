/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Telling user space of a call: one record for each policy that it matched. */
#ifndef TRIGON_HOOK_POST_H
#define TRIGON_HOOK_POST_H

#include "../maps.h"
#include "../record.h"
#include "bytes.h"
#include "call.h"
#include "hash.h"
#include "value.h"

/* Where the last argument may begin. */
#define POST_LIMIT (BUFFER_BYTES - BYTES_MOST - 256)

/* Hook records stop when the ring buffer is three quarters full: what is left is for the lifecycle. */
static __always_inline bool is_room(void)
{
	__u64 used = bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA);
	__u64 size = bpf_ringbuf_query(&records, BPF_RB_RING_SIZE);

	return used < size / 4 * 3;
}

struct posting {
	__u32 call;
	__u32 end; /* of the record so far */
	__u32 table;
	__u32 selector;
};

/* Kept in a map for the verifier's sake. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct posting);
} postings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct buffer);
} post_buffers SEC(".maps");

/*
 * OpenTelemetry's map of the requests that threads are serving, by pid_tgid, where it is there: user space puts it in.
 * <https://github.com/open-telemetry/opentelemetry-specification/pull/4855>
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_LRU_HASH);
		__uint(max_entries, 1);
		__uint(key_size, sizeof(__u64));
		__uint(value_size, sizeof(struct request_span));
	});
} requests SEC(".maps");

/* Says which request the thread is serving. Apart from the record's head, for the sake of the stack. */
__attribute__((noinline)) int add_request(int index)
{
	__u32 key = index, first = 0;
	__u64 thread = bpf_get_current_pid_tgid();
	struct buffer *buffer = bpf_map_lookup_elem(&post_buffers, &key);
	void *map = bpf_map_lookup_elem(&requests, &first);
	struct request_span *span = map ? bpf_map_lookup_elem(map, &thread) : NULL;

	if (buffer && span)
		((struct hook_record *)buffer)->request = *span;
	return 0;
}

/*
 * Tells of who has the tracked socket, where that is another process than the one that runs; 0 where it isn't. Apart from
 * the record's head, for the sake of the stack.
 */
__attribute__((noinline)) int add_owner(int index)
{
	__u32 key = index;
	struct call *call = call_at(index);
	struct buffer *buffer = bpf_map_lookup_elem(&post_buffers, &key);
	struct hook_record *record = (void *)buffer;

	if (!call || !buffer || !call->owner.pid)
		return 0;
	/* Whichever image of it. */
	if (record->key.pid == call->owner.pid &&
	    record->key.ktime - record->key.image == call->owner.ktime - call->owner.image)
		return 0;
	record->key = call->owner;
	record->tid = call->owner_tid;
	record->hook_flags |= call->owner_gone ? HOOK_OWNER | HOOK_OWNER_GONE : HOOK_OWNER;
	return 1;
}

static long step_post(__u32 index, void *context)
{
	__u32 key = *(__u32 *)context;
	struct posting *at = bpf_map_lookup_elem(&postings, &key);
	struct buffer *buffer = bpf_map_lookup_elem(&post_buffers, &key);
	struct call *call = call_at(key);

	if (!at || !buffer || !call)
		return 1;
	struct table *table = bpf_map_lookup_elem(&tables, &call->table);
	struct selector_key selector_key = { .table = at->table, .selector = at->selector };
	struct selector *selector = bpf_map_lookup_elem(&selectors, &selector_key);

	if (!table || !selector || index >= POST_ARGS || index >= selector->args)
		return 1;
	__u8 number = selector->arg[index].value;

	if (number >= VALUES)
		return 1;
	if (at->end > POST_LIMIT) {
		count_lost(LOST_TEXT);
		return 1;
	}
	struct value_spec *spec = &table->value[number];
	struct hook_arg *arg = (void *)&buffer->bytes[at->end & (BUFFER_BYTES / 2 - 1)];
	char *data = &buffer->bytes[(at->end & (BUFFER_BYTES / 2 - 1)) + sizeof(struct hook_arg)];
	__u32 length = 0;

	__builtin_memset(arg, 0, sizeof(*arg));
	arg->type = spec->type;
	arg->number = selector->arg[index].number;
	arg->flags = selector->arg[index].flags;
	struct value *value = &call->value[number];

	/* Straight from memory, of which a text has room for less. */
	if (spec->type == TYPE_BYTES && spec->source == SOURCE_ARG && !spec->chain && !(value->flags & VALUE_CAPTURED)) {
		arg->value = size_of(call, spec);
		length = read_bytes(data, (void *)call->raw[spec->index & 7], arg->value, spec->most);
		if (arg->value > length)
			arg->flags |= ARG_TRUNCATED;
	} else {
		value = value_of(call, key, number);
		char *text = value ? text_at(key, value->text) : NULL;

		if (!value || !text || value->state != VALUE_READ) {
			arg->flags |= ARG_ABSENT;
		} else {
			arg->value = value->number;
			arg->opened = value->opened;
			arg->group = value->opened ? selector->group : 0;
			arg->mode = value->extra;
			if (value->flags & VALUE_TRUNCATED)
				arg->flags |= ARG_TRUNCATED;
			if (value->flags & VALUE_DELETED)
				arg->flags |= ARG_DELETED;
			length = value->length & (TEXT_BYTES_MOST - 1);
			bpf_probe_read_kernel(data, length, &text[value->offset & (TEXT_BYTES_MOST - 1)]);
		}
	}
	arg->length = length;
	((struct hook_record *)buffer)->args += 1;
	/* Arguments begin at multiples of eight bytes. */
	at->end += sizeof(struct hook_arg) + ((length + 7) & ~7U);
	return 0;
}

/* Puts the record's head together; 0 where that can't be. Apart from what follows, for the sake of the stack. */
__attribute__((noinline)) int begin_record(int index, __u32 bit)
{
	__u32 key = index;
	struct call *call = call_at(index);
	struct selector_key selector_key = { .table = call ? call->table : 0, .selector = bit };
	struct selector *selector = bpf_map_lookup_elem(&selectors, &selector_key);
	struct posting *at = bpf_map_lookup_elem(&postings, &key);
	struct buffer *buffer = bpf_map_lookup_elem(&post_buffers, &key);
	struct task_struct *task = (void *)bpf_get_current_task();

	if (!call || !selector || !at || !buffer)
		return 0;
	struct hook_record *record = (void *)buffer;

	__builtin_memset(record, 0, sizeof(*record));
	record->header.type = RECORD_HOOK;
	record->header.time = bpf_ktime_get_boot_ns();
	record->key = task_key(BPF_CORE_READ(task, group_leader));
	record->tid = BPF_CORE_READ(task, pid);
	record->policy_hook = selector->policy_hook;
	record->selector = selector->number;
	record->action = selector->action;
	record->returned = call->denied ? (__s64)call->error : (__s64)call->returned;
	record->has_return = (call->late || call->denied) && selector->flags & SELECTOR_RETURN;
	record->hook_flags = call->monitored ? HOOK_MONITORED : 0;
	record->return_action = call->late ? selector->return_action : 0;
	at->call = index;
	at->end = sizeof(*record);
	at->table = call->table;
	at->selector = bit;
	return 1;
}

/* Appends the hash of the file, or that there is none. Global, for the sake of the stack. */
__attribute__((noinline)) int post_hash(int index, __u32 bit)
{
	__u32 key = index;
	__u64 thread = bpf_get_current_pid_tgid();
	struct call *call = call_at(index);
	struct selector_key selector_key = { .table = call ? call->table : 0, .selector = bit };
	struct selector *selector = bpf_map_lookup_elem(&selectors, &selector_key);
	struct posting *at = bpf_map_lookup_elem(&postings, &key);
	struct buffer *buffer = bpf_map_lookup_elem(&post_buffers, &key);
	struct file_hash *hash = bpf_map_lookup_elem(&file_hashes, &thread);

	if (!selector || !selector->hash || !at || !buffer || at->end > POST_LIMIT)
		return 0;
	struct hook_arg *arg = (void *)&buffer->bytes[at->end & (BUFFER_BYTES / 2 - 1)];
	char *data = &buffer->bytes[(at->end & (BUFFER_BYTES / 2 - 1)) + sizeof(struct hook_arg)];

	__builtin_memset(arg, 0, sizeof(*arg));
	arg->type = TYPE_FILE_HASH;
	if (hash && hash->state == HASH_MADE && hash->algorithm >= 0) {
		arg->value = hash->algorithm;
		arg->length = HASH_BYTES;
		__builtin_memcpy(data, hash->digest, HASH_BYTES);
	} else {
		arg->flags |= ARG_ABSENT;
	}
	((struct hook_record *)buffer)->args += 1;
	at->end += sizeof(struct hook_arg) + arg->length;
	return 0;
}

/* Return addresses that a stack trace has at most: the kernel's PERF_MAX_STACK_DEPTH. */
#define STACK_BYTES (127 * sizeof(__u64))

/* Appends a stack trace. Before the arguments, where there is always room. */
__attribute__((noinline)) int post_stack(int index, __u32 type)
{
	__u32 key = index;
	struct posting *at = bpf_map_lookup_elem(&postings, &key);
	struct buffer *buffer = bpf_map_lookup_elem(&post_buffers, &key);

	if (!at || !buffer)
		return 0;
	__u32 begin = at->end & (BUFFER_BYTES / 2 - 1);
	struct hook_arg *arg = (void *)&buffer->bytes[begin];
	long length = 0;

	/* The program that runs is not the one that the record tells of. */
	if (type != STACK_USER || !(((struct hook_record *)buffer)->hook_flags & HOOK_OWNER))
		length = bpf_get_task_stack(bpf_get_current_task_btf(), &buffer->bytes[begin + sizeof(*arg)],
					    STACK_BYTES, type == STACK_USER ? BPF_F_USER_STACK : 0);

	__builtin_memset(arg, 0, sizeof(*arg));
	arg->type = type;
	if (length <= 0) {
		arg->flags = ARG_ABSENT;
		length = 0;
	}
	arg->length = length;
	((struct hook_record *)buffer)->args += 1;
	at->end = begin + sizeof(*arg) + length;
	return 0;
}

/* The stack traces that a selector asks for. */
static __always_inline void post_stacks(int index, __u32 bit)
{
	struct call *call = call_at(index);
	struct selector_key key = { .table = call ? call->table : 0, .selector = bit };
	struct selector *selector = bpf_map_lookup_elem(&selectors, &key);

	if (selector && selector->flags & SELECTOR_KERNEL_STACK)
		post_stack(index, STACK_KERNEL);
	if (selector && selector->flags & SELECTOR_USER_STACK)
		post_stack(index, STACK_USER);
}

__attribute__((noinline)) int post_call(int index, __u32 bit)
{
	__u32 key = index;

	if (!is_room()) {
		count_lost(RECORD_HOOK);
		return 0;
	}
	if (!begin_record(index, bit))
		return 0;
	/* Nor is the request that is being served one of its own. */
	if (!add_owner(index))
		add_request(index);
	post_stacks(index, bit);
	bpf_loop(POST_ARGS, step_post, &key, 0);
	post_hash(index, bit);
	struct posting *at = bpf_map_lookup_elem(&postings, &key);
	struct buffer *buffer = bpf_map_lookup_elem(&post_buffers, &key);

	if (!at || !buffer)
		return 0;
	__u32 end = at->end;

	if (end > BUFFER_BYTES)
		return 0;
	((struct hook_record *)buffer)->header.length = end;
	submit(buffer, end);
	return 0;
}

#endif
