// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Hooks on system calls where the kernel has neither trampolines nor kprobes: the tracepoints that every call passes,
 * and a table of which are wanted.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "hook/enter.h"
#include "hook/regs.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SYSCALLS 1024

/* Values of include/linux/fs.h and include/uapi/asm-generic/fcntl.h. */
#define MAY_READ 4
#define FMODE_READ 1
#define FMODE_WRITE 2
#define O_PATH 010000000

/*
 * What a system call is a hook for; 0 for none. Beside itself these are functions of the kernel that it is sure to
 * pass: they are seen as it returns, or is entered, with the arguments that they had.
 */
struct seen_from {
	__u32 call;            /* the system call itself */
	__u32 fd_install;      /* it returned a new descriptor: (fd, file) */
	__u32 file_open;       /* likewise: (file) */
	__u32 file_permission; /* it reads or writes the descriptor that is its first argument: (file, mask) */
	__u32 mask;            /* MAY_READ, MAY_WRITE */
	__u32 commit_creds;    /* it changes credentials: (cred) */
	__u32 lets_go;         /* no hook: number of the argument, from 1, that is a descriptor which it closes */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SYSCALLS);
	__type(key, __u32);
	__type(value, struct seen_from);
} syscalls SEC(".maps");

/* The same of system calls that are made as those of 32-bit programs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SYSCALLS);
	__type(key, __u32);
	__type(value, struct seen_from);
} compat_syscalls SEC(".maps");

/* Hooks that are seen from an exec: security_bprm_check and its like. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} seen_from_exec SEC(".maps");

/* Both kinds of calls have numbers of their own. */
static __always_inline struct seen_from *seen_from(__u32 number, bool compat)
{
	if (compat)
		return bpf_map_lookup_elem(&compat_syscalls, &number);
	return bpf_map_lookup_elem(&syscalls, &number);
}

/*
 * A followed file may be at its end with this call, whatever policies hook (hook/follow.h). Global, for the sake of the
 * stack.
 */
__attribute__((noinline)) int let_go(__u64 first, __u64 second, __u32 argument)
{
	/* dup2, dup3: of a descriptor that is none, or over itself, they do nothing. */
	bool fails = argument == 2 && (first == second || !file_of_fd(first));
	struct file *file = file_of_fd(argument == 2 ? second : first);
	__u64 key = (__u64)file;

	if (file && !fails && bpf_map_lookup_elem(&followed, &key) && is_last_reference(file))
		release(key, RELEASE_CLOSED);
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(sys_enter, struct pt_regs___x86 *regs, long number)
{
	bool compat = is_compat();
	struct seen_from *seen = seen_from(number, compat);

	if (!seen)
		return 0;
	if (seen->call) {
		int index = enter(seen->call);
		struct call *call = index < 0 ? NULL : call_at(index);

		if (call) {
			read_syscall_arguments(call, regs, compat ? ABI_COMPAT : ABI_SYSCALL);
			on_entry(index);
		}
		leave(index);
	}
	if (seen->file_permission) {
		struct file *file = file_of_fd(compat ? BPF_CORE_READ(regs, bx) : BPF_CORE_READ(regs, di));

		/* A call fails before it gets there where the file was not opened for it. */
		if (file && BPF_CORE_READ(file, f_mode) & (seen->mask == MAY_READ ? FMODE_READ : FMODE_WRITE))
			once(seen->file_permission, (__u64)file, seen->mask);
	}
	if (seen->lets_go) {
		__u64 first = compat ? BPF_CORE_READ(regs, bx) : BPF_CORE_READ(regs, di);
		__u64 second = compat ? BPF_CORE_READ(regs, cx) : BPF_CORE_READ(regs, si);

		let_go(first, second, seen->lets_go);
	}
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs___x86 *regs, long returned)
{
	struct seen_from *seen = seen_from(BPF_CORE_READ(regs, orig_ax), is_compat());

	if (!seen)
		return 0;
	if (seen->call && is_awaited(seen->call)) {
		int index = enter(seen->call);

		if (index >= 0)
			on_return(index, returned);
		leave(index);
	}
	if (returned < 0)
		return 0;
	if (seen->file_open || seen->fd_install) {
		struct file *file = file_of_fd(returned);

		/* What is only found is not opened. */
		if (file && seen->file_open && !(BPF_CORE_READ(file, f_flags) & O_PATH))
			once(seen->file_open, (__u64)file, 0);
		if (file && seen->fd_install)
			once(seen->fd_install, returned, (__u64)file);
	}
	if (seen->commit_creds) {
		struct task_struct *task = (void *)bpf_get_current_task();

		once(seen->commit_creds, (__u64)BPF_CORE_READ(task, cred), 0);
	}
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_of_hook, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	__u32 key = 0;
	__u32 *hook = bpf_map_lookup_elem(&seen_from_exec, &key);

	if (hook && *hook)
		once(*hook, (__u64)bprm, 0);
	return 0;
}
