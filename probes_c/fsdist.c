// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// How long operations on regular files take, as histograms.
#define PT_TIMED
#include "fsops.h"
#include "log2.h"
#include "task.h"

struct row_key {
#ifdef BY_OPERATION
    u32 operation;
#endif
#ifdef BY_FS
    char fs[16];
#endif
#ifdef BY_PID
    u32 pid;
#endif
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
    u32 slot;
};

struct row_value {
    u64 operations;
    u64 total_ns;
    u64 max_ns;
#ifdef BY_PID
    u64 seen; // when, to tell the latest of the per-CPU names
    char comm[PT_COMM_LEN];
#endif
};
#include "rows.h"

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    struct row_value *row;
    struct row_key key;
    struct file *file;
    u32 operation = 0;

    if (!pt_is_current_traced())
        return PT_PASS;
    file = pt_operation(call, &operation);
    if (!file)
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_OPERATION
    key.operation = operation;
#endif
#ifdef BY_FS
    pt_filesystem(key.fs, sizeof(key.fs), file);
#endif
#ifdef BY_PID
    key.pid = bpf_get_current_pid_tgid() >> 32;
#endif
#ifdef BY_COMM
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
#endif
    key.slot = pt_bucket(call->ns);
    row = pt_row(&key);
    if (!row)
        return PT_PASS;
    row->operations++;
    row->total_ns += call->ns;
    if (row->max_ns < call->ns)
        row->max_ns = call->ns;
#ifdef BY_PID
    row->seen = bpf_ktime_get_ns();
    pt_process_name(row->comm);
#endif
    return PT_PASS;
}
