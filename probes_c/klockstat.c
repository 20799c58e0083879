// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up the time that tasks wait for locks of the kernel, and with HELD hold them, by the stacks that take them.
#include "config.h"
#include "interrupt.h"
#include "lock_events.h"
#include "stack.h"
#include "task.h"

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
#ifdef BY_HOLDER
    u32 holder;
    char holder_comm[PT_COMM_LEN];
#endif
};

struct row_value {
    u64 total_ns;
    u64 waits;
#ifdef HELD
    u64 held_ns;
    u64 holds;
#endif
};
#include "rows.h"

// Who holds the lock as a wait for it begins.
static __always_inline void fill_holder(struct row_key *key, u64 lock, u32 flags)
{
#ifdef BY_HOLDER
    struct task_struct *holder = pt_lock_holder(lock, flags);

    if (!holder)
        return;
    key->holder = pt_read(holder->tgid);
    pt_probe_read_kernel(&key->holder_comm, sizeof(key->holder_comm), &holder->comm);
#endif
}

// All but the stacks, which a key begins with.
static __always_inline void fill_lock(struct row_key *key, u64 lock, u32 flags)
{
#ifdef BY_TYPE
    pt_name_lock_type(key->type, flags);
#endif
#ifdef BY_LOCK
    key->lock = lock;
#endif
#ifdef BY_COMM
    bpf_get_current_comm(&key->comm, sizeof(key->comm));
#endif
}

#ifdef HOOK_CONTENTION_RAW_TRACEPOINT
// A task may wait for a lock, and then in an interrupt for another one.
struct wait_key {
    u64 task;
    u64 lock;
};
struct wait {
    u64 ns;
    u64 flags;
    struct row_key key; // of which the holder is filled in
};
BPF_HASH(waiting, struct wait_key, struct wait, 16384);

// contention_begin(lock, flags). Raised again where a mutex is slept for after it was spun for: the wait goes on.
int begins(struct bpf_raw_tracepoint_args *ctx)
{
    struct wait_key key = {.task = bpf_get_current_task(), .lock = ctx->args[0]};
    struct wait wait = {.ns = bpf_ktime_get_ns(), .flags = (u32)ctx->args[1]};
    int error;

    if (!pt_is_current_traced())
        return PT_PASS;
    fill_holder(&wait.key, key.lock, wait.flags);
    error = waiting.insert(&key, &wait);
    if (error && error != -17) // EEXIST
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}

// contention_end(lock, ret)
int ends(struct bpf_raw_tracepoint_args *ctx)
{
    struct wait_key waited = {.task = bpf_get_current_task(), .lock = ctx->args[0]};
    struct wait *found = waiting.lookup(&waited), wait;
    struct row_value *row;
    u64 ns;

    if (!found)
        return PT_PASS;
    ns = bpf_ktime_get_ns() - found->ns;
    wait = *found;
    waiting.delete(&waited);
    if (ns < pt_cfg(PT_CFG_MIN))
        return PT_PASS;
    if (pt_get_stacks(ctx, (struct pt_stacks *)&wait.key)) // no room for the stack: the loss is counted
        return PT_PASS;
    fill_lock(&wait.key, waited.lock, wait.flags);
    // Locks that are slept for are a task's own, also in a page fault.
    if ((wait.flags & (LCB_F_SPIN | LCB_F_MUTEX)) == LCB_F_SPIN && pt_is_in_interrupt(ctx)) {
        wait.key.pid = 0;
        wait.key.image = wait.key.generation = 0;
        wait.key.user_stack = PT_STACK_NONE;
#ifdef BY_COMM
        __builtin_memset(&wait.key.comm, 0, sizeof(wait.key.comm));
#endif
    }
    row = pt_row(&wait.key);
    if (row) {
        row->total_ns += ns;
        row->waits++;
    }
    return PT_PASS;
}
#elif defined(HOOK_CONTENTION_FEXIT) || defined(HOOK_CONTENTION_KPROBE) || defined(HOOK_HELD_FEXIT) ||       \
    defined(HOOK_HELD_KPROBE)
static __always_inline int fill_key(void *ctx, struct row_key *key, u64 lock, u32 flags)
{
    fill_lock(key, lock, flags);
    fill_holder(key, lock, flags);
    return pt_get_stacks(ctx, (struct pt_stacks *)key);
}
#include "lock_calls.h"
#endif
