// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up requests to disks by the stacks that made them.
#define PT_ORIGIN_STACKS
#include "stack.h"

#include "requests.h"

struct row_key {
    PT_STACKS_MEMBERS;
    char comm[PT_COMM_LEN];
};

struct row_value {
    u64 requests;
    u64 bytes;
};
#include "rows.h"

static __always_inline int on_request_done(void *ctx, struct pt_io *io, u32 disk, u32 operation)
{
    struct row_value *row;
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key));
    *(struct pt_stacks *)&key = io->at;
    key.pid = io->pid;
    __builtin_memcpy(key.comm, io->comm, sizeof(key.comm));
    row = pt_row(&key);
    if (row) {
        row->requests++;
        row->bytes += io->bytes;
    }
    return PT_PASS;
}
