// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count pages that were read ahead, and whether they are read before they leave the page cache.
#include "task_rows.h"
#include "pages.h"
#include "reading.h"
#include "returns.h"

struct row_key {
    PT_TASK_KEY;
};

struct row_value {
    u64 ahead;
    u64 used;
    u64 unused;
    u64 total_ns;
    u64 max_ns;
    PT_TASK_NAME;
};
#include "rows.h"
#include "ahead.h"

static __always_inline int kind_of(u64 call)
{
    return pt_file_call(call) & PT_READS ? pt_file_call(call) : 0;
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    struct pt_range range = {.is_read = 1};
    int kind = kind_of(call->call);
    struct file *file;
    u64 first;

    if (!kind || call->ret <= 0)
        return PT_PASS;
    file = pt_file_of(call->args[0]);
    if (!file || !pt_is_cached(file))
        return PT_PASS;
    first = pt_file_offset(kind, call->args[3], file, call->ret);
    range.first.mapping = pt_read(file->f_mapping);
    range.first.index = first >> PT_PAGE_SHIFT;
    range.count = ((first + call->ret - 1) >> PT_PAGE_SHIFT) - range.first.index + 1;
    pt_range_ends(&range);
    return PT_PASS;
}

// mm_filemap_add_to_page_cache(folio)
int added(struct bpf_raw_tracepoint_args *ctx)
{
    pt_folio *folio = (pt_folio *)ctx->args[0];
    u64 index = pt_read(folio->index), end = index + pt_folio_pages(folio), first, last;
    struct pt_range range = {.ahead = {.ns = bpf_ktime_get_ns()}};
    struct row_value *row;

    range.first.mapping = pt_read(folio->mapping);
    if (!pt_is_current_traced() || !pt_current_read(range.first.mapping, &first, &last) || end <= last + 1)
        return PT_PASS;
    range.first.index = index > last ? index : last + 1;
    range.count = end - range.first.index;
    pt_fill_task_key(&range.ahead.owner);
    pt_range_waits(&range);
    row = pt_row(&range.ahead.owner);
    if (!row)
        return PT_PASS;
    row->ahead += range.count;
    pt_fill_task_name(row);
    return PT_PASS;
}

// mm_filemap_delete_from_page_cache(folio)
int removed(struct bpf_raw_tracepoint_args *ctx)
{
    pt_folio *folio = (pt_folio *)ctx->args[0];
    struct pt_range range = {.count = pt_folio_pages(folio)};

    range.first.mapping = pt_read(folio->mapping);
    range.first.index = pt_read(folio->index);
    pt_range_ends(&range);
    return PT_PASS;
}
