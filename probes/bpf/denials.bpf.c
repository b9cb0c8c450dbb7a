// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Hooks that decide what their function returns: one program for all hooks of the security modules, and one for all
 * functions whose return may be modified. They look at the selectors and act by themselves; the cookie says which hook
 * it is.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "hook/enter.h"
#include "hook/regs.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define MAX_ERRNO 4095

static __always_inline int entered(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	int index = enter((__u32)cookie);
	struct call *call = index < 0 ? NULL : call_at(index);
	int error = 0;

	if (call) {
		read_function_arguments(call, ctx);
		/* System calls take theirs in a struct pt_regs (since 4.17). */
		if (cookie >> 32)
			read_syscall_arguments(call, (void *)call->raw[0], cookie >> 32);
		on_entry(index);
		error = override_of(index);
	}
	leave(index);
	return error;
}

/* A hook of the security modules may be refused with an error, and with nothing else. */
SEC("lsm")
int lsm_entry(void *ctx)
{
	int error = entered(ctx);

	if (error < -MAX_ERRNO)
		return 0;
	/* Comparisons that the verifier follows, and not the arithmetic that the compiler makes of them. */
	asm volatile("" : "+r"(error));
	if (error >= 0)
		return 0;
	asm volatile("" : "+r"(error));
	return error;
}

/* fmod_ret, which not every loader knows as a section: what is not 0 is returned in place of calling the function. */
SEC("fentry")
long modify_return(void *ctx)
{
	/* All 64 bits: system calls return as many. */
	return entered(ctx);
}

/* Apart, for the sake of the stack. */
static __attribute__((noinline)) int want_hash(__u64 thread)
{
	struct file_hash hash = { .state = HASH_WANTED };

	return bpf_map_update_elem(&file_hashes, &thread, &hash, BPF_ANY);
}

/* The first of three on a hook whose file's hash is asked for: marks the thread where a selector matches. */
SEC("lsm")
int lsm_want_hash(void *ctx)
{
	int index = enter((__u32)bpf_get_attach_cookie(ctx));
	struct call *call = index < 0 ? NULL : call_at(index);
	struct table *table = call ? bpf_map_lookup_elem(&tables, &call->table) : NULL;
	__u64 thread = bpf_get_current_pid_tgid();

	bpf_map_delete_elem(&file_hashes, &thread);
	if (table) {
		read_function_arguments(call, ctx);
		call->mask = table->selectors;
		select_call(index, 0);
		if (!is_empty(&call->mask))
			want_hash(thread);
	}
	leave(index);
	return 0;
}

static __always_inline int make_hash(struct file *file)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct file_hash *hash = bpf_map_lookup_elem(&file_hashes, &thread);

	if (!hash || hash->state != HASH_WANTED)
		return 0;
	hash->algorithm = bpf_ima_file_hash(file, hash->digest, sizeof(hash->digest));
	hash->state = HASH_MADE;
	return 0;
}

/* The second, which may sleep: makes the hash. Two, for two ways to the file. */
SEC("lsm")
int BPF_PROG(lsm_hash_file, struct file *file)
{
	return make_hash(file);
}

SEC("lsm")
int BPF_PROG(lsm_hash_bprm, struct linux_binprm *bprm)
{
	return make_hash(bprm->file);
}
