// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// All system calls, from the hook that the planner chose. The tracer that includes this defines on_enter(number) and
// on_leave(number, return value). The number of on_leave is 0 unless the tracer defines PT_LEAVING: it costs a read,
// and not every alternative has it.
#include "read.h"

// A call is its number and, in the upper 32 bits, its ABI: 0 native, 1 the 32-bit one. The test costs a read of kernel
// memory for each call, so it is compiled only if the kernel runs 32-bit programs.
static __always_inline u64 pt_call(u32 nr)
{
    u64 compat = 0;

#if defined(PT_COMPAT) && defined(__x86_64__)
    compat = !!(pt_current_field(thread_info.status) & 0x2); // TS_COMPAT
#elif defined(PT_COMPAT) && defined(__aarch64__)
    compat = !!(pt_current_field(thread_info.flags) & (1UL << 22)); // TIF_32BIT
#endif
    return compat << 32 | nr;
}

#ifdef FILTER_CALLS
BPF_HASH(wanted, u64, u8, 2048);
#endif

// Return 1 if the user selected this call.
static __always_inline int pt_is_wanted(u64 call)
{
#if defined(FILTER_CALLS_EXCEPT)
    return !wanted.lookup(&call);
#elif defined(FILTER_CALLS)
    return !!wanted.lookup(&call);
#else
    return 1;
#endif
}

// The value that (rt_)sigreturn returns is a register of the interrupted code, not a result.
static __always_inline int pt_is_sigreturn(u64 call)
{
#if defined(__x86_64__)
    return call == 15 || call == (0x40000000 | 513) || call == (1ULL << 32 | 119) ||
           call == (1ULL << 32 | 173);
#elif defined(__aarch64__)
    return call == 139 || call == (1ULL << 32 | 119) || call == (1ULL << 32 | 173);
#else
    return 0;
#endif
}

// A call fails with an errno of at most MAX_ERRNO. ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND and
// ERESTART_RESTARTBLOCK are no failures: a signal interrupted the call. Whether the call is restarted or returns EINTR
// is decided when the signal is delivered, after sys_exit (include/linux/errno.h).
static __always_inline int pt_is_interrupted(long ret)
{
    return ret == -512 || ret == -513 || ret == -514 || ret == -516;
}

static __always_inline int pt_is_failed(long ret)
{
    return ret < 0 && ret >= -4095 && !pt_is_interrupted(ret);
}

// The number of a task's current call, from its user registers.
#if defined(__x86_64__)
#define pt_number(regs) ((u32)pt_register(regs, orig_ax))
#elif defined(__aarch64__)
#define pt_number(regs) ((u32)pt_register(regs, syscallno))
#endif

// The contexts of the trace events of a single call, syscalls:sys_enter_openat and syscalls:sys_exit_openat. The number
// has 64 bits there, but the kernel refuses programs that read behind the last field of the event, and calls without
// arguments have 32 bits of it.
struct pt_call_enter {
    u64 common;
    u32 nr;
};

struct pt_call_exit {
    u64 common;
    u32 nr;
    u32 upper;
    long ret;
};

#if defined(HOOK_SYSCALL_CALL_TRACEPOINTS) || defined(HOOK_RETURN_CALL_TRACEPOINTS) ||                       \
    defined(HOOK_TCP_ACCEPT_CALL_TRACEPOINTS)
// sched_process_exec. The calls of 32-bit programs do not raise the events of single calls. (None of those that run
// already is traced: else the planner would have chosen another alternative.)
int compat_executed(void *ctx)
{
    if (pt_call(0) >> 32 && pt_is_current_traced())
        pt_lost(PT_LOSS_COMPAT);
    return PT_PASS;
}
#endif

#if defined(HOOK_SYSCALL_FENTRY)
// __x64_sys_openat(regs) and its like, by trampolines, which take no other result than 0. Emulated vsyscalls call some
// without a system call: then the number is -1.
int enter(u64 *ctx)
{
    struct pt_regs *regs = pt_registers(ctx[0]);
    s32 nr = pt_number(regs);

    if (nr >= 0)
        on_enter(nr);
    return 0;
}

int leave(u64 *ctx)
{
    on_leave(0, ctx[1]);
    return 0;
}
#elif defined(HOOK_SYSCALL_CALL_TRACEPOINTS)
int enter(struct pt_call_enter *args)
{
    return on_enter(args->nr);
}

int leave(struct pt_call_exit *args)
{
    return on_leave(args->nr, args->ret);
}
#elif defined(HOOK_SYSCALL_RAW_TRACEPOINT)
int enter(struct bpf_raw_tracepoint_args *ctx)
{
    return on_enter(ctx->args[1]);
}

int leave(struct bpf_raw_tracepoint_args *ctx)
{
    u32 nr = 0;
#ifdef PT_LEAVING
    struct pt_regs *regs = pt_registers(ctx->args[0]);

    nr = pt_number(regs);
#endif
    return on_leave(nr, ctx->args[1]);
}
#elif defined(HOOK_SYSCALL_TRACEPOINT)
int enter(struct tracepoint__raw_syscalls__sys_enter *args)
{
    return on_enter(args->id);
}

int leave(struct tracepoint__raw_syscalls__sys_exit *args)
{
    return on_leave(args->id, args->ret);
}
#elif defined(HOOK_SYSCALL_KPROBE_DISPATCH) || defined(HOOK_SYSCALL_KPROBE_MULTI) ||                         \
    defined(HOOK_SYSCALL_KPROBE_RETURN) || defined(HOOK_SYSCALL_KPROBE_EVENTS)
// x64_sys_call(regs, nr), or one of __x64_sys_*(regs): regs are the caller's. (x32_sys_call's nr lacks the bit that
// makes it an x32 call.) One of the latter is for numbers beyond the tables; some kernels do not allow a probe there.
// Emulated vsyscalls call three of them without a system call: then the number is -1.
int enter(struct pt_regs *ctx)
{
    struct pt_regs *regs = (struct pt_regs *)PT_REGS_PARM1(ctx);
    s32 nr = pt_read(regs->orig_ax);

    return nr < 0 ? PT_PASS : on_enter(nr);
}

#if defined(HOOK_SYSCALL_KPROBE_RETURN)
// The return of the function that runs enter.
int leave(struct pt_regs *ctx)
{
    return on_leave(0, PT_REGS_RC(ctx));
}
#else
// syscall_exit_to_user_mode_prepare(regs) or exit_to_user_mode_prepare(regs). Not a kretprobe: it loses calls when many
// threads sleep in one. Interrupts of user mode call the latter, too: then no call is in flight.
int leave(struct pt_regs *ctx)
{
    struct pt_regs *regs = (struct pt_regs *)PT_REGS_PARM1(ctx);

    return on_leave(0, pt_read(regs->ax));
}
#endif
#endif
