// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Rows of counters: struct row_key and struct row_value, which whoever includes this has defined.
// PT_ROWS_MAX is the map capacity.
//
// A row that is taken out of a map while a program counts in it takes the count along. So there are two maps:
// programs count in the side that pt_side names, and user space empties the other, once every program that
// had begun before it changed pt_side has ended (src/pytracer/bpf/read/aggregates.py).
#include "loss.h"

BPF_PERCPU_HASH(rows, struct row_key, struct row_value, PT_ROWS_MAX);
BPF_PERCPU_HASH(rows_other, struct row_key, struct row_value, PT_ROWS_MAX);
BPF_ARRAY(pt_side, u32, 1);

// The row of a key on this CPU; 0, and counted as lost, where there is no room for a new one. One program
// asks once for a row, and is done with it when it ends.
static __always_inline struct row_value *pt_row(struct row_key *key)
{
    struct row_value zero = {}, *row;
    int first = 0;
    u32 *side = pt_side.lookup(&first);

    // Two calls, each of one map: of a call that is for either, the kernel knows no map to make it faster by.
    if (side && *side) {
        row = rows_other.lookup_or_try_init(key, &zero);
        asm volatile("" ::: "memory"); // keeps the compiler from making one call of them
    } else {
        row = rows.lookup_or_try_init(key, &zero);
    }
    if (!row)
        pt_lost(PT_LOSS_MAP_FULL);
    return row;
}
