// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count look-ups of path components in the directory cache, and their results.
#include "target.h"
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
static __always_inline void on_result(u64 result)
{
    struct dentry *dentry = (struct dentry *)result;
    struct row_value *row;
    struct row_key key;

    if (result >= -4095ULL || !pt_is_current_traced())
        return;
    __builtin_memset(&key, 0, sizeof(key));
    pt_fill_task_key(&key);
    row = pt_row(&key);
    if (!row)
        return;
    row->lookups++;
    if (!dentry)
        row->misses++;
    else if (pt_read(dentry->d_inode))
        row->hits++;
    else
        row->negative++;
    pt_fill_task_name(row);
}

#ifdef HOOK_LOOKED_UP_FEXIT
// lookup_fast, with three arguments on Linux 5.10, with one on 6.1
int looked_up(void *ctx)
{
    on_result(pt_trampoline_result(ctx));
    return 0; // a trampoline takes nothing else
}
#else
int looked_up(struct pt_regs *ctx)
{
    on_result(PT_REGS_RC(ctx));
    return PT_PASS;
}
#endif
