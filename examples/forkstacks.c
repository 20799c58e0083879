// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count the stacks that create processes and threads.
#include "stack.h"
#include "task.h"

struct row_key {
    u64 image; // these five are struct pt_stacks, which names the stack
    u64 generation;
    u32 pid;
    s32 kernel_stack;
    s32 user_stack;
    char comm[PT_COMM_LEN];
};

struct row_value {
    u64 forks;
};
#include "rows.h"

int forked(void *ctx)
{
    struct pt_stacks at = {};
    struct row_value *row;
    struct row_key key;

    if (pt_task() != PT_YES)
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
    if (pt_where(ctx, &at)) // no room for the stack: pt_where has counted the loss
        return PT_PASS;
    key.image = at.image;
    key.generation = at.generation;
    key.pid = at.pid;
    key.kernel_stack = at.kernel_stack;
    key.user_stack = at.user_stack;
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
    row = pt_row(&key);
    if (row)
        row->forks++;
    return PT_PASS;
}
