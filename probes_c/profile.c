// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Where CPUs spend their time: the stack of whatever runs, so many times a second.
#include "stack.h"
#include "task.h"

struct row_key {
    u64 image;
    u64 generation;
    u32 pid;
    s32 kernel_stack;
    s32 user_stack;
    char comm[PT_COMM_LEN];
};

struct row_value {
    u64 samples;
};
#include "rows.h"

int sample(void *ctx)
{
    struct row_value *row;
    struct pt_stacks at = {};
    struct row_key key;

#ifndef IDLE
    if (!(bpf_get_current_pid_tgid() >> 32))
        return PT_PASS;
#endif
    if (pt_task() != PT_YES)
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
    if (pt_where(ctx, &at))
        return PT_PASS;
    key.image = at.image;
    key.generation = at.generation;
    key.pid = at.pid;
    key.kernel_stack = at.kernel_stack;
    key.user_stack = at.user_stack;
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
    row = pt_row(&key);
    if (row)
        row->samples++;
    return PT_PASS;
}
