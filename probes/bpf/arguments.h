/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What an exec was given: arguments, and of the environment the trace context and the variables that are wanted. */
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
/* Variables that can be wanted, bytes of a name with its `=` and NUL, and of all that is kept. */
#define WANTED_NAMES 32
#define WANTED_NAME_BYTES 64
#define KEPT_BYTES 4096

/* Set by the loader. */
const volatile __u32 args_bytes = ARGS_BYTES;
const volatile bool join_env = true;
/* Names of wanted variables with their `=`, and their lengths without NUL. */
const volatile __u32 wanted_names;
const volatile char wanted_name[WANTED_NAMES][WANTED_NAME_BYTES];
const volatile __u32 wanted_length[WANTED_NAMES];

/* Kept in a map for the verifier's sake, as the walk in text.h is. */
struct env_search {
	char piece[ENV_BYTES];
	char kept[KEPT_BYTES + ENV_BYTES];
	char traceparent[TRACEPARENT_BYTES];
	__u32 kept_length;
	__u32 traceparent_length; /* without its NUL */
	unsigned long at;
	unsigned long end;
	__u32 inside; /* the last piece ended within a variable */
	__u32 failed;
	__u32 cut; /* something that is wanted had no room, or only for its beginning */
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

/* Whether the piece begins with a wanted name. Unrolled: what a string is compared to must be a constant. */
static __always_inline bool is_wanted(struct env_search *search)
{
	bool wanted = false;

#pragma unroll
	for (int i = 0; i < WANTED_NAMES; i++) {
		if (i < wanted_names &&
		    !bpf_strncmp(search->piece, wanted_length[i] & (WANTED_NAME_BYTES - 1), (const char *)wanted_name[i]))
			wanted = true;
	}
	return wanted;
}

/* Keeps the piece, which has `length` bytes with its NUL. */
static __always_inline void keep_variable(struct env_search *search, long length)
{
	__u32 at = search->kept_length;

	if (at + length > KEPT_BYTES || at >= KEPT_BYTES) {
		search->cut = true;
		return;
	}
	length = bpf_probe_read_kernel_str(&search->kept[at & (KEPT_BYTES - 1)], ENV_BYTES, search->piece);
	if (length > 0)
		search->kept_length = at + length;
	if (search->inside)
		search->cut = true;
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
	if (!begins)
		return 0;
	if (join_env && !search->traceparent_length && length > (long)sizeof(name) &&
	    !bpf_strncmp(search->piece, sizeof(name) - 1, name)) {
		long value = bpf_probe_read_kernel_str(search->traceparent, TRACEPARENT_BYTES,
						       search->piece + sizeof(name) - 1);

		search->traceparent_length = value > 0 ? value - 1 : 0;
		if (!wanted_names)
			return 1;
	}
	if (wanted_names && is_wanted(search))
		keep_variable(search, length);
	return 0;
}

/* Looks for what is wanted of the environment. */
static __always_inline void search_environment(struct mm_struct *mm, __u16 *flags)
{
	struct env_search *search = env_search_of_cpu();

	if (!search)
		return;
	search->kept_length = search->traceparent_length = 0;
	if (!join_env && !wanted_names)
		return;
	search->at = BPF_CORE_READ(mm, env_start);
	search->end = BPF_CORE_READ(mm, env_end);
	search->inside = search->failed = search->cut = false;
	bpf_loop(ENV_STEPS, step_env, NULL, 0);
	if (search->failed)
		*flags |= RECORD_ERROR_ENVS;
	if (wanted_names && (search->cut || (!search->failed && search->at < search->end)))
		*flags |= RECORD_TRUNC_ENVS;
}

/* Appends the value of TRACEPARENT that the search found; returns the end. */
static __always_inline __u32 append_traceparent(struct buffer *buffer, __u32 end)
{
	struct env_search *search = env_search_of_cpu();

	if (!search || !search->traceparent_length || end >= TEXT_BYTES)
		return end;
	long length = bpf_probe_read_kernel_str(&buffer->bytes[end], TRACEPARENT_BYTES, search->traceparent);
	/* Without its NUL: the length says where it ends. */
	return length > 1 ? end + length - 1 : end;
}

/* Appends the wanted variables that the search found; returns the end. */
static __always_inline __u32 append_environment(struct buffer *buffer, __u32 end, __u16 *flags)
{
	struct env_search *search = env_search_of_cpu();

	if (!wanted_names || !search || !search->kept_length)
		return end;
	if (end > BUFFER_BYTES - KEPT_BYTES - 1) {
		*flags |= RECORD_TRUNC_ENVS;
		return end;
	}
	__u32 length = search->kept_length;

	if (length > KEPT_BYTES)
		length = KEPT_BYTES;
	if (bpf_probe_read_kernel(&buffer->bytes[end], length, search->kept))
		return end;
	return end + length;
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
