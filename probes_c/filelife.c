// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show files that are removed after they were created while the trace runs.
#include "config.h"
#include "task.h"

#define PATH_LEN 4096 // PATH_MAX

struct event {
    u64 ns;
    u64 call;
    u64 age_ns;
    u32 pid;
    u32 tid;
    u32 creator;
    char comm[PT_COMM_LEN];
    u32 bits; // followed by the path, a struct pt_path
    char path[PATH_LEN];
};
#define PT_RECORDS 2 // the other is for the old path of a file that is renamed
#include "descriptor.h"
#include "created_files.h"
#include "syscall_numbers.h"
#include "paths.h"
#include "returns.h"
#include "stream.h"

#define PT_CREATED 0x100000 // FMODE_CREATED (Linux 4.19), a macro

enum kind { OTHER, OPENS, UNLINK, UNLINKAT, RENAME, RENAMEAT };

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, open, 2, 5, -1, 5) || PT_IS(call, creat, 85, 8, -1, 8) ||
        PT_IS(call, openat, 257, 295, 56, 322) || PT_IS(call, openat2, 437, 437, 437, 437))
        return OPENS;
    if (PT_IS(call, unlink, 87, 10, -1, 10))
        return UNLINK;
    if (PT_IS(call, unlinkat, 263, 301, 35, 328))
        return UNLINKAT;
    if (PT_IS(call, rename, 82, 38, -1, 38))
        return RENAME;
    if (PT_IS(call, renameat, 264, 302, 38, 329) || PT_IS(call, renameat2, 316, 353, 276, 382))
        return RENAMEAT;
    return OTHER;
}

static __always_inline int opened(int fd)
{
    struct file *file = pt_file_of(fd);
    struct pt_created_file created = {.ns = bpf_ktime_get_ns(), .pid = bpf_get_current_pid_tgid() >> 32};
    struct pt_name name;

    if (!file || !(pt_read(file->f_mode) & PT_CREATED))
        return PT_PASS;
    created.dentry = pt_read(file->f_path.dentry);
    created.inode = pt_read(file->f_inode);
    pt_dentry_name(&name, created.dentry);
    pt_on_create(&name, &created);
    return PT_PASS;
}

// Follow a rename of a path to "name", if it is the path of a file whose creation was seen.
static __always_inline void renamed(u64 path, struct pt_name *name)
{
    struct event *other = pt_prepare_in(1);
    struct pt_name before;

    if (!other)
        return;
    pt_base_name(&before, other->path, pt_read_string(other->path, sizeof(other->path), path, 0));
    pt_on_rename(&before, name);
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    u64 max = pt_cfg(PT_CFG_MAX), path, size;
    int kind = kind_of(call->call), is_removed;
    struct event *event;
    struct pt_name name;
    struct pt_created_file created = {};

    if (!kind || call->ret < 0)
        return PT_PASS;
    if (kind == OPENS)
        return opened(call->ret);
    event = pt_prepare_in(0);
    if (!event)
        return PT_PASS;
    path = kind == UNLINK ? call->args[0] : kind == RENAMEAT ? call->args[3] : call->args[1];
    size = pt_read_string(event->path, sizeof(event->path), path, 0);
    pt_base_name(&name, event->path, size);
    is_removed = pt_on_remove(&name, &created);
    if (kind >= RENAME)
        renamed(kind == RENAME ? call->args[0] : call->args[1], &name);
    event->ns = bpf_ktime_get_ns();
    event->age_ns = event->ns - created.ns;
    if (!is_removed || (max && event->age_ns > max) || !pt_is_current_traced())
        return PT_PASS;
    event->call = call->call;
    pt_fill_task(event);
    event->creator = created.pid;
    if (pt_path_is_wanted(&event->bits, size))
        pt_send(ctx, event, offsetof(struct event, path) + size);
    return PT_PASS;
}
