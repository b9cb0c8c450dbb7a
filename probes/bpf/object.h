/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What is told of the kernel's objects: the text of a value whose type is one of them begins with its struct. Mirrored
 * by probes/src/record/object.rs; a test compares both. Every struct is free of implicit padding, numbers are in the
 * machine's byte order, and filters look at them where they lie: by offset and width.
 */
#ifndef TRIGON_OBJECT_H
#define TRIGON_OBJECT_H

#include "record.h"

/*
 * TYPE_SOCK, TYPE_SOCKET and TYPE_SOCKADDR; TYPE_SKB begins with it.
 *
 *  offset  width  field
 *       0     16  saddr     address of this end; of TYPE_SOCKADDR the address. IPv4 as ::ffff:a.b.c.d
 *      16     16  daddr     address of the other end
 *      32      8  cookie    what the kernel names the socket by, where somebody asked it to
 *      40      4  mark
 *      44      4  priority
 *      48      2  family    AF_*
 *      50      2  type      SOCK_*
 *      52      2  protocol  IPPROTO_*
 *      54      2  sport     port of this end; of TYPE_SOCKADDR the port
 *      56      2  dport
 *      58      1  state     TCP_*
 */
struct endpoint {
	__u8 saddr[16];
	__u8 daddr[16];
	__u64 cookie;
	__u32 mark;
	__u32 priority;
	__u16 family;
	__u16 type;
	__u16 protocol;
	__u16 sport;
	__u16 dport;
	__u8 state;
	__u8 reserved[5];
};

/* TYPE_SKB: where its packet comes from and goes to, then what is told of packets alone. */
struct packet {
	struct endpoint ends;
	__u32 hash;
	__u32 length;
	__u32 sec_path_length;
	__u32 sec_path_offloaded;
	__u16 ethernet_protocol; /* ETH_P_* */
	__u16 reserved[3];
};

/* TYPE_USER_NS */
struct user_ns_facts {
	__u32 inode;
	__s32 level;
	__u32 uid; /* of its owner, as the first namespace has it */
	__u32 gid;
};

/* TYPE_CRED */
struct cred_facts {
	struct task_credentials credentials; /* without the audit's user, which is a task's */
	struct user_ns_facts user_ns;
};

/* TYPE_BPF_ATTR, TYPE_BPF_PROG */
struct program_facts {
	__u32 type; /* BPF_PROG_TYPE_* */
	__u32 instructions;
	char name[16];
};

/* TYPE_BPF_MAP */
struct map_facts {
	__u32 type; /* BPF_MAP_TYPE_* */
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	char name[16];
};

#define PERF_FUNCTION_BYTES 128

/* TYPE_PERF_EVENT */
struct perf_event_facts {
	__u64 config;
	__u64 probe_offset;
	__u32 type; /* PERF_TYPE_*, or the number of a PMU */
	__u32 reserved;
	char pmu[16]; /* its name, ended by NUL */
	char function[PERF_FUNCTION_BYTES]; /* of a kprobe; ends with NUL */
};

/* Room for any of them. */
#define OBJECT_BYTES 256

#endif
