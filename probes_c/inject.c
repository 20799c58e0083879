// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Make a kernel function fail: it does not run, and its caller gets the chosen error. A kprobe returns in its place
// (bpf_override_return); a program at a permission check gives the error as its own result.
//
// A counter over all CPUs decides which calls fail. Where additions do not return the old value (before Linux 5.12,
// 5ffa25502b5a), one program at a time counts: the one that could insert the only key of a map.
#include "config.h"
#include "task.h"
#include <linux/ptrace.h>

struct row_key {
    u32 pid;
    char comm[PT_COMM_LEN];
};

struct row_value {
    u64 calls;
    u64 failed;
};
#include "rows.h"

struct turn {
    u64 calls;
    u64 failed;
};
BPF_ARRAY(turns, struct turn, 1);

// pytracer itself is excluded, since it must be able to end this. The end is a time of CLOCK_MONOTONIC.
struct bounds {
    u64 spared;
    u64 until;
};
BPF_ARRAY(pt_bounds, struct bounds, 1);

static __always_inline int is_bound(u32 pid)
{
    int zero = 0;
    struct bounds *bounds = pt_bounds.lookup(&zero);

    return bounds && pid != bounds->spared && bpf_ktime_get_ns() < bounds->until;
}

#ifdef PT_HAS_ATOMIC_FETCH
static __always_inline int begin_turn(void)
{
    return 1;
}

static __always_inline void end_turn(void)
{
}

static __always_inline u64 add_one(u64 *number)
{
    return pt_fetch_add(number, 1);
}
#else
#define TURN_TRIES 64 // of some 50 ns each; another CPU's turn takes less than 200

BPF_HASH(turn_taken, u32, u32, 1);

// Wait until no other program counts. Returns 0 if that takes too long: this one has interrupted it.
static __always_inline int begin_turn(void)
{
    u32 key = 0;

#pragma unroll
    for (int i = 0; i < TURN_TRIES; i++)
        if (!turn_taken.insert(&key, &key))
            return 1;
    pt_lost(PT_LOSS_INFLIGHT_FULL);
    return 0;
}

static __always_inline void end_turn(void)
{
    u32 key = 0;

    turn_taken.delete(&key);
}

static __always_inline u64 add_one(u64 *number)
{
    return (*number)++;
}
#endif

// Return 1 if this call shall fail.
static __always_inline int is_turn(struct turn *turn)
{
    u64 period = pt_cfg(PT_CFG_EVERY), times = pt_cfg(PT_CFG_TIMES);

    if (!period || (add_one(&turn->calls) + 1) % period)
        return 0;
    if (bpf_get_prandom_u32() % 100 >= pt_cfg(PT_CFG_PERCENT))
        return 0;
    return !times || add_one(&turn->failed) < times;
}

// Count a call that the filters let through. Return 1 if it shall fail.
static __always_inline int is_to_fail(void)
{
    struct row_key key = {};
    struct row_value *row;
    struct turn *turn;
    int zero = 0, failed;

    if (!pt_is_current_traced())
        return 0;
    key.pid = bpf_get_current_pid_tgid() >> 32;
    if (!is_bound(key.pid))
        return 0;
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
    row = pt_row(&key);
    turn = turns.lookup(&zero);
    if (!row || !turn || !begin_turn()) // a call that cannot be counted does not fail
        return 0;
    failed = is_turn(turn);
    end_turn();
    row->calls++;
    row->failed += failed;
    return failed;
}

#ifdef HOOK_CALL_KPROBE
int hit(struct pt_regs *ctx)
{
    if (is_to_fail())
        bpf_override_return(ctx, pt_cfg(PT_CFG_RETURNS));
    return PT_PASS;
}
#else
#define MAX_ERRNO 4095

// The verifier holds the result of a security module to -MAX_ERRNO..0 (5d99e198be27, Linux 6.12). It follows an AND and
// an addition; a comparison of the whole register clang would turn into one of a copy.
int hit(void *ctx)
{
    u64 above = (pt_cfg(PT_CFG_RETURNS) + MAX_ERRNO) & MAX_ERRNO;

    if (is_to_fail())
        return (int)above - MAX_ERRNO;
    return 0; // the function runs; callers take any other result for an error, even a positive one for a pointer
}
#endif
