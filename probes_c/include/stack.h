// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Stacks of the kernel and of programs, by id. PT_STACKS_MAX is the capacity of each of the two maps.
//
//     PT_STACKS_MEMBERS                                   the first members of struct row_key
//     int pt_get_stacks(void *ctx, struct pt_stacks *at)  fills these; -1 if there is no room, which is counted
//
// A stack has one slot in a map, by its hash. If another stack has that slot, the second map is used, which therefore
// has only stacks that collided in the first. A stack that collides in both is a loss. BPF_F_REUSE_STACKID would show
// it with another stack's frames; so would, rarely, BPF_F_FAST_STACK_CMP.
#include "images.h"
#include "loss.h"
#include "read.h"

BPF_STACK_TRACE(stacks, PT_STACKS_MAX);
BPF_STACK_TRACE(stacks_second, PT_STACKS_MAX);

#define PT_STACK_SECOND (1 << 30) // marks an id of the second map
#define PT_STACK_NONE   (-1)
#define PT_STACK_LOST   (-2)
#define PT_EFAULT (-14) // no such stack: kernel threads have no user stack, and user code has no kernel stack

// By pid: the time at which user space last read the functions that a JIT compiler made.
BPF_HASH(epochs, u32, u64, 4096);
#include "mapping.h"

// The stacks of a task. The key of a row begins with these members, so that pt_get_stacks can fill it in; generation: 0
// if unknown.
#define PT_STACKS_MEMBERS                                                                                    \
    u64 image;                                                                                               \
    u64 generation;                                                                                          \
    u32 pid;                                                                                                 \
    s32 kernel_stack;                                                                                        \
    s32 user_stack

struct pt_stacks {
    PT_STACKS_MEMBERS;
};

static __always_inline s32 pt_stack(void *ctx, u64 flags)
{
    s32 id = stacks.get_stackid(ctx, flags);

    if (id >= 0)
        return id;
    if (id == PT_EFAULT)
        return PT_STACK_NONE;
    id = stacks_second.get_stackid(ctx, flags);
    return id < 0 ? PT_STACK_LOST : id | PT_STACK_SECOND;
}

#ifdef PT_UNWIND
#include "unwind.h"

#define PT_STACK_UNWOUND (1 << 29) // marks an id of the map "unwound"
#define PT_NOT_UNWOUND   (-3)
BPF_HASH(unwound, u32, struct pt_unwound, PT_STACKS_MAX);

// Store a stack. Returns its id: three slots of the map may hold it, by its hash.
static __always_inline s32 pt_store_unwound(struct pt_unwound *stack)
{
    struct pt_unwound *present;
    u32 id;

#pragma unroll
    for (int i = 0; i < 3; i++) {
        id = stack->hash >> (16 * i) & (PT_STACK_UNWOUND - 1);
        present = unwound.lookup(&id);
        if (!present) {
            unwound.insert(&id, stack);
            present = unwound.lookup(&id); // another CPU may have been faster
        }
        if (!present) // the map is full
            return PT_STACK_LOST;
        if (present->hash == stack->hash && present->count == stack->count)
            return id | PT_STACK_UNWOUND;
    }
    return PT_STACK_LOST;
}

// The user stack of the current task by tables, as an id; PT_NOT_UNWOUND if frame pointers have to serve.
static __always_inline s32 pt_unwind(u64 image)
{
    struct pt_unwind_state *state = pt_walk_stack(image, 1);
    s32 id;

    if (!state)
        return PT_NOT_UNWOUND;
    // Two stacks of the same frames may end for two reasons.
    state->stack.hash += state->stack.end;
    id = pt_store_unwound(&state->stack);
    pt_end_use(state);
    return id;
}
#endif

// The user stack of the current task, by tables or else by frame pointers.
static __always_inline s32 pt_user_stack(void *ctx, u64 image)
{
#ifdef PT_UNWIND
    s32 id = pt_unwind(image);

    if (id != PT_NOT_UNWOUND)
        return id;
#endif
    return pt_stack(ctx, BPF_F_USER_STACK);
}

// Fill in the pid, image and generation of a sample of the current task.
static __always_inline void pt_identify_image(struct pt_stacks *stacks)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    struct pt_image *entry;
    u64 *epoch;

    stacks->pid = pid;
    stacks->image = pt_current_image();
    entry = images.lookup(&pid);
    if (!entry) {
        struct pt_image new_image = {.image = stacks->image};

        new_image.generation = bpf_ktime_get_ns();
        new_image.exec_vm = pt_exec_vm();
        entry = images.lookup_or_try_init(&pid, &new_image);
        if (!entry)
            return;
    } else if (entry->image != stacks->image) {
        entry->image = stacks->image;
        entry->generation = bpf_ktime_get_ns();
        entry->exec_vm = pt_exec_vm();
    }
    stacks->generation = entry->generation;
    epoch = epochs.lookup(&pid);
    if (epoch && *epoch > stacks->generation)
        stacks->generation = *epoch;
    __sync_fetch_and_add(&entry->samples, 1);
}

// Fill in the stacks of the current task. Returns 0, or -1 after counting a loss. (-U and -K leave out one of them.)
static __always_inline int pt_get_stacks(void *ctx, struct pt_stacks *stacks)
{
    pt_identify_image(stacks);
    stacks->kernel_stack = stacks->user_stack = PT_STACK_NONE;
#ifndef USER_ONLY
    stacks->kernel_stack = pt_stack(ctx, 0);
#endif
#ifndef KERNEL_ONLY
    stacks->user_stack = pt_user_stack(ctx, stacks->image);
#endif
    if (stacks->kernel_stack != PT_STACK_LOST && stacks->user_stack != PT_STACK_LOST)
        return 0;
    pt_lost(PT_LOSS_STACKS_FULL);
    return -1;
}
