// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show signals as they are sent and (with --delivered) delivered.
#define PT_RECORDS 2
#include "task.h"
#include "other_task.h"
#include <linux/signal_types.h>

struct event {
    u64 ns;
    u64 code; // includes the signal above bit 32, since the meaning of a code depends on the signal
    u32 pid;  // 0: the kernel itself
    u32 signal;
    u32 to_pid;
    u32 to_tid; // 0: any thread of the process
    u32 result;
    char comm[PT_COMM_LEN];
    char to_comm[PT_COMM_LEN];
};
#include "stream.h"

// TRACE_SIGNAL_* of include/trace/events/signal.h go from 0 to 4.
enum result { DEFAULT = 5, HANDLER, DROPPED };

// Of struct kernel_siginfo, before Linux 4.20 (ae7795bc6187) siginfo.
struct pt_siginfo {
    s32 number;
    s32 error;
    s32 code;
};

enum code { USER = 0, BY_KERNEL = 0x80, TIMER = -2, ASYNCIO = -4, BY_SIGIO = -5, ASYNCNL = -60 };

#define FIRST_CHILD_CODE 1 // CLD_EXITED ... CLD_CONTINUED
#define LAST_CHILD_CODE  6
#define CHILD            17 // SIGCHLD

#ifdef ONLY_SIGNALS
BPF_HASH(pt_signals, u64, u8, 128);
#endif

static __always_inline int is_wanted(u64 signal)
{
#if defined(ONLY_SIGNALS_EXCEPT)
    return !pt_signals.lookup(&signal);
#elif defined(ONLY_SIGNALS)
    return !!pt_signals.lookup(&signal);
#else
    return 1;
#endif
}

// SEND_SIG_NOINFO is 0, SEND_SIG_PRIV is 1; else it is a pointer.
static __always_inline s32 code_of(struct pt_siginfo *info)
{
    u64 special = (u64)info;

    return special == 0 ? USER : special == 1 ? BY_KERNEL : pt_read(info->code);
}

// Return 1 if the current task sends the signal. The kernel may send one in an interrupt of any task; a fault (ILL,
// TRAP, BUS, FPE, SEGV, SYS) is caused by the task that gets its signal, and a child's end by the child.
static __always_inline int is_by_current(u32 signal, s32 code, struct task_struct *task)
{
    u64 faults = 1ULL << 4 | 1ULL << 5 | 1ULL << 7 | 1ULL << 8 | 1ULL << 11 | 1ULL << 31;

    if (code <= 0)
        return code != TIMER && code != ASYNCIO && code != BY_SIGIO && code != ASYNCNL;
    if (code == BY_KERNEL)
        return 0;
    if (signal == CHILD)
        return code >= FIRST_CHILD_CODE && code <= LAST_CHILD_CODE;
    return signal < 32 && (faults >> signal & 1) && (u64)task == bpf_get_current_task();
}

// signal_generate(sig, info, task, group, result)
int sent(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[2];
    u32 signal = ctx->args[0];
    s32 code = code_of((struct pt_siginfo *)ctx->args[1]);
    int by_current = is_by_current(signal, code, task);
    struct event *event;

    if (!is_wanted(signal) || !((by_current && pt_is_current_traced()) || pt_is_traced(task)))
        return PT_PASS;
    event = pt_reserve();
    if (!event)
        return PT_PASS;
    __builtin_memset(event, 0, sizeof(*event));
    event->ns = bpf_ktime_get_ns();
    event->signal = signal;
    event->code = (u64)signal << 32 | (u32)code;
    if (by_current) {
        event->pid = bpf_get_current_pid_tgid() >> 32;
        bpf_get_current_comm(&event->comm, sizeof(event->comm));
    }
    event->to_pid = pt_read(task->tgid);
    event->to_tid = (u32)ctx->args[3] ? 0 : pt_read(task->pid);
    pt_probe_read_kernel(event->to_comm, sizeof(event->to_comm), &task->comm);
    event->result = ctx->args[4];
    pt_submit(ctx, event);
    return PT_PASS;
}

// signal_deliver(sig, info, ka), in the receiving task
int delivered(struct bpf_raw_tracepoint_args *ctx)
{
    struct k_sigaction *action = (struct k_sigaction *)ctx->args[2];
    u64 handler = (u64)pt_read(action->sa.sa_handler), id = bpf_get_current_pid_tgid();
    u32 signal = ctx->args[0];
    struct event *event;

    if (!is_wanted(signal) || !pt_is_current_traced())
        return PT_PASS;
    event = pt_reserve();
    if (!event)
        return PT_PASS;
    __builtin_memset(event, 0, sizeof(*event));
    event->ns = bpf_ktime_get_ns();
    event->signal = signal;
    event->code = (u64)signal << 32 | (u32)code_of((struct pt_siginfo *)ctx->args[1]);
    event->to_pid = id >> 32;
    event->to_tid = id;
    bpf_get_current_comm(&event->to_comm, sizeof(event->to_comm));
    event->result = handler == 0 ? DEFAULT : handler == 1 ? DROPPED : HANDLER; // SIG_DFL, SIG_IGN
    pt_submit(ctx, event);
    return PT_PASS;
}
