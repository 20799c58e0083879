// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up the time that threads are blocked, by the stacks at which they blocked and the stacks that woke them.
#include "config.h"
#include "interrupt.h"
#include "sched.h"
#include "stack.h"

// The stack at which each task blocked, by the task's address, and then its waker.
struct blocked {
    u64 ns;
    struct pt_stacks at;
    struct pt_stacks waker;
    u32 is_woken;
    u32 is_lost; // the waker's stack was lost, which is counted
    char waker_comm[PT_COMM_LEN];
};
BPF_HASH(away, u64, struct blocked, 65536);

struct row_key {
    PT_STACKS_MEMBERS; // the process (BY_PID) is one of them, and of those of the waker (BY_WAKER_PID)
    u32 waker_pid;
    u64 waker_image;
    u64 waker_generation;
    s32 waker_kernel_stack;
    s32 waker_user_stack;
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
#ifdef BY_WAKER
    char waker[PT_COMM_LEN];
#endif
};

struct row_value {
    u64 total_ns;
    u64 count;
};
#include "rows.h"

#define TASK_IS_DEAD 0x80 // an exited task does not return to a CPU

// sched_waking(task), in the task or interrupt that wakes it. Once woken it is in no state to be woken again.
int waking(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    u64 key = (u64)task;
    struct blocked *blocked = away.lookup(&key);

    if (!blocked || blocked->is_woken)
        return PT_PASS;
    blocked->is_woken = 1;
    if (pt_is_in_interrupt(ctx))
        return PT_PASS;
    blocked->is_lost = !!pt_get_stacks(ctx, &blocked->waker);
    bpf_get_current_comm(&blocked->waker_comm, sizeof(blocked->waker_comm));
    return PT_PASS;
}

static __always_inline void blocks(void *ctx, struct task_struct *task, u64 now)
{
    u64 key = (u64)task;
    struct blocked blocked;

    __builtin_memset(&blocked, 0, sizeof(blocked)); // padding, too: it goes into a map
    blocked.ns = now;
    if (pt_state_of(task) & TASK_IS_DEAD) {
        away.delete(&key); // if its last return was not seen: its address will be another task's
        return;
    }
    if (!pt_is_current_traced())
        return;
    if (pt_get_stacks(ctx, &blocked.at)) // no room for the stack: the loss is counted
        return;
    blocked.waker.kernel_stack = blocked.waker.user_stack = PT_STACK_NONE;
    if (away.update(&key, &blocked))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
}

static __always_inline void count(struct task_struct *task, struct blocked *blocked, u64 now)
{
    u64 ns = now - blocked->ns;
    struct row_value *row;
    struct row_key key;

    if (blocked->is_lost || ns < pt_cfg(PT_CFG_MIN) || (pt_cfg(PT_CFG_MAX) && ns > pt_cfg(PT_CFG_MAX)))
        return;
    __builtin_memset(&key, 0, sizeof(key));
    key.image = blocked->at.image;
    key.generation = blocked->at.generation;
    key.pid = blocked->at.pid;
    key.kernel_stack = blocked->at.kernel_stack;
    key.user_stack = blocked->at.user_stack;
    key.waker_image = blocked->waker.image;
    key.waker_generation = blocked->waker.generation;
    key.waker_pid = blocked->waker.pid;
    key.waker_kernel_stack = blocked->waker.kernel_stack;
    key.waker_user_stack = blocked->waker.user_stack;
#ifdef BY_COMM
    pt_probe_read_kernel(&key.comm, sizeof(key.comm), &task->comm);
#endif
#ifdef BY_WAKER
    __builtin_memcpy(key.waker, blocked->waker_comm, sizeof(key.waker));
#endif
    row = pt_row(&key);
    if (row) {
        row->total_ns += ns;
        row->count++;
    }
}

static int on_switch(void *ctx, struct task_struct *prev, struct task_struct *next, int runnable)
{
    u64 now = bpf_ktime_get_ns(), key = (u64)next;
    struct blocked *blocked;

    if (!runnable && bpf_get_current_pid_tgid()) // not the idle task
        blocks(ctx, prev, now);
    blocked = away.lookup(&key);
    if (blocked) {
        count(next, blocked, now);
        away.delete(&key);
    }
    return PT_PASS;
}
