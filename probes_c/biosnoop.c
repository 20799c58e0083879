// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each request to a disk when it completes.
#include "config.h"
#include "requests.h"

struct event {
    u64 ns;
    u64 queue_ns;
    u64 service_ns;
    u64 cgroup;
    s64 sector;
    u32 bytes;
    u32 pid;
    u32 disk;      // dev_t
    u32 operation; // enum req_op
    char comm[PT_COMM_LEN];
};
#include "stream.h"

static __always_inline int on_request_done(void *ctx, struct pt_io *io, u32 disk, u32 operation)
{
    u64 now = bpf_ktime_get_ns(), queue = io->submitted_ns ? io->issued_ns - io->submitted_ns : 0;
    struct event *event;

    if (now - io->issued_ns + queue < pt_cfg(PT_CFG_MIN))
        return PT_PASS;
    event = pt_reserve();
    if (!event) // the ring is full: the loss is counted
        return PT_PASS;
    event->ns = now;
    event->queue_ns = queue;
    event->service_ns = now - io->issued_ns;
    event->cgroup = io->cgroup;
    event->sector = io->sector;
    event->bytes = io->bytes;
    event->pid = io->pid;
    event->disk = disk;
    event->operation = operation;
    __builtin_memcpy(event->comm, io->comm, sizeof(event->comm));
    pt_submit(ctx, event);
    return PT_PASS;
}
