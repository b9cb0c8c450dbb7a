/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Which cgroup a task is in, on unified, legacy and hybrid hosts. */
#ifndef TRIGON_CGROUP_H
#define TRIGON_CGROUP_H

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

/*
 * The directory of the task's cgroup: in the unified hierarchy; where that has everything in its root, as on
 * legacy hosts, in the memory controller's, or else the pids controller's.
 */
static __always_inline struct kernfs_node *task_cgroup(struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct kernfs_node *node = BPF_CORE_READ(set, dfl_cgrp, kn);

	if (kernfs_parent(node))
		return node;
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id)) {
		struct kernfs_node *legacy =
			cgroup_of_controller(set, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id));
		if (kernfs_parent(legacy))
			return legacy;
	}
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id)) {
		struct kernfs_node *legacy =
			cgroup_of_controller(set, bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id));
		if (kernfs_parent(legacy))
			return legacy;
	}
	return node;
}

#endif
