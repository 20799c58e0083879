// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Calls of the functions that take and release mutexes and rwsems. The tracer that includes this has defined struct
// row_key and fill_key(context, row_key, lock, flags), and struct row_value with the members waits, total_ns, and with
// HELD holds, held_ns.
//
// Only tasks call these functions, one at a time; but an interrupt may try to take a lock while its task is in another
// one (stack maps do so with mmap_lock).
#include "config.h"
#include "lock_events.h"
#include "task.h"

#if defined(HOOK_CONTENTION_FEXIT) || defined(HOOK_HELD_FEXIT)
#define LOCK_PASS 0 // the only value that the verifier lets a program on a trampoline return
#else
#define LOCK_PASS PT_PASS
#endif
#define LOCK_TRIES 1 // beside LCB_F_*, in the place of LCB_F_SPIN: the call does not wait

struct pt_lock_call {
    u64 ns; // when the call began, or when the lock was taken
    u64 lock;
    u64 is_contended;
    struct row_key row;
};
// By the address of the task, which is even; plus one for a call that tries.
BPF_HASH(lock_calls, u64, struct pt_lock_call, 16384);

#ifdef HELD
// A task may hold many locks, and several tasks may hold one rwsem.
struct pt_hold_key {
    u64 task;
    u64 lock;
};
BPF_HASH(holds, struct pt_hold_key, struct pt_lock_call, 65536);
#endif

// The first argument, or with "at" 1 the return value.
static __always_inline u64 lock_argument(void *ctx, u32 index)
{
    u64 value = 0;

#if defined(HOOK_CONTENTION_FEXIT) || defined(HOOK_HELD_FEXIT)
    pt_probe_read_kernel(&value, sizeof(value), ctx + 8 * index);
#else
    value = index ? PT_REGS_RC((struct pt_regs *)ctx) : PT_REGS_PARM1((struct pt_regs *)ctx);
#endif
    return value;
}

// Return 1 if a task that wants the lock has to wait: by the owner of a mutex, or by the count of an rwsem. The lowest
// bits of the count mean: a writer has it, tasks wait, the next owner is chosen; the higher bits count readers.
static __always_inline int is_contended(u64 lock, u32 flags)
{
#if PT_HAS_mutex__owner
    if (flags & LCB_F_MUTEX)
        return !!(pt_read(((struct mutex *)lock)->owner.counter) & ~7ULL);
#endif
#if PT_HAS_rw_semaphore__count
    if (flags & LCB_F_READ)
        return !!(pt_read(((struct rw_semaphore *)lock)->count.counter) & 7);
    if (flags & LCB_F_WRITE)
        return !!pt_read(((struct rw_semaphore *)lock)->count.counter);
#endif
    return 1;
}

static __always_inline int lock_begins(void *ctx, u32 flags)
{
    u64 task = bpf_get_current_task() + (flags & LOCK_TRIES);
    struct pt_lock_call call = {};

    if (!pt_is_current_traced())
        return LOCK_PASS;
    call.lock = lock_argument(ctx, 0);
    call.is_contended = !(flags & LOCK_TRIES) && is_contended(call.lock, flags);
#ifndef HELD
    if (!call.is_contended)
        return LOCK_PASS;
#endif
    if (fill_key(ctx, &call.row, call.lock,
                 flags & ~LOCK_TRIES)) // no room for the stack: the loss is counted
        return LOCK_PASS;
    call.ns = bpf_ktime_get_ns();
    if (lock_calls.update(&task, &call))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return LOCK_PASS;
}

static __always_inline int lock_ends(u32 tries, int is_taken)
{
    u64 task = bpf_get_current_task() + tries, now = bpf_ktime_get_ns(), waited;
    struct pt_lock_call *call = lock_calls.lookup(&task);
    struct row_value *row;

    if (!call)
        return LOCK_PASS;
    waited = now - call->ns;
    row = call->is_contended && waited >= pt_cfg(PT_CFG_MIN) ? pt_row(&call->row) : 0;
    if (row) {
        row->total_ns += waited;
        row->waits++;
    }
#ifdef HELD
    struct pt_hold_key key = {.task = bpf_get_current_task(), .lock = call->lock};

    call->ns = now;
    if (is_taken && holds.update(&key, call))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
#endif
    lock_calls.delete(&task);
    return LOCK_PASS;
}

