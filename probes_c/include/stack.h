// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Stacks of the kernel and of programs, by id. PT_STACKS_MAX is the capacity of each of the two maps.
//
// A stack has one place in a map, by its hash. Where another has it already, the second map is asked: it has
// those only that found no place in the first. A stack without a place in either is a loss; with
// BPF_F_REUSE_STACKID it would be shown as another's frames, with BPF_F_FAST_STACK_CMP (rarely) as well.
#include "loss.h"
#include "read.h"
#include <linux/mm_types.h>

BPF_STACK_TRACE(stacks, PT_STACKS_MAX);
BPF_STACK_TRACE(stacks_more, PT_STACKS_MAX);

#define PT_STACK_MORE  (1 << 30) // a number of the second map
#define PT_STACK_NONE  (-1)
#define PT_STACK_TAKEN (-2)
#define PT_EFAULT                                                                                            \
    (-14) // there is no such stack: a kernel thread has none of a program, user code none of the kernel

// What was sampled, by process id. The image tells the addresses of one program's run from another's under the
// same process id (which executes another program, or ends and is born again): user space can compute it from
// /proc/PID/stat. The generation tells what was mapped: all samples that bear it were taken with the same code at
// the same addresses (mapping.h). It is the time (CLOCK_MONOTONIC, ns) since when that is so.
struct pt_image {
    u64 image;
    u64 generation;
    u64 exec_vm; // pages with code, where that tells a change (mapping.h)
    u64 samples; // user space reads the memory maps of processes that had new ones while they live
};
BPF_HASH(images, u32, struct pt_image, 16384);
// Since when user space has known, by process id, what a program that makes functions has made.
BPF_HASH(epochs, u32, u64, 4096);
#include "mapping.h"

// Where a task was. The key of a row begins with these members, so that pt_where fills it in; generation: 0 if it is
// not known.
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
    id = stacks_more.get_stackid(ctx, flags);
    return id < 0 ? PT_STACK_TAKEN : id | PT_STACK_MORE;
}

// Fill in whose the addresses are that a sample of the current task has.
static __always_inline void pt_whose(struct pt_stacks *at)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    struct mm_struct *mm = pt_current_field(mm);
    struct pt_image *known;
    u64 *epoch;

    at->pid = pid;
    if (mm) // not of a kernel thread, nor of what is about to end
        at->image = pt_current_field_of(mm, start_code) + 3 * pt_current_field_of(mm, end_code) +
                    5 * pt_current_field_of(mm, start_stack);
    known = images.lookup(&pid);
    if (!known) {
        struct pt_image fresh = {.image = at->image};

        fresh.generation = bpf_ktime_get_ns();
        fresh.exec_vm = pt_exec_vm();
        known = images.lookup_or_try_init(&pid, &fresh);
        if (!known)
            return;
    } else if (known->image != at->image) {
        known->image = at->image;
        known->generation = bpf_ktime_get_ns();
        known->exec_vm = pt_exec_vm();
    }
    at->generation = known->generation;
    epoch = epochs.lookup(&pid);
    if (epoch && *epoch > at->generation)
        at->generation = *epoch;
    __sync_fetch_and_add(&known->samples, 1);
}

// Fill in where the current task is: 0, or that it was lost. (-U and -K: the other part is left out.)
static __always_inline int pt_where(void *ctx, struct pt_stacks *at)
{
    pt_whose(at);
    at->kernel_stack = at->user_stack = PT_STACK_NONE;
#ifndef USER_ONLY
    at->kernel_stack = pt_stack(ctx, 0);
#endif
#ifndef KERNEL_ONLY
    at->user_stack = pt_stack(ctx, BPF_F_USER_STACK);
#endif
    if (at->kernel_stack != PT_STACK_TAKEN && at->user_stack != PT_STACK_TAKEN)
        return 0;
    pt_lost(PT_LOSS_STACKS_FULL);
    return -1;
}
