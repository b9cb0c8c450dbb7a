/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What user space tells the programs about hooks: the mirror of probes/src/hooks/plan.rs; a test compares both.
 *
 * A hook has one table, made of all selectors of all policies that name it. Each selector is a bit. A table lists
 * dimensions: a value to look at, and how to look it up; the answer is the set of selectors that this value
 * satisfies. What is left when all answers are intersected are the selectors that match. So a hook's cost grows with
 * the number of its dimensions, and not with that of policies, selectors or values.
 */
#ifndef TRIGON_HOOK_PLAN_H
#define TRIGON_HOOK_PLAN_H

#define MASK_WORDS 8 /* 512 selectors on a hook */
#define HOOKS 4096
#define VALUES 16
#define DIMENSIONS 24
#define POST_ARGS 11 /* five arguments, five further data, and what the function returned */
#define RAW_ARGS 6

struct mask {
	__u64 words[MASK_WORDS];
};

/* Where a value comes from. */
enum value_source {
	SOURCE_ARG = 0,         /* an argument of the hooked function, by its number */
	SOURCE_RETURN = 1,      /* what it returned */
	SOURCE_PID = 2,         /* tgid in the root namespace */
	SOURCE_NAMESPACE_PID = 3,
	SOURCE_LINEAGE = 4,     /* bits that the process inherited: descends from, was started by */
	SOURCE_BINARY = 5,      /* path of what the process executes */
	SOURCE_PARENT_BINARY = 6,
	SOURCE_NAMESPACE = 7,   /* inode, by the number of the kind in struct task_namespaces */
	SOURCE_CAPABILITIES = 8, /* 0 inheritable, 1 permitted, 2 effective */
	SOURCE_PARENT_LINEAGE = 9,
	SOURCE_SCOPES = 10, /* where the process is: a word of its cgroup's scopes */
	SOURCE_MARKS = 11,  /* that a policy left on the process; `most` says which policy */
	SOURCE_CURRENT_TASK = 16, /* struct task_struct * of who calls */
	SOURCE_REGISTERS = 17,    /* struct pt_regs * of a kprobe */
	SOURCE_NAMESPACE_CHANGES = 20,  /* a bit for each kind that is another than when it executed its program */
	SOURCE_CAPABILITY_CHANGES = 21, /* a bit for each that it lost or gained since; 0, 1, 2 as above */
};

/* How an argument is read. */
enum value_type {
	TYPE_NONE = 0,
	TYPE_S8, TYPE_S16, TYPE_S32, TYPE_S64,
	TYPE_U8, TYPE_U16, TYPE_U32, TYPE_U64,
	TYPE_STRING,     /* char *, of the user or the kernel */
	TYPE_BYTES,      /* char *, as long as another argument says */
	TYPE_IOVEC,      /* struct iovec *, as many as another argument says */
	TYPE_FD,
	TYPE_FILE,       /* struct file * */
	TYPE_PATH,       /* struct path * */
	TYPE_DENTRY,     /* struct dentry * */
	TYPE_FILENAME,   /* struct filename * */
	TYPE_FOLLOWED,   /* a descriptor that is followed; one that isn't filters the event out */
	TYPE_BINPRM,     /* struct linux_binprm * */

	/* From here on object.h reads them; those that are structs are told by ../object.h. */
	TYPE_OBJECTS = 32,
	TYPE_SOCK = TYPE_OBJECTS, /* struct sock * */
	TYPE_SOCKET,         /* struct socket * */
	TYPE_SKB,            /* struct sk_buff * */
	TYPE_SOCKADDR,       /* struct sockaddr *, of the user or the kernel */
	TYPE_SOCKADDR_UN,    /* the same of AF_UNIX, as text; its family is the value's `extra` */
	TYPE_CRED,           /* struct cred * */
	TYPE_USER_NS,        /* struct user_namespace *; its number is the inode */
	TYPE_CAPABILITY,     /* a number */
	TYPE_CAPABILITIES,   /* kernel_cap_t, or where it is: a number */
	TYPE_CAP_INHERITABLE, TYPE_CAP_PERMITTED, TYPE_CAP_EFFECTIVE, /* the same */
	TYPE_LOAD_INFO,      /* struct load_info *: a module's name; `extra` is an enum signature */
	TYPE_MODULE,         /* struct module *: the same, and its taints as number */
	TYPE_BPF_ATTR,       /* union bpf_attr * of a program's loading, of the user or the kernel */
	TYPE_BPF_PROG,       /* struct bpf_prog * */
	TYPE_BPF_MAP,        /* struct bpf_map * */
	TYPE_BPF_CMD,        /* a number */
	TYPE_PERF_EVENT,     /* struct perf_event * */
	TYPE_SYSCALL64,      /* number of a system call; `extra`: of a 32-bit one */
	TYPE_NET_DEVICE,     /* struct net_device *: its name; the number is its index */
	TYPE_IOV_ITER,       /* struct iov_iter *: bytes; the number is how many there are */
	TYPE_OBJECTS_END,

