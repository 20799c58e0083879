// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count system calls, their errors and latency.
//
// A call is counted when it returns, so calls that run when the trace begins or ends get no invented latency. Its
// number is saved at the entry, since an execve may return into a program of another ABI. With COUNT, calls are counted
// at the entry.
#include "task.h"

#ifdef ENFORCE
#define PT_LEAVING
#endif
static int on_enter(u32 nr);
static int on_leave(u32 nr, long ret);
#include "syscall.h"

#ifndef COUNT
struct pt_start {
    u64 ns;
    u64 call;
};
#include "inflight.h"
#endif

#include "call_rows.h"

#ifdef COUNT
static __always_inline int on_enter(u32 nr)
{
    struct row_value *row;
    u64 call;

    if (!pt_is_current_traced())
        return PT_PASS;
    call = pt_call(nr);
    row = pt_is_wanted(call) ? row_of(call, 0, 0) : 0;
    if (row)
        row->calls++;
    return PT_PASS;
}

static __always_inline int on_leave(u32 nr, long ret)
{
    return PT_PASS;
}
#else
#ifdef ENFORCE
// A call that fails without an entry was rejected by the command's filter. (A new task returns from a call without an
// entry, too, but does not fail.)
static __always_inline void denied(u32 nr)
{
    u64 call = pt_call(nr);
    struct row_value *row;

    if (!pt_is_current_traced() || !pt_is_wanted(call))
        return;
    row = row_of(call, 0, 0);
    if (row)
        row->denied++;
}
#endif

static __always_inline int on_enter(u32 nr)
{
    struct pt_start start = {};

    if (!pt_may_trace_current()) {
        pt_skip();
        return PT_PASS;
    }
    start.call = pt_call(nr);
    if (!pt_is_wanted(start.call)) {
        pt_skip();
        return PT_PASS;
    }
    start.ns = bpf_ktime_get_ns();
    pt_begin(&start);
    return PT_PASS;
}

static __always_inline int on_leave(u32 nr, long ret)
{
    int failed = pt_is_failed(ret), interrupted = pt_is_interrupted(ret);
    struct row_value *row;
    struct pt_start start;
    u64 ns;

    if (!pt_end(&start)) {
#ifdef ENFORCE
        if (failed || interrupted) // a profile may return any number
            denied(nr);
#endif
        return PT_PASS;
    }
    ns = bpf_ktime_get_ns() - start.ns;
    if ((failed || interrupted) && pt_is_sigreturn(start.call))
        failed = interrupted = 0;
    // The command's own execve begins before it is traced and ends after.
    if (pt_followed() != PT_TRACED)
        return PT_PASS;
#ifdef BY_ERRNO
    if (!failed && !interrupted)
        return PT_PASS;
#endif
    row = row_of(start.call, ns, -ret);
    if (row) {
        row->calls++;
        row->errors += failed;
        row->interrupted += interrupted;
        row->total_ns += ns;
#ifdef LATENCY
        if (row->max_ns < ns)
            row->max_ns = ns;
#endif
    }
    return PT_PASS;
}

// A thread that dies in a call (exit, exit_group) never returns from it. (One that a fatal signal ends in a call
// does: the signal interrupts the call.)
int gone(void *ctx)
{
    pt_abandon();
    return PT_PASS;
}
#endif
