/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Changes to a process at a place in its program: its arguments there, and whether the function is run at all. */
#ifndef TRIGON_HOOK_CHANGE_H
#define TRIGON_HOOK_CHANGE_H

#include "call.h"
#include "user.h"

/* General registers before the gap in struct pt_regs, the instruction pointer, and what has a function's result. */
#define REGISTERS 15
#define INSTRUCTION 128
#define RESULT 80

/* Registers that get another value. */
struct user_changes {
	__u64 mask;
	__u64 value[REGISTERS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct user_changes);
} user_changes SEC(".maps");

/* The argument that is to be set; NULL for none. */
static __always_inline struct user_argument *argument_to_set(struct call *call, __u32 slot)
{
	struct user_arguments *all = bpf_map_lookup_elem(&user_arguments, &call->table);

	return all && slot < ARGUMENTS && call->set & 1 << slot ? &all->argument[slot] : NULL;
}

static long step_memory(__u32 slot, void *context)
{
	__u32 area = *(__u32 *)context;
	struct call *call = call_at(area);
	struct user_argument *argument = call ? argument_to_set(call, slot) : NULL;

	if (!argument || argument->kind != USER_MEMORY)
		return 0;
	/* The lowest bytes come first on both machines. */
	__u64 value = call->setting[slot & (ARGUMENTS - 1)];
	__u32 size = ((argument->size - 1) & 7) + 1;

	if (bpf_probe_write_user((void *)place_of(argument, call->regs), &value, size))
		count_lost(LOST_SET);
	return 0;
}

static long step_register(__u32 slot, void *context)
{
	__u32 area = *(__u32 *)context;
	struct user_changes *changes = bpf_map_lookup_elem(&user_changes, &area);
	struct call *call = call_at(area);
	struct user_argument *argument = call ? argument_to_set(call, slot) : NULL;
	__u32 number = argument ? argument->base / 8 : REGISTERS;

	if (!changes || !call || number >= REGISTERS || argument->kind != USER_REGISTER)
		return 0;
	__u64 value = call->setting[slot & (ARGUMENTS - 1)];
	__u32 spare = (64 - 8 * argument->size) & 63;

	/* As the machine's own instructions: the upper half of a register goes with the lower, less does not. */
	if (argument->size < 4) {
		__u64 kept = read_register(call->regs, argument->base) >> (64 - spare) << (64 - spare);

		value = value << spare >> spare | kept;
	} else {
		value = value << spare >> spare;
	}
	changes->value[number] = value;
	changes->mask |= 1ULL << number;
	return 0;
}

static __always_inline void write_memory(int index)
{
	__u32 area = index;
	struct call *call = index < 0 ? NULL : call_at(index);

	if (call && call->set)
		bpf_loop(ARGUMENTS, step_memory, &area, 0);
}

/* The kernel takes a register's place only as a constant. */
#define WRITE_REGISTER(ctx, at, what) \
	asm volatile("*(u64 *)(%0 + %1) = %2" ::"r"(ctx), "i"(at), "r"((__u64)(what)) : "memory")

/*
 * A function that is overridden returns by a `ret` of its own file, how far from the function the cookie's upper half says: the
 * stack is as the function found it, so that whoever else waits for its return still sees it.
 */
static __always_inline void write_registers(void *ctx, int index)
{
	__u32 area = index;
	struct call *call = index < 0 ? NULL : call_at(index);
	struct user_changes *changes = call ? bpf_map_lookup_elem(&user_changes, &area) : NULL;

	if (!changes)
		return;
	changes->mask = 0;
	if (call->set)
		bpf_loop(ARGUMENTS, step_register, &area, 0);
#define CHANGE(number)                        \
	if (changes->mask & 1ULL << (number)) \
		WRITE_REGISTER(ctx, 8 * (number), changes->value[number])
	CHANGE(0);
	CHANGE(1);
	CHANGE(2);
	CHANGE(3);
	CHANGE(4);
	CHANGE(5);
	CHANGE(6);
	CHANGE(7);
	CHANGE(8);
	CHANGE(9);
	CHANGE(10);
	CHANGE(11);
	CHANGE(12);
	CHANGE(13);
	CHANGE(14);
#undef CHANGE
	if (call->denied) {
		__s64 way = (__s64)bpf_get_attach_cookie(ctx) >> 32;

		WRITE_REGISTER(ctx, RESULT, (__s64)call->error);
		WRITE_REGISTER(ctx, INSTRUCTION, read_register((__u64)ctx, INSTRUCTION) + way);
	}
}

#endif
