// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show system calls that write data back to disks, and how long they take.
#include "config.h"
#include "task.h"
#include <linux/dcache.h>
#include <linux/fdtable.h>
#include <linux/fs.h>

struct event {
    u64 ns;
    u64 call;
    u64 took_ns;
    u32 pid;
    u32 tid;
    s32 fd;    // -1: none
    u32 error; // 0: none
    char comm[PT_COMM_LEN];
    char file[256]; // NAME_MAX, and the end
};
#include "syscall_numbers.h"
#include "returns.h"
#include "ring_files.h"
#include "stream.h"
#include "descriptor.h"

enum kind { OTHER, OF_ALL, OF_FILE };

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, sync, 162, 36, 81, 36) || PT_IS(call, msync, 26, 144, 227, 144))
        return OF_ALL;
    if (PT_IS(call, fsync, 74, 118, 82, 118) || PT_IS(call, fdatasync, 75, 148, 83, 148) ||
        PT_IS(call, syncfs, 306, 344, 267, 373) || PT_IS(call, sync_file_range, 277, 314, 84, -1) ||
        PT_IS(call, arm_sync_file_range, -1, -1, -1, 341))
        return OF_FILE;
    return OTHER;
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    int kind = kind_of(call->call);
    struct event *event;

    if (!kind || call->ns < pt_cfg(PT_CFG_MIN) || !pt_is_shown_return(call))
        return PT_PASS;
    event = pt_reserve();
    if (!event)
        return PT_PASS;
    event->ns = bpf_ktime_get_ns();
    event->call = call->call;
    event->took_ns = call->ns;
    pt_fill_task(event);
    event->fd = kind == OF_FILE ? call->args[0] : -1;
    event->error = call->ret < 0 ? -call->ret : 0;
    event->file[0] = 0;
    if (kind == OF_FILE && call->ret != -9) // EBADF: another thread may have opened it since
        pt_file_name(event->file, sizeof(event->file), pt_file_of(call->args[0]));
    pt_submit(ctx, event);
    return PT_PASS;
}

#ifdef PT_SEES_RING_FILES
// The operation is shown as the equivalent system call.
static __always_inline void on_ring_file(void *ctx, struct pt_request *request, enum pt_ring_kind kind,
                                         struct file *file, u64 ns, s64 result)
{
    struct event *event;
    u32 flags = 0;

#ifdef FAILED
    if (!pt_is_failed(result))
        return;
#endif
    if (kind != PT_RING_SYNCS || !ns || ns < pt_cfg(PT_CFG_MIN))
        return;
#if PT_HAS_io_sync__flags
    flags = pt_read(((struct io_sync *)request->address)->flags);
#endif
    event = pt_reserve();
    if (!event)
        return;
    event->ns = bpf_ktime_get_ns();
    event->call = request->operation == 8 ? PT_NUMBER(277, 84) // sync_file_range
                  : flags & 1             ? PT_NUMBER(75, 83)  // fdatasync: IORING_FSYNC_DATASYNC
                                          : PT_NUMBER(74, 82); // fsync
    event->took_ns = ns;
    event->pid = request->pid;
    event->tid = request->tid;
    event->fd = -1;
    event->error = result < 0 ? -result : 0;
    __builtin_memcpy(event->comm, request->comm, sizeof(event->comm));
    pt_file_name(event->file, sizeof(event->file), file);
    pt_submit(ctx, event);
}
#endif
