// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Hooks on the code of programs: uprobes, uretprobes and USDT probes. Where arguments are is user space's to say, by
 * registers' offsets in the kernel's struct pt_regs: for a function the calling convention tells, for a USDT probe its
 * note (Systemtap's "User Space Probe Implementation"). What a table looks at is evaluated here.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "hook/change.h"
#include "hook/enter.h"
#include "hook/user.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Looks at a call, and acts on it; returns its number, or -1. Whoever calls this leaves it. */
static __always_inline int user_looked_at(void *ctx)
{
	int index = enter((__u32)bpf_get_attach_cookie(ctx));
	__u32 area = index;
	struct call *call = index < 0 ? NULL : call_at(index);

	if (call) {
		call->regs = (__u64)ctx;
		bpf_loop(ARGUMENTS, step_argument, &area, 0);
		on_entry(index);
	}
	return index;
}

/* The cookie's upper half is the offset of the register that has what the function returns. */
static __always_inline int user_returned(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	int index = is_awaited((__u32)cookie) ? enter((__u32)cookie) : -1;
	struct call *call = index < 0 ? NULL : call_at(index);

	if (call) {
		call->regs = (__u64)ctx;
		on_return(index, read_register((__u64)ctx, cookie >> 32));
	}
	leave(index);
	return 0;
}

SEC("uprobe")
int uprobe_entry(void *ctx)
{
	leave(user_looked_at(ctx));
	return 0;
}

/*
 * The same for hooks that change the process, each loaded for what it takes and no more: the kernel warns of programs
 * that write a process's memory, and not every kernel lets its registers be changed (Linux 6.18 and later).
 */
SEC("uprobe")
int uprobe_memory(void *ctx)
{
	int index = user_looked_at(ctx);

	write_memory(index);
	leave(index);
	return 0;
}

SEC("uprobe")
int uprobe_registers(void *ctx)
{
	int index = user_looked_at(ctx);

	write_registers(ctx, index);
	leave(index);
	return 0;
}

SEC("uprobe")
int uprobe_both(void *ctx)
{
	int index = user_looked_at(ctx);

	write_memory(index);
	write_registers(ctx, index);
	leave(index);
	return 0;
}

SEC("uretprobe")
int uprobe_return(void *ctx)
{
	return user_returned(ctx);
}
