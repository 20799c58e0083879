// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show lines that readline(3) returns.
#include "task.h"
#include "tracked.h"

#define LINE_LEN 4096

struct event {
    u64 ns;
    u32 pid;
    u32 uid;
    char comm[PT_COMM_LEN];
    char line[LINE_LEN];
};
#include "stream.h"

int returns(struct pt_regs *ctx)
{
    u64 line = PT_REGS_RC(ctx), size;
    struct event *event;

    // NULL at the end of the input. Only the return is traced: a shell waits in readline when the trace begins.
    if (pt_is_foreign(ctx) || !line || !pt_is_current_traced())
        return pt_pass();
    event = pt_prepare();
    if (!event)
        return pt_pass();
    event->ns = bpf_ktime_get_ns();
    event->pid = bpf_get_current_pid_tgid() >> 32;
    event->uid = bpf_get_current_uid_gid();
    bpf_get_current_comm(&event->comm, sizeof(event->comm));
    size = pt_read_string(event->line, sizeof(event->line), line, 0);
    pt_send(ctx, event, offsetof(struct event, line) + size);
    return pt_pass();
}
