/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What is to be seen at a place in a program: user space says by the place where each argument is. */
#ifndef TRIGON_HOOK_USER_H
#define TRIGON_HOOK_USER_H

#include "call.h"

/* Arguments that a table can look at: as many as a call has raw values. */
#define ARGUMENTS SETTABLE

enum user_kind {
	USER_NONE = 0,
	USER_CONSTANT = 1, /* value */
	USER_REGISTER = 2, /* base */
	USER_MEMORY = 3,   /* what is at base + index << shift + value */
};

struct user_argument {
	__s64 value;
	__u16 base;      /* offset of a register in struct pt_regs */
	__u16 index;     /* likewise, plus one; 0 for none */
	__u8 kind;
	__u8 size;       /* bytes: 1, 2, 4 or 8 */
	__u8 is_signed;
	__u8 shift;
};

struct user_arguments {
	struct user_argument argument[ARGUMENTS];
};

/* By table. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HOOKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct user_arguments);
} user_arguments SEC(".maps");

static __always_inline __u64 read_register(__u64 registers, __u32 offset)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)(registers + offset));
	return value;
}

/* Where in the program's memory an argument is. */
static __always_inline __u64 place_of(struct user_argument *argument, __u64 registers)
{
	__u64 place = argument->value + read_register(registers, argument->base);

	if (argument->index)
		place += read_register(registers, argument->index - 1) << (argument->shift & 63);
	return place;
}

static long step_argument(__u32 slot, void *context)
{
	__u32 area = *(__u32 *)context;
	struct call *call = call_at(area);

	if (!call || slot >= ARGUMENTS)
		return 1;
	struct user_arguments *all = bpf_map_lookup_elem(&user_arguments, &call->table);

	if (!all)
		return 1;
	struct user_argument *argument = &all->argument[slot];
	__u64 value = argument->value;
	__u32 size = argument->size, spare = (64 - 8 * size) & 63;

	if (argument->kind == USER_NONE)
		return 1;
	if (argument->kind == USER_REGISTER)
		value = read_register(call->regs, argument->base);
	if (argument->kind == USER_MEMORY) {
		value = 0;
		if (size > sizeof(value))
			size = sizeof(value);
		if (bpf_probe_read_user(&value, size, (void *)place_of(argument, call->regs)))
			call->unread |= 1 << slot;
	}
	value <<= spare;
	call->raw[slot & 7] = argument->is_signed ? (__s64)value >> spare : value >> spare;
	return 0;
}

#endif
