// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count allocations from the kernel's slab caches.
#include "slab.h"
#include "task_rows.h"

#define NAME_LEN 32 // longer names are cut, but remain distinct as keys

struct row_key {
    PT_TASK_KEY;
#ifdef BY_CACHE
    char cache[NAME_LEN];
#endif
};

struct row_value {
    u64 allocations;
    u64 bytes;
    PT_TASK_NAME;
};
#include "rows.h"

static __always_inline int count(struct row_key *key, u64 size)
{
    struct row_value *row;

    pt_fill_task_key(key);
    row = pt_row(key);
    if (!row)
        return PT_PASS;
    row->allocations++;
    row->bytes += size;
    pt_fill_task_name(row);
    return PT_PASS;
}

static __always_inline int count_cache(struct kmem_cache *cache)
{
    struct row_key key;

    if (!pt_is_current_traced())
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_CACHE
    pt_probe_read_kernel_str(key.cache, sizeof(key.cache), (void *)pt_read(cache->name));
#endif
    return count(&key, pt_read(cache->size));
}

#if defined(HOOK_SLAB_RAW_TRACEPOINT)
// kmem_cache_alloc(call_site, ptr, cache, gfp_flags, node)
int allocated(struct bpf_raw_tracepoint_args *ctx)
{
    return ctx->args[1] ? count_cache((struct kmem_cache *)ctx->args[2]) : PT_PASS;
}
#elif defined(HOOK_SLAB_KPROBE)
int allocates(struct pt_regs *ctx)
{
    return count_cache((struct kmem_cache *)PT_REGS_PARM1(ctx));
}
#endif

// The caches of kmalloc have the sizes 96, 192 and powers of two.
int kmalloced(struct bpf_raw_tracepoint_args *ctx)
{
    u64 size = pt_kmalloc_size(ctx);
    struct row_key key;

    if (!ctx->args[1] || !pt_is_current_traced())
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_CACHE
    __builtin_memcpy(key.cache, "kmalloc-", 8);
    u32 number = size < 1024 ? size : size < 1 << 20 ? size >> 10 : size >> 20, at = 8;

    if (number >= 1000)
        key.cache[at++] = '0' + number / 1000 % 10;
    if (number >= 100)
        key.cache[at++ & 15] = '0' + number / 100 % 10;
    if (number >= 10)
        key.cache[at++ & 15] = '0' + number / 10 % 10;
    key.cache[at++ & 15] = '0' + number % 10;
    if (size >= 1024)
        key.cache[at & 15] = size >> 20 ? 'M' : 'k';
#endif
    return count(&key, size);
}
