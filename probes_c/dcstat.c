// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count look-ups of path components in the directory cache, and their results.
#include "task_rows.h"
#include <linux/dcache.h>

struct row_key {
    PT_TASK_KEY;
};

struct row_value {
    u64 lookups;
    u64 hits;
    u64 negative;
    u64 misses;
    PT_TASK_NAME;
};
#include "rows.h"

// lookup_fast returns a dentry, which has no inode if the file is known not to exist; 0 if the file system must be
// asked; or an error, such as ECHILD: the walk starts again, and calls it once more.
int looked_up(struct pt_regs *ctx)
{
    u64 result = PT_REGS_RC(ctx);
    struct dentry *dentry = (struct dentry *)result;
    struct row_value *row;
    struct row_key key;

    if (result >= -4095ULL || !pt_is_current_traced())
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
    pt_fill_task_key(&key);
    row = pt_row(&key);
    if (!row)
        return PT_PASS;
    row->lookups++;
    if (!dentry)
        row->misses++;
    else if (pt_read(dentry->d_inode))
        row->hits++;
    else
        row->negative++;
    pt_fill_task_name(row);
    return PT_PASS;
}
