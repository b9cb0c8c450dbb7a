/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Reading the kernel's objects: sockets, packets, credentials, modules, programs. ../object.h says what of each. */
#ifndef TRIGON_HOOK_OBJECT_H
#define TRIGON_HOOK_OBJECT_H

#include <bpf/bpf_endian.h>

#include "../drift.h"
#include "../object.h"
#include "bytes.h"
#include "call.h"

/* Values of include/linux/socket.h, include/uapi/linux/in.h and include/uapi/linux/if_ether.h. */
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_HOPOPTS 0
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ROUTING 43
#define IPPROTO_DCCP 33
#define IPPROTO_DSTOPTS 60
#define IPPROTO_SCTP 132
#define IPPROTO_UDPLITE 136
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd

/* Straight into the text: the stack of 6.1 is full. */
#define READ_INTO(to, from, field) bpf_core_read(&(to), sizeof(to), &(from)->field)

static __always_inline void put_ipv4(__u8 *to, __u32 address)
{
	__builtin_memset(to, 0, 10);
	to[10] = 0xff;
	to[11] = 0xff;
	__builtin_memcpy(to + 12, &address, sizeof(address));
}

static __always_inline void read_sock(struct endpoint *to, struct sock *sk)
{
	__u32 address = 0;
	__u16 port = 0;

	READ_INTO(to->family, sk, __sk_common.skc_family);
	READ_INTO(to->state, sk, __sk_common.skc_state);
	READ_INTO(to->cookie, sk, __sk_common.skc_cookie.counter);
	READ_INTO(to->type, sk, sk_type);
	READ_INTO(to->protocol, sk, sk_protocol);
	READ_INTO(to->mark, sk, sk_mark);
	READ_INTO(to->priority, sk, sk_priority);
	if (to->family != AF_INET && to->family != AF_INET6)
		return;
	READ_INTO(to->sport, sk, __sk_common.skc_num);
	READ_INTO(port, sk, __sk_common.skc_dport);
	to->dport = bpf_ntohs(port);
	if (to->family == AF_INET6) {
		READ_INTO(to->saddr, sk, __sk_common.skc_v6_rcv_saddr);
		READ_INTO(to->daddr, sk, __sk_common.skc_v6_daddr);
		return;
	}
	READ_INTO(address, sk, __sk_common.skc_rcv_saddr);
	put_ipv4(to->saddr, address);
	READ_INTO(address, sk, __sk_common.skc_daddr);
	put_ipv4(to->daddr, address);
}

/* What comes after an IPv6 header may be headers of options: of each the first byte names the next, the second its size. */
static __always_inline __u32 skip_options(const unsigned char *head, __u32 at, __u16 *protocol)
{
	__u8 next[2] = {};

#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (*protocol != IPPROTO_HOPOPTS && *protocol != IPPROTO_ROUTING && *protocol != IPPROTO_DSTOPTS)
			break;
		if (bpf_probe_read_kernel(next, sizeof(next), head + at))
			break;
		*protocol = next[0];
		at += 8 * (next[1] + 1);
	}
	return at;
}

static __always_inline bool has_ports(__u16 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
	       protocol == IPPROTO_DCCP || protocol == IPPROTO_UDPLITE;
}

static __always_inline void read_sec_path(struct packet *to, struct sk_buff *skb)
{
	if (!bpf_core_enum_value_exists(enum skb_ext_id, SKB_EXT_SEC_PATH))
		return;
	__u32 id = bpf_core_enum_value(enum skb_ext_id, SKB_EXT_SEC_PATH);
	struct skb_ext *all = BPF_CORE_READ(skb, extensions);
	__u8 offset = 0;

	if (!all || !(BPF_CORE_READ(skb, active_extensions) >> id & 1))
		return;
	bpf_probe_read_kernel(&offset, sizeof(offset), (void *)all + bpf_core_field_offset(struct skb_ext, offset) + id);
	/* Counted in words of eight bytes (net/core/skbuff.c). */
	struct sec_path *path = (void *)all + 8 * offset;

	READ_INTO(to->sec_path_length, path, len);
	READ_INTO(to->sec_path_offloaded, path, olen);
}

