// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Rows of block requests: their keys and sums. With PT_SLOTS the rows have buckets.
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
    u64 seen; // time of the last update: the newest of the per-CPU names is shown
    char comm[PT_COMM_LEN];
#endif
};
#include "rows.h"

// Fill in the key, including its padding.
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

// Add a request to the row of a key. Returns 0 if the map is full.
static __always_inline struct row_value *pt_count_request(struct row_key *key, struct pt_io *io)
{
    struct row_value *row = pt_row(key);
    u64 now = bpf_ktime_get_ns(), ns = now - (io->submitted_ns ? io->submitted_ns : io->issued_ns);

    if (!row)
        return 0;
    row->requests++;
    row->bytes += io->bytes;
    if (row->max_bytes < io->bytes)
        row->max_bytes = io->bytes;
    pt_add_time(row, ns);
#ifdef BY_PID
    row->seen = now;
    __builtin_memcpy(row->comm, io->comm, sizeof(row->comm));
#endif
    return row;
}
