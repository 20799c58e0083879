// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// A stream of records to user space: the BPF ring buffer if the kernel has it (Linux 5.8), else a perf buffer for each
// CPU. The tracer that includes this has defined struct event with the columns' members and "u64 ns" (the time of
// the event, bpf_ktime_get_ns). Its last member may be a string of any length up to its size: then a record ends with
// the string's NUL (a perf buffer pads it with undefined bytes). PT_RING_PAGES is the size of the ring.
//
//     struct event *pt_reserve(void)                  a buffer for an event of fixed size, or 0
//     void pt_submit(void *ctx, struct event *event)  sends it
//     void pt_discard(struct event *event)            drops it
//     struct event *pt_prepare(void)                  a buffer for an event that ends with a string, or 0
//     void pt_send(void *ctx, struct event *event, u64 size)
//                                                     sends its first "size" bytes
// Strings of the program are read by pt_read_string (user_string.h).
#include "loss.h"
#include "read.h"
#include "user_string.h"

#ifdef PT_HAS_RINGBUF
BPF_RINGBUF_OUTPUT(events, PT_RING_PAGES);
#else
BPF_PERF_OUTPUT(events);
#endif

// A buffer for records that are too large for the stack; it also tells user space their layout. If several programs of
// a tracer use it, the tracer defines PT_RECORDS, one for each: a program may be preempted (as seen on 7.2) by another
// one; the kernel prevents only recursion of the same program.
#ifndef PT_RECORDS
#define PT_RECORDS 1
#endif
BPF_PERCPU_ARRAY(pt_record, struct event, PT_RECORDS);

// For records of fixed length: return a buffer to write one to, or 0. Its content is undefined: write every byte.
static __always_inline struct event *pt_reserve(void)
{
#ifdef PT_HAS_RINGBUF
    struct event *event = events.ringbuf_reserve(sizeof(struct event));

    if (!event)
        pt_lost(PT_LOSS_RING_FULL);
    return event;
#else
    int zero = 0;

    return pt_record.lookup(&zero);
#endif
}

// Submit a complete record of pt_reserve.
static __always_inline void pt_submit(void *ctx, struct event *event)
{
#ifdef PT_HAS_RINGBUF
    events.ringbuf_submit(event, 0);
#else
    if (events.perf_submit(ctx, event, sizeof(*event)))
        pt_lost(PT_LOSS_RING_FULL);
#endif
}

// Discard a record of pt_reserve that is not needed after all.
static __always_inline void pt_discard(struct event *event)
{
#ifdef PT_HAS_RINGBUF
    events.ringbuf_discard(event, 0);
#endif
}

// For records that end with a string: return a buffer; "number" is the program's, below PT_RECORDS.
static __always_inline struct event *pt_prepare_in(int number)
{
    return pt_record.lookup(&number);
}

static __always_inline struct event *pt_prepare(void)
{
    return pt_prepare_in(0);
}

// Output the first "size" bytes of a record. Returns 1 if the ring is full. The verifier needs the comparison of the
// size; with a narrower type the compiler would compare one copy and pass another. Events that are larger than a record
// are sent in parts (parts.h).
static __always_inline int pt_output(void *ctx, struct event *event, u64 size)
{
    pt_opaque(size);
    if (size > sizeof(*event))
        size = sizeof(*event);
#ifdef PT_HAS_RINGBUF
    return !!events.ringbuf_output(event, size, 0);
#else
    return !!events.perf_submit(ctx, event, size);
#endif
}

static __always_inline void pt_send(void *ctx, struct event *event, u64 size)
{
    if (pt_output(ctx, event, size))
        pt_lost(PT_LOSS_RING_FULL);
}
