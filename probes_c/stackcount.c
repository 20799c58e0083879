// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// By which stacks what the user names happens: functions, trace events, whatever a program can be put on.
#include "stack.h"
#include "target.h"
#include "task.h"

// Without the part of programs it does not matter whose a stack was, unless that was asked for.
#if defined(BY_PID) || !defined(KERNEL_ONLY)
#define WHOSE 1
#else
#define WHOSE 0
#endif

struct row_key {
    u64 image;
    u64 generation;
    u64 caller; // of a function of a program that has just begun: no frame holds it yet
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

// Where a function of a program that has just begun returns to. Only from Linux 6.11 on (cfa7f3d2c526), and only
// where it begins as compilers used to have it, does the kernel show that as part of the stack.
static __always_inline u64 caller(struct pt_regs *regs)
{
#if defined(__x86_64__)
    u64 address = 0;

    pt_probe_read_user(&address, pt_word(regs), (void *)pt_read(regs->sp));
    return address;
#elif defined(__aarch64__)
    return pt_read(regs->regs[30]);
#else
    return 0;
#endif
}

int hit(void *ctx)
{
    u64 point = pt_point();
    struct pt_stacks at = {};
    struct row_value *row;
    struct row_key key;

    if (pt_task() != PT_YES)
        return pt_pass();
    __builtin_memset(&key, 0, sizeof(key));
    if (pt_where(ctx, &at))
        return pt_pass();
    key.kernel_stack = at.kernel_stack;
    key.user_stack = at.user_stack;
    if (WHOSE) {
        key.image = at.image;
        key.generation = at.generation;
        key.pid = at.pid;
    }
#ifndef KERNEL_ONLY
    if ((point & PT_PROGRAM) && (point & PT_ENTRY))
        key.caller = caller(ctx);
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
