// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Requests of io_uring. The tracer that includes this defines
//
//     on_submit(request, flags, is_polled)       in the task that submits: the process's own, or its SQPOLL thread
//     on_complete(context, request, is_more, ns, now, result)
//                                                is_more: a further result; ns: since its submission, 0: not known
//
// Events have had the request since Linux 5.18: its address joins both ends, whoever completes it. A completion without
// one is a further result of a multishot request; before 5.18, every completion is. Those are joined by ring and user
// data, which programs choose: where requests in flight of several operations have the same, none of them is named.
#include "members.h"
#include "task.h"
#if defined(PT_PACKAGED_HEADERS) && PT_HAS_io_kiocb__file
#include <linux/io_uring_types.h>
#endif

#define PT_RING_SKIPS    (1 << 6) // IOSQE_CQE_SKIP_SUCCESS
#define PT_RING_FIXED    (1 << 0) // IOSQE_FIXED_FILE
#define PT_RING_NOTIFIES (1 << 3) // IORING_CQE_F_NOTIF
#define PT_RING_UNKNOWN  0xffff   // an operation
#define PT_HAS_REQUEST   PT_HAS_trace_event_raw_io_uring_complete__req

struct pt_request {
    u64 ns;
    u64 address; // 0: not known
    u64 ring;
    u64 data;
    u32 pid;
    u32 tid; // the thread that submitted it
    u32 operation;
    char comm[PT_COMM_LEN];
};
BPF_TABLE("lru_hash", u64, struct pt_request, pt_requests, 65536); // by the address of the request

struct pt_tag {
    u64 ring;
    u64 data;
};
struct pt_tagged {
    struct pt_request last;
    u64 in_flight;
};
BPF_TABLE("lru_hash", struct pt_tag, struct pt_tagged, pt_tags, 65536);

static void on_submit(struct pt_request *request, u32 flags, int is_polled);
static void on_complete(void *ctx, struct pt_request *request, int is_more, u64 ns, u64 now, s64 result);

static __always_inline int pt_submitted(u64 ring, u64 address, u64 data, u32 operation, u32 flags,
                                        int is_polled)
{
    struct pt_request request = {.address = address, .ring = ring, .data = data, .operation = operation};
    struct pt_tag tag = {.ring = ring, .data = data};
    struct pt_tagged new_tag = {}, *tagged;

    if (!pt_is_current_traced())
        return PT_PASS;
    request.ns = bpf_ktime_get_ns();
    request.pid = bpf_get_current_pid_tgid() >> 32;
    request.tid = bpf_get_current_pid_tgid();
    pt_process_name(request.comm);
    if (address)
        pt_requests.update(&address, &request);
    tagged = pt_tags.lookup_or_try_init(&tag, &new_tag);
    if (tagged) {
        if (tagged->in_flight && tagged->last.operation != operation)
            tagged->last.operation = PT_RING_UNKNOWN;
        else
            tagged->last = request;
        __sync_fetch_and_add(&tagged->in_flight, 1);
    }
    on_submit(&request, flags, is_polled);
    return PT_PASS;
}

static __always_inline int pt_completed(void *ctx, u64 ring, u64 address, u64 data, s64 result, u32 flags)
{
    struct pt_request *tracked = address ? pt_requests.lookup(&address) : 0;
    struct pt_request request = {.ring = ring, .operation = PT_RING_UNKNOWN};
    struct pt_tag tag = {.ring = ring, .data = data};
    struct pt_tagged *tagged = pt_tags.lookup(&tag);
    int is_more = PT_HAS_REQUEST && (!address || flags & PT_RING_NOTIFIES);
    u64 now = bpf_ktime_get_ns(), ns = 0;

    if (tracked && (tracked->ring != ring || tracked->data != data || is_more))
        tracked = 0; // of a request that ended unseen and whose memory was reused
    if (tracked) {
        request = *tracked;
        ns = now - request.ns;
        pt_requests.delete(&address);
    } else if (tagged && (is_more || !PT_HAS_REQUEST)) {
        request = tagged->last;
    } else if (PT_FILTERS_TASKS) {
        return PT_PASS;
    }
#if PT_HAS_io_kiocb__opcode
    else if (address) {
        request.operation = pt_read(((struct io_kiocb *)address)->opcode);
    }
#endif
    if (tagged && tagged->in_flight && (tracked || !PT_HAS_REQUEST))
        __sync_fetch_and_add(&tagged->in_flight, -1);
    on_complete(ctx, &request, is_more, ns, now, result);
    return PT_PASS;
}

#if defined(HOOK_RING_REQUEST_TRACEPOINT) || defined(HOOK_RING_FILE_TRACEPOINT)
int submitted(struct tracepoint__io_uring__io_uring_submit_req *args)
{
    return pt_submitted((u64)args->ctx, (u64)args->req, args->user_data, args->opcode, args->flags,
                        args->sq_thread);
}
#elif PT_HAS_trace_event_raw_io_uring_submit_sqe__req
int submitted(struct tracepoint__io_uring__io_uring_submit_sqe *args)
{
    return pt_submitted((u64)args->ctx, (u64)args->req, args->user_data, args->opcode, args->flags,
                        args->sq_thread);
}
#else
int submitted(struct tracepoint__io_uring__io_uring_submit_sqe *args)
{
    return pt_submitted((u64)args->ctx, 0, args->user_data, args->opcode, 0, args->sq_thread);
}
#endif

int completed(struct tracepoint__io_uring__io_uring_complete *args)
{
#if PT_HAS_REQUEST
    return pt_completed(args, (u64)args->ctx, (u64)args->req, args->user_data, args->res, args->cflags);
#else
    return pt_completed(args, (u64)args->ctx, 0, args->user_data, args->res, 0);
#endif
}
