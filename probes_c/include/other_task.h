// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The common filters for a task that is not the current one: pt_is_traced(task).
#include "cgroup_id.h"
#include "read.h"
#include "task.h"
#include <linux/cred.h>

#ifdef PT_FILTER_CGROUP
BPF_HASH(pt_cgroup_ids, u64, u8, PT_SET_MAX);

// Return 1 if a task is in one of the cgroups, or below one; up to 16 levels are tested.
static __always_inline int pt_in_cgroups(struct task_struct *task)
{
    struct css_set *set = pt_read(task->cgroups);
    struct cgroup *cgroup = pt_read(set->dfl_cgrp);
    struct cgroup_subsys_state *parent;
    u64 id;

#pragma unroll
    for (int level = 0; level < 16; level++) {
        id = pt_id_of_cgroup(cgroup);
        if (pt_cgroup_ids.lookup(&id))
            return 1;
        parent = pt_read(cgroup->self.parent);
        if (!parent)
            break;
        cgroup = pt_read(parent->cgroup);
    }
    return 0;
}
#endif

// Return 1 if a task passes the filters and, with a command, descends from it.
static __always_inline int pt_is_traced(struct task_struct *task)
{
#ifdef PT_FILTER_PID
    if (!pt_passes_pid(pt_read(task->tgid)))
        return 0;
#endif
#ifdef PT_FILTER_TID
    u32 tid = pt_read(task->pid);
    if (!pt_tids.lookup(&tid))
        return 0;
#endif
#ifdef PT_FILTER_UID
    struct cred *cred = (struct cred *)pt_read(task->cred);
    u32 uid = pt_read(cred->uid.val);
    if (!pt_uids.lookup(&uid))
        return 0;
#endif
#ifdef PT_FILTER_COMM
    struct pt_comm comm = {};
    pt_probe_read_kernel(&comm.name, sizeof(comm.name), &task->comm);
    if (!pt_comms.lookup(&comm))
        return 0;
#endif
#if (defined(PT_FILTER_NETNS) && !defined(PT_NETNS_OF_SOCKET)) || defined(PT_FILTER_MNTNS)
    struct nsproxy *nsproxy = pt_read(task->nsproxy);
#endif
#if defined(PT_FILTER_NETNS) && !defined(PT_NETNS_OF_SOCKET)
    struct net *net_ns = pt_read(nsproxy->net_ns);
    if (!pt_passes_netns(pt_read(net_ns->ns.inum)))
        return 0;
#endif
#ifdef PT_FILTER_MNTNS
    u32 mntns = pt_mntns_of(nsproxy);
    if (!pt_mntnss.lookup(&mntns))
        return 0;
#endif
#ifdef PT_FILTER_CGROUP
    if (!pt_in_cgroups(task))
        return 0;
#endif
#ifdef PT_HIDES_TRACER
    if (pt_is_tracer(pt_read(task->tgid), pt_parent_of(task)))
        return 0;
#endif
#ifdef PT_FOLLOW
    u32 process = pt_read(task->tgid);
    u8 *state = pt_followed_pids.lookup(&process);
    if (!state || *state != PT_TRACED)
        return 0;
#endif
    return 1;
}
