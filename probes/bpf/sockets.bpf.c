// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Tracked sockets (hook/track.h) that end: their addresses can be others' from then on. */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "hook/track.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Value of include/net/tcp_states.h. */
#define TCP_CLOSE 7

/* A function that the kernel calls with each socket that it frees: what this is on, user space says. */
SEC("fentry")
int BPF_PROG(socket_freed, struct sock *sk)
{
	__u64 key = (__u64)sk;

	bpf_map_delete_elem(&tracked, &key);
	return 0;
}

/*
 * The tracepoint inet_sock_set_state, where nothing can be on functions: each TCP socket closes before it is freed. The
 * hooks of policies on it may come before this, or after it: so the entry stays, and is nobody's once the state is stored
 * (tracked_of()).
 */
SEC("raw_tp")
int socket_state(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 key = ctx->args[0];
	struct tracked_socket *entry = bpf_map_lookup_elem(&tracked, &key);

	if (!entry)
		return 0;
	if ((int)ctx->args[2] == TCP_CLOSE)
		entry->closed = ctx->args[1];
	else if (entry->closed)
		bpf_map_delete_elem(&tracked, &key);
	return 0;
}
