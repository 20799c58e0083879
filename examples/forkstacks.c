// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count the stacks that create processes and threads.
#include "stack.h"
#include "task.h"

struct row_key {
    PT_STACKS_MEMBERS;
    char comm[PT_COMM_LEN];
};

struct row_value {
    u64 forks;
};
#include "rows.h"

int forked(void *ctx)
{
    struct row_value *row;
    struct row_key key;

    if (!pt_is_current_traced())
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
    if (pt_get_stacks(ctx,
                      (struct pt_stacks *)&key)) // no room for the stack: pt_get_stacks has counted the loss
        return PT_PASS;
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
    row = pt_row(&key);
    if (row)
        row->forks++;
    return PT_PASS;
}
