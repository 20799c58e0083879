// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// A stream of records to user space: the BPF ring buffer where the kernel has it (Linux 5.8), else a perf
// ring on every CPU. The tracer that includes this has defined struct event: what columns are read from, with
// "u64 ns" first, when it happened (bpf_ktime_get_ns). Its last member may be a string of any length up to
// its size: a record then ends with the string and its NUL (a perf ring pads it with what lay there before).
// PT_RING_PAGES is the size of the ring.
#include "loss.h"
#include "read.h"

#ifdef PT_HAS_RINGBUF
BPF_RINGBUF_OUTPUT(events, PT_RING_PAGES);
#else
BPF_PERF_OUTPUT(events);
#endif

// Room to put a record together that is too large for the stack; and what tells its layout to user space.
// A tracer of which several programs use it defines PT_RECORDS, one for each: a program may be preempted (as
// seen on 7.2), and another one run in between; the kernel keeps only the same one from doing so.
#ifndef PT_RECORDS
#define PT_RECORDS 1
#endif
BPF_PERCPU_ARRAY(pt_record, struct event, PT_RECORDS);

// For records of one length: a place to write one to, or 0. What is there must all be written over.
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

// The record is complete.
static __always_inline void pt_submit(void *ctx, struct event *event)
{
#ifdef PT_HAS_RINGBUF
    events.ringbuf_submit(event, 0);
#else
    if (events.perf_submit(ctx, event, sizeof(*event)))
        pt_lost(PT_LOSS_RING_FULL);
#endif
}

// It is not wanted after all.
static __always_inline void pt_discard(struct event *event)
{
#ifdef PT_HAS_RINGBUF
    events.ringbuf_discard(event, 0);
#endif
}

// For records that end with a string: a place to write one to; "which" is the program's number.
static __always_inline struct event *pt_prepare_in(int which)
{
    return pt_record.lookup(&which);
}

static __always_inline struct event *pt_prepare(void)
{
    return pt_prepare_in(0);
}

// The first "size" bytes of it are complete; the verifier wants to see that they are no more than all. Of a
// narrower number the compiler would test one copy and pass on another.
// Returns whether they found no room. An event of any length ends with bytes, is sent in parts, and has members
// that say so: src/pytracer/bpf/read/streams/reassembly.py.
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

// A string of the program's, at "address", into a record: how many bytes it takes there, its end included.
// One that does not fit is cut and counted; so is one that is not in memory, unless that is "expected".
static __always_inline u64 pt_read_string(char *to, u32 room, u64 address, int expected)
{
    long size = pt_probe_read_user_str(to, room, (void *)address);
    char end = 1;

    if (size <= 0) { // 0: on 5.10, an empty one (strncpy_from_user_nofault leaves its end out)
        to[0] = 0;
        if (size && !expected)
            pt_lost(PT_LOSS_TRUNCATED);
        return 1;
    }
    if (size == room) {
        pt_probe_read_user(&end, sizeof(end), (void *)(address + room - 1));
        if (end)
            pt_lost(PT_LOSS_TRUNCATED);
    }
    return size;
}
