// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Hooks on kernel functions by kprobes, single or many at once: the cookie says which hook it is. */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "hook/enter.h"
#include "hook/regs.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Looks at a call, which is left to the caller to leave; its area. */
static __always_inline int look_at(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	struct pt_regs___x86 *regs = ctx;
	int index = enter((__u32)cookie);
	struct call *call = index < 0 ? NULL : call_at(index);

	if (call) {
		call->regs = (__u64)ctx;
		if (cookie >> 32) {
			/* System calls take theirs in a struct pt_regs of their own. */
			read_syscall_arguments(call, (void *)BPF_CORE_READ(regs, di), cookie >> 32);
		} else {
			call->raw[0] = BPF_CORE_READ(regs, di);
			call->raw[1] = BPF_CORE_READ(regs, si);
			call->raw[2] = BPF_CORE_READ(regs, dx);
			call->raw[3] = BPF_CORE_READ(regs, cx);
			call->raw[4] = BPF_CORE_READ(regs, r8);
			call->raw[5] = BPF_CORE_READ(regs, r9);
		}
		on_entry(index);
	}
	return index;
}

static __always_inline int kprobe_returned(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	struct pt_regs___x86 *regs = ctx;
	int index = is_awaited((__u32)cookie) ? enter((__u32)cookie) : -1;

	struct call *call = index < 0 ? NULL : call_at(index);

	if (call) {
		call->regs = (__u64)ctx;
		on_return(index, BPF_CORE_READ(regs, ax));
	}
	leave(index);
	return 0;
}

SEC("kprobe")
int kprobe_entry(void *ctx)
{
	leave(look_at(ctx));
	return 0;
}

/* Has the function return at once. Its return is seen here: no other program may come to see it. */
SEC("kprobe")
int kprobe_override(void *ctx)
{
	int index = look_at(ctx);
	int error = override_of(index);

	if (error) {
		bpf_override_return(ctx, (__s64)error);
		on_return(index, (__s64)error);
	}
	leave(index);
	return 0;
}

SEC("kretprobe")
int kprobe_return(void *ctx)
{
	return kprobe_returned(ctx);
}
