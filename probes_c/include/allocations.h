// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Blocks of memory that are allocated and not freed yet, by the stacks that allocate them. Include config.h, stack.h
// and, for user memory, calls.h before it. BLOCKS_MAX is the capacity of the map of blocks.
//
// A block of user memory is identified by its process too, and has a caller. A block of kernel memory (KERNEL_ONLY) has
// no process: an interrupt allocates in any task, and another task may free it.
struct row_key {
    u64 image;
    u64 generation;
    u64 caller; // the return address, which the stack of a function that is about to return lacks
    u32 pid;
    s32 kernel_stack;
    s32 user_stack;
};

// Memory that is not freed: both values go up and down.
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
    u64 count; // the number of blocks that it represents (--sample)
    struct row_key key;
};
BPF_HASH(blocks, struct block_key, struct block, BLOCKS_MAX);

static __always_inline void pt_count_block(struct block *block, s64 sign)
{
    struct row_key key = block->key;
    struct row_value *row = pt_row(&key);

    if (!row)
        return;
    row->bytes += sign * (s64)(block->size * block->count);
    row->blocks += sign * (s64)block->count;
}

static __always_inline struct block_key pt_block_key(u64 address)
{
    struct block_key key = {.address = address};

#ifndef KERNEL_ONLY
    key.pid = bpf_get_current_pid_tgid() >> 32;
#endif
    return key;
}

// Remove a block that is freed.
static __always_inline void pt_remove_block(u64 address)
{
    struct block_key key = pt_block_key(address);
    struct block *entry = blocks.lookup(&key), block;

    if (!entry)
        return;
    block = *entry;
    if (!blocks.delete(&key)) // else another program has done it
        pt_count_block(&block, -1);
}

static __always_inline void pt_add_block(void *ctx, u64 address, u64 size)
{
    struct block_key key = pt_block_key(address);
    struct block block;
    struct pt_stacks stacks = {};

    __builtin_memset(&block, 0, sizeof(block)); // padding, too: it goes into a map
    block.size = size;
    block.count = pt_cfg(PT_CFG_SAMPLE);

    if (size < pt_cfg(PT_CFG_LEAST) || (block.count > 1 && bpf_get_prandom_u32() % (u32)block.count))
        return;
    if (pt_get_stacks(ctx, &stacks)) // counts the loss itself
        return;
#ifndef KERNEL_ONLY
    block.key.image = stacks.image;
    block.key.generation = stacks.generation;
    block.key.caller = pt_return_address(ctx);
    block.key.pid = stacks.pid;
#endif
    block.key.kernel_stack = stacks.kernel_stack;
    block.key.user_stack = stacks.user_stack;
    if (blocks.update(&key, &block))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    else
        pt_count_block(&block, 1);
}
