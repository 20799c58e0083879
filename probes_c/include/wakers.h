// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Who woke a task, who had woken that waker last, and so on: PT_WAKERS of them. All of it runs where wake-ups and
// switches are raised: with interrupts off.
//
//     int pt_note_wakeup(ctx, task)                   in the task or interrupt that wakes it; -1 if a stack was lost
//     struct pt_wakers *pt_wakers_of(task, is_woken)  the chain; waker[0] is the task's own
//     void pt_forget_wakers(task)                     when the task ends
//
// A row has the members of the first (PT_FILL_WAKER), and by PT_FURTHER_WAKERS those from the second on (waker2_pid
// and so on) with their names.
#include "interrupt.h"
#include "stack.h"

struct pt_waker {
    struct pt_stacks at;
    char comm[PT_COMM_LEN]; // "" if unknown
};

struct pt_wakers {
    struct pt_waker waker[PT_WAKERS];
};
BPF_HASH(woken_by, u64, struct pt_wakers, 65536);
BPF_PERCPU_ARRAY(new_wakers, struct pt_wakers, 1);

#define PT_FILL_WAKER(key, prefix, from)                                                                     \
    do {                                                                                                     \
        (key)->prefix##_image = (from)->at.image;                                                            \
        (key)->prefix##_generation = (from)->at.generation;                                                  \
        (key)->prefix##_pid = (from)->at.pid;                                                                \
        (key)->prefix##_kernel_stack = (from)->at.kernel_stack;                                              \
        (key)->prefix##_user_stack = (from)->at.user_stack;                                                  \
    } while (0)
#define PT_NAMED_WAKER(prefix)                                                                               \
    u64 prefix##_image;                                                                                      \
    u64 prefix##_generation;                                                                                 \
    u32 prefix##_pid;                                                                                        \
    s32 prefix##_kernel_stack;                                                                               \
    s32 prefix##_user_stack;                                                                                 \
    char prefix[PT_COMM_LEN];
#define PT_FILL_NAMED(key, prefix, from)                                                                     \
    do {                                                                                                     \
        PT_FILL_WAKER(key, prefix, from);                                                                    \
        __builtin_memcpy((key)->prefix, (from)->comm, PT_COMM_LEN);                                          \
    } while (0)

#if PT_WAKERS == 1
#define PT_FURTHER_WAKERS
#define PT_FILL_FURTHER(key, wakers)
#elif PT_WAKERS == 2
#define PT_FURTHER_WAKERS            PT_NAMED_WAKER(waker2)
#define PT_FILL_FURTHER(key, wakers) PT_FILL_NAMED(key, waker2, &(wakers)->waker[1])
#elif PT_WAKERS == 3
#define PT_FURTHER_WAKERS PT_NAMED_WAKER(waker2) PT_NAMED_WAKER(waker3)
#define PT_FILL_FURTHER(key, wakers)                                                                         \
    PT_FILL_NAMED(key, waker2, &(wakers)->waker[1]);                                                         \
    PT_FILL_NAMED(key, waker3, &(wakers)->waker[2])
#else
#define PT_FURTHER_WAKERS PT_NAMED_WAKER(waker2) PT_NAMED_WAKER(waker3) PT_NAMED_WAKER(waker4)
#define PT_FILL_FURTHER(key, wakers)                                                                         \
    PT_FILL_NAMED(key, waker2, &(wakers)->waker[1]);                                                         \
    PT_FILL_NAMED(key, waker3, &(wakers)->waker[2]);                                                         \
    PT_FILL_NAMED(key, waker4, &(wakers)->waker[3])
#endif

static __always_inline void pt_clear_waker(struct pt_waker *waker)
{
    __builtin_memset(waker, 0, sizeof(*waker));
    waker->at.kernel_stack = waker->at.user_stack = PT_STACK_NONE;
}

// What is known of the current task's own last wake-up becomes the rest of the chain.
static __always_inline int pt_note_wakeup(void *ctx, struct task_struct *task)
{
    u64 key = (u64)task, waker_key = (u64)pt_current();
    struct pt_wakers *wakers, *before = 0;
    int slot = 0, error = 0;

    wakers = new_wakers.lookup(&slot);
    if (!wakers)
        return 0;
    pt_clear_waker(&wakers->waker[0]);
    if (pt_is_in_interrupt(ctx)) {
        __builtin_memcpy(wakers->waker[0].comm, "[interrupt]", sizeof("[interrupt]"));
    } else {
        error = pt_get_stacks(ctx, &wakers->waker[0].at);
        bpf_get_current_comm(wakers->waker[0].comm, PT_COMM_LEN);
        if (PT_WAKERS > 1)
            before = woken_by.lookup(&waker_key);
    }
#pragma unroll
    for (int n = 1; n < PT_WAKERS; n++) {
        if (before)
            wakers->waker[n] = before->waker[n - 1];
        else
            pt_clear_waker(&wakers->waker[n]);
    }
    if (woken_by.update(&key, wakers))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return error;
}

static __always_inline struct pt_wakers *pt_wakers_of(struct task_struct *task, int is_woken)
{
    u64 key = (u64)task;
    struct pt_wakers *wakers = is_woken ? woken_by.lookup(&key) : 0;
    int slot = 0;

    if (wakers)
        return wakers;
    wakers = new_wakers.lookup(&slot);
    if (!wakers)
        return 0;
#pragma unroll
    for (int n = 0; n < PT_WAKERS; n++)
        pt_clear_waker(&wakers->waker[n]);
    return wakers;
}

static __always_inline void pt_forget_wakers(struct task_struct *task)
{
    u64 key = (u64)task;

    woken_by.delete(&key);
}
