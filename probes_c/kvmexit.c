// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count exits of virtual machines, and measure the time until they are entered again.
#include "task_rows.h"

#ifndef __x86_64__
#error "the event kvm_exit of this architecture has other fields"
#endif
#define ISA_VMX 1 // the field isa; 2: SVM

struct row_key {
    PT_TASK_KEY;
#ifdef BY_REASON
    u64 reason;
#endif
};

struct row_value {
    u64 exits;
    u64 total_ns;
    PT_TASK_NAME;
};
#include "rows.h"

struct pt_start {
    u64 ns;
    u64 reason;
};
#define HOOK_SWITCH_NONE // a vCPU's thread is often switched out between exit and entry
#include "inflight.h"

static __always_inline void count(u64 reason, u64 exits, u64 ns)
{
    struct row_value *row;
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key));
    pt_fill_task_key(&key);
#ifdef BY_REASON
    key.reason = reason;
#endif
    row = pt_row(&key);
    if (!row)
        return;
    row->exits += exits;
    row->total_ns += ns;
    pt_fill_task_name(row);
}

int left(struct tracepoint__kvm__kvm_exit *args)
{
    u64 isa = args->isa, reason = args->exit_reason;
    struct pt_start start = {.ns = bpf_ktime_get_ns()};

    if (!pt_is_current_traced())
        return PT_PASS;
    // The upper half of Intel's reason are flags.
    start.reason = isa << 32 | (isa == ISA_VMX ? reason & 0xffff : (u32)reason);
    pt_begin(&start);
    count(start.reason, 1, 0);
    return PT_PASS;
}

// Before the CPU enters the guest, whether the entry then succeeds or not.
int entered(void *ctx)
{
    struct pt_start start;

    if (pt_end(&start))
        count(start.reason, 0, bpf_ktime_get_ns() - start.ns);
    return PT_PASS;
}
