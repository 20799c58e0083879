// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Writes a record for each object of an iterator (Linux 5.8). The kernel runs the program while the iterator is read,
// so nothing is lost. The tracer that includes this has defined struct event with the columns' members, "u64 ns"
// first. Its last member may be a string of any length up to its size.
//
// The task that runs is the one that reads: filter by the task that is listed (pt_is_traced of other_task.h).
#include "other_task.h"

BPF_PERCPU_ARRAY(pt_record, struct event, 1);

// Under a name of our own: BCC rewrites what its own declarations are called with.
static long (*pt_seq_write)(void *seq, const void *data, u32 size) = (void *)127;

static __always_inline struct event *pt_prepare(void)
{
    int zero = 0;

    return pt_record.lookup(&zero);
}

// The first "size" bytes of a record are complete: its length, then it, up to a multiple of 8. Where either finds no
// room the kernel takes both back, and runs the program for the same thing again once that was read. Returns whether
// it will.
static __always_inline int pt_list(u64 *ctx, struct event *event, u64 size)
{
    u64 meta = ctx[0], seq, length; // struct bpf_iter_meta, of which seq is the first member

    // BCC would make a copy of it, and the kernel takes only the pointer itself.
    asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(seq) : "r"(meta));
    size = (size + 7) & ~7ULL;
    pt_opaque(size);
    if (size > sizeof(*event))
        size = sizeof(*event);
    length = size; // of what a helper was shown, the verifier of old kernels forgets what it knew
    pt_seq_write((void *)seq, &length, sizeof(length));
    return !!pt_seq_write((void *)seq, event, size);
}
