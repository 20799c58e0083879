// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count the stacks that reach what the user names: functions, trace events, and other attach targets.
#include "stack.h"
#include "target.h"
#include "task.h"
#include "tracked.h"

// Without user stacks, the process of a stack does not matter, unless the user asks for it.
#if defined(BY_PID) || !defined(KERNEL_ONLY)
#define WHOSE 1
#else
#define WHOSE 0
#endif

struct row_key {
    u64 image;
    u64 generation;
    u64 caller; // the caller of a user function that has just begun, or is about to return: no frame holds it
    u32 pid;
    s32 kernel_stack;
    s32 user_stack;
#ifdef BY_TARGET
    u32 target;
#endif
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
};

struct row_value {
    u64 hits;
};
#include "rows.h"

int hit(void *ctx)
{
    u64 point = pt_point();
    struct pt_stacks stacks = {};
    struct row_value *row;
    struct row_key key;

    if (pt_is_foreign(ctx) || !pt_is_current_traced())
        return pt_pass();
    __builtin_memset(&key, 0, sizeof(key));
    if (pt_get_stacks(ctx, &stacks))
        return pt_pass();
    key.kernel_stack = stacks.kernel_stack;
    key.user_stack = stacks.user_stack;
    if (WHOSE) {
        key.image = stacks.image;
        key.generation = stacks.generation;
        key.pid = stacks.pid;
    }
#ifndef KERNEL_ONLY
    // Only from Linux 6.11 on (cfa7f3d2c526), and only for a function with a traditional prologue, the kernel includes
    // the caller in the stack.
    if ((point & PT_USER) && (point & (PT_ENTRY | PT_SITE)))
        key.caller = pt_return_address(ctx);
#endif
#ifdef BY_TARGET
    key.target = pt_target(ctx);
#endif
#ifdef BY_COMM
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
#endif
    row = pt_row(&key);
    if (row)
        row->hits++;
    return pt_pass();
}
