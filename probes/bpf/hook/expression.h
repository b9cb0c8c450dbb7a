/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Expressions over numbers: a small machine with a stack. User space checks types, so that here all are 64 bits. */
#ifndef TRIGON_HOOK_EXPRESSION_H
#define TRIGON_HOOK_EXPRESSION_H

#include "lookup.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct expression);
} expressions SEC(".maps");

struct evaluation {
	__u64 stack[STACK];
	__u32 set;
	__u32 depth; /* what is on the stack */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALLS_PER_CPU);
	__type(key, __u32);
	__type(value, struct evaluation);
} evaluations SEC(".maps");

static __always_inline struct evaluation *evaluation_at(__u32 index)
{
	return bpf_map_lookup_elem(&evaluations, &index);
}

static __always_inline __u64 combined(__u8 operation, __u64 left, __u64 right)
{
	switch (operation) {
	case EXPRESSION_ADD: return left + right;
	case EXPRESSION_SUB: return left - right;
	case EXPRESSION_AND: return left & right;
	case EXPRESSION_OR: return left | right;
	case EXPRESSION_XOR: return left ^ right;
	case EXPRESSION_EQUAL: return left == right;
	case EXPRESSION_LESS_SIGNED: return (__s64)left < (__s64)right;
	case EXPRESSION_LESS: return left < right;
	default: return 0;
	}
}

/* One operation. */
static long step_expression(__u32 at, void *context)
{
	__u32 index = *(__u32 *)context;
	struct evaluation *evaluation = evaluation_at(index);
	struct call *call = call_at(index);

	if (!evaluation || !call)
		return 1;
	struct expression *expression = bpf_map_lookup_elem(&expressions, &evaluation->set);

	if (!expression || at >= EXPRESSION_OPERATIONS || at >= expression->count)
		return 1;
	struct operation *operation = &expression->operation[at];
	__u32 depth = evaluation->depth;
	__u64 *top = &evaluation->stack[(depth - 1) & (STACK - 1)];

	switch (operation->code) {
	case EXPRESSION_NUMBER:
		evaluation->stack[depth & (STACK - 1)] = operation->number;
		evaluation->depth = depth + 1;
		return 0;
	case EXPRESSION_VALUE: {
		__u32 number = operation->value;

		evaluation->stack[depth & (STACK - 1)] = number < VALUES ? call->value[number].number : 0;
		evaluation->depth = depth + 1;
		return 0;
	}
	case EXPRESSION_S32:
		*top = (__s64)(__s32)*top;
		return 0;
	case EXPRESSION_U32:
		*top = (__u32)*top;
		return 0;
	default:
		evaluation->stack[(depth - 2) & (STACK - 1)] =
			combined(operation->code, evaluation->stack[(depth - 2) & (STACK - 1)], *top);
		evaluation->depth = depth - 1;
		return 0;
	}
}

/* Whether an expression holds. The values that it names have been read. A global function, verified once. */
__attribute__((noinline)) int holds(int index, __u32 set)
{
	__u32 slot = index;
	struct evaluation *evaluation = evaluation_at(slot);

	if (!evaluation)
		return 0;
	evaluation->set = set;
	evaluation->depth = 0;
	evaluation->stack[0] = 0;
	bpf_loop(EXPRESSION_OPERATIONS, step_expression, &slot, 0);
	return evaluation->stack[0] != 0;
}

#endif
