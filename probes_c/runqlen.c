// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Sample the lengths of run queues.
#include "read.h"
#include <linux/sched.h>

struct row_key {
#ifdef BY_LENGTH
    u32 length;
#endif
#ifdef BY_CPU
    u32 cpu;
#endif
};

struct row_value {
    u64 samples;
};
#include "rows.h"

#ifdef PT_PACKAGED_HEADERS
#error "this kernel has its run queues in its BTF alone, not in headers (CONFIG_DEBUG_INFO_BTF, Linux 5.2)"
#elif !PT_HAS_cfs_rq__rq || !PT_HAS_sched_entity__cfs_rq
#error "this kernel has no groups of tasks (CONFIG_FAIR_GROUP_SCHED), by which run queues are found"
#endif

// Tasks that sleep but stay on the queue for a while (DELAY_DEQUEUE, Linux 6.12) do not wait for a CPU.
static __always_inline u32 delayed(struct rq *rq)
{
#if PT_HAS_cfs_rq__h_nr_runnable && PT_HAS_cfs_rq__h_nr_queued // Linux 6.14, c2a295bffeaf
    return pt_read(rq->cfs.h_nr_queued) - pt_read(rq->cfs.h_nr_runnable);
#elif PT_HAS_cfs_rq__h_nr_delayed // Linux 6.13, 76f2f783294d
    return pt_read(rq->cfs.h_nr_delayed);
#else
    return 0;
#endif
}

// A task is in its group's queue, which is itself in the CPU's.
int sample(void *ctx)
{
    struct task_struct *task = pt_current();
    struct cfs_rq *queue = pt_read(task->se.cfs_rq);
    struct rq *rq = pt_read(queue->rq);
    u32 runnable = pt_read(rq->nr_running), waits_not = delayed(rq) + !!pt_read(task->pid);
    struct row_key key = {};
    struct row_value *row;

#ifdef BY_LENGTH
    key.length = runnable > waits_not ? runnable - waits_not : 0;
#endif
#ifdef BY_CPU
    key.cpu = bpf_get_smp_processor_id();
#endif
    row = pt_row(&key);
    if (row)
        row->samples++;
    return PT_PASS;
}
