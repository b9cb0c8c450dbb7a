/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Where a cgroup is: of no pod, of which one, in which container; as far as policies ask. They ask by scopes, each a
 * distinct condition on pods, containers and the host (collector/src/policy/scopes.rs). A scope is a bit.
 */
#ifndef TRIGON_PLACEMENT_H
#define TRIGON_PLACEMENT_H

#include <bpf/bpf_helpers.h>

#include "cgroup.h"

#define SCOPE_WORDS 4 /* 256 scopes on a node */

struct placement {
	__u64 scopes[SCOPE_WORDS];
};

/* The host's own: no cgroup has this id. What has no entry is of the host. */
#define PLACEMENT_HOST 0

/*
 * By the id of the cgroup. User space writes it, and whatever is below the cgroup of all pods has an entry, if only an
 * empty one: of a pod that is not known yet. How many there can be is the loader's to say.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, struct placement);
} placements SEC(".maps");

/* The placement of who runs; NULL where no scope matches. */
static __always_inline struct placement *current_placement(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct cgroup_control *control = cgroups();
	__u32 source = control ? control->source : CGROUP_AUTO;
	/* Ids are those of one hierarchy: another's mean something else. */
	__u64 id = BPF_CORE_READ(cgroup_of(task, source == CGROUP_AUTO ? CGROUP_UNIFIED : source), id);
	struct placement *placement = bpf_map_lookup_elem(&placements, &id);

	if (placement)
		return placement;
	id = PLACEMENT_HOST;
	return bpf_map_lookup_elem(&placements, &id);
}

#endif
