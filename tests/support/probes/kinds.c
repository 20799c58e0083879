// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// A map of each type, and a function that is run to use it: tests/kernel/test_map_types.py.
#include "loops.h"

BPF_TABLE("lru_hash", u32, u32, recent, 256);
BPF_QUEUE(queue, u32, 23);
BPF_STACK(stack, u32, 23);
BPF_PROG_ARRAY(steps, 3);
BPF_ARRAY(counted, u32, 1);
BPF_STACK_TRACE(stacks, 64);
BPF_ARRAY(like_these, u32, 1);
BPF_ARRAY_OF_MAPS(chosen, "like_these", 1);

struct prefix {
    u32 bits;
    u8 octets[4];
};
BPF_LPM_TRIE(networks, struct prefix, u32, 23);

static __always_inline int count(u32 *value)
{
    return value ? ++*value : 0;
}

int lru(void *ctx)
{
    u32 key = 7, zero = 0;

    return count(recent.lookup_or_try_init(&key, &zero));
}

// The first one of three that went in, or the last.
int first_in(void *ctx)
{
    u32 one = 1, two = 2, three = 3, value = 0;

    queue.push(&one, 0);
    queue.push(&two, 0);
    queue.push(&three, 0);
    queue.pop(&value);
    return value;
}

int last_in(void *ctx)
{
    u32 one = 1, two = 2, three = 3, value = 0;

    stack.push(&one, 0);
    stack.push(&two, 0);
    stack.push(&three, 0);
    stack.pop(&value);
    return value;
}

int trie(void *ctx)
{
    struct prefix asked = {32, {10, 1, 2, 3}};
    u32 *value = networks.lookup(&asked);

    return value ? *value : 0;
}

int nested(void *ctx)
{
    int zero = 0;
    void *inner = chosen.lookup(&zero);

    return inner ? count(bpf_map_lookup_elem(inner, &zero)) : 0;
}

int walked(void *ctx)
{
    return stacks.get_stackid(ctx, 0) >= 0;
}

// Each step counts, and the first goes on in the third; nothing is in the second's place.
int begin(void *ctx)
{
    steps.call(ctx, 1);
    steps.call(ctx, 0);
    return -1;
}

int steps_0(void *ctx)
{
    int zero = 0;

    count(counted.lookup(&zero));
    steps.call(ctx, 2);
    return -2;
}

int steps_2(void *ctx)
{
    int zero = 0;

    return 100 + count(counted.lookup(&zero));
}

struct sum {
    u32 index;
    u32 value;
};

PT_LOOP_BODY(1, struct sum *sum)
{
    sum->value += sum->index;
    return sum->index == 49;
}

int looped(void *ctx)
{
    struct sum sum = {};

    PT_LOOP_RUN(1, 60, &sum);
    return sum.value; // 0 + 1 + ... + 49
}