static __always_inline void read_packet(struct packet *to, struct sk_buff *skb)
{
	const unsigned char *head = BPF_CORE_READ(skb, head);
	__u32 at = BPF_CORE_READ(skb, network_header);
	__be16 ports[2] = {};
	__u8 byte = 0;

	READ_INTO(to->hash, skb, hash);
	READ_INTO(to->length, skb, len);
	READ_INTO(to->ends.mark, skb, mark);
	READ_INTO(to->ends.priority, skb, priority);
	to->ethernet_protocol = bpf_ntohs(BPF_CORE_READ(skb, protocol));
	read_sec_path(to, skb);
	/* The first byte of an IP header has its version, and of IPv4 its length. */
	if (bpf_probe_read_kernel(&byte, sizeof(byte), head + at))
		return;
	if (to->ethernet_protocol == ETH_P_IP && byte >> 4 == 4) {
		__u32 address = 0;
		__be16 fragment = 0;
		__u8 protocol = 0;

		to->ends.family = AF_INET;
		bpf_probe_read_kernel(&fragment, sizeof(fragment), head + at + 6);
		bpf_probe_read_kernel(&protocol, sizeof(protocol), head + at + 9);
		bpf_probe_read_kernel(&address, sizeof(address), head + at + 12);
		put_ipv4(to->ends.saddr, address);
		bpf_probe_read_kernel(&address, sizeof(address), head + at + 16);
		put_ipv4(to->ends.daddr, address);
		to->ends.protocol = protocol;
		/* Only a packet's first fragment has its ports. */
		if (fragment & bpf_htons(0x1fff))
			return;
		at += 4 * (byte & 0xf);
	} else if (to->ethernet_protocol == ETH_P_IPV6 && byte >> 4 == 6) {
		__u16 protocol = 0;

		to->ends.family = AF_INET6;
		bpf_probe_read_kernel(&byte, sizeof(byte), head + at + 6);
		bpf_probe_read_kernel(to->ends.saddr, sizeof(to->ends.saddr), head + at + 8);
		bpf_probe_read_kernel(to->ends.daddr, sizeof(to->ends.daddr), head + at + 24);
		protocol = byte;
		at = skip_options(head, at + 40, &protocol);
		to->ends.protocol = protocol;
	}
	if (!has_ports(to->ends.protocol) || bpf_probe_read_kernel(ports, sizeof(ports), head + at))
		return;
	to->ends.sport = bpf_ntohs(ports[0]);
	to->ends.dport = bpf_ntohs(ports[1]);
}

/* struct sockaddr_in and struct sockaddr_in6: the same in all kernels. */
static __always_inline long read_sockaddr(struct endpoint *to, const void *from)
{
	__be16 port = 0;
	__u32 address = 0;
	long error = read_any(&to->family, sizeof(to->family), from);

	if (error || (to->family != AF_INET && to->family != AF_INET6))
		return error;
	error = read_any(&port, sizeof(port), from + 2);
	to->sport = bpf_ntohs(port);
	if (to->family == AF_INET6)
		return error ?: read_any(to->saddr, sizeof(to->saddr), from + 8);
	error = error ?: read_any(&address, sizeof(address), from + 4);
	put_ipv4(to->saddr, address);
	return error;
}

static __always_inline long read_text(char *to, __u32 most, const void *from)
{
	if ((long)from < 0)
		return bpf_probe_read_kernel_str(to, most, from);
	long length = bpf_probe_read_user_str(to, most, from);

	/* Before 6.13 an empty text of the user's had no NUL (strncpy_from_user_nofault). */
	return length ? length : 1;
}

#define UNIX_PATH_BYTES 108

/*
 * A path; a name without one (unix(7), "abstract") begins with @ in place of its NUL. Only its address's length says
 * where it ends.
 */
static __always_inline long read_unix_path(char *to, const void *from, __u64 size)
{
	const void *path = from + sizeof(__u16);
	__u32 most = size < sizeof(__u16) ? 0 : size - sizeof(__u16);
	long length;

	if (size > UNIX_PATH_BYTES + sizeof(__u16))
		most = UNIX_PATH_BYTES;
	if (most == 0)
		return 0;
	most = (most & 127) + 1;
	length = read_text(to, most, path);
	if (length != 1)
		return length < 0 ? length : length - 1;
	length = read_text(to + 1, (most - 1) & 127, path + 1);
	/* A NUL and nothing is no name at all. */
	if (length <= 1)
		return 0;
	to[0] = '@';
	return length;
}

static __always_inline void read_user_ns(struct user_ns_facts *to, struct user_namespace *ns)
{
	READ_INTO(to->inode, ns, ns.inum);
	READ_INTO(to->level, ns, level);
	READ_INTO(to->uid, ns, owner.val);
	READ_INTO(to->gid, ns, group.val);
}

