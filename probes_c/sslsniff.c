// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show data that is read and written by TLS libraries, as their functions return.
#include "config.h"
#include "task.h"
#include "event_kinds.h"

#define ROOM 16384 // the maximum of a TLS record

struct pt_call {
    u64 ns;
    u64 caller;
    u32 tid;
    u64 session;
    u64 buffer;
    u64 count; // where the _ex functions store the number of bytes
};
#include "calls.h"

struct event {
    u64 ns;
    u64 session;
    u32 pid;
    u32 tid;
    u32 bytes;
    u8 direction; // 0: in, 1: out
    char comm[PT_COMM_LEN];
    u32 data_len;
    u8 data[ROOM];
};
#include "stream.h"

enum kind { SSL_READ = 1, SSL_READ_EX, SSL_WRITE, SSL_WRITE_EX, GNUTLS_RECV, GNUTLS_SEND };

int begins(struct pt_regs *ctx)
{
    u64 args[PT_ARGUMENTS_MAX] = {};
    struct pt_call call = {};

    if (!pt_may_trace_current())
        return pt_pass();
    pt_read_arguments(ctx, args); // (session, buffer, size[, count])
    call.session = args[0];
    call.buffer = args[1];
    call.count = args[3];
    pt_call_enter(ctx, &call);
    return pt_pass();
}

// Return the bytes that the call has read or written; 0: none.
static __always_inline u64 bytes_of(void *ctx, struct pt_call *call, u32 kind)
{
    u64 count = 0, returned = pt_return_value(ctx);
    s64 result = kind == GNUTLS_RECV || kind == GNUTLS_SEND ? (s64)returned : (s32)returned;

    if (kind != SSL_READ_EX && kind != SSL_WRITE_EX)
        return result > 0 ? result : 0;
    if (result == 1)
        pt_probe_read_user(&count, pt_word_size(ctx), (void *)call->count);
    return count;
}

int returns(struct pt_regs *ctx)
{
    u64 ns, bytes, size, most = pt_cfg(PT_CFG_SIZE);
    u32 kind = pt_kind(ctx);
    u8 direction = kind == SSL_WRITE || kind == SSL_WRITE_EX || kind == GNUTLS_SEND;
    struct pt_call call = {};
    struct event *event;

    if (!pt_call_exit(ctx, &call, &ns) || pt_followed() != PT_TRACED || !pt_is_shown(direction))
        return pt_pass();
    bytes = bytes_of(ctx, &call, kind);
    event = bytes ? pt_prepare() : 0;
    if (!event)
        return pt_pass();
    event->ns = bpf_ktime_get_ns();
    event->session = call.session;
    pt_fill_task(event);
    event->bytes = bytes;
    event->direction = direction;
    size = bytes < most ? bytes : most;
    if (size < bytes)
        pt_lost(PT_LOSS_TRUNCATED);
    pt_opaque(size);
    if (size > ROOM || pt_probe_read_user(event->data, size, (void *)call.buffer)) {
        pt_lost(PT_LOSS_TRUNCATED); // not in memory
        size = 0;
    }
    event->data_len = size;
    pt_send(ctx, event, offsetof(struct event, data) + size);
    return pt_pass();
}
