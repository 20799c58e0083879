// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// What the raw arguments of kmalloc and kmem_cache_alloc say.
#include "read.h"
#include <linux/slab_def.h>

// The bytes that kmalloc(call_site, ptr, bytes_req, bytes_alloc, gfp_flags, ...) allocated; in Linux 5.19 and 6.0 a
// cache, or none, stands before bytes_req, which is never 0.
static __always_inline u64 pt_kmalloc_size(struct bpf_raw_tracepoint_args *ctx)
{
    u64 third = ctx->args[2], fourth = ctx->args[3], fifth = ctx->args[4];

    pt_opaque(fourth); // else the compiler makes one read of both, which the verifier refuses
    pt_opaque(fifth);
    return third && !(third >> 47) ? fourth : fifth;
}

// The size of an object of the cache of kmem_cache_alloc(call_site, ptr, cache, ...).
static __always_inline u64 pt_cache_size(struct bpf_raw_tracepoint_args *ctx)
{
    struct kmem_cache *cache = (struct kmem_cache *)ctx->args[2];

    return pt_read(cache->size);
}
