// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Blocks of memory that are allocated and not freed yet, by the stacks that allocate them: rows that count up and down.
// Include config.h, stack.h and calls.h before it. BLOCKS_MAX is the number of blocks that are kept.
struct row_key {
    u64 image;
    u64 generation;
    u64 caller; // of the function that is about to return: no frame holds it
    u32 pid;
    s32 kernel_stack;
    s32 user_stack;
};

// What is not freed: both are counted up and down.
struct row_value {
    s64 bytes;
    s64 blocks;
};
#include "rows.h"

struct block_key {
    u64 address;
    u64 pid;
};
struct block {
    u64 size;
    u64 count; // how many it stands for
    struct row_key key;
};
BPF_HASH(blocks, struct block_key, struct block, BLOCKS_MAX);

static __always_inline void pt_count(struct block *block, s64 sign)
{
    struct row_key key = block->key;
    struct row_value *row = pt_row(&key);

    if (!row)
        return;
    row->bytes += sign * (s64)(block->size * block->count);
    row->blocks += sign * (s64)block->count;
}

static __always_inline struct block_key pt_block_at(u64 address)
{
    struct block_key key = {.address = address, .pid = bpf_get_current_pid_tgid() >> 32};

    return key;
}

static __always_inline void pt_keep(void *ctx, u64 address, u64 size)
{
    struct block_key key = pt_block_at(address);
    struct block block;
    struct pt_stacks at = {};

    __builtin_memset(&block, 0, sizeof(block)); // padding, too: it goes into a map
    block.size = size;
    block.count = pt_cfg(PT_CFG_SAMPLE);

    if (size < pt_cfg(PT_CFG_LEAST) || (block.count > 1 && bpf_get_prandom_u32() % (u32)block.count))
        return;
    if (pt_where(ctx, &at)) // no room for the stack: the loss is counted
        return;
    block.key.image = at.image;
    block.key.generation = at.generation;
    block.key.caller = pt_caller(ctx);
    block.key.pid = at.pid;
    block.key.kernel_stack = at.kernel_stack;
    block.key.user_stack = at.user_stack;
    if (blocks.update(&key, &block))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    else
        pt_count(&block, 1);
}
