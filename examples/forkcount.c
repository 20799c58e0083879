// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count the processes and threads that each process creates.
#include "task.h"

struct row_key {
#ifdef BY_PID
    u32 pid;
#endif
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
};

struct row_value {
    u64 forks;
};
#include "rows.h"

// The context is not read, so one function serves both alternatives of the hook.
int forked(void *ctx)
{
    struct row_value *row;
    struct row_key key;

    if (!pt_is_current_traced())
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key)); // padding is part of a hash key
#ifdef BY_PID
    key.pid = bpf_get_current_pid_tgid() >> 32;
#endif
#ifdef BY_COMM
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
#endif
    row = pt_row(&key);
    if (row)
        row->forks++;
    return PT_PASS;
}
