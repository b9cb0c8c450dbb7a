/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Hashes of files that hooks are about, by the kernel's integrity measurement (IMA). To make one takes a program that
 * may sleep, and those that look at calls may not: one marks its thread, one that may sleep makes the hash, and the
 * one that posts takes it.
 */
#ifndef TRIGON_HOOK_HASH_H
#define TRIGON_HOOK_HASH_H

#include <bpf/bpf_helpers.h>

#include "../kernel.h"
#include "plan.h"

#define HASH_BYTES 64

enum hash_state {
	HASH_WANTED = 1,
	HASH_MADE = 2,
};

struct file_hash {
	__u32 state;
	__s32 algorithm; /* enum hash_algo of the kernel, or an error */
	__u8 digest[HASH_BYTES];
};

/* By thread: of a call, from its first program to its last. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct file_hash);
} file_hashes SEC(".maps");

#endif
