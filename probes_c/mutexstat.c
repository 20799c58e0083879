// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up the time that threads wait for locks of the C library, and hold them, by the stack that takes them.
//
// A hold is from the return of the call that takes the mutex to the call that releases it: waiting for a condition
// releases it, too, and takes it again.
#define USER_ONLY
#include "config.h"
#include "stack.h"
#include "task.h"

struct pt_call {
    u64 ns;
    u64 caller;
    u32 tid;
    u32 is_contended;
    u64 lock;
};
#include "calls.h"
#include "pthread_locks.h"

struct row_key {
    PT_STACKS_MEMBERS; // the process (BY_PID) is one of them
    u64 caller;        // the return address, which the stack of a function that is about to return lacks
#ifdef BY_LOCK
    u64 lock;
#endif
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
};

struct row_value {
    u64 held_ns;
    u64 holds;
    u64 total_ns;
    u64 waits;
};
#include "rows.h"

struct hold_key {
    u64 id; // process and thread
    u64 lock;
};
struct hold {
    u64 ns;
    u64 depth; // of a recursive mutex, or of a thread that reads twice
    struct row_key row;
};
BPF_HASH(holds, struct hold_key, struct hold, 65536);

#define EOWNERDEAD 130 // a robust mutex is taken from a thread that ended

static __always_inline void released(u64 lock, u64 times)
{
    struct hold_key key = {.id = bpf_get_current_pid_tgid(), .lock = lock};
    u64 now = bpf_ktime_get_ns(), ns;
    struct hold *hold = holds.lookup(&key);
    struct row_value *row;

    if (!hold)
        return;
    if (hold->depth > times) {
        hold->depth -= times;
        return;
    }
    ns = now - hold->ns;
    row = ns >= pt_cfg(PT_CFG_MIN) ? pt_row(&hold->row) : 0;
    if (row) {
        row->held_ns += ns;
        row->holds++;
    }
    holds.delete(&key);
}

int begins(struct pt_regs *ctx)
{
    struct hold_key key = {.id = bpf_get_current_pid_tgid()};
    u64 args[PT_ARGUMENTS_MAX] = {};
    struct pt_call call = {};
    u32 kind = pt_kind(ctx);

    if (!pt_may_trace_current())
        return pt_pass();
    pt_read_arguments(ctx, args);
    key.lock = call.lock = IS_CONDITION(kind) ? args[1] : args[0];
    if (IS_UNLOCK(kind)) {
        released(call.lock, 1);
        return pt_pass();
    }
    if (IS_CONDITION(kind))
        released(call.lock, ~0ULL);
    if (!holds.lookup(&key))
        call.is_contended = is_contended(kind, call.lock);
    pt_call_enter(ctx, &call);
    return pt_pass();
}

static __always_inline int fill_row(void *ctx, struct row_key *row, u64 lock)
{
    if (pt_get_stacks(ctx, (struct pt_stacks *)row)) // no room for the stack: the loss is counted
        return -1;
    row->caller = pt_return_address(ctx);
#ifdef BY_LOCK
    row->lock = lock;
#endif
#ifdef BY_COMM
    bpf_get_current_comm(&row->comm, sizeof(row->comm));
#endif
    return 0;
}

int returns(struct pt_regs *ctx)
{
    u32 result = pt_return_value(ctx), kind = pt_kind(ctx);
    struct hold_key key = {.id = bpf_get_current_pid_tgid()};
    int is_taken = !result || result == EOWNERDEAD || IS_CONDITION(kind), has_waited;
    struct pt_call call = {};
    struct row_value *row;
    struct hold hold, *held;
    u64 ns;

    if (!pt_call_exit(ctx, &call, &ns) || pt_followed() != PT_TRACED)
        return pt_pass();
    key.lock = call.lock;
    held = holds.lookup(&key);
    if (held) {
        held->depth += is_taken && !IS_CONDITION(kind); // an older version of those calls the newer one
        return pt_pass();
    }
    has_waited = call.is_contended && ns >= pt_cfg(PT_CFG_MIN);
    __builtin_memset(&hold, 0, sizeof(hold)); // padding, too: it goes into a map
    if ((!is_taken && !has_waited) || fill_row(ctx, &hold.row, call.lock))
        return pt_pass();
    row = has_waited ? pt_row(&hold.row) : 0;
    if (row) {
        row->total_ns += ns;
        row->waits++;
    }
    hold.depth = 1;
    hold.ns = bpf_ktime_get_ns();
    if (is_taken && holds.update(&key, &hold))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return pt_pass();
}
