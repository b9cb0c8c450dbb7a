/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The wire format between the programs and the agent. probes/src/record.rs mirrors it; a test compares both.
 * Every struct is free of implicit padding and as long as a multiple of eight bytes.
 * All times are nanoseconds of the boot clock.
 */
#ifndef TRIGON_RECORD_H
#define TRIGON_RECORD_H

enum record_type {
	RECORD_EXEC = 1,
	RECORD_EXIT = 2,
	RECORD_FORK = 3,
	RECORD_TASK = 4, /* a process that was there before the programs; from the task iterator only */
	RECORD_HOOK = 5,
	RECORD_RELEASE = 6,
	RECORD_CGROUP_MADE = 7,
	RECORD_CGROUP_GONE = 8,
	RECORD_TYPES = 9,
};

/* What a record could not hold, or could not read. */
enum record_flags {
	RECORD_TRUNC_ARGS = 1 << 0,
	RECORD_ERROR_ARGS = 1 << 1,
	RECORD_ERROR_ENVS = 1 << 2,
	RECORD_TRUNC_BINARY = 1 << 3,
	RECORD_TRUNC_CWD = 1 << 4,
	RECORD_TRUNC_CGROUP = 1 << 5,
	RECORD_DELETED = 1 << 6, /* the binary has no name in the file system any more, or never had one */
	RECORD_TRUNC_ENVS = 1 << 7,
	RECORD_UNTOLD = 1 << 8, /* a policy will have it known, and not told */
};

enum task_flags {
	TASK_KERNEL_THREAD = 1 << 0,
	TASK_TTY = 1 << 1,
	TASK_EXITED = 1 << 2,
};

struct record_header {
	__u16 type;
	__u16 flags;
	__u32 length; /* of the whole record, text included */
	__u64 time;
};

/* One execution: ktime is the process's start plus its image number, so that each image has its own. */
struct exec_key {
	__u64 ktime;
	__u32 pid;
	__u32 image; /* how many executed images this process has left behind */
};

struct task_credentials {
	__u32 uid, gid, suid, sgid, euid, egid, fsuid, fsgid;
	__u32 securebits;
	__u32 auid;
	__u64 inheritable, permitted, effective, ambient;
};

struct task_namespaces {
	__u32 uts, ipc, mnt, pid, pid_for_children, net, time, time_for_children, cgroup, user;
};

struct task_facts {
	struct exec_key key;
	struct exec_key parent; /* the execution that forked this process */
	__u32 parent_pid;       /* of the parent that the process has now */
	__u32 tid;
	__u32 vpid;
	__u32 session;
	__u32 group;
	__u32 flags;
	struct task_credentials credentials;
	struct task_namespaces namespaces;
	__u64 cgroup_id;
	char comm[16];
};

/* Text after the record: `cgroup_length` bytes of path. */
struct fork_record {
	struct record_header header;
	struct task_facts task;
	__u32 cgroup_length; /* 0 where the cgroup is the parent's */
	__u32 reserved;
};

/*
 * Text after the record, in this order. Paths are component by component, each ended by NUL, the last component
 * first: the kernel's lists lead from the leaf to the root, and user space turns them more cheaply.
 */
struct exec_record {
	struct record_header header;
	struct task_facts task;
	__u64 inode;
	__u32 links;
	__u32 mode;
	__u32 file_uid;
	__u32 file_gid;
	__u32 binary_length;
	__u32 cwd_length;
	__u32 cgroup_length;
	__u32 script_length;      /* as given to exec; 0 where no interpreter stepped in */
	__u16 traceparent_length;
	__u16 environment_length; /* after the arguments: the wanted variables, each ended by NUL */
	__u32 args_length;        /* each argument ended by NUL */
};

struct exit_record {
	struct record_header header;
	struct exec_key key;
	struct exec_key parent;
	__u32 tid;
	__u32 code; /* as wait(2) reports it */
	__u64 user_time;
	__u64 system_time;
	__u64 run_time; /* what the scheduler measured; the two above are sampled by the tick on most kernels */
	__u64 cgroup_id;
	__u32 uid;
	__u32 reserved;
	char comm[16];
};

enum arg_flags {
	ARG_TRUNCATED = 1 << 0,
	ARG_ABSENT = 1 << 1,  /* it could not be read */
	ARG_DELETED = 1 << 2, /* a file that has no name any more */
	ARG_DATA = 1 << 3,    /* one of the policy's `data` */
	ARG_RETURNED = 1 << 4, /* what the function returned */
};

/* An argument, followed by `length` bytes of text, and padding to a multiple of eight bytes. */
struct hook_arg {
	__u8 type;   /* enum value_type of hook/plan.h */
	__u8 number; /* of the argument in the policy's list */
	__u16 flags;
	__u32 length;
	__u64 value;  /* a number; the flags of a file; the size of a buffer */
	__u64 opened; /* of a followed descriptor */
	__u32 mode;   /* of a file */
	__u32 group;  /* who follows it: a policy; 0 for none */
};

enum hook_flags {
	HOOK_MONITORED = 1 << 0, /* the policy only watches: what it forbids was done all the same */
	HOOK_OWNER = 1 << 1,     /* told of who has the tracked socket, and not of who runs */
	HOOK_OWNER_GONE = 1 << 2, /* the owner has ended */
};

/* Beyond enum value_type: no argument of the policy's, but return addresses of 64 bits each, the innermost first. */
enum stack_type {
	STACK_KERNEL = 70,
	STACK_USER = 71,
};

/* The span of a request that is being served: the value of OpenTelemetry's map traces_ctx_v1. All zeros for none. */
struct request_span {
	__u8 trace_id[16];
	__u8 span_id[8];
};

/* A policy's hook matched. Arguments follow. */
struct hook_record {
	struct record_header header;
	struct exec_key key;
	__u32 tid;
	__u32 policy_hook;
	__u16 selector;
	__u8 action;
	__u8 args;
	__u8 has_return;
	__u8 hook_flags; /* enum hook_flags */
	__u8 return_action; /* likewise, when it returned; 0 for none */
	__u8 reserved[1];
	__u64 returned;
	struct request_span request;
};

enum release_reason {
	RELEASE_CLOSED = 1,     /* its last descriptor was closed */
	RELEASE_EXIT = 2,       /* its last descriptor ended with its process */
	RELEASE_UNFOLLOWED = 3, /* the policy is gone */
	RELEASE_FOUND = 4,      /* it was found closed, and nobody saw how */
};

/* A followed file is followed no longer. `opened` and `group` are those of its arguments in records of hooks. */
struct release_record {
	struct record_header header;
	__u64 opened;
	__u32 group;
	__u32 reason;
};

/* A cgroup was made, and nobody is in it yet. Text after the record: `cgroup_length` bytes of path. */
struct cgroup_made_record {
	struct record_header header;
	__u64 cgroup_id;
	__u64 parent_id;
	__u32 cgroup_length;
	__u32 reserved;
};

/* A cgroup was removed. */
struct cgroup_gone_record {
	struct record_header header;
	__u64 cgroup_id;
};

#endif