	TYPE_KIOCB = 60,     /* struct kiocb *: a file */
	TYPE_FILE_HASH = 72, /* in records only: its algorithm, and the digest */
};

/* In the number of a system call: a 32-bit program made it, whose calls have numbers of their own. */
#define COMPAT_NUMBER 0x80000000ULL

/* How a value is looked up. */
enum dimension_class {
	CLASS_NUMBER = 0, /* ranges, as prefixes of 64 bits */
	CLASS_PREFIX = 1, /* text from its start */
	CLASS_SUFFIX = 2, /* text from its end */
	CLASS_BITS = 3,   /* each bit that is set */
	CLASS_FILE_TYPE = 4, /* type of the file that the value is, as a number */
	CLASS_PRESENT = 5,   /* whether the value could be read: nothing is looked up */
	CLASS_FIELD = 16,     /* a field of the endpoint that the value is, as a number or an address */
	CLASS_SEARCH = 17,    /* text that stands anywhere */
	CLASS_SEARCH_ANY_CASE = 18, /* likewise; ASCII's upper and lower case are the same */
	CLASS_EXPRESSION = 19, /* whether an expression holds, of values that dimensions before this one have read */
};

/* What an endpoint has. */
enum endpoint_field {
	FIELD_SOURCE_ADDRESS = 0,
	FIELD_DESTINATION_ADDRESS,
	FIELD_SOURCE_PORT,
	FIELD_DESTINATION_PORT, /* up to here only of Internet families */
	FIELD_PROTOCOL,
	FIELD_FAMILY,
	FIELD_STATE,
};

/* What an operation of an expression does: pushes a number, or takes some from the stack and pushes the result. */
enum expression_code {
	EXPRESSION_NUMBER = 0,
	EXPRESSION_VALUE, /* the number that a value is */
	EXPRESSION_S32,   /* its lower half, with the sign that it has there */
	EXPRESSION_U32,   /* its lower half */
	EXPRESSION_ADD,
	EXPRESSION_SUB,
	EXPRESSION_AND,
	EXPRESSION_OR,
	EXPRESSION_XOR,
	EXPRESSION_EQUAL, /* 1 or 0, as all that compare */
	EXPRESSION_LESS_SIGNED,
	EXPRESSION_LESS,
};

#define EXPRESSION_OPERATIONS 32
#define STACK 16 /* as many can wait as there are operations, half of which take one away */

struct operation {
	__u8 code;
	__u8 value;
	__u8 reserved[6];
	__u64 number;
};

/* What it leaves on the stack says whether it holds. */
struct expression {
	__u32 count;
	__u32 reserved;
	struct operation operation[EXPRESSION_OPERATIONS];
};

/* The value is read when the function has returned, and what it returned is the size. */
#define SIZE_RETURNED 0xff

struct value_spec {
	__u8 source;
	__u8 index;
	__u8 type;
	__u8 size_arg; /* number of the argument that has the size, plus one; or SIZE_RETURNED */
	__u32 most;    /* bytes that are read */
	__u32 chain;   /* by which the source leads to the value; 0 for none */
};

#define CHAIN_STEPS 16

/*
 * From a pointer to what is looked for: an offset is added, and where it is not the last, the pointer there is followed.
 * What lies at the last is a number of `width` bytes, or, where that is 0, the address is the value.
 */