static __always_inline void read_cred(struct cred_facts *to, const struct cred *cred)
{
	READ_INTO(to->credentials.uid, cred, uid.val);
	READ_INTO(to->credentials.gid, cred, gid.val);
	READ_INTO(to->credentials.suid, cred, suid.val);
	READ_INTO(to->credentials.sgid, cred, sgid.val);
	READ_INTO(to->credentials.euid, cred, euid.val);
	READ_INTO(to->credentials.egid, cred, egid.val);
	READ_INTO(to->credentials.fsuid, cred, fsuid.val);
	READ_INTO(to->credentials.fsgid, cred, fsgid.val);
	READ_INTO(to->credentials.securebits, cred, securebits);
	READ_INTO(to->credentials.inheritable, cred, cap_inheritable);
	READ_INTO(to->credentials.permitted, cred, cap_permitted);
	READ_INTO(to->credentials.effective, cred, cap_effective);
	READ_INTO(to->credentials.ambient, cred, cap_ambient);
	read_user_ns(&to->user_ns, BPF_CORE_READ(cred, user_ns));
}

static __always_inline long read_attr(struct program_facts *to, const void *attr)
{
	long error = read_any(&to->type, sizeof(to->type), attr + offsetof(union bpf_attr, prog_type));

	error = error ?: read_any(&to->instructions, sizeof(__u32), attr + offsetof(union bpf_attr, insn_cnt));
	return error ?: read_any(to->name, sizeof(to->name), attr + offsetof(union bpf_attr, prog_name));
}

static __always_inline void read_program(struct program_facts *to, struct bpf_prog *program)
{
	struct bpf_prog_aux *aux = BPF_CORE_READ(program, aux);

	READ_INTO(to->type, program, type);
	READ_INTO(to->instructions, program, len);
	READ_INTO(to->name, aux, name);
}

static __always_inline void read_map(struct map_facts *to, struct bpf_map *map)
{
	READ_INTO(to->type, map, map_type);
	READ_INTO(to->key_size, map, key_size);
	READ_INTO(to->value_size, map, value_size);
	READ_INTO(to->max_entries, map, max_entries);
	READ_INTO(to->name, map, name);
}

static __always_inline void read_perf_event(struct perf_event_facts *to, struct perf_event *event)
{
	const char *pmu = BPF_CORE_READ(event, pmu, name);
	const void *function = NULL;

	READ_INTO(to->type, event, attr.type);
	READ_INTO(to->config, event, attr.config);
	bpf_probe_read_kernel_str(to->pmu, sizeof(to->pmu), pmu);
	/* What the rest is depends on the PMU: of kprobe it is a function, of uprobe a file, and where in it. */
	if (to->pmu[1] != 'p' || to->pmu[2] != 'r' || to->pmu[3] != 'o')
		return;
	READ_INTO(function, event, attr.config1);
	READ_INTO(to->probe_offset, event, attr.config2);
	if (read_text(to->function, sizeof(to->function), function) < 0)
		to->function[0] = 0;
}

/* The pieces of an iov_iter, as of an iovec; of memory that has no address for the caller nothing is read. */
static __always_inline void read_iter(int index, struct value *value, char *text, struct iov_iter *iter)
{
	__u32 key = index;
	struct gather *at = bpf_map_lookup_elem(&gathers, &key);
	__u8 type = BPF_CORE_READ(iter, iter_type);
	__u64 skip = BPF_CORE_READ(iter, iov_offset);
	__u32 length = 0;

	READ_INTO(value->number, iter, count);
	if (!at)
		return;
	if (bpf_core_enum_value_exists(enum iter_type, ITER_UBUF) &&
	    type == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
		length = read_bytes(text, BPF_CORE_READ(iter, ubuf) + skip, value->number, TEXT_BYTES_MOST - 1);
	} else if (type == bpf_core_enum_value(enum iter_type, ITER_IOVEC) ||
		   type == bpf_core_enum_value(enum iter_type, ITER_KVEC)) {
		at->from = iter_pieces(iter);
		at->total = 0;
		at->skip = skip;
		at->end = 0;
		at->count = BPF_CORE_READ(iter, nr_segs);
		bpf_loop(IOVECS, step_gather, &key, 0);
		length = at->end & (TEXT_BYTES_MOST - 1);
		bpf_probe_read_kernel(text, length, at->bytes);
		if (length > value->number)
			length = value->number;
	}
	value->length = length;
	if (value->number > length)
		value->flags |= VALUE_TRUNCATED;
}

