// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count what runtimes of languages do in each process: calls, collections, objects.
#include "language.h"
#include "task_rows.h"

struct row_key {
    u32 pid;
    u32 language;
};

struct row_value {
    u64 calls;
    u64 collections;
    u64 objects;
    u64 seen;
    char comm[PT_COMM_LEN];
};
#include "rows.h"

static __always_inline struct row_value *row_of(void *ctx)
{
    struct row_value *row;
    struct row_key key = {};

    if (!pt_is_current_traced())
        return 0;
    key.pid = bpf_get_current_pid_tgid() >> 32;
    key.language = pt_language(ctx);
    row = pt_row(&key);
    if (row) {
        row->seen = bpf_ktime_get_ns();
        pt_process_name(row->comm);
    }
    return row;
}

int calls(struct pt_regs *ctx)
{
    struct row_value *row = row_of(ctx);

    if (row)
        row->calls++;
    return pt_pass();
}

int collects(struct pt_regs *ctx)
{
    struct row_value *row = row_of(ctx);

    if (row)
        row->collections++;
    return pt_pass();
}

int allocates(struct pt_regs *ctx)
{
    struct row_value *row = row_of(ctx);

    if (row)
        row->objects++;
    return pt_pass();
}

int enables(struct pt_regs *ctx)
{
    return pt_pass();
}
