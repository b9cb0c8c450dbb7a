// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Hooks on kernel functions by trampolines: one pair of programs for all of them, the cookie says which hook it is. */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "hook/enter.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";


struct pt_regs___x86 {
	unsigned long di, si, dx, r10, r8, r9;
} __attribute__((preserve_access_index));

static __always_inline void read_arguments(struct call *call, void *ctx)
{
	__u64 value = 0;

	for (int i = 0; i < RAW_ARGS; i++) {
		/* Beyond its arguments a function has none. */
		call->raw[i] = bpf_get_func_arg(ctx, i, &value) ? 0 : value;
	}
}

/* System calls take their arguments in a struct pt_regs (__x64_sys_*, since 4.17). */
static __always_inline void read_syscall_arguments(struct call *call, void *ctx)
{
	__u64 value = 0;

	if (bpf_get_func_arg(ctx, 0, &value))
		return;
	struct pt_regs___x86 *regs = (void *)value;

	call->raw[0] = BPF_CORE_READ(regs, di);
	call->raw[1] = BPF_CORE_READ(regs, si);
	call->raw[2] = BPF_CORE_READ(regs, dx);
	call->raw[3] = BPF_CORE_READ(regs, r10);
	call->raw[4] = BPF_CORE_READ(regs, r8);
	call->raw[5] = BPF_CORE_READ(regs, r9);
}

/* The upper half of the cookie says whether the function is a system call's. */
SEC("fentry")
int trampoline_entry(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	int index = enter((__u32)cookie);
	struct call *call = index < 0 ? NULL : call_at(index);

	if (call) {
		if (cookie >> 32)
			read_syscall_arguments(call, ctx);
		else
			read_arguments(call, ctx);
		on_entry(index);
	}
	leave(index);
	return 0;
}

SEC("fexit")
int trampoline_return(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), returned = 0;
	int index = enter((__u32)cookie);

	if (index >= 0) {
		bpf_get_func_ret(ctx, &returned);
		on_return(index, returned);
	}
	leave(index);
	return 0;
}
