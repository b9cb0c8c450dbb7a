// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Hooks on tracepoints. Raw ones see the arguments of the tracepoint's prototype, each 64 bits wide; the others the
 * fields of its record (/sys/kernel/tracing/events/SUBSYSTEM/EVENT/format), at the offsets that user space found there.
 * Either way a table says which of them it looks at.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "hook/enter.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Fields that a table can look at: as many as a call has raw values. */
#define FIELDS 8

enum field_kind {
	FIELD_NONE = 0,
	FIELD_UNSIGNED = 1,
	FIELD_SIGNED = 2,
	FIELD_ARRAY = 3,    /* the record holds it */
	FIELD_LOCATED = 4,  /* __data_loc: the record's low 16 bits say where it is, the upper ones how long */
	FIELD_RELATIVE = 5, /* __rel_loc: likewise, counted from the end of the field */
};

struct field {
	__u16 offset;
	__u16 size;
	__u8 kind;
	__u8 is_size; /* not what an array holds is asked for, but its bytes */
	__u8 reserved[2];
};

struct fields {
	struct field field[FIELDS];
};

/* By table. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HOOKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct fields);
} tracepoint_fields SEC(".maps");

/* A record that is being read. */
struct reading {
	__u64 record;
	__u32 arrays; /* how many of it were copied */
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct reading);
} readings SEC(".maps");

/* A copy of an array, with a NUL behind it: not every array of characters ends with one. */
struct array {
	char bytes[TEXT_BYTES_MOST + 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU * TEXTS);
	__type(key, __u32);
	__type(value, struct array);
} arrays SEC(".maps");

/* What lies behind a smaller field is read too, and shifted out: a length that the verifier has to follow costs more. */
static __always_inline __u64 read_scalar(struct field *field, __u64 from)
{
	__u64 value = 0;
	__u32 spare = (64 - 8 * field->size) & 63;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)from);
	value <<= spare;
	return field->kind == FIELD_SIGNED ? (__s64)value >> spare : value >> spare;
}

/* Copies an array; returns the address of the copy. */
static __always_inline __u64 copy_array(struct reading *reading, __u32 area, __u64 from, __u32 size)
{
	__u32 key = area * TEXTS + (reading->arrays & (TEXTS - 1));
	struct array *array = bpf_map_lookup_elem(&arrays, &key);

	if (!array || reading->arrays >= TEXTS)
		return 0;
	if (size > TEXT_BYTES_MOST)
		size = TEXT_BYTES_MOST;
	if (size && bpf_probe_read_kernel(array->bytes, size, (void *)from))
		return 0;
	array->bytes[size] = 0;
	reading->arrays += 1;
	return (__u64)array->bytes;
}

static long step_field(__u32 slot, void *context)
{
	__u32 area = *(__u32 *)context;
	struct reading *reading = bpf_map_lookup_elem(&readings, &area);
	struct call *call = call_at(area);

	if (!reading || !call || slot >= FIELDS)
		return 1;
	struct fields *fields = bpf_map_lookup_elem(&tracepoint_fields, &call->table);

	if (!fields)
		return 1;
	struct field *field = &fields->field[slot];
	__u64 from = reading->record + field->offset;
	__u32 size = field->size, location = 0;

	if (field->kind == FIELD_NONE)
		return 1;
	if (field->kind < FIELD_ARRAY) {
		call->raw[slot] = read_scalar(field, from);
		return 0;
	}
	if (field->kind != FIELD_ARRAY) {
		bpf_probe_read_kernel(&location, sizeof(location), (void *)from);
		from = field->kind == FIELD_LOCATED ? reading->record : from + sizeof(location);
		from += location & 0xffff;
		size = location >> 16;
	}
	call->raw[slot] = field->is_size ? size : copy_array(reading, area, from, size);
	return 0;
}

static __always_inline int tracepoint(void *ctx, __u32 hook)
{
	int index = enter(hook);
	__u32 area = index;
	struct reading *reading = index < 0 ? NULL : bpf_map_lookup_elem(&readings, &area);

	if (reading) {
		reading->record = (__u64)ctx;
		reading->arrays = 0;
		bpf_loop(FIELDS, step_field, &area, 0);
		on_entry(index);
	}
	leave(index);
	return 0;
}

SEC("tracepoint")
int tracepoint_entry(void *ctx)
{
	return tracepoint(ctx, bpf_get_attach_cookie(ctx));
}

/*
 * Raw tracepoints have cookies since 6.10 only: the loader puts the hook's number in place of this one, which
 * probes/src/object.rs knows.
 */
static __always_inline __u32 patched_hook(void)
{
	__u64 hook;

	asm volatile("%0 = 0x5452474e484f4f4b ll" : "=r"(hook));
	return hook;
}

SEC("raw_tracepoint")
int raw_tracepoint_entry(void *ctx)
{
	return tracepoint(ctx, patched_hook());
}
