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
	if (abi == ABI_COMPAT) {
		call->compat = 1;
		call->raw[0] = (__u32)BPF_CORE_READ(regs, bx);
		call->raw[1] = (__u32)BPF_CORE_READ(regs, cx);
		call->raw[2] = (__u32)BPF_CORE_READ(regs, dx);
		call->raw[3] = (__u32)BPF_CORE_READ(regs, si);
		call->raw[4] = (__u32)BPF_CORE_READ(regs, di);
		call->raw[5] = (__u32)BPF_CORE_READ(regs, bp);
		return;
	}
	call->raw[0] = BPF_CORE_READ(regs, di);
	call->raw[1] = BPF_CORE_READ(regs, si);
	call->raw[2] = BPF_CORE_READ(regs, dx);
	call->raw[3] = BPF_CORE_READ(regs, r10);
	call->raw[4] = BPF_CORE_READ(regs, r8);
	call->raw[5] = BPF_CORE_READ(regs, r9);
}

#endif
