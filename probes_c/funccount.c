// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// How often what the user names happens: functions, trace events, whatever a program can be put on.
#include "target.h"
#include "task.h"
#include "tracked.h"

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
};

struct row_value {
    u64 count;
#ifdef BY_PID
    u64 seen; // when, to tell the latest of the per-CPU names
    char comm[PT_COMM_LEN];
#endif
};
#include "rows.h"

// Rows by target alone need no hash.
#if defined(BY_TARGET) && !defined(BY_PID) && !defined(BY_COMM)
BPF_PERCPU_ARRAY(dense, struct row_value, PT_TARGETS);

static __always_inline struct row_value *row_of(u32 target)
{
    return dense.lookup(&target);
}
#else
static __always_inline struct row_value *row_of(u32 target)
{
    struct row_value *row;
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_TARGET
    key.target = target;
#endif
#ifdef BY_PID
    key.pid = bpf_get_current_pid_tgid() >> 32;
#endif
#ifdef BY_COMM
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
#endif
    row = pt_row(&key);
#ifdef BY_PID
    if (!row)
        return 0;
    row->seen = bpf_ktime_get_ns();
    pt_process_name(row->comm);
#endif
    return row;
}
#endif

int hit(void *ctx)
{
    struct row_value *row;
    u32 target;

    if (pt_is_foreign(ctx) || !pt_is_current_traced())
        return pt_pass();
    target = pt_target(ctx);
    row = target < PT_TARGETS ? row_of(target) : 0;
    if (row)
        row->count++;
    return pt_pass();
}
