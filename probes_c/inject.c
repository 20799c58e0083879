// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Make a kernel function fail: it does not run, and its caller gets the chosen error.
//
// A counter over all CPUs decides which calls fail; additions that return the old value need Linux 5.12 (5ffa25502b5a).
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

// Return 1 if this call shall fail.
static __always_inline int is_turn(void)
{
    u64 period = pt_cfg(PT_CFG_EVERY), times = pt_cfg(PT_CFG_TIMES);
    int zero = 0;
    struct turn *turn = turns.lookup(&zero);

    if (!turn || !period)
        return 0;
    if ((__sync_fetch_and_add(&turn->calls, 1) + 1) % period)
        return 0;
    if (bpf_get_prandom_u32() % 100 >= pt_cfg(PT_CFG_PERCENT))
        return 0;
    return !times || __sync_fetch_and_add(&turn->failed, 1) < times;
}

int hit(struct pt_regs *ctx)
{
    struct row_key key = {};
    struct row_value *row;

    if (!pt_is_current_traced())
        return PT_PASS;
    key.pid = bpf_get_current_pid_tgid() >> 32;
    if (!is_bound(key.pid))
        return PT_PASS;
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
    row = pt_row(&key);
    if (!row) // a call that cannot be counted does not fail
        return PT_PASS;
    row->calls++;
    if (is_turn()) {
        bpf_override_return(ctx, pt_cfg(PT_CFG_RETURNS));
        row->failed++;
    }
    return PT_PASS;
}
