// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Writes a record for each object of an iterator (Linux 5.8). The kernel runs the program while the iterator is read,
// so nothing is lost. The tracer that includes this has defined struct event with the columns' members, "u64 ns"
// first. Its last member may be a string of any length up to its size.
//
// The current task is pytracer, which reads the iterator: filter by the listed task (pt_is_traced of other_task.h).
#include "other_task.h"

BPF_PERCPU_ARRAY(pt_record, struct event, 1);

// Declared under another name because BCC rewrites the arguments of the helpers that it declares.
static long (*pt_seq_write)(void *seq, const void *data, u32 size) = (void *)127;

static __always_inline struct event *pt_prepare(void)
{
    int zero = 0;

    return pt_record.lookup(&zero);
}

// Write the length and then the first "size" bytes of a record, padded to a multiple of 8. Returns 1 if the buffer is
// full: then the kernel drops both, and runs the program again for the same object after user space has read.
static __always_inline int pt_list(u64 *ctx, struct event *event, u64 size)
{
    u64 meta = ctx[0], seq, length; // struct bpf_iter_meta, of which seq is the first member

    // BCC would copy the struct, but the helper accepts only the pointer itself.
    asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(seq) : "r"(meta));
    size = (size + 7) & ~7ULL;
    pt_opaque(size);
    if (size > sizeof(*event))
        size = sizeof(*event);
    length = size; // old verifiers forget the bounds of a variable whose address a helper got
    pt_seq_write((void *)seq, &length, sizeof(length));
    return !!pt_seq_write((void *)seq, event, size);
}
