/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Buffers of user space, or of the kernel. */
#ifndef TRIGON_HOOK_BYTES_H
#define TRIGON_HOOK_BYTES_H

#include "call.h"

#define BYTES_MOST 16384
#define IOVECS 64

struct iovec {
	void *iov_base;
	__u64 iov_len;
};

/* Reads memory of the user or the kernel: the address says whose it is. */
static __always_inline long read_any(void *to, __u32 size, const void *from)
{
	return (long)from >= 0 ? bpf_probe_read_user(to, size, from) : bpf_probe_read_kernel(to, size, from);
}

struct compat_iovec {
	__u32 iov_base;
	__u32 iov_len;
};

/* Where the pieces of an iovec are put together: a whole text more than there is room for, for the verifier. */
struct gather {
	const void *from;
	__u64 total;
	__u64 skip; /* bytes of the first piece that are done with */
	__u32 count;
	__u32 end;
	char bytes[2 * TEXT_BYTES_MOST];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct gather);
} gathers SEC(".maps");

/* Reads bytes of user memory, as many as there are and may be; returns how many. The address says whose they are. */
static __always_inline __u32 read_bytes(char *to, const void *from, __u64 size, __u32 most)
{
	if (size > most)
		size = most;
	if (size > BYTES_MOST)
		size = BYTES_MOST;
	if (size == 0)
		return 0;
	return read_any(to, size, from) ? 0 : size;
}

/* The size of a buffer. */
static __always_inline __u64 size_of(struct call *call, struct value_spec *spec)
{
	__s64 size = spec->most;

	if (spec->size_arg == SIZE_RETURNED)
		size = call->returned;
	else if (spec->size_arg)
		size = call->raw[(spec->size_arg - 1) & 7];
	return size < 0 ? 0 : size;
}

static __always_inline long read_piece(const void *from, __u32 index, bool compat, struct iovec *piece)
{
	struct compat_iovec narrow = {};
	long error;

	if (!compat)
		return read_any(piece, sizeof(*piece), from + index * sizeof(*piece));
	error = bpf_probe_read_user(&narrow, sizeof(narrow), from + index * sizeof(narrow));
	piece->iov_base = (void *)(__u64)narrow.iov_base;
	piece->iov_len = narrow.iov_len;
	return error;
}

static long step_gather(__u32 index, void *context)
{
	__u32 key = *(__u32 *)context;
	struct gather *at = bpf_map_lookup_elem(&gathers, &key);
	struct call *call = call_at(key);
	struct iovec piece = {};

	if (!at || !call || index >= at->count || read_piece(at->from, index, call->compat, &piece))
		return 1;
	if (at->skip) {
		piece.iov_base += at->skip;
		piece.iov_len -= at->skip;
		at->skip = 0;
	}
	at->total += piece.iov_len;
	__u32 end = at->end & (TEXT_BYTES_MOST - 1);
	__u64 length = piece.iov_len;

	if (length > TEXT_BYTES_MOST - 1 - end)
		length = TEXT_BYTES_MOST - 1 - end;
	length &= TEXT_BYTES_MOST - 1;
	if (read_any(&at->bytes[end], length, piece.iov_base))
		return 1;
	at->end = end + length;
	return 0;
}

/* Puts the pieces of an iovec together; how many bytes it would have had is the value's number. */
static __always_inline void read_iovec(struct call *call, int index, struct value *value, struct value_spec *spec,
				       __u64 raw)
{
	__u32 key = index;
	struct gather *at = bpf_map_lookup_elem(&gathers, &key);
	char *text = take_text(call, index, value);

	if (!at || !text)
		return;
	at->from = (void *)raw;
	at->total = 0;
	at->skip = 0;
	at->end = 0;
	at->count = size_of(call, spec);
	if (spec->size_arg == SIZE_RETURNED)
		at->count = IOVECS;
	bpf_loop(IOVECS, step_gather, &key, 0);
	__u32 length = at->end & (TEXT_BYTES_MOST - 1);

	bpf_probe_read_kernel(text, length, at->bytes);
	/* What a reader got is only as much as it was told. */
	value->number = at->total;
	if (spec->size_arg == SIZE_RETURNED && size_of(call, spec) < value->number)
		value->number = size_of(call, spec);
	if (length > value->number)
		length = value->number;
	value->length = length;
	value->offset = 0;
	if (value->number > length)
		value->flags |= VALUE_TRUNCATED;
	value->state = VALUE_READ;
}

/* Reads the start of a buffer as a text. */
static __always_inline void read_buffer(struct call *call, int index, struct value *value, struct value_spec *spec,
					__u64 raw)
{
	char *text = take_text(call, index, value);
	__u64 size = size_of(call, spec);

	if (!text)
		return;
	value->number = size;
	value->length = read_bytes(text, (void *)raw, size, TEXT_BYTES_MOST - 1);
	value->offset = 0;
	if (size > value->length)
		value->flags |= VALUE_TRUNCATED;
	value->state = VALUE_READ;
}

#endif
