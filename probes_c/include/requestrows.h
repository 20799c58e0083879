// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Rows of requests to disks: their keys, and how requests are added up. With PT_SLOTS rows have buckets, too.
#include "requests.h"

struct row_key {
#ifdef BY_CGROUP
    u64 cgroup;
#endif
#ifdef BY_PID
    u32 pid;
#endif
#ifdef BY_DISK
    u32 disk; // dev_t
#endif
#ifdef BY_OPERATION
    u32 operation; // enum req_op
#endif
#ifdef PT_SLOTS
    u32 slot;
#endif
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
};

struct row_value {
    u64 requests;
    u64 bytes;
    u64 max_bytes;
    u64 total_ns;
    u64 max_ns;
#ifdef PT_PATTERN
    u64 sequential;
    u64 random;
#endif
#ifdef BY_PID
    u64 seen; // when, to tell the latest of the per-CPU names
    char comm[PT_COMM_LEN];
#endif
};
#include "rows.h"

// Fill in the key, all of whose bytes count.
static __always_inline void pt_fill_key(struct row_key *key, struct pt_io *io, u32 disk, u32 operation)
{
    __builtin_memset(key, 0, sizeof(*key));
#ifdef BY_CGROUP
    key->cgroup = io->cgroup;
#endif
#ifdef BY_PID
    key->pid = io->pid;
#endif
#ifdef BY_DISK
    key->disk = disk;
#endif
#ifdef BY_OPERATION
    key->operation = operation;
#endif
#ifdef BY_COMM
    __builtin_memcpy(key->comm, io->comm, sizeof(key->comm));
#endif
}

// Add a request to the row of a key; 0 if there is no room for it.
static __always_inline struct row_value *pt_add(struct row_key *key, struct pt_io *io)
{
    struct row_value *row = pt_row(key);
    u64 now = bpf_ktime_get_ns(), ns = now - (io->made_ns ? io->made_ns : io->issued_ns);

    if (!row)
        return 0;
    row->requests++;
    row->bytes += io->bytes;
    if (row->max_bytes < io->bytes)
        row->max_bytes = io->bytes;
    row->total_ns += ns;
    if (row->max_ns < ns)
        row->max_ns = ns;
#ifdef BY_PID
    row->seen = now;
    __builtin_memcpy(row->comm, io->comm, sizeof(row->comm));
#endif
    return row;
}
