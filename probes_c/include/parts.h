// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Sends events with any number of bytes of user memory, in parts that user space joins
// (src/pytracer/bpf/read/streams/reassembly.py). The tracer that includes this has defined struct event with the
// members "u32 args_len, args_at; u8 args[ROOM]" at its end, and PARTS, the maximum number of parts before the last.
// Loop body 1 is used here.
#include "loops.h"
#include "stream.h"

struct parts {
    u32 index;
    u32 failed;
    void *ctx;
    struct event *event;
    u64 from;
    u64 remaining;
};

// Send "size" bytes from address "from". Returns 1 if the other parts must not be sent.
static __always_inline int pt_send_part(void *ctx, struct event *event, u64 from, u64 size)
{
    pt_opaque(size);
    if (size > ROOM)
        size = ROOM;
    if (pt_probe_read_user(event->args, size, (void *)from)) {
        pt_lost(PT_LOSS_TRUNCATED);
        if (event->args_at)
            return 1;
        event->args_len = size = 0;
    }
    if (!pt_output(ctx, event, offsetof(struct event, args) + size))
        return !size;
    pt_lost(event->args_at ? PT_LOSS_TRUNCATED : PT_LOSS_RING_FULL);
    return 1;
}

// Send all parts but the last.
PT_LOOP_BODY(1, struct parts *parts)
{
    if (parts->remaining <= ROOM)
        return 1;
    parts->failed = pt_send_part(parts->ctx, parts->event, parts->from, ROOM);
    parts->from += ROOM;
    parts->remaining -= ROOM;
    parts->event->args_at += ROOM;
    return parts->failed;
}

// Send all "size" bytes from address "from".
static __always_inline void pt_send_parts(void *ctx, struct event *event, u64 from, u64 size)
{
    struct parts parts = {.ctx = ctx, .event = event, .from = from, .remaining = size};

    event->args_len = size;
    PT_LOOP_RUN(1, PARTS, &parts);
    if (parts.failed)
        return;
    if (parts.remaining > ROOM)
        pt_lost(PT_LOSS_TRUNCATED);
    else
        pt_send_part(ctx, event, parts.from, parts.remaining);
}
