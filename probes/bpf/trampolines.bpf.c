// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Hooks on kernel functions by trampolines: one pair of programs for all of them, the cookie says which hook it is. */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "hook/enter.h"
#include "hook/regs.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("fentry")
int trampoline_entry(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	int index = enter((__u32)cookie);
	struct call *call = index < 0 ? NULL : call_at(index);

	if (call) {
		read_function_arguments(call, ctx);
		/* System calls take theirs in a struct pt_regs (since 4.17). */
		if (cookie >> 32)
			read_syscall_arguments(call, (void *)call->raw[0], cookie >> 32);
		on_entry(index);
	}
	leave(index);
	return 0;
}

SEC("fexit")
int trampoline_return(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), returned = 0;
	int index = is_awaited((__u32)cookie) ? enter((__u32)cookie) : -1;

	if (index >= 0) {
		bpf_get_func_ret(ctx, &returned);
		on_return(index, returned);
	}
	leave(index);
	return 0;
}
