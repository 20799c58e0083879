// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Descriptors of io_uring's rings: pt_ring_fd(ring), -1 if it is not known.
#include "descriptor.h"

BPF_TABLE("lru_hash", u64, s32, pt_ring_fds, 4096); // by the address of the ring

static __always_inline s32 pt_ring_fd(u64 ring)
{
    s32 *fd = pt_ring_fds.lookup(&ring);

    return fd ? *fd : -1;
}

int created(struct tracepoint__io_uring__io_uring_create *args)
{
    u64 ring = (u64)args->ctx;
    s32 fd = args->fd;

    pt_ring_fds.update(&ring, &fd);
    return PT_PASS;
}

#ifdef HOOK_OPEN_RINGS_ITERATOR
// bpf_iter_task_file(meta, task, fd, file): each ring that is open when the trace begins.
int listed(u64 *ctx)
{
    struct file *file = (struct file *)ctx[3];
    char name[] = "[io_uring]", file_name[sizeof(name)] = {};
    s32 fd = (u32)ctx[2];
    u64 ring;

    if (!ctx[1] || !file)
        return 0;
    pt_file_name(file_name, sizeof(file_name), file);
    for (int i = 0; i < sizeof(name); i++)
        if (file_name[i] != name[i])
            return 0;
    ring = (u64)pt_read(file->private_data);
    pt_ring_fds.update(&ring, &fd);
    return 0;
}
#endif
