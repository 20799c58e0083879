// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show system calls that create, change and remove mounts. Strings are read when the call returns, as in opensnoop.
#include "mntns.h"
#include "task.h"

#define PATH_LEN 4096 // PATH_MAX

struct event {
    u64 ns;
    u64 call;
    u64 flags;
    u32 pid;
    u32 tid;
    u32 mntns;
    s32 fd;     // -1: none
    s32 result; // -1: none
    u32 error;  // 0: none
    char comm[PT_COMM_LEN];
    char type[32];
    char source[256];
    char target[PATH_LEN];
};
#include "syscall_numbers.h"
#include "returns.h"
#include "stream.h"

enum kind { OTHER, MOUNT, UMOUNT, PIVOT_ROOT, FSOPEN, FSCONFIG, FSMOUNT, PATH_AT, MOVE_MOUNT };

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, mount, 165, 21, 40, 21))
        return MOUNT;
    if (PT_IS(call, umount2, 166, 52, 39, 52) || PT_IS(call, umount, -1, 22, -1, -1))
        return UMOUNT;
    if (PT_IS(call, pivot_root, 155, 217, 41, 218))
        return PIVOT_ROOT;
    if (PT_IS(call, fsopen, 430, 430, 430, 430))
        return FSOPEN;
    if (PT_IS(call, fsconfig, 431, 431, 431, 431))
        return FSCONFIG;
    if (PT_IS(call, fsmount, 432, 432, 432, 432))
        return FSMOUNT;
    if (PT_IS(call, fspick, 433, 433, 433, 433) || PT_IS(call, open_tree, 428, 428, 428, 428) ||
        PT_IS(call, mount_setattr, 442, 442, 442, 442) || PT_IS(call, open_tree_attr, 467, 467, 467, 467))
        return PATH_AT;
    return PT_IS(call, move_mount, 429, 429, 429, 429) ? MOVE_MOUNT : OTHER;
}

// Return 1 if fsconfig gets a string as value: FSCONFIG_SET_STRING, _SET_PATH, _SET_PATH_EMPTY.
static __always_inline int has_value(u32 command)
{
    return command == 1 || command == 3 || command == 4;
}

// Read the strings. Returns the bytes that the target takes.
static __always_inline u64 read_strings(struct event *event, struct pt_return *call, int kind)
{
    u64 type = 0, source = 0, target = 0;

    if (kind == MOUNT) {
        source = call->args[0];
        target = call->args[1];
        type = call->args[2];
    } else if (kind == UMOUNT) {
        target = call->args[0];
    } else if (kind == PIVOT_ROOT) {
        source = call->args[0];
        target = call->args[1];
    } else if (kind == FSOPEN) {
        type = call->args[0];
    } else if (kind == FSCONFIG) {
        source = call->args[2];
        target = has_value(call->args[1]) ? call->args[3] : 0;
    } else if (kind == PATH_AT) {
        target = call->args[1];
    } else if (kind == MOVE_MOUNT) {
        source = call->args[1];
        target = call->args[3];
    }
    pt_read_string(event->type, sizeof(event->type), type, !type || call->ret == -EFAULT);
    pt_read_string(event->source, sizeof(event->source), source, !source || call->ret == -EFAULT);
    return pt_read_string(event->target, sizeof(event->target), target, !target || call->ret == -EFAULT);
}

static __always_inline u64 flags_of(struct pt_return *call, int kind)
{
    if (kind == MOUNT)
        return call->args[3];
    if (kind == UMOUNT)
        return (u32)call->call == 22 ? 0 : (u32)call->args[1]; // the old umount has none
    if (kind == FSOPEN || kind == FSMOUNT || kind == FSCONFIG)
        return (u32)call->args[1];
    return kind == PATH_AT ? (u32)call->args[2] : 0;
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    int kind = kind_of(call->call), takes_fd = kind >= FSCONFIG;
    u64 size;
    struct event *event;

    if (!kind || !pt_is_shown_return(call))
        return PT_PASS;
    event = pt_prepare();
    if (!event)
        return PT_PASS;
    event->ns = bpf_ktime_get_ns();
    event->call = call->call;
    event->flags = flags_of(call, kind);
    pt_fill_task(event);
    event->mntns = pt_mntns_of(pt_current_field(nsproxy));
    event->fd = takes_fd && (s32)call->args[0] >= 0 ? call->args[0] : -1; // AT_FDCWD is below 0
    event->error = call->ret < 0 ? -call->ret : 0;
    event->result = call->ret > 0 ? call->ret : -1;
    size = read_strings(event, call, kind);
    pt_send(ctx, event, offsetof(struct event, target) + size);
    return PT_PASS;
}
