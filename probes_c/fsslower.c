// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show operations on regular files that take long.
#include "config.h"
#include "task.h"

#include "fsops.h"

struct event {
    u64 ns;
    u64 took_ns;
    u64 bytes;
    s64 offset; // -1: not known
    u64 inode;
    u32 pid;
    u32 tid;
    u32 operation;
    u32 sync; // it was opened with O_SYNC or O_DSYNC
    char comm[PT_COMM_LEN];
    char fs[16];
    char file[256]; // NAME_MAX, and the end
};
#include "stream.h"

// What an operation was, and whose; the rest is the file's.
struct done {
    u64 ns;
    s64 bytes;
    s64 offset; // -1: not known
    u32 pid;
    u32 tid;
    u32 operation;
    char comm[PT_COMM_LEN];
};

static __always_inline void show(void *ctx, struct file *file, struct done *done)
{
    struct event *event = pt_reserve();
    struct inode *inode;

    if (!event)
        return;
    inode = pt_read(file->f_inode);
    __builtin_memset(event->fs, 0, sizeof(event->fs));
    event->ns = bpf_ktime_get_ns();
    event->took_ns = done->ns;
    event->bytes = done->operation == PT_READ || done->operation == PT_WRITE ? done->bytes : 0;
    event->offset = done->offset;
    event->inode = pt_read(inode->i_ino);
    event->pid = done->pid;
    event->tid = done->tid;
    event->operation = done->operation;
    event->sync = !!(pt_read(file->f_flags) & PT_O_DSYNC);
    __builtin_memcpy(event->comm, done->comm, sizeof(event->comm));
    pt_filesystem(event->fs, sizeof(event->fs), file);
    pt_file_name(event->file, sizeof(event->file), file);
    pt_submit(ctx, event);
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    struct done done = {.ns = call->ns, .bytes = call->ret};
    struct file *file;

    if (call->ns < pt_cfg(PT_CFG_MIN) || !pt_is_current_traced())
        return PT_PASS;
    file = pt_operation(call, &done.operation);
    if (!file)
        return PT_PASS;
    done.offset = pt_offset(call, file);
    pt_fill_task(&done);
    show(ctx, file, &done);
    return PT_PASS;
}

#ifdef PT_SEES_RING_FILES
static __always_inline void on_ring_file(void *ctx, struct pt_request *request, enum pt_ring_kind kind,
                                         struct file *file, u64 ns, s64 result)
{
    struct done done = {.ns = ns, .bytes = result, .offset = -1, .pid = request->pid, .tid = request->tid};

    if (!pt_ring_operation(kind, file, ns, result, &done.operation) || ns < pt_cfg(PT_CFG_MIN))
        return;
    __builtin_memcpy(done.comm, request->comm, sizeof(done.comm));
    show(ctx, file, &done);
}
#endif
