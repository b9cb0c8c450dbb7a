/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Which cgroup a task is in, on unified, legacy and hybrid hosts. */
#ifndef TRIGON_CGROUP_H
#define TRIGON_CGROUP_H

#include <bpf/bpf_helpers.h>

#include "drift.h"

/* Levels of a path, and bytes of it, that a record carries. Kubernetes' deepest are eight levels and 300 bytes. */
#define CGROUP_LEVELS 32
#define CGROUP_BYTES 1024
#define CGROUP_NAME 256

static __always_inline struct kernfs_node *cgroup_of_controller(struct css_set *set, int controller)
{
	struct cgroup_subsys_state *state = NULL;

	bpf_core_read(&state, sizeof(state), &set->subsys[controller]);
	return BPF_CORE_READ(state, cgroup, kn);
}

/* Which hierarchy a host's containers are in: probes/src/cgroups.rs finds out. */
enum cgroup_source {
	CGROUP_AUTO = 0, /* not known: the unified one, for tasks that are somewhere in it; else a controller's */
	CGROUP_UNIFIED = 1,
	CGROUP_MEMORY = 2, /* the memory controller's own */
	CGROUP_PIDS = 3,
};

/* User space alone writes it, before the programs are attached. A map: hooks' objects have no globals. */
struct cgroup_control {
	__u32 source;
	__s32 hierarchy; /* the kernel's id of the one whose cgroups are told of */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cgroup_control);
} cgroup_control SEC(".maps");

static __always_inline struct cgroup_control *cgroups(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&cgroup_control, &key);
}

/*
 * The directory of the task's cgroup in one hierarchy. Where that is not known: in the unified one; where that has
 * everything in its root, as on legacy hosts, in the memory controller's, or else the pids controller's.
 */
static __always_inline struct kernfs_node *cgroup_of(struct task_struct *task, __u32 source)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct kernfs_node *node = BPF_CORE_READ(set, dfl_cgrp, kn);

	if (source == CGROUP_UNIFIED || (source == CGROUP_AUTO && kernfs_parent(node)))
		return node;
	if (source != CGROUP_PIDS && bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id)) {
		struct kernfs_node *legacy =
			cgroup_of_controller(set, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id));
		if (source == CGROUP_MEMORY || kernfs_parent(legacy))
			return legacy;
	}
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id)) {
		struct kernfs_node *legacy =
			cgroup_of_controller(set, bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id));
		if (source == CGROUP_PIDS || kernfs_parent(legacy))
			return legacy;
	}
	return node;
}

/* The same, in the hierarchy that containers are in. */
static __always_inline struct kernfs_node *task_cgroup(struct task_struct *task)
{
	struct cgroup_control *control = cgroups();

	return cgroup_of(task, control ? control->source : CGROUP_AUTO);
}

#endif
