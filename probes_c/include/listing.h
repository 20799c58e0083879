// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// What there is now, one record each, to whoever reads the iterator (Linux 5.8): the kernel goes on as it is read, so
// nothing is lost. The tracer that includes this has defined struct event: what columns are read from, with "u64 ns"
// first. Its last member may be a string of any length up to its size.
//
// The task that runs is the one that reads: the common filters look at the one that is listed (pt_is_listed).
#include "read.h"
#include "task.h"
#include <linux/cgroup-defs.h>
#include <linux/cred.h>

BPF_PERCPU_ARRAY(pt_record, struct event, 1);

// Under a name of our own: BCC rewrites what its own declarations are called with.
static long (*pt_seq_write)(void *seq, const void *data, u32 size) = (void *)127;

static __always_inline struct event *pt_prepare(void)
{
    int zero = 0;

    return pt_record.lookup(&zero);
}

// The first "size" bytes of a record are complete: its length, then it, up to a multiple of 8. Where either finds no
// room the kernel takes both back, and runs the program for the same thing again once that was read. Returns whether
// it will.
static __always_inline int pt_list(u64 *ctx, struct event *event, u64 size)
{
    u64 meta = ctx[0], seq, length; // struct bpf_iter_meta, of which seq is the first member

    // BCC would make a copy of it, and the kernel takes only the pointer itself.
    asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(seq) : "r"(meta));
    size = (size + 7) & ~7ULL;
    pt_opaque(size);
    if (size > sizeof(*event))
        size = sizeof(*event);
    length = size; // of what a helper was shown, the verifier of old kernels forgets what it knew
    pt_seq_write((void *)seq, &length, sizeof(length));
    return !!pt_seq_write((void *)seq, event, size);
}

#ifdef PT_FILTER_CGROUP
BPF_HASH(pt_cgroup_ids, u64, u8, PT_SET_MAX);

// Whether a task is in one of the cgroups, or below. As deep as they commonly are.
static __always_inline int pt_in_cgroups(struct task_struct *task)
{
    struct css_set *set = pt_read(task->cgroups);
    struct cgroup *cgroup = pt_read(set->dfl_cgrp);
    struct cgroup_subsys_state *parent;
    struct kernfs_node *node;
    u64 id;

#pragma unroll
    for (int level = 0; level < 16; level++) {
        node = pt_read(cgroup->kn);
        id = pt_read(node->id);
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

static __always_inline int pt_is_listed(struct task_struct *task)
{
#ifdef PT_FILTER_PID
    u32 tgid = pt_read(task->tgid);
    if (!pt_pids.lookup(&tgid))
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
#if defined(PT_FILTER_NETNS) || defined(PT_FILTER_MNTNS)
    struct nsproxy *nsproxy = pt_read(task->nsproxy);
#endif
#ifdef PT_FILTER_NETNS
    struct net *net_ns = pt_read(nsproxy->net_ns);
    if (!pt_netns(pt_read(net_ns->ns.inum)))
        return 0;
#endif
#ifdef PT_FILTER_MNTNS
    struct pt_mnt_namespace *mnt_ns = (struct pt_mnt_namespace *)pt_read(nsproxy->mnt_ns);
    u32 mntns = pt_read(mnt_ns->ns.inum);
    if (!pt_mntnss.lookup(&mntns))
        return 0;
#endif
#ifdef PT_FILTER_CGROUP
    if (!pt_in_cgroups(task))
        return 0;
#endif
    return 1;
}
