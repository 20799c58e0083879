// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up the time that threads sleep until they are woken, by the stacks that wake them.
#include "config.h"
#include "interrupt.h"
#include "sched.h"
#include "stack.h"

// The time at which each task went to sleep, by the task's address.
BPF_HASH(asleep, u64, u64, 65536);

struct row_key {
    PT_STACKS_MEMBERS; // the process (BY_PID) is one of them
#ifdef BY_WOKEN
    char woken[PT_COMM_LEN];
#endif
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
};

struct row_value {
    u64 total_ns;
    u64 count;
};
#include "rows.h"

#define TASK_IS_DEAD       0x80 // an exited task does not return to a CPU
#define TASK_SLEEPS_DEEPLY 0x02 // TASK_UNINTERRUPTIBLE

// sched_waking(task), in the task or interrupt that wakes it. A task that has not left its CPU yet did not sleep.
int waking(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    u64 woken = (u64)task, *since = asleep.lookup(&woken), ns;
    struct row_value *row;
    struct row_key key;

    if (!since)
        return PT_PASS;
    ns = bpf_ktime_get_ns() - *since;
    asleep.delete(&woken);
    if (ns < pt_cfg(PT_CFG_MIN) || (pt_cfg(PT_CFG_MAX) && ns > pt_cfg(PT_CFG_MAX)))
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
    key.kernel_stack = key.user_stack = PT_STACK_NONE;
    if (!pt_is_in_interrupt(ctx)) {
        if (pt_get_stacks(ctx, (struct pt_stacks *)&key)) // no room for the stack: the loss is counted
            return PT_PASS;
#ifdef BY_COMM
        bpf_get_current_comm(&key.comm, sizeof(key.comm));
#endif
    }
#ifdef BY_WOKEN
    pt_probe_read_kernel(&key.woken, sizeof(key.woken), &task->comm);
#endif
    row = pt_row(&key);
    if (row) {
        row->total_ns += ns;
        row->count++;
    }
    return PT_PASS;
}

static int on_switch(void *ctx, struct task_struct *prev, struct task_struct *next, int runnable)
{
    u64 prev_key = (u64)prev, next_key = (u64)next, now = bpf_ktime_get_ns(), state = pt_state_of(prev);

    asleep.delete(&next_key); // an earlier sleep whose end was not seen
    if (runnable || !bpf_get_current_pid_tgid() || state & TASK_IS_DEAD || !pt_is_current_traced())
        return PT_PASS;
#ifdef UNINTERRUPTIBLE
    if (!(state & TASK_SLEEPS_DEEPLY))
        return PT_PASS;
#endif
    if (asleep.update(&prev_key, &now))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}
