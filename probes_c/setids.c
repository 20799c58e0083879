// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show changes of user and group ids, and failed attempts.
#include "task.h"
#include <linux/cred.h>

struct event {
    u64 ns;
    u64 call;
    u32 pid;
    u32 tid;
    u32 error; // 0: none
    u32 real;  // -1: unchanged
    u32 effective;
    u32 saved;
    u32 groups;
    u32 uid;
    u32 euid;
    u32 suid;
    u32 fsuid;
    u32 gid;
    u32 egid;
    u32 sgid;
    u32 fsgid;
    char comm[PT_COMM_LEN];
};
#include "syscall_numbers.h"
#include "returns.h"
#include "stream.h"

// The number of ids that a call takes; 16-bit ones belong to old calls of 32-bit programs.
enum kind { OTHER, ONE, TWO, THREE, GROUPS };

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, setuid, 105, 23, 146, 23) || PT_IS(call, setgid, 106, 46, 144, 46) ||
        PT_IS(call, setfsuid, 122, 138, 151, 138) || PT_IS(call, setfsgid, 123, 139, 152, 139) ||
        PT_IS(call, setuid32, -1, 213, -1, 213) || PT_IS(call, setgid32, -1, 214, -1, 214) ||
        PT_IS(call, setfsuid32, -1, 215, -1, 215) || PT_IS(call, setfsgid32, -1, 216, -1, 216))
        return ONE;
    if (PT_IS(call, setreuid, 113, 70, 145, 70) || PT_IS(call, setregid, 114, 71, 143, 71) ||
        PT_IS(call, setreuid32, -1, 203, -1, 203) || PT_IS(call, setregid32, -1, 204, -1, 204))
        return TWO;
    if (PT_IS(call, setresuid, 117, 164, 147, 164) || PT_IS(call, setresgid, 119, 170, 149, 170) ||
        PT_IS(call, setresuid32, -1, 208, -1, 208) || PT_IS(call, setresgid32, -1, 210, -1, 210))
        return THREE;
    if (PT_IS(call, setgroups, 116, 81, 159, 81) || PT_IS(call, setgroups32, -1, 206, -1, 206))
        return GROUPS;
    return OTHER;
}

// The requested id. For calls with 16-bit ids, all below 200, 0xffff means unchanged.
static __always_inline u32 id_of(struct pt_return *call, int number)
{
    u32 id = call->args[number];

    if (!(call->call >> 32) || (u32)call->call >= 200)
        return id;
    return (u16)id == 0xffff ? ~0U : (u16)id;
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    int kind = kind_of(call->call);
    struct cred *cred;
    struct event *event;

    if (!kind || !pt_is_shown_return(call))
        return PT_PASS;
    event = pt_reserve();
    if (!event)
        return PT_PASS;
    event->ns = bpf_ktime_get_ns();
    event->call = call->call;
    pt_fill_task(event);
    event->error = pt_is_failed(call->ret) ? -call->ret : 0;
    event->real = kind == GROUPS ? ~0U : id_of(call, 0);
    event->effective = kind == TWO || kind == THREE ? id_of(call, 1) : ~0U;
    event->saved = kind == THREE ? id_of(call, 2) : ~0U;
    event->groups = kind == GROUPS ? call->args[0] : ~0U;
    cred = (struct cred *)pt_read(pt_current()->cred);
    event->uid = pt_read(cred->uid.val);
    event->euid = pt_read(cred->euid.val);
    event->suid = pt_read(cred->suid.val);
    event->fsuid = pt_read(cred->fsuid.val);
    event->gid = pt_read(cred->gid.val);
    event->egid = pt_read(cred->egid.val);
    event->sgid = pt_read(cred->sgid.val);
    event->fsgid = pt_read(cred->fsgid.val);
    pt_submit(ctx, event);
    return PT_PASS;
}
