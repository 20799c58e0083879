// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "read.h"
#include <linux/cgroup-defs.h>
#include <linux/kernfs.h>

// The id of a cgroup of version 2. Before Linux 5.5 (67c0496e87d1) it is in a union.
static __always_inline u64 pt_id_of_cgroup(struct cgroup *cgroup)
{
    struct kernfs_node *node = pt_read(cgroup->kn);
    u64 id = 0;

    pt_probe_read_kernel(&id, sizeof(id), &node->id);
    return id;
}
