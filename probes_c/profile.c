// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Sample the stacks that run on CPUs, at a fixed rate.
#include "stack.h"
#include "task.h"

struct row_key {
    PT_STACKS_MEMBERS;
    char comm[PT_COMM_LEN];
};

struct row_value {
    u64 samples;
};
#include "rows.h"

int sample(void *ctx)
{
    struct row_value *row;
    struct row_key key;

#ifndef IDLE
    if (!(bpf_get_current_pid_tgid() >> 32))
        return PT_PASS;
#endif
    if (!pt_is_current_traced())
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
    if (pt_get_stacks(ctx, (struct pt_stacks *)&key))
        return PT_PASS;
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
    row = pt_row(&key);
    if (row)
        row->samples++;
    return PT_PASS;
}
