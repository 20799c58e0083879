// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up the time that threads are blocked, by the stacks at which they blocked and the stacks that woke them.
#include "config.h"
#include "sched.h"
#include "wakers.h"

// The stack at which each task blocked, by the task's address.
struct blocked {
    u64 ns;
    struct pt_stacks at;
    u32 is_woken;
    u32 is_lost; // the waker's stack was lost, which is counted
};
BPF_HASH(away, u64, struct blocked, 65536);

struct row_key {
    PT_STACKS_MEMBERS; // the process (BY_PID) is one of them, and of those of the waker (BY_WAKER_PID)
    u64 waker_image;
    u64 waker_generation;
    u32 waker_pid;
    s32 waker_kernel_stack;
    s32 waker_user_stack;
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
#ifdef BY_WAKER
    char waker[PT_COMM_LEN];
#endif
    PT_FURTHER_WAKERS
};

struct row_value {
    u64 total_ns;
    u64 count;
};
#include "rows.h"

BPF_PERCPU_ARRAY(new_key, struct row_key, 1);

#define TASK_IS_DEAD 0x80 // an exited task does not return to a CPU

// sched_waking(task), in the task or interrupt that wakes it. Once woken it is in no state to be woken again. For
// chains, what wakes tasks that are not traced is of interest, too: they may wake one that is.
int waking(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    u64 key = (u64)task;
    struct blocked *blocked = away.lookup(&key);

    if (blocked) {
        if (blocked->is_woken)
            return PT_PASS;
        blocked->is_woken = 1;
        blocked->is_lost = !!pt_note_wakeup(ctx, task);
    } else if (PT_WAKERS > 1 && task != pt_current()) {
        pt_note_wakeup(ctx, task);
    }
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
        pt_forget_wakers(task);
        return;
    }
    if (!pt_is_current_traced())
        return;
    if (pt_get_stacks(ctx, &blocked.at)) // no room for the stack: the loss is counted
        return;
    if (away.update(&key, &blocked))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
}

static __always_inline void count(struct task_struct *task, struct blocked *blocked, u64 now)
{
    u64 ns = now - blocked->ns;
    struct pt_wakers *wakers = pt_wakers_of(task, blocked->is_woken);
    struct row_value *row;
    struct row_key *key;
    int slot = 0;

    if (blocked->is_lost || ns < pt_cfg(PT_CFG_MIN) || (pt_cfg(PT_CFG_MAX) && ns > pt_cfg(PT_CFG_MAX)))
        return;
    key = new_key.lookup(&slot);
    if (!key || !wakers)
        return;
    __builtin_memset(key, 0, sizeof(*key));
    key->image = blocked->at.image;
    key->generation = blocked->at.generation;
    key->pid = blocked->at.pid;
    key->kernel_stack = blocked->at.kernel_stack;
    key->user_stack = blocked->at.user_stack;
    PT_FILL_WAKER(key, waker, &wakers->waker[0]);
#ifdef BY_COMM
    pt_probe_read_kernel(&key->comm, sizeof(key->comm), &task->comm);
#endif
#ifdef BY_WAKER
    __builtin_memcpy(key->waker, wakers->waker[0].comm, sizeof(key->waker));
#endif
    PT_FILL_FURTHER(key, wakers);
    row = pt_row(key);
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
        if (PT_WAKERS == 1 || !blocked->is_woken) // what woke it before is not what woke it now
            pt_forget_wakers(next);
        away.delete(&key);
    }
    return PT_PASS;
}
