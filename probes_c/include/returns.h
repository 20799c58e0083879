// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Chosen system calls as they return, with what they were called with. The tracer that includes this defines
// is_wanted(number), a first look at a number of whichever ABI, and on_return(context, call).
//
// The registers of the caller still hold the arguments when a call returns: one program on the way out does,
// and nothing is to be kept for calls in flight. So also calls that seccomp or a tracer answered are seen.
//
// With PT_TIMED (the hook RETURN_TIMED), each has how long it took: then its beginning is kept, and what had begun
// before the trace is not seen.
#include "syscall.h"

struct pt_return {
    u64 call; // see pt_call
    long ret;
    u64 args[4];
#ifdef PT_TIMED
    u64 ns;
#endif
};

// True for a call that -x (FAILED) and the common filters (task.h) let through.
#ifdef FAILED
#define pt_is_shown_return(call) (pt_is_failed((call)->ret) && pt_task() == PT_YES)
#else
#define pt_is_shown_return(call) (pt_task() == PT_YES)
#endif

static int is_wanted(u32 nr);
static int on_return(void *ctx, struct pt_return *call);

#ifdef PT_TIMED
#define pt_starts(call) ((call)->ns = bpf_ktime_get_ns())
#define pt_takes(call)  ((call)->ns = bpf_ktime_get_ns() - (call)->ns)
#else
#define pt_starts(call)
#define pt_takes(call)
#endif

#if defined(HOOK_RETURN_TRACEPOINT) || defined(PT_TIMED)
#define pt_start         pt_return
#define HOOK_SWITCH_NONE // what these few calls cost is not worth a program on every switch
#include "inflight.h"

// A thread that dies in a call never returns from it.
int abandoned(void *ctx)
{
    pt_abandon();
    return PT_PASS;
}
#endif

#if defined(HOOK_RETURN_RAW_TRACEPOINT)
#ifdef PT_TIMED
// sys_enter(regs, id)
int called(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_return call = {};

    if (!is_wanted(ctx->args[1]))
        return PT_PASS;
    pt_starts(&call);
    pt_begin(&call);
    return PT_PASS;
}
#endif

// sys_exit(regs, ret)
int returned(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_regs *regs = pt_registers(ctx->args[0]);
    struct pt_return call;
#ifndef pt_number
#error "where the arguments of a call are is not known here: --hook return=tracepoint"
#endif
    u32 nr = pt_number(regs);

    if (!is_wanted(nr))
        return PT_PASS;
#ifdef PT_TIMED
    if (!pt_end(&call))
        return PT_PASS;
    pt_takes(&call);
#endif
    call.call = pt_call(nr);
    call.ret = ctx->args[1];
#if defined(__x86_64__)
    if (call.call >> 32) { // as 64-bit code may leave anything in the upper halves
        call.args[0] = (u32)pt_register(regs, bx);
        call.args[1] = (u32)pt_register(regs, cx);
        call.args[2] = (u32)pt_register(regs, dx);
        call.args[3] = (u32)pt_register(regs, si);
    } else {
        call.args[0] = pt_register(regs, di);
        call.args[1] = pt_register(regs, si);
        call.args[2] = pt_register(regs, dx);
        call.args[3] = pt_register(regs, r10);
    }
#elif defined(__aarch64__)
    call.args[0] = pt_register(regs, orig_x0);
    call.args[1] = pt_register(regs, regs[1]);
    call.args[2] = pt_register(regs, regs[2]);
    call.args[3] = pt_register(regs, regs[3]);
#endif
    return on_return(ctx, &call);
}
#elif defined(HOOK_RETURN_TRACEPOINT)
// The event at the end of a call does not tell the arguments: they are kept from its beginning.
int called(struct tracepoint__raw_syscalls__sys_enter *args)
{
    struct pt_return call = {};

    if (!is_wanted(args->id))
        return PT_PASS;
    call.call = pt_call(args->id);
#pragma unroll
    for (int i = 0; i < 4; i++)
        call.args[i] = call.call >> 32 ? (u32)args->args[i] : args->args[i];
    pt_starts(&call);
    pt_begin(&call);
    return PT_PASS;
}

int returned(struct tracepoint__raw_syscalls__sys_exit *args)
{
    struct pt_return call;

    if (!pt_end(&call))
        return PT_PASS;
    pt_takes(&call);
    call.ret = args->ret;
    return on_return(args, &call);
}
#endif
