// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count queries of databases, with their latency.
#include "log2.h"
#include "queries.h"
#include "task_rows.h"

#define KEY_LEN 128 // bytes of a query that tell it from others

struct row_key {
    PT_TASK_KEY;
#ifdef BY_SERVER
    u32 server;
#endif
#ifdef BY_QUERY
    char query[KEY_LEN];
#endif
    u32 slot;
};

struct row_value {
    u64 queries;
    u64 failed;
    u64 total_ns;
    u64 max_ns;
    PT_TASK_NAME;
};
#include "rows.h"

static __always_inline void on_query(void *ctx, u32 program, struct pt_query *query, u64 ns)
{
    struct row_value *row;
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key)); // padding is part of a hash key
    pt_fill_task_key(&key);
#ifdef BY_SERVER
    key.server = query->server;
#endif
#ifdef BY_QUERY
    if (query->text_len > KEY_LEN)
        pt_lost(PT_LOSS_TRUNCATED);
    pt_probe_read_kernel(key.query, sizeof(key.query), query->text);
#endif
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (!row)
        return;
    row->queries++;
    row->failed += query->is_failed;
    pt_add_time(row, ns);
    pt_fill_task_name(row);
}
