// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// How long functions take, from their beginning to their return.
#include "log2.h"
#include "task.h"

struct pt_call {
    u64 ns;
    u64 caller;
    u32 tid;
};
#include "calls.h"

struct row_key {
#ifdef BY_TARGET
    u32 target;
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
    u64 calls;
    u64 total_ns;
    u64 max_ns;
#ifdef BY_PID
    u64 seen; // when, to tell the latest of the per-CPU names
    char comm[PT_COMM_LEN];
#endif
};
#include "rows.h"

int begins(void *ctx)
{
    struct pt_call call = {};

    if (pt_may_trace_current())
        pt_call_enter(ctx, &call);
    return pt_pass();
}

int returns(void *ctx)
{
    struct row_value *row;
    struct row_key key;
    struct pt_call call;
    u64 ns;

    // The command's own execve begins before it is traced and ends after.
    if (!pt_call_exit(ctx, &call, &ns) || pt_followed() != PT_TRACED)
        return pt_pass();
    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_TARGET
    key.target = pt_target(ctx);
#endif
#ifdef BY_PID
    key.pid = bpf_get_current_pid_tgid() >> 32;
#endif
#ifdef BY_COMM
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
#endif
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (!row)
        return pt_pass();
    row->calls++;
    row->total_ns += ns;
    if (row->max_ns < ns)
        row->max_ns = ns;
#ifdef BY_PID
    row->seen = bpf_ktime_get_ns();
    pt_process_name(row->comm);
#endif
    return pt_pass();
}
