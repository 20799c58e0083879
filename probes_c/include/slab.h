// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The raw arguments of kmalloc and kmem_cache_alloc.
#include "read.h"
#include <linux/mm.h>
#include <linux/slab.h>
// Two allocators have structs of one name, each laid out differently.
#ifdef CONFIG_SLUB
#include <linux/slub_def.h>
#else
#include <linux/slab_def.h>
#endif

// Return the bytes that kmalloc(call_site, ptr, bytes_req, bytes_alloc, gfp_flags, ...) allocated. Linux 5.19 and 6.0
// have a cache, or 0, before bytes_req, which is never 0.
static __always_inline u64 pt_kmalloc_size(struct bpf_raw_tracepoint_args *ctx)
{
    u64 third = ctx->args[2], fourth = ctx->args[3], fifth = ctx->args[4];

    pt_opaque(fourth); // otherwise the compiler merges both reads, and the verifier rejects the result
    pt_opaque(fifth);
    return third && !(third >> 47) ? fourth : fifth;
}

// The size of an object of the cache of kmem_cache_alloc(call_site, ptr, cache, ...).
static __always_inline u64 pt_cache_size(struct bpf_raw_tracepoint_args *ctx)
{
    struct kmem_cache *cache = (struct kmem_cache *)ctx->args[2];

    return pt_read(cache->size);
}
