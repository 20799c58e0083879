// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up memory that the kernel allocates and does not free, by the allocating stack.
//
// The programs are on raw tracepoints: programs of trace events exclude each other on a CPU, so memory that an
// interrupt frees meanwhile would look like a leak.
#define KERNEL_ONLY
#include "config.h"
#include "slab.h"
#include "stack.h"
#include "task.h"
#include "allocations.h"

static __always_inline int add(void *ctx, u64 address, u64 size)
{
    if (!address || !pt_is_current_traced())
        return PT_PASS;
    pt_remove_block(address); // the free of an earlier block at this address was not seen
    pt_add_block(ctx, address, size);
    return PT_PASS;
}

#ifdef PAGES
// mm_page_alloc(page, order, gfp_flags, migratetype)
int page_alloc(struct bpf_raw_tracepoint_args *ctx)
{
    return add(ctx, ctx->args[0], 4096ULL << (ctx->args[1] & 31));
}

// mm_page_free(page, order)
int page_free(struct bpf_raw_tracepoint_args *ctx)
{
    pt_remove_block(ctx->args[0]);
    return PT_PASS;
}
#else
int kmalloced(struct bpf_raw_tracepoint_args *ctx)
{
    return add(ctx, ctx->args[1], pt_kmalloc_size(ctx));
}

int allocated(struct bpf_raw_tracepoint_args *ctx)
{
#ifdef HOOK_ALLOCATION_RAW_TRACEPOINT
    return add(ctx, ctx->args[1], pt_cache_size(ctx));
#else
    return add(ctx, ctx->args[1], ctx->args[3]); // (call_site, ptr, bytes_req, bytes_alloc, gfp_flags)
#endif
}

// kfree(call_site, ptr), and kmem_cache_free likewise
int freed(struct bpf_raw_tracepoint_args *ctx)
{
    pt_remove_block(ctx->args[1]);
    return PT_PASS;
}
#endif
