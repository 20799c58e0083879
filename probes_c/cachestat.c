// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count pages that reads find in the page cache or not, and pages that are added to it and dirtied.
//
// No event reports a page that was found. But pages are added in the context of the task that needs them: pages added
// within the range of a read(2), while it runs, were missing, and the rest of the range was in the cache.
#include "task_rows.h"
#include "pages.h"
#include "reading.h"
#include "returns.h"

struct row_key {
#ifdef BY_FILE
    u64 inode;
    char file[64];
#endif
    PT_TASK_KEY;
};

struct row_value {
    u64 hits;
    u64 misses;
    u64 pages;
    u64 added;
    u64 dirtied;
    PT_TASK_NAME;
};
#include "rows.h"

BPF_HASH(missing, u64, u64, 16384); // pages that were added by the read that a task is in

static __always_inline int kind_of(u64 call)
{
    return pt_file_call(call) & PT_READS ? pt_file_call(call) : 0;
}

// Pages of kernel threads, such as the workers of loop devices, have no process.
static __always_inline struct row_value *row_of(struct address_space *mapping)
{
    int is_nobody = pt_is_kernel_thread();
    struct row_value *row;
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_FILE
    struct inode *inode = pt_read(mapping->host);
    void *alias = pt_read(inode->i_dentry.first);
    struct dentry *dentry = alias - PT_DENTRY_ALIAS;

    key.inode = pt_read(inode->i_ino);
    if (alias &&
        pt_probe_read_kernel_str(key.file, sizeof(key.file), (void *)pt_read(dentry->d_name.name)) < 0)
        key.file[0] = 0;
#endif
    if (!is_nobody)
        pt_fill_task_key(&key);
    row = pt_row(&key);
    if (row && !is_nobody)
        pt_fill_task_name(row);
    return row;
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    u64 task = bpf_get_current_task(), first, pages, misses = 0, *added = missing.lookup(&task);
    int kind = kind_of(call->call);
    struct row_value *row;
    struct file *file;

    if (added) {
        misses = *added;
        missing.delete(&task);
    }
    if (!kind || call->ret <= 0 || !pt_is_current_traced())
        return PT_PASS;
    file = pt_file_of(call->args[0]);
    if (!file || !pt_is_cached(file))
        return PT_PASS;
    first = pt_file_offset(kind, call->args[3], file, call->ret);
    pages = ((first + call->ret - 1) >> PT_PAGE_SHIFT) - (first >> PT_PAGE_SHIFT) + 1;
    row = row_of(pt_read(file->f_mapping));
    if (!row)
        return PT_PASS;
    if (misses > pages) // a read that was cut short
        misses = pages;
    row->hits += pages - misses;
    row->misses += misses;
    row->pages += pages;
    return PT_PASS;
}

// mm_filemap_add_to_page_cache(folio)
int added(struct bpf_raw_tracepoint_args *ctx)
{
    pt_folio *folio = (pt_folio *)ctx->args[0];
    struct address_space *mapping = pt_read(folio->mapping);
    u64 task = bpf_get_current_task(), pages = pt_folio_pages(folio), misses, *before;
    struct row_value *row;

    if (!pt_is_current_traced())
        return PT_PASS;
    misses = pt_currently_read(mapping, pt_read(folio->index), pages);
    if (misses) {
        before = missing.lookup(&task);
        if (before)
            *before += misses;
        else if (missing.update(&task, &misses))
            pt_lost(PT_LOSS_INFLIGHT_FULL);
    }
    row = row_of(mapping);
    if (row)
        row->added += pages;
    return PT_PASS;
}

// writeback_dirty_folio(folio, mapping), before Linux 5.16 writeback_dirty_page(page, mapping)
int dirtied(struct bpf_raw_tracepoint_args *ctx)
{
    struct row_value *row;

    if (!pt_is_current_traced())
        return PT_PASS;
    row = row_of((struct address_space *)ctx->args[1]);
    if (row)
        row->dirtied += pt_folio_pages((pt_folio *)ctx->args[0]);
    return PT_PASS;
}
