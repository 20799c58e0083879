// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up requests to disks by the process that made them.
#include "request_rows.h"

static __always_inline int on_request_done(void *ctx, struct pt_io *io, u32 disk, u32 operation)
{
    struct row_key key;

    pt_fill_key(&key, io, disk, operation);
    pt_count_request(&key, io);
    return PT_PASS;
}
