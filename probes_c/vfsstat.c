// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count calls of functions of the virtual file system. No arguments are read: their order differs between kernels.
#include "task.h"

#ifdef HOOK_CALLED_FENTRY
#define PASS 0 // all that the verifier lets a program on a trampoline return
#else
#define PASS PT_PASS
#endif

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
    u64 reads;
    u64 writes;
    u64 opens;
    u64 unlinks;
    u64 renames;
    u64 mkdirs;
#ifdef BY_PID
    u64 seen; // when, to tell the latest of the per-CPU names
    char comm[PT_COMM_LEN];
#endif
};
#include "rows.h"

static __always_inline struct row_value *row_of_task(void)
{
    struct row_value *row;
    struct row_key key;

    if (!pt_is_current_traced())
        return 0;
    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_PID
    key.pid = bpf_get_current_pid_tgid() >> 32;
#endif
#ifdef BY_COMM
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
#endif
    row = pt_row(&key);
#ifdef BY_PID
    if (row) {
        row->seen = bpf_ktime_get_ns();
        pt_process_name(row->comm);
    }
#endif
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
