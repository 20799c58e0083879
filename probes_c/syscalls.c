// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Counts, errors and latency of system calls.
//
// A call is counted when it returns, so that calls already running when the trace starts, and those still
// running when it ends, get no made-up latency. Its number is kept from the entry: an execve may return
// into a program of another ABI.
#include "log2.h"
#include "task.h"

static int on_enter(u32 nr);
static int on_leave(long ret);
#include "syscall.h"

// A task is in one system call at a time. Keyed by the task's address and not by its thread id, which
// changes under a thread that executes (de_thread gives it the leader's).
struct call_start {
    u64 ns;
    u64 call;
};
BPF_HASH(starts, u64, struct call_start, 65536);

#ifdef FILTER_CALLS
BPF_HASH(wanted, u64, u8, 2048);
#endif

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
    u64 errors;
    u64 total_ns;
#ifdef BY_PID
    u64 seen; // when, to tell the latest of the per-CPU names
    char comm[PT_COMM_LEN];
#endif
};
BPF_PERCPU_HASH(rows, struct row_key, struct row_value, PT_ROWS_MAX);

static __always_inline int on_enter(u32 nr)
{
    u64 task = bpf_get_current_task();
    struct call_start start = {};

    if (pt_task() == PT_NO)
        return PT_PASS;
    start.call = pt_call(nr);
#ifdef FILTER_CALLS
#ifdef FILTER_CALLS_EXCEPT
    if (wanted.lookup(&start.call))
        return PT_PASS;
#else
    if (!wanted.lookup(&start.call))
        return PT_PASS;
#endif
#endif
    start.ns = bpf_ktime_get_ns();
    if (starts.update(&task, &start))
        pt_lost(PT_LOSS_STARTS);
    return PT_PASS;
}

static __always_inline int on_leave(long ret)
{
    u64 task = bpf_get_current_task(), now = bpf_ktime_get_ns();
    int failed = ret < 0 && ret >= -4095; // MAX_ERRNO
    struct call_start *start = starts.lookup(&task);
    struct row_value zero = {}, *row;
    struct row_key key;
    u64 call, ns;
#ifdef BY_PID
    struct task_struct *leader;
#endif

    if (!start)
        return PT_PASS;
    call = start->call;
    ns = now - start->ns;
    starts.delete(&task);
    if (failed && pt_is_sigreturn(call))
        failed = 0;
    // The command's own execve begins before it is traced and ends after.
    if (pt_followed() != PT_YES)
        return PT_PASS;

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
    if (!failed)
        return PT_PASS;
    key.error = -ret;
#endif
#ifdef LATENCY
    key.slot = pt_log2(ns);
#endif
    row = rows.lookup_or_try_init(&key, &zero);
    if (!row) {
        pt_lost(PT_LOSS_KEYS);
        return PT_PASS;
    }
    row->calls++;
    row->errors += failed;
    row->total_ns += ns;
#ifdef BY_PID
    row->seen = now;
    leader = pt_read(pt_current()->group_leader);
    pt_probe_read_kernel(&row->comm, sizeof(row->comm), &leader->comm);
#endif
    return PT_PASS;
}

// A thread that dies in a call (exit, exit_group, a fatal signal) never returns from it.
int gone(void *ctx)
{
    u64 task = bpf_get_current_task();

    starts.delete(&task);
    return PT_PASS;
}
