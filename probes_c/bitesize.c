// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure the sizes of requests to disks.
#define PT_SLOTS
#include "log2.h"
#include "request_rows.h"

static __always_inline int on_request_done(void *ctx, struct pt_io *io, u32 disk, u32 operation)
{
    struct row_key key;

    pt_fill_key(&key, io, disk, operation);
    key.slot = pt_bucket(io->bytes);
    pt_count_request(&key, io);
    return PT_PASS;
}
