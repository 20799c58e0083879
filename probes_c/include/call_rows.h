// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Rows of system calls, grouped by BY_SYSCALL, BY_COMM, BY_PID or BY_ERRNO; with LATENCY a histogram of each. With
// COUNT they count calls only, with ENFORCE also denied calls.
#include "log2.h"
#include "task.h"

struct row_key {
#ifdef BY_SYSCALL
    u64 call;
#endif
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
#ifdef BY_PID
    u32 pid;
#endif
#ifdef BY_ERRNO
    s32 error;
#endif
#ifdef LATENCY
    u32 slot;
#endif
};

struct row_value {
    u64 calls;
#ifndef COUNT
    u64 errors;
    u64 interrupted;
    u64 total_ns;
#endif
#ifdef LATENCY
    u64 max_ns;
#endif
#ifdef ENFORCE
    u64 denied;
#endif
#ifdef BY_PID
    u64 seen; // time of the last update: the newest of the per-CPU names is shown
    char comm[PT_COMM_LEN];
#endif
};
#include "rows.h"

// Rows by call number alone need no hash for the native ABI.
#if defined(BY_SYSCALL) && !defined(BY_COMM) && !defined(BY_PID) && !defined(BY_ERRNO) && !defined(LATENCY)
#define DENSE 512
BPF_PERCPU_ARRAY(dense, struct row_value, DENSE);
#endif

// Return the row of a call of the current task that took "ns". Returns 0 if the map is full.
static __always_inline struct row_value *row_of(u64 call, u64 ns, s32 error)
{
    struct row_value *row;
    struct row_key key;
#ifdef DENSE
    u32 number = call;

    if (call < DENSE)
        return dense.lookup(&number);
#endif
    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_SYSCALL
    key.call = call;
#endif
#ifdef BY_COMM
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
#endif
#ifdef BY_PID
    key.pid = bpf_get_current_pid_tgid() >> 32;
#endif
#ifdef BY_ERRNO
    key.error = error;
#endif
#ifdef LATENCY
    key.slot = pt_bucket(ns);
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