/* Numbers are told without a text. */
static __always_inline bool read_plain(struct value *value, __u8 type, __u64 raw)
{
	switch (type) {
	case TYPE_CAPABILITY:
	case TYPE_BPF_CMD:
		value->number = (__s64)(__s32)raw;
		return true;
	case TYPE_SYSCALL64:
		value->extra = is_compat();
		/* Each has numbers of its own. */
		value->number = value->extra ? raw | COMPAT_NUMBER : raw;
		return true;
	case TYPE_CAPABILITIES:
	case TYPE_CAP_INHERITABLE:
	case TYPE_CAP_PERMITTED:
	case TYPE_CAP_EFFECTIVE:
		/* A set has no bits where the kernel's addresses have all of theirs: it is one that was passed itself. */
		value->number = raw;
		if ((__s64)raw < 0 && bpf_probe_read_kernel(&value->number, sizeof(__u64), (void *)raw))
			value->state = VALUE_ABSENT;
		return true;
	}
	return false;
}

/*
 * Reads an object into a text of its own. What it is, or where, is the value's number; the value is read when this
 * returns, or absent. Global, and beside read_value rather than below it, for the sake of the stack.
 */
__attribute__((noinline)) int read_object(int index, __u32 number)
{
	struct call *call = call_at(index);
	struct table *table = call ? bpf_map_lookup_elem(&tables, &call->table) : NULL;

	if (!call || !table || number >= VALUES)
		return 0;
	struct value *value = &call->value[number];
	__u8 type = table->value[number].type;
	__u64 raw = value->number;
	void *from = (void *)raw;
	long length = 0;

	value->state = VALUE_READ;
	if (read_plain(value, type, raw))
		return 0;
	value->state = VALUE_ABSENT;
	value->offset = 0;
	value->number = 0;
	value->file = 0;
	char *text = from ? take_text(call, index, value) : NULL;

	if (!text)
		return 0;
	__builtin_memset(text, 0, OBJECT_BYTES);
	switch (type) {
	case TYPE_SOCKET:
		from = BPF_CORE_READ((struct socket *)from, sk);
	case TYPE_SOCK:
		if (!from)
			return 0;
		value->file = (__u64)from;
		read_sock((void *)text, from);
		length = sizeof(struct endpoint);
		break;
	case TYPE_SKB:
		value->file = (__u64)BPF_CORE_READ((struct sk_buff *)from, sk);
		read_packet((void *)text, from);
		length = sizeof(struct packet);
		break;
	case TYPE_SOCKADDR:
		if (read_sockaddr((void *)text, from))
			return 0;
		length = sizeof(struct endpoint);
		break;
	case TYPE_SOCKADDR_UN:
		if (read_any(text, sizeof(__u16), from))
			return 0;
		value->extra = *(__u16 *)text;
		text[0] = 0;
		if (value->extra == AF_UNIX)
			length = read_unix_path(text, from, size_of(call, &table->value[number]));
		break;
	case TYPE_CRED:
		read_cred((void *)text, from);
		length = sizeof(struct cred_facts);
		break;
	case TYPE_USER_NS:
		read_user_ns((void *)text, from);
		value->number = ((struct user_ns_facts *)text)->inode;
		length = sizeof(struct user_ns_facts);
		break;
	case TYPE_LOAD_INFO: {
		struct load_info *info = from;

		if (!bpf_core_field_exists(info->name))
			return 0;
		length = bpf_probe_read_kernel_str(text, OBJECT_BYTES, BPF_CORE_READ(info, name)) - 1;
		value->extra = SIGNATURE_OF(info);
		break;
	}
	case TYPE_MODULE: {
		struct module *module = from;

		length = bpf_core_read_str(text, sizeof(module->name), &module->name) - 1;
		value->extra = SIGNATURE_OF(module);
		READ_INTO(value->number, module, taints);
		break;
	}
	case TYPE_BPF_ATTR:
		if (read_attr((void *)text, from))
			return 0;
		length = sizeof(struct program_facts);
		break;
	case TYPE_BPF_PROG:
		read_program((void *)text, from);
		length = sizeof(struct program_facts);
		break;
	case TYPE_BPF_MAP:
		read_map((void *)text, from);
		length = sizeof(struct map_facts);
		break;
	case TYPE_PERF_EVENT:
		read_perf_event((void *)text, from);
		length = sizeof(struct perf_event_facts);
		break;
	case TYPE_NET_DEVICE: {
		struct net_device *device = from;
		int ifindex = 0;

		READ_INTO(ifindex, device, ifindex);
		value->number = ifindex;
		length = bpf_core_read_str(text, sizeof(device->name), &device->name) - 1;
		break;
	}
	case TYPE_IOV_ITER:
		read_iter(index, value, text, from);
		value->state = VALUE_READ;
		return 0;
	default:
		return 0;
	}
	if (length < 0)
		return 0;
	value->length = length & (TEXT_BYTES_MOST - 1);
	value->state = VALUE_READ;
	return 0;
}

#endif
