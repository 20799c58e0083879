// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up memory that programs allocate and do not free, by the allocating stack.
//
// A block is removed before it is freed, and added after it was allocated: no other thread can have its address in
// between, so threads cannot confuse their blocks.
#define USER_ONLY
#include "config.h"
#include "stack.h"
#include "task.h"

struct pt_call {
    u64 ns;
    u64 caller;
    u32 tid;
    u64 size;
    u64 old; // realloc: its argument; posix_memalign: where it stores the address
};
#include "calls.h"

#include "allocations.h"

// The block that realloc is about to free, by the thread: if realloc fails, the block is restored.
BPF_HASH(moved_blocks, u64, struct block, 16384);

enum kind {
    MALLOC = 1,
    CALLOC,
    REALLOC,
    REALLOCARRAY,
    MEMALIGN,
    ALIGNED_ALLOC,
    POSIX_MEMALIGN,
    VALLOC,
    PVALLOC,
    FREE
};

static __always_inline void forget(u64 address, int may_return)
{
    u64 id = bpf_get_current_pid_tgid();
    struct block_key key = pt_block_key(address);
    struct block *entry = blocks.lookup(&key), block;

    if (!entry)
        return;
    block = *entry;
    if (may_return)
        moved_blocks.update(&id, &block);
    blocks.delete(&key);
    pt_count_block(&block, -1);
}

int begins(struct pt_regs *ctx)
{
    u64 args[PT_ARGUMENTS_MAX] = {};
    struct pt_call call = {};
    u32 kind = pt_kind(ctx);

    if (!pt_may_trace_current())
        return pt_pass();
    pt_read_arguments(ctx, args);
    if (kind == FREE) {
        forget(args[0], 0);
        return pt_pass();
    }
    call.old = args[0];
    call.size = kind == MALLOC || kind == VALLOC || kind == PVALLOC ? args[0]
                : kind == CALLOC                                    ? args[0] * args[1]
                : kind == REALLOCARRAY || kind == POSIX_MEMALIGN    ? args[2]
                                                                    : args[1];
    if (kind == REALLOCARRAY)
        call.size *= args[1];
    if (kind == REALLOC || kind == REALLOCARRAY)
        forget(args[0], 1);
    pt_call_enter(ctx, &call);
    return pt_pass();
}

int returns(struct pt_regs *ctx)
{
    u64 ns, id = bpf_get_current_pid_tgid(), address = pt_return_value(ctx);
    u32 kind = pt_kind(ctx);
    struct pt_call call = {};

    if (!pt_call_exit(ctx, &call, &ns) || pt_followed() != PT_TRACED)
        return pt_pass();
    if (kind == POSIX_MEMALIGN) {
        u64 result = address;

        address = 0;
        if (!(u32)result)
            pt_probe_read_user(&address, pt_word_size(ctx), (void *)call.old);
    }
    if (kind == REALLOC || kind == REALLOCARRAY) {
        struct block *moved = moved_blocks.lookup(&id);

        if (moved && !address && call.size) { // it failed: the block has not moved
            struct block_key key = pt_block_key(call.old);
            struct block block = *moved;

            if (!blocks.update(&key, &block))
                pt_count_block(&block, 1);
        }
        moved_blocks.delete(&id);
    }
    if (address) {
        forget(address, 0); // counted already: realloc(NULL) calls malloc
        pt_add_block(ctx, address, call.size);
    }
    return pt_pass();
}
