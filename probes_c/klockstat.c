// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up the time that tasks wait for locks of the kernel, by the stacks that take them.
#include "config.h"
#include "interrupt.h"
#include "stack.h"
#include "task.h"

// LCB_F_* of include/trace/events/lock.h, macros and so absent from BTF
#define LCB_F_SPIN   0x01
#define LCB_F_READ   0x02
#define LCB_F_WRITE  0x04
#define LCB_F_RT     0x08
#define LCB_F_PERCPU 0x10
#define LCB_F_MUTEX  0x20

// A task may wait for a lock, and then in an interrupt for another one.
struct wait_key {
    u64 task;
    u64 lock;
};
struct wait {
    u64 ns;
    u64 flags;
};
BPF_HASH(waiting, struct wait_key, struct wait, 16384);

struct row_key {
    PT_STACKS_MEMBERS; // the process (BY_PID) is one of them
#ifdef BY_TYPE
    char type[16];
#endif
#ifdef BY_LOCK
    u64 lock;
#endif
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
};

struct row_value {
    u64 total_ns;
    u64 waits;
};
#include "rows.h"

static __always_inline void name_type(char *type, u32 flags)
{
#define PT_NAMED(name) __builtin_memcpy(type, name, sizeof(name))
    if (flags & LCB_F_MUTEX)
        PT_NAMED("mutex");
    else if (flags & LCB_F_PERCPU)
        PT_NAMED("percpu-rwsem");
    else if (flags & LCB_F_RT)
        PT_NAMED("rtmutex");
    else if (flags & LCB_F_SPIN)
        flags &(LCB_F_READ | LCB_F_WRITE) ? PT_NAMED("rwlock") : PT_NAMED("spinlock");
    else if (flags & (LCB_F_READ | LCB_F_WRITE))
        PT_NAMED("rwsem");
    else
        PT_NAMED("semaphore");
}

// contention_begin(lock, flags). Raised again where a mutex is slept for after it was spun for: the wait goes on.
int begins(struct bpf_raw_tracepoint_args *ctx)
{
    struct wait_key key = {.task = bpf_get_current_task(), .lock = ctx->args[0]};
    struct wait wait = {.ns = bpf_ktime_get_ns(), .flags = (u32)ctx->args[1]};
    int error;

    if (!pt_is_current_traced())
        return PT_PASS;
    error = waiting.insert(&key, &wait);
    if (error && error != -17) // EEXIST
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}

// contention_end(lock, ret)
int ends(struct bpf_raw_tracepoint_args *ctx)
{
    struct wait_key waited = {.task = bpf_get_current_task(), .lock = ctx->args[0]};
    struct wait *wait = waiting.lookup(&waited);
    struct row_value *row;
    struct row_key key;
    u32 flags;
    u64 ns;

    if (!wait)
        return PT_PASS;
    ns = bpf_ktime_get_ns() - wait->ns;
    flags = wait->flags;
    waiting.delete(&waited);
    if (ns < pt_cfg(PT_CFG_MIN))
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
    if (pt_get_stacks(ctx, (struct pt_stacks *)&key)) // no room for the stack: the loss is counted
        return PT_PASS;
    if (pt_is_in_interrupt(ctx)) {
        key.pid = 0;
        key.image = key.generation = 0;
        key.user_stack = PT_STACK_NONE;
#ifdef BY_COMM
    } else {
        bpf_get_current_comm(&key.comm, sizeof(key.comm));
#endif
    }
#ifdef BY_TYPE
    name_type(key.type, flags);
#endif
#ifdef BY_LOCK
    key.lock = ctx->args[0];
#endif
    row = pt_row(&key);
    if (row) {
        row->total_ns += ns;
        row->waits++;
    }
    return PT_PASS;
}
