// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure how long processes live.
#include "log2.h"
#include "task.h"

struct row_key {
    u32 slot; // the bucket: every histogram's key has it
};

struct row_value {
    u64 processes;
    u64 total_ns;
    u64 max_ns;
};
#include "rows.h"

// A process that ends runs this in its own context.
int exited(void *ctx)
{
    u64 id = bpf_get_current_pid_tgid(), ns;
    struct row_value *row;
    struct row_key key = {};

    if ((u32)id != id >> 32 || !pt_is_current_traced()) // not a main thread, or filtered out
        return PT_PASS;
    ns = bpf_ktime_get_ns() - pt_current_field(start_time);
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (row) {
        row->processes++;
        pt_add_time(row, ns);
    }
    return PT_PASS;
}
