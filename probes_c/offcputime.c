// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up the time that threads spend off a CPU, by the stacks at which they left it.
#include "config.h"
#include "sched.h"
#include "stack.h"

// The state in which each task left its CPU, by the task's address.
struct departure {
    u64 ns;
    struct pt_stacks at;
};
BPF_HASH(away, u64, struct departure, 65536);

struct row_key {
    PT_STACKS_MEMBERS;
    char comm[PT_COMM_LEN];
};

struct row_value {
    u64 total_ns;
    u64 count;
};
#include "rows.h"

#define TASK_IS_DEAD 0x80 // an exited task does not return to a CPU

static __always_inline void leaves(void *ctx, struct task_struct *task, u64 now)
{
    u64 key = (u64)task;
    struct departure departure = {.ns = now};

    if (pt_state_of(task) & TASK_IS_DEAD) {
        away.delete(&key); // if its last return was not seen: its address will be another task's
        return;
    }
    if (!pt_is_current_traced())
        return;
    if (pt_get_stacks(ctx, &departure.at)) // no room for the stack: the loss is counted
        return;
    if (away.update(&key, &departure))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
}

static __always_inline void returns(struct task_struct *task, u64 now)
{
    u64 at = (u64)task, ns;
    struct departure *departure = away.lookup(&at);
    struct row_value *row;
    struct row_key key;

    if (!departure)
        return;
    ns = now - departure->ns;
    __builtin_memset(&key, 0, sizeof(key));
    *(struct pt_stacks *)&key = departure->at;
    away.delete(&at);
    if (ns < pt_cfg(PT_CFG_MIN) || (pt_cfg(PT_CFG_MAX) && ns > pt_cfg(PT_CFG_MAX)))
        return;
    pt_probe_read_kernel(&key.comm, sizeof(key.comm), &task->comm);
    row = pt_row(&key);
    if (row) {
        row->total_ns += ns;
        row->count++;
    }
}

static int on_switch(void *ctx, struct task_struct *prev, struct task_struct *next, int runnable)
{
    u64 now = bpf_ktime_get_ns();

#ifdef BLOCKED
    if (!runnable && bpf_get_current_pid_tgid())
#else
    if (bpf_get_current_pid_tgid()) // not the idle task
#endif
        leaves(ctx, prev, now);
    returns(next, now);
    return PT_PASS;
}