#ifdef HELD
static __always_inline int lock_released(void *ctx)
{
    struct pt_hold_key key = {.task = bpf_get_current_task(), .lock = lock_argument(ctx, 0)};
    u64 now = bpf_ktime_get_ns(), ns;
    struct pt_lock_call *hold = holds.lookup(&key);
    struct row_value *row;

    if (!hold)
        return LOCK_PASS;
    ns = now - hold->ns;
    row = ns >= pt_cfg(PT_CFG_MIN) ? pt_row(&hold->row) : 0;
    if (row) {
        row->held_ns += ns;
        row->holds++;
    }
    holds.delete(&key);
    return LOCK_PASS;
}
#endif

// A program for the entry and one for the return of each function. Interruptible functions return 0 if they took the
// lock, and trylock functions 1.
// clang-format off
int mutex_lock_begins(void *ctx)               { return lock_begins(ctx, LCB_F_MUTEX); }
int mutex_lock_ends(void *ctx)                 { return lock_ends(0, 1); }
int mutex_lock_interruptible_begins(void *ctx) { return lock_begins(ctx, LCB_F_MUTEX); }
int mutex_lock_interruptible_ends(void *ctx)   { return lock_ends(0, !(int)lock_argument(ctx, 1)); }
int mutex_lock_killable_begins(void *ctx)      { return lock_begins(ctx, LCB_F_MUTEX); }
int mutex_lock_killable_ends(void *ctx)        { return lock_ends(0, !(int)lock_argument(ctx, 1)); }
int down_read_begins(void *ctx)                { return lock_begins(ctx, LCB_F_READ); }
int down_read_ends(void *ctx)                  { return lock_ends(0, 1); }
int down_read_interruptible_begins(void *ctx)  { return lock_begins(ctx, LCB_F_READ); }
int down_read_interruptible_ends(void *ctx)    { return lock_ends(0, !(int)lock_argument(ctx, 1)); }
int down_read_killable_begins(void *ctx)       { return lock_begins(ctx, LCB_F_READ); }
int down_read_killable_ends(void *ctx)         { return lock_ends(0, !(int)lock_argument(ctx, 1)); }
int down_write_begins(void *ctx)               { return lock_begins(ctx, LCB_F_WRITE); }
int down_write_ends(void *ctx)                 { return lock_ends(0, 1); }
int down_write_killable_begins(void *ctx)      { return lock_begins(ctx, LCB_F_WRITE); }
int down_write_killable_ends(void *ctx)        { return lock_ends(0, !(int)lock_argument(ctx, 1)); }
#ifdef HELD
int mutex_trylock_begins(void *ctx)            { return lock_begins(ctx, LCB_F_MUTEX | LOCK_TRIES); }
int mutex_trylock_ends(void *ctx)              { return lock_ends(LOCK_TRIES, !!(int)lock_argument(ctx, 1)); }
int down_read_trylock_begins(void *ctx)        { return lock_begins(ctx, LCB_F_READ | LOCK_TRIES); }
int down_read_trylock_ends(void *ctx)          { return lock_ends(LOCK_TRIES, !!(int)lock_argument(ctx, 1)); }
int down_write_trylock_begins(void *ctx)       { return lock_begins(ctx, LCB_F_WRITE | LOCK_TRIES); }
int down_write_trylock_ends(void *ctx)         { return lock_ends(LOCK_TRIES, !!(int)lock_argument(ctx, 1)); }
int mutex_unlock_begins(void *ctx)             { return lock_released(ctx); }
int up_read_begins(void *ctx)                  { return lock_released(ctx); }
int up_write_begins(void *ctx)                 { return lock_released(ctx); }
#endif
// clang-format on
