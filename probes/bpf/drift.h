/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What differs between kernels: one reader for each, so that nothing else has to know. */
#ifndef TRIGON_DRIFT_H
#define TRIGON_DRIFT_H

#include <bpf/bpf_core_read.h>

#include "kernel.h"

/* 6.15, commit 633488947ef6 "kernfs: Use RCU to access kernfs_node::parent": renamed to __parent. */
struct kernfs_node___6_15 {
	struct kernfs_node *__parent;
} __attribute__((preserve_access_index));

static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *node)
{
	struct kernfs_node___6_15 *newer = (void *)node;

	if (bpf_core_field_exists(newer->__parent))
		return BPF_CORE_READ(newer, __parent);
	return BPF_CORE_READ(node, parent);
}

/* CONFIG_TIME_NS and CONFIG_AUDIT are choices of whoever built the kernel. */
static __always_inline __u32 task_loginuid(struct task_struct *task)
{
	if (bpf_core_field_exists(task->loginuid))
		return BPF_CORE_READ(task, loginuid.val);
	return (__u32)-1;
}

/* 6.13, commit 90ee6ed776c0 "fs: port files to file_ref": a reference less than there are. */
typedef struct { atomic_long_t refcnt; } file_ref_t___6_13;

struct file___6_13 {
	file_ref_t___6_13 f_ref;
} __attribute__((preserve_access_index));

/* How many hold an open file; none or fewer where it is closed. */
static __always_inline long file_references(struct file *file)
{
	struct file___6_13 *newer = (void *)file;

	if (bpf_core_field_exists(newer->f_ref))
		return BPF_CORE_READ(newer, f_ref.refcnt.counter) + 1;
	return BPF_CORE_READ(file, f_count.counter);
}

static __always_inline bool is_referenced(struct file *file)
{
	return file_references(file) > 0;
}

/* Whether nobody but one descriptor holds an open file. */
static __always_inline bool is_last_reference(struct file *file)
{
	return file_references(file) <= 1;
}

/* 6.4 renamed iov to __iov. */
struct iov_iter___6_1 {
	const struct iovec *iov;
} __attribute__((preserve_access_index));

static __always_inline const struct iovec *iter_pieces(struct iov_iter *iter)
{
	struct iov_iter___6_1 *older = (void *)iter;

	if (bpf_core_field_exists(older->iov))
		return BPF_CORE_READ(older, iov);
	return BPF_CORE_READ(iter, __iov);
}

/* CONFIG_MODULE_SIG is a choice too: whether a module's signature is good is not known everywhere. */
enum signature { SIGNATURE_UNKNOWN = 0, SIGNATURE_MISSING = 1, SIGNATURE_GOOD = 2 };

#define SIGNATURE_OF(object) \
	(!bpf_core_field_exists((object)->sig_ok) ? SIGNATURE_UNKNOWN \
	 : BPF_CORE_READ(object, sig_ok)	   ? SIGNATURE_GOOD \
						   : SIGNATURE_MISSING)

/* TS_COMPAT of arch/x86/include/asm/thread_info.h: set from the entry of a 32-bit call to the way out of it. */
#define COMPAT_CALL 2

static __always_inline bool is_compat(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (!bpf_core_field_exists(task->thread_info.status))
		return false;
	return BPF_CORE_READ(task, thread_info.status) & COMPAT_CALL;
}

#endif
