// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count checks for capabilities by capability, result and (STACKS) call site.
#include "current_call.h"
#include "task_rows.h"
#ifdef STACKS
#include "stack.h"
#endif

struct row_key {
#if defined(STACKS)
    PT_STACKS_MEMBERS;
#elif defined(BY_PID)
    u32 pid;
#endif
#ifdef BY_CAPABILITY
    u32 capability;
#endif
#ifdef BY_SYSCALL
    u64 call;
#endif
#ifdef BY_RESULT
    char result[8];
#endif
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
};

struct row_value {
    u64 checks;
    PT_TASK_NAME;
};
#include "rows.h"

// A check of the current task has ended, with 0 or -EPERM.
static __always_inline int count(void *ctx, struct row_key *key, u32 capability, int refused)
{
    struct row_value *row;

#ifdef REFUSED
    if (!refused)
        return PT_PASS;
#endif
#if defined(BY_PID) && !defined(STACKS)
    key->pid = bpf_get_current_pid_tgid() >> 32;
#endif
#ifdef BY_CAPABILITY
    key->capability = capability;
#endif
#ifdef BY_SYSCALL
    key->call = pt_current_call();
#endif
#ifdef BY_RESULT
    if (refused)
        __builtin_memcpy(key->result, "refused", 8);
    else
        __builtin_memcpy(key->result, "granted", 8);
#endif
#ifdef BY_COMM
    bpf_get_current_comm(&key->comm, sizeof(key->comm));
#endif
    row = pt_row(key);
    if (!row)
        return PT_PASS;
    row->checks++;
    pt_fill_task_name(row);
    return PT_PASS;
}

// Add the stack of the check to the key. Returns 1 if it was lost.
static __always_inline int place(void *ctx, struct row_key *key)
{
    __builtin_memset(key, 0, sizeof(*key));
#ifdef STACKS
    return pt_get_stacks(ctx, (struct pt_stacks *)key);
#else
    return 0;
#endif
}

#if defined(HOOK_CHECKED_RAW_TRACEPOINT)
// cap_capable(cred, target_ns, capable_ns, cap, ret), Linux 6.14
int checked(struct bpf_raw_tracepoint_args *ctx)
{
    struct row_key key;

    if (!pt_is_current_traced() || place(ctx, &key))
        return PT_PASS;
    return count(ctx, &key, ctx->args[3], !!(int)ctx->args[4]);
}
#elif defined(HOOK_CHECKED_FEXIT)
// cap_capable(cred, ns, cap, opts), and what it returns
int checked(u64 *ctx)
{
    struct row_key key;

    if (!pt_is_current_traced() || place(ctx, &key))
        return 0;
    count(ctx, &key, ctx[2], !!(int)ctx[4]);
    return 0;
}
#elif defined(HOOK_CHECKED_KPROBE)
// The check is inside its task's call: before Linux 5.16, the stack of a return would end at the return probe.
struct pt_start {
    struct row_key key;
    u32 capability;
};
#define HOOK_SWITCH_NONE // no task is switched out during a check
#include "inflight.h"

int checks(struct pt_regs *ctx)
{
    struct pt_start start;

    __builtin_memset(&start, 0, sizeof(start)); // padding, too: it goes into a map
    if (!pt_is_current_traced() || place(ctx, &start.key))
        return PT_PASS;
    start.capability = PT_REGS_PARM3(ctx);
    pt_begin(&start);
    return PT_PASS;
}

int checked(struct pt_regs *ctx)
{
    struct pt_start start;

    if (!pt_end(&start))
        return PT_PASS;
    return count(ctx, &start.key, start.capability, !!(int)PT_REGS_RC(ctx));
}
#endif
