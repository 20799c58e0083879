// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count look-ups of parts of paths in the directory cache, and what they find.
#include "task.h"
#include <linux/dcache.h>

struct row_key {
#ifdef BY_PID
    u32 pid;
#endif
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
#if !defined(BY_PID) && !defined(BY_COMM)
    u32 all;
#endif
};

struct row_value {
    u64 lookups;
    u64 hits;
    u64 negative;
    u64 misses;
#ifdef BY_PID
    u64 seen; // when, to tell the latest of the per-CPU names
    char comm[PT_COMM_LEN];
#endif
};
#include "rows.h"

// What lookup_fast returns: a dentry, which has no inode where the file is known not to exist; 0, so that the file
// system is asked; or an error, such as ECHILD: the walk is begun again, and passes here once more.
int looked_up(struct pt_regs *ctx)
{
    u64 result = PT_REGS_RC(ctx);
    struct dentry *dentry = (struct dentry *)result;
    struct row_value *row;
    struct row_key key;

    if (result >= -4095ULL || !pt_is_current_traced())
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_PID
    key.pid = bpf_get_current_pid_tgid() >> 32;
#endif
#ifdef BY_COMM
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
#endif
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
#ifdef BY_PID
    row->seen = bpf_ktime_get_ns();
    pt_process_name(row->comm);
#endif
    return PT_PASS;
}
