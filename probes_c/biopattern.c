// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count requests to disks that begin where the previous one ended, and others.
//
// The order is that in which the driver gets them, since they complete in any order.
#define PT_PATTERN
#define PT_SEES_ISSUE
#include "request_rows.h"

// The end of the latest request of each row.
BPF_HASH(ends, struct row_key, u64, PT_ROWS_MAX);

static __always_inline void on_request_issued(void *ctx, struct pt_io *io, u32 disk, u32 operation)
{
    u64 end = io->sector + (io->bytes >> 9), *before;
    struct row_value *row;
    struct row_key key;

    if (!io->bytes) // a flush has no sector
        return;
    pt_fill_key(&key, io, disk, operation);
    row = pt_count_request(&key, io);
    if (!row)
        return;
    before = ends.lookup(&key);
    if (before && *before == io->sector)
        row->sequential++;
    else
        row->random++;
    if (before)
        *before = end;
    else if (ends.update(&key, &end))
        pt_lost(PT_LOSS_MAP_FULL);
}

static __always_inline int on_request_done(void *ctx, struct pt_io *io, u32 disk, u32 operation)
{
    return PT_PASS;
}
