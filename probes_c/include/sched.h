// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Wake-ups and context switches. The tracer that includes this defines what it needs of
//
//     on_wakeup(task)                   with PT_SEES_WAKEUPS: task is put on a run queue (once or more before it runs)
//     on_switch(context, prev, next, runnable)
//                                       prev, the current task, stops running on this CPU and next starts; runnable:
//                                       prev was preempted or yields, so it still waits for a CPU
//
// The events are raised with interrupts off, so programs on them are not preempted. Linux 5.18.0 and 5.18.1 alone
// have the arguments of sched_switch in another order (fa2c3254d7cf, undone by 9c2136be0878).
#include "other_task.h"
#include <linux/sched.h>

#ifdef PT_PACKAGED_HEADERS
#define PT_HAS_task_struct____state (LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0))
#endif

static __always_inline u64 pt_state_of(struct task_struct *task)
{
#if PT_HAS_task_struct____state
    return pt_read(task->__state);
#else
    long state = 0; // volatile, and larger, before Linux 5.14 gave it another name (2f064a59a11f)

    pt_probe_read_kernel(&state, sizeof(state), (void *)&task->state);
    return state;
#endif
}

#ifdef PT_SEES_WAKEUPS
static int on_wakeup(struct task_struct *task);

// sched_wakeup(task) and sched_wakeup_new(task). A task that is about to sleep but still on its CPU is woken as well
// (ttwu_runnable): it continues without waiting.
int woken(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];

    return pt_read(task->on_cpu) ? PT_PASS : on_wakeup(task);
}
#endif

static int on_switch(void *ctx, struct task_struct *prev, struct task_struct *next, int runnable);

// sched_switch(preempt, prev, next[, prev_state]). A task that is preempted on its way to sleep stays runnable,
// whatever its state is. The idle task is never runnable here: it does not wait for a CPU.
int switched(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *prev = (struct task_struct *)ctx->args[1];
    int runnable = pt_read(prev->pid) && (ctx->args[0] || !pt_state_of(prev));

    return on_switch(ctx, prev, (struct task_struct *)ctx->args[2], runnable);
}