struct chain {
	__u8 steps;
	__u8 width;
	__u8 is_signed;
	__u8 shift; /* of a bit field: where in the number it begins */
	__u8 bits;  /* how many it has; 0 for the whole number */
	__u8 reserved[3];
	__u32 offset[CHAIN_STEPS];
};

struct dimension {
	__u8 value;  /* index into the table's values */
	__u8 class;
	__u8 late;   /* known only when the function has returned */
	__u8 field;  /* of an endpoint */
	__u32 set;   /* what it is looked up in: dimensions that ask the same share one */
	struct mask miss; /* the answer where the value is not in the map */
};

struct table {
	struct mask selectors;
	struct mask late; /* selectors that are decided, or post, when the function has returned */
	__u8 values;
	__u8 dimensions;
	__u16 captures; /* a bit for each value that is read at the entry and posted at the return */
	__u8 reserved[4];
	struct value_spec value[VALUES];
	struct dimension dimension[DIMENSIONS];
};

struct post_arg {
	__u8 value;
	__u8 number; /* of the argument in the policy */
	__u16 flags; /* of the record's argument: enum arg_flags of ../record.h */
};

enum selector_flags {
	SELECTOR_POST = 1 << 0,
	SELECTOR_FOLLOW = 1 << 1,
	SELECTOR_UNFOLLOW = 1 << 2,
	SELECTOR_RETURN = 1 << 3, /* tell what the function returned */
	SELECTOR_OVERRIDE = 1 << 4, /* the function returns `error` and does nothing */
	SELECTOR_NOTIFY = 1 << 5,   /* leave a notification for the policy's enforcer */
	SELECTOR_ENFORCER = 1 << 6, /* do what a notification says that this thread has left */
	SELECTOR_KERNEL_STACK = 1 << 7, /* tell what called it, in the kernel */
	SELECTOR_USER_STACK = 1 << 8,   /* and in the program */
	SELECTOR_SOCKETS = 1 << 9,      /* there are sockets or packets among its arguments */
	SELECTOR_SET = 1 << 10,         /* arguments get the values of its `struct setting` */
	SELECTOR_TRY = 1 << 13,   /* count what it would do, and do nothing */
};

/* A selector and what it does. Key: table id and number of the selector. */
struct selector {
	__u32 policy_hook; /* user space's number for the policy and the hook in it */
	__u16 number;      /* of the selector within the hook */
	__u16 next;        /* first bit of the next policy: where a selector matched, its policy is done */
	__u16 flags;
	__u8 signal;
	__u8 follow;      /* index into the table's values: the file or descriptor to follow, or not any more */
	__u8 args;
	__u8 rate_scope;  /* 0 thread, 1 process, 2 all */
	__u8 action;      /* what the record says was done, as Tetragon numbers actions */
	__u8 return_action; /* likewise, when the function has returned */
	__u64 rate_interval; /* nanoseconds; 0 for no limit */
	struct post_arg arg[POST_ARGS];
	__u32 group; /* who follows: a policy */
	__s16 error; /* what the function returns in its place */
	__s16 notify_error;
	__u8 notify_signal; /* without signal and error the notification is taken back */
	__u8 hash; /* tell the hash of the file that the hook is about */
	__u8 reserved_end[2];
	__u16 track;   /* a bit for each of the table's values: sockets to track */
	__u16 untrack; /* and not any more */
	__u8 reserved_last[4];
	__u64 mark;   /* a bit for each mark that the process gets */
	__u64 unmark; /* and that it loses */
};

struct selector_key {
	__u32 table;
	__u32 selector;
};

#define SETTABLE 8 /* raw values that a call has */

/* What a selector sets arguments to, by their places among a call's raw values. */
struct setting {
	__u32 mask; /* a bit for each that is set */
	__u32 reserved;
	__s64 value[SETTABLE];
};

/* Keys of the maps that dimensions are looked up in. */
struct number_key {
	__u32 bits;
	__u32 set;
	__u8 value[8]; /* big-endian, signed numbers with their sign turned: in order */
};

/* The kernel's tries take 256 bytes of key; the set takes four of them. */
#define TEXT_KEY_BYTES 252

struct text_key {
	__u32 bits;
	__u32 set;
	char text[TEXT_KEY_BYTES];
};

#endif
