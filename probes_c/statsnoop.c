// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show system calls that read the attributes of files and file systems, of every ABI. The path is read when the call
// returns, as in opensnoop.
#include "task.h"

#define PATH_LEN 4096   // PATH_MAX
#define AT_CWD   (-100) // AT_FDCWD, a macro and so absent from BTF

struct event {
    u64 ns;
    u64 call;
    u32 pid;
    u32 tid;
    s32 fd;    // -1: none
    u32 error; // 0: none
    char comm[PT_COMM_LEN];
    u32 bits; // followed by the path, a struct pt_path
    char path[PATH_LEN];
};
#define PT_RECORDS 2
#define PT_RING_STATS
#include "syscall_numbers.h"
#include "paths.h"
#include "returns.h"
#include "ring_paths.h"
#include "stream.h"

enum kind { OTHER, BY_PATH, BY_FD, AT, NEITHER };

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, stat, 4, 106, -1, 106) || PT_IS(call, lstat, 6, 107, -1, 107) ||
        PT_IS(call, oldstat, -1, 18, -1, -1) || PT_IS(call, oldlstat, -1, 84, -1, -1) ||
        PT_IS(call, stat64, -1, 195, -1, 195) || PT_IS(call, lstat64, -1, 196, -1, 196) ||
        PT_IS(call, statfs, 137, 99, 43, 99) || PT_IS(call, statfs64, -1, 268, -1, 266))
        return BY_PATH;
    if (PT_IS(call, fstat, 5, 108, 80, 108) || PT_IS(call, oldfstat, -1, 28, -1, -1) ||
        PT_IS(call, fstat64, -1, 197, -1, 197) || PT_IS(call, fstatfs, 138, 100, 44, 100) ||
        PT_IS(call, fstatfs64, -1, 269, -1, 267))
        return BY_FD;
    if (PT_IS(call, newfstatat, 262, -1, 79, -1) || PT_IS(call, fstatat64, -1, 300, -1, 327) ||
        PT_IS(call, statx, 332, 383, 291, 397))
        return AT;
    return PT_IS(call, ustat, 136, 62, -1, 62) ? NEITHER : OTHER; // which takes a device
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    int kind = kind_of(call->call);
    u64 path, size = 1;
    struct event *event;

    if (!kind || !pt_is_shown_return(call))
        return PT_PASS;
    event = pt_prepare_in(0);
    if (!event)
        return PT_PASS;
    event->ns = bpf_ktime_get_ns();
    event->call = call->call;
    pt_fill_task(event);
    event->fd = (kind == AT && (s32)call->args[0] != AT_CWD) || kind == BY_FD ? call->args[0] : -1;
    event->error = call->ret < 0 ? -call->ret : 0;
    event->path[0] = 0;
    if (kind == BY_PATH || kind == AT) {
        path = kind == AT ? call->args[1] : call->args[0];
        // A null pointer means the descriptor itself (Linux 6.11, 0ef625bba6fb).
        size = pt_read_string(event->path, sizeof(event->path), path, !path || call->ret == -EFAULT);
    }
    if (pt_path_is_wanted(&event->bits, size))
        pt_send(ctx, event, offsetof(struct event, path) + size);
    return PT_PASS;
}

#ifdef PT_SEES_RING_PATHS
// The operation is shown as the equivalent system call.
static __always_inline void on_ring_path(void *ctx, struct pt_request *request, struct pt_ring_path *path,
                                         s64 result)
{
    struct event *event = pt_prepare_in(1);

    if (!event)
        return;
    event->call = PT_NUMBER(332, 291); // statx
    event->tid = request->tid;
    event->fd = path->folder != AT_CWD ? path->folder : -1;
    pt_send_ring_path(ctx, event, request, path, result);
}
#endif
