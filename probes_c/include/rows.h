// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Rows of counters: struct row_key and struct row_value, which whoever includes this has defined.
// PT_ROWS_MAX is the map capacity.
//
//     struct row_value *pt_row(struct row_key *key)   the row of a key on this CPU; 0 if the map is full
//     pt_add_time(row, ns)                            adds to its members total_ns and max_ns
//
// If a row were deleted while a program counts in it, the count would be lost. So there are two maps (a double buffer):
// programs count in the one that pt_active_map selects. User space swaps them, waits until all programs that were
// running have ended, then drains the other (src/pytracer/bpf/read/aggregates.py).
#include "loss.h"

BPF_PERCPU_HASH(rows, struct row_key, struct row_value, PT_ROWS_MAX);
BPF_PERCPU_HASH(rows_other, struct row_key, struct row_value, PT_ROWS_MAX);
BPF_ARRAY(pt_active_map, u32, 1);

// Return the row of a key on this CPU. Returns 0, and counts a loss, if the map is full. A program calls it once, and
// does not keep the row after it ends.
static __always_inline struct row_value *pt_row(struct row_key *key)
{
    struct row_value zero = {}, *row;
    int first = 0;
    u32 *side = pt_active_map.lookup(&first);

    // Two calls, each with a constant map: only then the verifier inlines the look-up.
    if (side && *side) {
        row = rows_other.lookup_or_try_init(key, &zero);
        asm volatile("" ::: "memory"); // keeps the compiler from merging the two calls
    } else {
        row = rows.lookup_or_try_init(key, &zero);
    }
    if (!row)
        pt_lost(PT_LOSS_MAP_FULL);
    return row;
}

// Add a time to the members total_ns and max_ns of a row. A macro, since not all rows have them.
#define pt_add_time(row, time)                                                                               \
    ({                                                                                                       \
        u64 time_ = (time);                                                                                  \
                                                                                                             \
        (row)->total_ns += time_;                                                                            \
        if ((row)->max_ns < time_)                                                                           \
            (row)->max_ns = time_;                                                                           \
    })
