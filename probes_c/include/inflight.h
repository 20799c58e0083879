// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The operation that each task has in flight: struct pt_start, which the tracer that includes this has defined.
//
//     void pt_begin(struct pt_start *start)   the current task begins an operation
//     int pt_end(struct pt_start *start)      it ends the operation: copies it to start; 0 if there is none
//     void pt_abandon(void)                   the current task exits, or its operation does not count
//
// The hook SWITCH attaches pt_switched. With "#define HOOK_SWITCH_NONE" the hash alone is used, without that hook.
//
// A task has one operation in flight at a time, and most end before the task is switched out. So each CPU has a slot
// for its running task, which costs half of what a hash does; only operations that are in flight at a context switch go
// into a hash. The key is the task's address: a thread id changes when a thread executes a program (de_thread gives it
// the leader's).
#include "loss.h"

#define pt_barrier() asm volatile("" ::: "memory")

BPF_HASH(starts, u64, struct pt_start, 65536);

#ifndef HOOK_SWITCH_NONE
struct pt_slot {
    u64 task;    // 0: the slot is empty
    u64 skipped; // the running task, if it is in an operation that is not traced
    struct pt_start start;
};
BPF_PERCPU_ARRAY(pt_slots, struct pt_slot, 1);

static __always_inline struct pt_slot *pt_slot(void)
{
    int zero = 0;

    return pt_slots.lookup(&zero);
}

// sched_switch, still in the context of the task that is switched out.
int pt_switched(void *ctx)
{
    struct pt_slot *slot = pt_slot();

    if (!slot)
        return PT_PASS;
    slot->skipped = 0;
    if (slot->task) {
        // On the stack: keys and values in a map's memory are taken since Linux 4.18 (d71962f3e627).
        u64 task = slot->task;
        struct pt_start start = slot->start;

        if (starts.update(&task, &start))
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
        slot->skipped = 0;
        pt_barrier(); // a program that interrupts this one must not see the task with a partial start
        slot->task = task;
    }
#else
    if (starts.update(&task, start))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
#endif
}

// An operation begins that is not traced: its end need not be looked up.
static __always_inline void pt_skip(void)
{
#ifndef HOOK_SWITCH_NONE
    struct pt_slot *slot = pt_slot();

    if (slot)
        slot->skipped = bpf_get_current_task();
#endif
}

// Delete the operation of an exiting task, in the slot and in the hash.
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

// Take out the operation of the current task into "start". Returns 0 if there is none.
static __always_inline int pt_end(struct pt_start *start)
{
    u64 task = bpf_get_current_task();
    struct pt_start *entry;
#ifndef HOOK_SWITCH_NONE
    struct pt_slot *slot = pt_slot();

    if (slot && slot->task == task) {
        *start = slot->start;
        pt_barrier();
        if (slot->task == task) {
            slot->task = 0;
            return 1;
        }
        // The task was switched out during the copy (programs may be preempted, as seen on 7.2): use the hash.
    } else if (slot && slot->skipped == task) {
        return 0;
    }
#endif
    entry = starts.lookup(&task);
    if (!entry)
        return 0;
    *start = *entry;
    starts.delete(&task);
    return 1;
}
