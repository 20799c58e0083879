// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show operations on regular files that take long.
#define PT_TIMED
#include "config.h"
#include "fsops.h"
#include "task.h"

struct event {
    u64 ns;
    u64 took_ns;
    u64 bytes;
    u64 offset;
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

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    struct event *event;
    struct inode *inode;
    struct file *file;
    u32 operation = 0;

    if (call->ns < pt_cfg(PT_CFG_MIN) || !pt_is_current_traced())
        return PT_PASS;
    file = pt_operation(call, &operation);
    event = file ? pt_reserve() : 0;
    if (!event)
        return PT_PASS;
    inode = pt_read(file->f_inode);
    __builtin_memset(event->fs, 0, sizeof(event->fs));
    event->ns = bpf_ktime_get_ns();
    event->took_ns = call->ns;
    event->bytes = operation == PT_READ || operation == PT_WRITE ? call->ret : 0;
    event->offset = pt_offset(call, file);
    event->inode = pt_read(inode->i_ino);
    pt_fill_task(event);
    event->operation = operation;
    event->sync = !!(pt_read(file->f_flags) & PT_O_DSYNC);
    pt_filesystem(event->fs, sizeof(event->fs), file);
    pt_file_name(event->file, sizeof(event->file), file);
    pt_submit(ctx, event);
    return PT_PASS;
}
