// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show look-ups of host names, from call to return.
#include "config.h"
#include "task.h"

struct pt_call {
    u64 ns;
    u64 caller;
    u32 tid;
    u64 host; // address of the name
    u64 result;
};
#include "calls.h"

struct event {
    u64 ns;
    u64 latency_ns;
    u32 pid;
    u32 tid;
    s32 result; // 0: ok; negative: EAI_*; 1: failed
    char comm[PT_COMM_LEN];
    char host[256];
};
#include "stream.h"

// The outermost look-up of each thread, since gethostbyname calls gethostbyname_r. Its value is the stack address of
// the caller: a call that was left by longjmp, or by an exited thread with the same id, has no nested ones.
BPF_HASH(outer, u64, u64, 16384);

enum kind { GETADDRINFO = 1, GETHOSTBYNAME, GETHOSTBYNAME2, GETHOSTBYNAME_R, GETHOSTBYNAME2_R };

int begins(struct pt_regs *ctx)
{
    u64 id = bpf_get_current_pid_tgid(), frame = PT_REGS_SP(ctx), *outer_frame = outer.lookup(&id);
    u64 args[PT_ARGUMENTS_MAX] = {};
    struct pt_call call = {};

    if (!pt_may_trace_current() || (outer_frame && *outer_frame > frame))
        return pt_pass();
    if (outer.update(&id, &frame))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    pt_read_arguments(ctx, args);
    call.host = args[0];
    // gethostbyname_r(name, ret, buf, buflen, result, h_errnop), gethostbyname2_r(name, af, ret, buf, buflen, result)
    call.result = pt_kind(ctx) == GETHOSTBYNAME2_R ? args[5] : args[4];
    pt_call_enter(ctx, &call);
    return pt_pass();
}

static __always_inline s32 result_of(void *ctx, struct pt_call *call)
{
    u64 returned = pt_return_value(ctx), result = 0;
    u32 kind = pt_kind(ctx);

    if (kind == GETADDRINFO)
        return (s32)returned;
    if (kind == GETHOSTBYNAME || kind == GETHOSTBYNAME2)
        return !returned;
    // Result 0 with a null pointer means that the name does not exist.
    pt_probe_read_user(&result, pt_word_size(ctx), (void *)call->result);
    return (u32)returned || !result;
}

int returns(struct pt_regs *ctx)
{
    u64 ns, id = bpf_get_current_pid_tgid();
    struct pt_call call = {};
    struct event *event;
    s32 result;

    if (!pt_call_exit(ctx, &call, &ns))
        return pt_pass();
    outer.delete(&id);
    result = result_of(ctx, &call);
    if (ns < pt_cfg(PT_CFG_MIN) || pt_followed() != PT_TRACED)
        return pt_pass();
#ifdef FAILED
    if (!result)
        return pt_pass();
#endif
    event = pt_reserve();
    if (!event)
        return pt_pass();
    event->ns = call.ns + ns;
    event->latency_ns = ns;
    pt_fill_task(event);
    event->result = result;
    // getaddrinfo may be called for a service only.
    pt_read_string(event->host, sizeof(event->host), call.host, !call.host);
    pt_submit(ctx, event);
    return pt_pass();
}
