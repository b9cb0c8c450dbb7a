/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What an exec was given: arguments, and the trace context among the environment. */
#ifndef TRIGON_ARGUMENTS_H
#define TRIGON_ARGUMENTS_H

#include "record.h"
#include "text.h"

#define ARGS_BYTES 16384

/* Variables that are looked through, and bytes read at a time; a longer one is read in several pieces. */
#define ENV_STEPS 1024
#define ENV_BYTES 1024
/* A value is 55 bytes; one more tells a longer one, which is none. */
#define TRACEPARENT_BYTES 64

/* Set by the loader. */
const volatile __u32 args_bytes = ARGS_BYTES;
const volatile bool join_env = true;

/* Kept in a map for the verifier's sake, as the walk in text.h is. */
struct env_search {
	char piece[ENV_BYTES];
	unsigned long at;
	unsigned long end;
	__u32 inside; /* the last piece ended within a variable */
	__u32 found;
	__u32 failed;
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct env_search);
} env_searches SEC(".maps");

static __always_inline struct env_search *env_search_of_cpu(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&env_searches, &key);
}

static long step_env(__u32 index, void *context)
{
	static const char name[] = "TRACEPARENT=";
	struct env_search *search = env_search_of_cpu();

	if (!search || search->at >= search->end)
		return 1;
	long length = bpf_probe_read_user_str(search->piece, ENV_BYTES, (void *)search->at);
	if (length <= 0) {
		search->failed = true;
		return 1;
	}
	bool begins = !search->inside;
	search->inside = length == ENV_BYTES;
	/* A piece that was cut has its NUL in place of a byte that is still to come. */
	search->at += search->inside ? length - 1 : length;
	if (begins && length > (long)sizeof(name) && !bpf_strncmp(search->piece, sizeof(name) - 1, name)) {
		search->found = true;
		return 1;
	}
	return 0;
}

/* Appends the value of TRACEPARENT; returns the end. */
static __always_inline __u32 append_traceparent(struct buffer *buffer, __u32 end, struct mm_struct *mm, __u16 *flags)
{
	struct env_search *search = env_search_of_cpu();

	if (!join_env || !search || end >= TEXT_BYTES)
		return end;
	search->at = BPF_CORE_READ(mm, env_start);
	search->end = BPF_CORE_READ(mm, env_end);
	search->inside = search->found = search->failed = false;
	bpf_loop(ENV_STEPS, step_env, NULL, 0);
	if (search->failed)
		*flags |= RECORD_ERROR_ENVS;
	if (!search->found)
		return end;
	long length = bpf_probe_read_kernel_str(&buffer->bytes[end], TRACEPARENT_BYTES,
						search->piece + sizeof("TRACEPARENT=") - 1);
	/* Without its NUL: the length says where it ends. */
	return length > 1 ? end + length - 1 : end;
}

/* Appends the arguments; returns the end. */
static __always_inline __u32 append_args(struct buffer *buffer, __u32 end, struct mm_struct *mm, __u16 *flags)
{
	unsigned long start = BPF_CORE_READ(mm, arg_start);
	__u64 length = BPF_CORE_READ(mm, arg_end) - start;

	if (length > args_bytes) {
		length = args_bytes;
		*flags |= RECORD_TRUNC_ARGS;
	}
	if (length > ARGS_BYTES)
		length = ARGS_BYTES;
	if (end > BUFFER_BYTES - ARGS_BYTES - 1 || length == 0)
		return end;
	if (bpf_probe_read_user(&buffer->bytes[end], length, (void *)start)) {
		*flags |= RECORD_ERROR_ARGS;
		return end;
	}
	return end + length;
}

#endif
