/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Sockets that policies track: whose each is. What happens to a socket later, in an interrupt or in another process that
 * holds it, is told of its owner.
 *
 * A socket is known by its address, which another one can have once it is freed. Where the kernel has trampolines its
 * freeing is seen (sockets.bpf.c). Elsewhere it is the last that is seen of one that it closes; and what tells two apart
 * that have had the same address is their network namespace, the inode of their descriptors and the kernel's own cookie.
 */
#ifndef TRIGON_HOOK_TRACK_H
#define TRIGON_HOOK_TRACK_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "../drift.h"
#include "../kernel.h"
#include "../record.h"

/* Its size is known to probes/src/hooks/sockets.rs. */
struct tracked_socket {
	struct exec_key owner; /* the last image of it that was seen */
	__u64 leader; /* the owner's first thread: struct task_struct, as long as it is that */
	__u64 net;    /* its network namespace's address */
	__u64 inode;  /* of its descriptors; 0 while it has none */
	__u64 cookie; /* 0 until somebody asked for it */
	__u32 tid;    /* of the owner's thread */
	__u8 closed;  /* the state that it left when it closed; 0 while it hasn't */
	__u8 reserved[3];
};

/* Key: address of the socket (struct sock). Those that nothing happened to for longest make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct tracked_socket);
} tracked SEC(".maps");

static __always_inline __u64 net_of(struct sock *sk)
{
	if (!bpf_core_field_exists(sk->__sk_common.skc_net))
		return 0;
	return (__u64)BPF_CORE_READ(sk, __sk_common.skc_net.net);
}

/* The kernel makes a socket's inode together with it: struct socket_alloc. */
static __always_inline __u64 inode_of_socket(struct sock *sk)
{
	struct socket_alloc *both = (void *)BPF_CORE_READ(sk, sk_socket);

	return both ? BPF_CORE_READ(both, vfs_inode.i_ino) : 0;
}

/* What wasn't known yet is learned. What is not there now tells nothing. */
static __always_inline bool differs(__u64 *known, __u64 now)
{
	if (!*known)
		*known = now;
	return now && *known != now;
}

/* The entry of a socket; NULL where it has none, or one that was another's. */
static __always_inline struct tracked_socket *tracked_of(__u64 socket)
{
	struct sock *sk = (void *)socket;
	struct tracked_socket *entry = sk ? bpf_map_lookup_elem(&tracked, &socket) : NULL;

	if (!entry || entry->net != net_of(sk) || differs(&entry->inode, inode_of_socket(sk)) ||
	    differs(&entry->cookie, BPF_CORE_READ(sk, __sk_common.skc_cookie.counter)))
		return NULL;
	/* While it closes it has its old state still; who has another has come after it. */
	if (entry->closed && entry->closed != BPF_CORE_READ(sk, __sk_common.skc_state))
		return NULL;
	return entry;
}

#endif
