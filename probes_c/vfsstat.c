// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count calls of functions of the virtual file system. No arguments are read: their order differs between kernels.
#include "task_rows.h"

#ifdef HOOK_CALLED_FENTRY
#define PASS 0 // the only value that the verifier lets a program on a trampoline return
#else
#define PASS PT_PASS
#endif

struct row_key {
    PT_TASK_KEY;
};

struct row_value {
    u64 reads;
    u64 writes;
    u64 opens;
    u64 unlinks;
    u64 renames;
    u64 mkdirs;
    PT_TASK_NAME;
};
#include "rows.h"

static __always_inline struct row_value *row_of_task(void)
{
    struct row_value *row;
    struct row_key key;

    if (!pt_is_current_traced())
        return 0;
    __builtin_memset(&key, 0, sizeof(key));
    pt_fill_task_key(&key);
    row = pt_row(&key);
    if (row)
        pt_fill_task_name(row);
    return row;
}

#define COUNT(member)                                                                                        \
    ({                                                                                                       \
        struct row_value *row = row_of_task();                                                               \
                                                                                                             \
        if (row)                                                                                             \
            row->member++;                                                                                   \
        PASS;                                                                                                \
    })

int reads(void *ctx)
{
    return COUNT(reads);
}

int writes(void *ctx)
{
    return COUNT(writes);
}

int opens(void *ctx)
{
    return COUNT(opens);
}

int unlinks(void *ctx)
{
    return COUNT(unlinks);
}

int renames(void *ctx)
{
    return COUNT(renames);
}

int mkdirs(void *ctx)
{
    return COUNT(mkdirs);
}
