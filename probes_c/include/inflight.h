// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// What each task is in the middle of, from its beginning to its end: struct pt_start, which whoever includes
// this has defined.
//
// A task is in the middle of one thing at a time, and most are done before the task is switched away: so a
// CPU keeps what its running task is in in a slot of its own, which costs half of what a hash does. Only what
// a task has not finished when it is switched away goes into a hash. Keyed by the task's address and not by
// its thread id, which changes under a thread that executes (de_thread gives it the leader's).
#include "loss.h"

#define pt_barrier() asm volatile("" ::: "memory")

BPF_HASH(starts, u64, struct pt_start, 65536);

#ifndef HOOK_SWITCH_NONE
struct pt_slot {
    u64 task; // 0: nobody is in anything
    struct pt_start start;
};
BPF_PERCPU_ARRAY(pt_slots, struct pt_slot, 1);

static __always_inline struct pt_slot *pt_slot(void)
{
    int zero = 0;

    return pt_slots.lookup(&zero);
}

// sched_switch, still in the context of the task that is switched away.
int pt_switched(void *ctx)
{
    struct pt_slot *slot = pt_slot();

    if (slot && slot->task) {
        if (starts.update(&slot->task, &slot->start))
            pt_lost(PT_LOSS_INFLIGHT_FULL);
        slot->task = 0;
    }
    return PT_PASS;
}
#endif

static __always_inline void pt_begin(struct pt_start *start)
{
    u64 task = bpf_get_current_task();
#ifndef HOOK_SWITCH_NONE
    struct pt_slot *slot = pt_slot();

    if (slot) {
        slot->start = *start;
        pt_barrier(); // whoever sees the task finds its start complete
        slot->task = task;
    }
#else
    if (starts.update(&task, start))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
#endif
}

// Of a task that ends: nothing may be left, wherever it is.
static __always_inline void pt_abandon(void)
{
    u64 task = bpf_get_current_task();
#ifndef HOOK_SWITCH_NONE
    struct pt_slot *slot = pt_slot();

    if (slot && slot->task == task)
        slot->task = 0;
#endif
    starts.delete(&task);
}

// Whether the current task is in something, which it then is no more; that is put into "start".
static __always_inline int pt_end(struct pt_start *start)
{
    u64 task = bpf_get_current_task();
    struct pt_start *kept;
#ifndef HOOK_SWITCH_NONE
    struct pt_slot *slot = pt_slot();

    if (slot && slot->task == task) {
        *start = slot->start;
        pt_barrier();
        if (slot->task == task) {
            slot->task = 0;
            return 1;
        }
        // Switched away while this was read (programs may be preempted, as seen on 7.2): it is in the hash.
    }
#endif
    kept = starts.lookup(&task);
    if (!kept)
        return 0;
    *start = *kept;
    starts.delete(&task);
    return 1;
}
