// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The time of handlers that a CPU runs one at a time, in rows. The tracer that includes this has defined struct
// row_key; its members "slot" and "cpu" are filled in here.
#include "log2.h"

struct row_value {
    u64 count;
    u64 total_ns;
    u64 max_ns;
};
#include "rows.h"

// The start time of the handler that runs on this CPU; 0: none, or it began before the trace.
BPF_PERCPU_ARRAY(pt_handler_start, u64, 1);

static __always_inline int pt_handler_enter(void)
{
    int zero = 0;
    u64 *start = pt_handler_start.lookup(&zero);

    if (start)
        *start = bpf_ktime_get_ns();
    return PT_PASS;
}

static __always_inline int pt_handler_exit(struct row_key *key)
{
    u64 now = bpf_ktime_get_ns(), ns;
    int zero = 0;
    u64 *start = pt_handler_start.lookup(&zero);
    struct row_value *row;

    if (!start || !*start)
        return PT_PASS;
    ns = now - *start;
    *start = 0;
#ifdef BY_CPU
    key->cpu = bpf_get_smp_processor_id();
#endif
#ifdef LATENCY
    key->slot = pt_bucket(ns);
#endif
    row = pt_row(key);
    if (row) {
        row->count++;
        pt_add_time(row, ns);
    }
    return PT_PASS;
}
