// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Selected system calls at their return, with their arguments. The tracer that includes this defines is_wanted(number),
// a cheap test of a number of any ABI, and on_return(context, call).
//
// The user registers still hold the arguments when a call returns. So one program at sys_exit is enough and nothing is
// saved for calls in flight; calls that seccomp or ptrace answers are seen, too.
//
// With the hook RETURN_TIMED each call has its duration. Then the start is saved at sys_enter, and calls that began
// before the trace are not seen.
//
//     int is_wanted(u32 number)                          define it, or include syscall_numbers.h
//     int on_return(void *ctx, struct pt_return *call)   define it; returns PT_PASS
//     int pt_is_shown_return(struct pt_return *call)     1 for a call that the filters and -x select
//     PT_RETURN_ARGUMENTS                                define it as 5 if call->args[4] is needed, too
#include "syscall.h"

#ifdef PT_TIMED
#error "leave out PT_TIMED, and declare the hook RETURN_TIMED, whose programs save the start"
#endif
#ifdef PT_RETURN_TIMED
#define PT_TIMED
#endif

#ifndef PT_RETURN_ARGUMENTS
#define PT_RETURN_ARGUMENTS 4
#endif

struct pt_return {
    u64 call; // see pt_call
    long ret;
    u64 args[PT_RETURN_ARGUMENTS];
#ifdef PT_TIMED
    u64 ns;
#endif
};

// 1 for a call that -x (FAILED) and the common filters (task.h) select.
#ifdef FAILED
#define pt_is_shown_return(call) (pt_is_failed((call)->ret) && pt_is_current_traced())
#else
#define pt_is_shown_return(call) (pt_is_current_traced())
#endif

static int is_wanted(u32 nr);
static int on_return(void *ctx, struct pt_return *call);

#ifdef PT_TIMED
#define pt_start_timer(call) ((call)->ns = bpf_ktime_get_ns())
#define pt_stop_timer(call)  ((call)->ns = bpf_ktime_get_ns() - (call)->ns)
#else
#define pt_start_timer(call)
#define pt_stop_timer(call)
#endif

#if defined(HOOK_RETURN_TRACEPOINT) || defined(PT_TIMED)
#define pt_start         pt_return
#define HOOK_SWITCH_NONE // for these few calls a program at every context switch would cost more
#include "inflight.h"

// A thread that exits in a call never returns from it.
int abandoned(void *ctx)
{
    pt_abandon();
    return PT_PASS;
}
#endif

#ifndef HOOK_RETURN_TRACEPOINT
// A call has returned; "regs" are its task's user registers.
static __always_inline int pt_on_returned(void *ctx, struct pt_regs *regs, long ret)
{
    struct pt_return call;
#ifndef pt_number
#error "the registers of arguments are not known on this architecture: use --hook return=tracepoint"
#endif
    u32 nr = pt_number(regs);

    if (!is_wanted(nr))
        return PT_PASS;
#ifdef PT_TIMED
    if (!pt_end(&call))
        return PT_PASS;
    pt_stop_timer(&call);
#endif
    call.call = pt_call(nr);
    call.ret = ret;
#if defined(__x86_64__)
    if (call.call >> 32) { // the upper halves are undefined in a 32-bit call
        call.args[0] = (u32)pt_register(regs, bx);
        call.args[1] = (u32)pt_register(regs, cx);
        call.args[2] = (u32)pt_register(regs, dx);
        call.args[3] = (u32)pt_register(regs, si);
#if PT_RETURN_ARGUMENTS > 4
        call.args[4] = (u32)pt_register(regs, di);
#endif
    } else {
        call.args[0] = pt_register(regs, di);
        call.args[1] = pt_register(regs, si);
        call.args[2] = pt_register(regs, dx);
        call.args[3] = pt_register(regs, r10);
#if PT_RETURN_ARGUMENTS > 4
        call.args[4] = pt_register(regs, r8);
#endif
    }
#elif defined(__aarch64__)
    call.args[0] = pt_register(regs, orig_x0);
    call.args[1] = pt_register(regs, regs[1]);
    call.args[2] = pt_register(regs, regs[2]);
    call.args[3] = pt_register(regs, regs[3]);
#if PT_RETURN_ARGUMENTS > 4
    call.args[4] = pt_register(regs, regs[4]);
#endif
#endif
    return on_return(ctx, &call);
}
#endif

#if defined(HOOK_RETURN_FEXIT)
// __x64_sys_openat(regs) and its like
int returned(u64 *ctx)
{
    pt_on_returned(ctx, pt_registers(ctx[0]), ctx[1]);
    return 0; // a trampoline takes nothing else
}
#elif defined(HOOK_RETURN_CALL_TRACEPOINTS)
// syscalls:sys_exit_openat and its like. Their context has no registers: this takes Linux 5.15.
int returned(struct pt_call_exit *args)
{
    return pt_on_returned(args, (struct pt_regs *)pt_task_pt_regs(bpf_get_current_task_btf()), args->ret);
}
#elif defined(HOOK_RETURN_RAW_TRACEPOINT)
#ifdef PT_TIMED
// sys_enter(regs, id)
int called(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_return call = {};

    if (!is_wanted(ctx->args[1]))
        return PT_PASS;
    pt_start_timer(&call);
    pt_begin(&call);
    return PT_PASS;
}
#endif

// sys_exit(regs, ret)
int returned(struct bpf_raw_tracepoint_args *ctx)
{
    return pt_on_returned(ctx, pt_registers(ctx->args[0]), ctx->args[1]);
}
#elif defined(HOOK_RETURN_TRACEPOINT)
// The trace event sys_exit has no arguments: they are saved at sys_enter.
int called(struct tracepoint__raw_syscalls__sys_enter *args)
{
    struct pt_return call = {};

    if (!is_wanted(args->id))
        return PT_PASS;
    call.call = pt_call(args->id);
#pragma unroll
    for (int i = 0; i < PT_RETURN_ARGUMENTS; i++)
        call.args[i] = call.call >> 32 ? (u32)args->args[i] : args->args[i];
    pt_start_timer(&call);
    pt_begin(&call);
    return PT_PASS;
}

int returned(struct tracepoint__raw_syscalls__sys_exit *args)
{
    struct pt_return call;

    if (!pt_end(&call))
        return PT_PASS;
    pt_stop_timer(&call);
    call.ret = args->ret;
    return on_return(args, &call);
}
#endif
