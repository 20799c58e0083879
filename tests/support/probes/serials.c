// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// An event for each call of tests/workloads/serials.c: its number, and where it was made. With TEXT in the
// text that the call points at, as long as it is; with DISCARD two of three are discarded.
#include "task.h"

#define TEXT_LEN 256

struct event {
    u64 ns;
    u64 serial;
    u32 pid;
    u32 cpu;
#ifdef TEXT
    u32 len;
    char text[TEXT_LEN];
#endif
};
#include "stream.h"

int enter(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
    struct event *event;
    u64 serial = pt_read(PT_REGS_PARM1(regs));

    if (!pt_is_current_traced() || serial >> 56 != 0x5e)
        return PT_PASS;
#ifdef TEXT
    event = pt_prepare();
#else
    event = pt_reserve();
#endif
    if (!event)
        return PT_PASS;
#ifdef DISCARD
    if ((serial << 8 >> 8) % 3) {
        events.ringbuf_discard(event, 0);
        return PT_PASS;
    }
#endif
    event->ns = bpf_ktime_get_ns();
    event->serial = serial << 8 >> 8;
    event->pid = bpf_get_current_pid_tgid() >> 32;
    event->cpu = bpf_get_smp_processor_id();
#ifdef TEXT
    long size =
        bpf_probe_read_user_str(event->text, sizeof(event->text), (void *)pt_read(PT_REGS_PARM2(regs)));

    if (size < 0)
        size = 0;
    event->len = size;
    pt_send(ctx, event, offsetof(struct event, text) + size);
#else
    pt_submit(ctx, event);
#endif
    return PT_PASS;
}
