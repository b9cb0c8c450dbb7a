/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Registers that hold arguments, and the ways that system calls take theirs. */
#ifndef TRIGON_HOOK_REGS_H
#define TRIGON_HOOK_REGS_H

#include <bpf/bpf_core_read.h>

#include "call.h"

struct pt_regs___x86 {
	unsigned long di, si, dx, r10, r8, r9, bx, cx, bp, ax, orig_ax;
} __attribute__((preserve_access_index));

/* What a hook's function is, in the upper half of its cookie. */
enum hook_abi {
	ABI_KERNEL = 0,  /* a function of the kernel, called as such */
	ABI_SYSCALL = 1, /* a system call of a 64-bit program: its argument is where the registers are */
	ABI_COMPAT = 2,  /* a system call of a 32-bit program, or one that is made as such */
};

/* Arguments that programs gave to a system call (entry_64.S, entry_64_compat.S). */
static __always_inline void read_syscall_arguments(struct call *call, struct pt_regs___x86 *regs, __u32 abi)
{
	/* Straight into the call: the stack of 6.1 is full. */
#define READ(index, field) bpf_core_read(&call->raw[index], sizeof(call->raw[index]), &regs->field)
	if (abi == ABI_COMPAT) {
		call->compat = 1;
		READ(0, bx);
		READ(1, cx);
		READ(2, dx);
		READ(3, si);
		READ(4, di);
		READ(5, bp);
#pragma unroll
		for (int i = 0; i < RAW_ARGS; i++)
			call->raw[i] = (__u32)call->raw[i];
		return;
	}
	READ(0, di);
	READ(1, si);
	READ(2, dx);
	READ(3, r10);
	READ(4, r8);
	READ(5, r9);
#undef READ
}

/* Arguments of a function that a program is entered by a trampoline from. */
static __always_inline void read_function_arguments(struct call *call, void *ctx)
{
	__u64 value = 0;

	for (int i = 0; i < RAW_ARGS; i++) {
		/* Beyond its arguments a function has none. */
		call->raw[i] = bpf_get_func_arg(ctx, i, &value) ? 0 : value;
	}
}

#endif
