// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show files as they are opened, or fail to be: open, creat, openat, openat2, of every ABI, and by io_uring.
//
// The path is read when the call returns: the kernel has just read it, so it is in memory. (A program cannot wait for a
// page to be read.)
#include "task.h"

#define PATH_LEN 4096 // PATH_MAX: no call opens a longer path

struct event {
    u64 ns;
    u32 pid;
    s32 fd;    // -1: none
    u32 error; // 0: none
    char comm[PT_COMM_LEN];
    u64 flags;
    u32 bits; // followed by the path, a struct pt_path
    char path[PATH_LEN];
};
#define PT_RECORDS 2
#include "paths.h"
#include "returns.h"
#include "ring_paths.h"
#include "stream.h"

enum how { OTHER, OPEN, CREAT, OPENAT, OPENAT2 };

static __always_inline enum how how(u64 call)
{
    u32 nr = call;

    if (call >> 32) {
#if defined(__x86_64__)
        if (nr == 295)
            return OPENAT;
#elif defined(__aarch64__)
        if (nr == 322)
            return OPENAT;
#endif
        return nr == 5 ? OPEN : nr == 8 ? CREAT : nr == 437 ? OPENAT2 : OTHER;
    }
#if defined(__x86_64__)
    nr &= ~0x40000000; // an x32 call
    return nr == 257 ? OPENAT : nr == 2 ? OPEN : nr == 85 ? CREAT : nr == 437 ? OPENAT2 : OTHER;
#else
    return nr == 56 ? OPENAT : nr == 437 ? OPENAT2 : OTHER;
#endif
}

static __always_inline int is_wanted(u32 nr)
{
    return how(nr) != OTHER || how(1ULL << 32 | nr) != OTHER;
}

// Return the flags of the program, without those that the kernel adds (O_LARGEFILE).
static __always_inline u64 flags_of(enum how kind, struct pt_return *call)
{
    u64 flags = 0;

    if (kind == OPEN)
        return (u32)call->args[1];
    if (kind == CREAT)
        return O_CREAT | O_WRONLY | O_TRUNC;
    if (kind == OPENAT)
        return (u32)call->args[2];
    pt_probe_read_user(&flags, sizeof(flags), (void *)call->args[2]); // first in struct open_how
    return flags;
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    enum how kind = how(call->call);
    struct event *event;
    u64 path, size;

    if (kind == OTHER || !pt_is_shown_return(call))
        return PT_PASS;
    event = pt_prepare_in(0);
    if (!event)
        return PT_PASS;
    event->ns = bpf_ktime_get_ns();
    event->pid = bpf_get_current_pid_tgid() >> 32;
    event->fd = call->ret < 0 ? -1 : call->ret;
    event->error = call->ret < 0 ? -call->ret : 0;
    bpf_get_current_comm(&event->comm, sizeof(event->comm));
    event->flags = flags_of(kind, call);
    path = kind == OPENAT || kind == OPENAT2 ? call->args[1] : call->args[0];
    size = pt_read_string(event->path, sizeof(event->path), path, call->ret == -EFAULT);
    if (pt_path_is_wanted(&event->bits, size))
        pt_send(ctx, event, offsetof(struct event, path) + size);
    return PT_PASS;
}

#ifdef PT_SEES_RING_PATHS
static __always_inline void on_ring_path(void *ctx, struct pt_request *request, struct pt_ring_path *path,
                                         s64 result)
{
    struct event *event = pt_prepare_in(1);

    if (!event)
        return;
    event->fd = result < 0 || path->is_fixed ? -1 : result;
    event->flags = path->flags;
    pt_send_ring_path(ctx, event, request, path, result);
}
#endif
