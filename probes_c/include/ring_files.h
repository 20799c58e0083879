// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Operations of io_uring on files, from the hook RING_FILES: reads, writes and syncs, or with PT_RING_SOCKETS (and
// bound_address.h) what binds sockets and makes them listen. The tracer that includes this defines
//
//   on_ring_file(context, request, kind, file, ns, result)   an operation has ended: PT_RING_READS, ...
//
// The file is that of the request, which events have had since Linux 5.18; before, and with the alternative "none",
// nothing is seen. An operation ends while any task runs: the request has the process that submitted it.
#if defined(HOOK_RING_FILE_TRACEPOINT) || defined(HOOK_RING_FILE_TRACEPOINT_SQE)
#include "io_uring.h"
#define PT_SEES_RING_FILES

enum pt_ring_kind {
    PT_RING_OTHER,
#ifdef PT_RING_SOCKETS
    PT_RING_BINDS,
    PT_RING_LISTENS,
#else
    PT_RING_READS,
    PT_RING_WRITES,
    PT_RING_SYNCS,
#endif
};

// By enum io_uring_op of include/uapi/linux/io_uring.h; it had no name before Linux 6.0.
static __always_inline enum pt_ring_kind pt_ring_kind(u32 operation)
{
    switch (operation) {
#ifdef PT_RING_SOCKETS
    case 56: // IORING_OP_BIND (Linux 6.11)
        return PT_RING_BINDS;
    case 57: // IORING_OP_LISTEN
        return PT_RING_LISTENS;
#else
    case 1:  // IORING_OP_READV
    case 4:  // IORING_OP_READ_FIXED
    case 22: // IORING_OP_READ
    case 49: // IORING_OP_READ_MULTISHOT
    case 60: // IORING_OP_READV_FIXED
        return PT_RING_READS;
    case 2:  // IORING_OP_WRITEV
    case 5:  // IORING_OP_WRITE_FIXED
    case 23: // IORING_OP_WRITE
    case 61: // IORING_OP_WRITEV_FIXED
        return PT_RING_WRITES;
    case 3: // IORING_OP_FSYNC
    case 8: // IORING_OP_SYNC_FILE_RANGE
        return PT_RING_SYNCS;
#endif
    }
    return PT_RING_OTHER;
}

static void on_ring_file(void *ctx, struct pt_request *request, enum pt_ring_kind kind, struct file *file,
                         u64 ns, s64 result);

#ifdef PT_RING_SOCKETS
// Requested addresses by the address of the request. The oldest is evicted.
BPF_TABLE("lru_hash", u64, struct pt_bound, pt_ring_asked, 4096);
#endif

// The kernel copies the address when the request is submitted, and may have freed it when the request completes.
static __always_inline void on_submit(struct pt_request *request, u32 flags, int is_polled)
{
#if defined(PT_RING_SOCKETS) && PT_HAS_io_listen__backlog
    struct pt_bound requested = PT_NOT_BOUND;
    u64 message, address = request->address;

    if (pt_ring_kind(request->operation) != PT_RING_BINDS)
        return;
    message = (u64)pt_read(((struct io_kiocb *)address)->async_data);
    // The address alone since Linux 7.2 (3979840cd858, also in later releases of 6.18); before that it is behind
    // other members, of which the first is a pointer: never the number of a family.
    pt_fill_asked(&requested, message, 1);
    if (requested.port < 0)
        pt_fill_asked(&requested, message + offsetof(struct io_async_msghdr, addr), 1);
    pt_ring_asked.update(&address, &requested);
#endif
}

static __always_inline void on_complete(void *ctx, struct pt_request *request, int is_more, u64 ns, u64 now,
                                        s64 result)
{
    enum pt_ring_kind kind = pt_ring_kind(request->operation);
    struct file *file = 0;

#if PT_HAS_REQUEST && PT_HAS_io_kiocb__file
    if (kind && request->address)
        file = pt_read(((struct io_kiocb *)request->address)->file);
#endif
    if (file)
        on_ring_file(ctx, request, kind, file, ns, result);
#ifdef PT_RING_SOCKETS
    pt_ring_asked.delete(&request->address);
#endif
}
#else
struct pt_request {
    u32 pid;
    u32 tid;
    char comm[PT_COMM_LEN];
};
#endif
