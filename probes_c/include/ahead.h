// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Pages that were read ahead and not read yet. Rows of struct row_key count whether they are read.
#include "loops.h"

struct pt_page {
    struct address_space *mapping;
    u64 index;
};

struct pt_ahead {
    u64 ns;
    struct row_key owner; // of the task whose read caused the read-ahead
};
BPF_TABLE("lru_hash", struct pt_page, struct pt_ahead, pt_waiting, 262144);

struct pt_range {
    u32 index;
    u32 is_read; // otherwise it was removed from the cache
    u64 count;
    struct pt_page first;
    struct pt_ahead ahead; // of added pages
};

PT_LOOP_BODY(1, struct pt_range *range)
{
    struct pt_page key = range->first;

    if (range->index >= range->count)
        return 1;
    key.index += range->index;
    if (pt_waiting.update(&key, &range->ahead))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return 0;
}

// The page is read, or removed from the page cache.
PT_LOOP_BODY(2, struct pt_range *range)
{
    struct pt_page key = range->first;
    struct row_value *row;
    struct pt_ahead *page;
    u64 ns;

    if (range->index >= range->count)
        return 1;
    key.index += range->index;
    page = pt_waiting.lookup(&key);
    if (!page)
        return 0;
    range->ahead = *page;
    pt_waiting.delete(&key);
    row = pt_row(&range->ahead.owner);
    if (!row)
        return 0;
    if (!range->is_read) {
        row->unused++;
        return 0;
    }
    ns = bpf_ktime_get_ns() - range->ahead.ns;
    row->used++;
    pt_add_time(row, ns);
    return 0;
}

#define PT_RANGE_MAX PT_LOOP_LIMIT(8192, 512, 12)

static __always_inline void pt_range_ends(struct pt_range *range)
{
    if (range->count > PT_RANGE_MAX)
        pt_lost(PT_LOSS_UNREAD);
    PT_LOOP_RUN(2, PT_RANGE_MAX, range);
}

static __always_inline void pt_range_waits(struct pt_range *range)
{
    if (range->count > PT_RANGE_MAX)
        pt_lost(PT_LOSS_UNREAD);
    PT_LOOP_RUN(1, PT_RANGE_MAX, range);
}
