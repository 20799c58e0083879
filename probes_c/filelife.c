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
#define PT_RECORDS                                                                                           \
    4 // two for system calls, the second for the old path of a file that is renamed; two for io_uring
#define PT_RING_REMOVES
#include "descriptor.h"
#include "created_files.h"
#include "syscall_numbers.h"
#include "paths.h"
#include "returns.h"
#include "ring_paths.h"
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

static __always_inline void opened(int fd, u32 pid)
{
    struct file *file = pt_file_of(fd);
    struct pt_created_file created = {.ns = bpf_ktime_get_ns(), .pid = pid};
    struct pt_name name;

    if (!file || !(pt_read(file->f_mode) & PT_CREATED))
        return;
    created.dentry = pt_read(file->f_path.dentry);
    created.inode = pt_read(file->f_inode);
    pt_dentry_name(&name, created.dentry);
    pt_on_create(&name, &created);
}

// Complete an event whose path of "size" bytes was removed or got another file; "old", the path that this had before,
// has "old_size". Returns 1 if the removed file was created during the trace, as long ago as --max selects.
static __always_inline int is_brief(struct event *event, u64 size, struct event *old, u64 old_size)
{
    u64 max = pt_cfg(PT_CFG_MAX);
    struct pt_created_file created = {};
    struct pt_name name, before;
    int is_removed;

    pt_base_name(&name, event->path, size);
    is_removed = pt_on_remove(&name, &created);
    if (old) { // it may be a file whose creation was seen: follow it
        pt_base_name(&before, old->path, old_size);
        pt_on_rename(&before, &name);
    }
    event->ns = bpf_ktime_get_ns();
    event->age_ns = event->ns - created.ns;
    event->creator = created.pid;
    return is_removed && !(max && event->age_ns > max);
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    u64 path, size, old_size = 0;
    int kind = kind_of(call->call);
    struct event *event, *old = 0;

    if (!kind || call->ret < 0)
        return PT_PASS;
    if (kind == OPENS) {
        opened(call->ret, bpf_get_current_pid_tgid() >> 32);
        return PT_PASS;
    }
    event = pt_prepare_in(0);
    if (!event)
        return PT_PASS;
    path = kind == UNLINK ? call->args[0] : kind == RENAMEAT ? call->args[3] : call->args[1];
    size = pt_read_string(event->path, sizeof(event->path), path, 0);
    if (kind >= RENAME)
        old = pt_prepare_in(1);
    if (old)
        old_size =
            pt_read_string(old->path, sizeof(old->path), kind == RENAME ? call->args[0] : call->args[1], 0);
    if (!is_brief(event, size, old, old_size) || !pt_is_current_traced())
        return PT_PASS;
    event->call = call->call;
    pt_fill_task(event);
    if (pt_path_is_wanted(&event->bits, size))
        pt_send(ctx, event, offsetof(struct event, path) + size);
    return PT_PASS;
}

#ifdef PT_SEES_RING_PATHS
// The operation is shown as the equivalent system call. The task that completes it has the process's descriptors.
static __always_inline void on_ring_path(void *ctx, struct pt_request *request, struct pt_ring_path *path,
                                         s64 result)
{
#ifdef PT_RING_COMMAND
    struct event *event, *old = 0;
    u64 size, old_size = 0;

    if (result < 0)
        return;
    if (PT_RING_OPENS(request->operation)) {
        if (!path->is_fixed)
            opened(result, request->pid);
        return;
    }
    event = pt_prepare_in(2);
    if (!event)
        return;
    size = pt_copy_ring_path(event, path);
    if (PT_RING_RENAMES(request->operation))
        old = pt_prepare_in(3);
    if (old)
        old_size = pt_copy_ring_string(old, path->before);
    if (!is_brief(event, size, old, old_size))
        return;
    event->call = old ? PT_NUMBER(264, 38) : PT_NUMBER(263, 35); // renameat, unlinkat
    event->pid = request->pid;
    event->tid = request->tid;
    __builtin_memcpy(event->comm, request->comm, sizeof(event->comm));
    if (pt_path_is_wanted(&event->bits, size))
        pt_send(ctx, event, offsetof(struct event, path) + size);
#endif
}
#endif
