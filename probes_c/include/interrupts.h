// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The time of handlers that a CPU runs one at a time, by what they are for: struct row_key, which whoever includes
// this has defined, without "slot" and "cpu", which are put in here.
#include "log2.h"

struct row_value {
    u64 count;
    u64 total_ns;
    u64 max_ns;
};
#include "rows.h"

// When the handler that runs on this CPU began; 0: none, or it began before the trace.
BPF_PERCPU_ARRAY(pt_begun, u64, 1);

static __always_inline int pt_handler_begins(void)
{
    int zero = 0;
    u64 *begun = pt_begun.lookup(&zero);

    if (begun)
        *begun = bpf_ktime_get_ns();
    return PT_PASS;
}

static __always_inline int pt_handler_ends(struct row_key *key)
{
    u64 now = bpf_ktime_get_ns(), ns;
    int zero = 0;
    u64 *begun = pt_begun.lookup(&zero);
    struct row_value *row;

    if (!begun || !*begun)
        return PT_PASS;
    ns = now - *begun;
    *begun = 0;
#ifdef BY_CPU
    key->cpu = bpf_get_smp_processor_id();
#endif
#ifdef LATENCY
    key->slot = pt_bucket(ns);
#endif
    row = pt_row(key);
    if (row) {
        row->count++;
        row->total_ns += ns;
        if (row->max_ns < ns)
            row->max_ns = ns;
    }
    return PT_PASS;
}
