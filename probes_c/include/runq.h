// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Waits for a CPU, from a task's wake-up or preemption until it runs. The tracer that includes this (behind sched.h,
// with PT_SEES_WAKEUPS) defines on_run(context, prev, next, ns): next, which passes the filters, waited for ns.
#include "loss.h"

// The time at which each task was put on a run queue. The key is the task's address: a thread id changes in an exec.
// The entry is deleted when the task runs, so none outlives its task.
BPF_HASH(pt_queued, u64, u64, 65536);

static int on_run(void *ctx, struct task_struct *prev, struct task_struct *next, u64 ns);

static int on_wakeup(struct task_struct *task)
{
    u64 key = (u64)task, now = bpf_ktime_get_ns();
    int error;

    if (!pt_is_traced(task))
        return PT_PASS;
    error = pt_queued.insert(&key, &now);
    if (error && error != -17) // EEXIST: it has waited since an earlier wake-up
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}

static int on_switch(void *ctx, struct task_struct *prev, struct task_struct *next, int runnable)
{
    u64 now = bpf_ktime_get_ns(), stopped = (u64)prev, key = (u64)next, *since, ns;

    // If the end of a wait was missed, its entry must not become a longer wait.
    if (!runnable)
        pt_queued.delete(&stopped);
    else if (pt_is_traced(prev) && pt_queued.update(&stopped, &now))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    since = pt_queued.lookup(&key);
    if (!since)
        return PT_PASS;
    ns = now - *since;
    pt_queued.delete(&key);
    return on_run(ctx, prev, next, ns);
}
