// SPDX-License-Identifier: Apache-2.0
// Uses io_uring by its system calls: rings MODE N [wait], prints what it submitted and what its completion queue had:
// requests, completions, those below 0, those that announce more.
//
//   nops       N times NOP
//   polled     the same, submitted by the kernel's thread
//   fixed      N reads of a fixed file
//   multishot  one poll that completes N times, and its removal
//   skipped    N NOPs that complete in silence, N reads that fail and do not
//   timeouts   N timeouts of 20 ms
//   opens      N opens of the file whose path follows, N that fail, one into a fixed file, one statx
//   sockets    N binds of TCP sockets to 127.0.0.1:4321, of which the first succeeds and listens (backlog 23, and as a
//              fixed file 24), and one of UDP to [::1]:4322
//   removes    in the folder that follows, N times: "plain" is created and removed, "old" and "new" are created, the first
//              is renamed to the second, and that removed; at last a file is removed that there is not
//   splices    N times 100 bytes from a TCP connection of its own to a pipe
//   files      N writes of 16 bytes to the file whose path follows, N reads of them, one fsync and fdatasync
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define ENTRIES  64
#define SKIP     (1 << 6) // IOSQE_CQE_SKIP_SUCCESS
#define MULTI    1        // IORING_POLL_ADD_MULTI
#define RENAMEAT 35       // IORING_OP_RENAMEAT
#define UNLINKAT 36       // IORING_OP_UNLINKAT
#define BIND     56       // IORING_OP_BIND (Linux 6.11)
#define LISTEN   57       // IORING_OP_LISTEN

static struct io_uring_params params;
static char *sq, *cq;
static struct io_uring_sqe *sqes;
static int ring, submitted, completed, failed, more;

static unsigned *at(char *area, unsigned offset)
{
    return (unsigned *)(area + offset);
}

static struct io_uring_sqe *next(int opcode, unsigned long data)
{
    struct io_uring_sqe *sqe = &sqes[*at(sq, params.sq_off.tail) & (ENTRIES - 1)];

    memset(sqe, 0, sizeof(*sqe));
    sqe->opcode = opcode;
    sqe->fd = -1;
    sqe->user_data = data;
    return sqe;
}

static void submit(void)
{
    unsigned *tail = at(sq, params.sq_off.tail);

    at(sq, params.sq_off.array)[*tail & (ENTRIES - 1)] = *tail & (ENTRIES - 1);
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    submitted++;
    if (!(params.flags & IORING_SETUP_SQPOLL))
        syscall(SYS_io_uring_enter, ring, 1, 0, 0, 0, 0);
    else if (__atomic_load_n(at(sq, params.sq_off.flags), __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP)
        syscall(SYS_io_uring_enter, ring, 1, 0, IORING_ENTER_SQ_WAKEUP, 0, 0);
}

static void reap(int wanted)
{
    unsigned *head = at(cq, params.cq_off.head);

    for (; wanted; wanted--) {
        while (*head == __atomic_load_n(at(cq, params.cq_off.tail), __ATOMIC_ACQUIRE))
            syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, 0, 0);
        struct io_uring_cqe *cqe =
            (struct io_uring_cqe *)(cq + params.cq_off.cqes) + (*head & (params.cq_entries - 1));
        completed++;
        failed += cqe->res < 0;
        more += cqe->flags & 2; // IORING_CQE_F_MORE
        __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    }
}

static void bind_one(int file, void *address, unsigned size)
{
    struct io_uring_sqe *sqe = next(BIND, file);

    sqe->fd = file;
    sqe->addr = (unsigned long)address;
    sqe->addr2 = size;
    submit();
    reap(1);
}

static void listen_one(int file, int flags, unsigned backlog)
{
    struct io_uring_sqe *sqe = next(LISTEN, file);

    sqe->fd = file;
    sqe->flags = flags;
    sqe->len = backlog;
    submit();
    reap(1);
}

static void of_path(int opcode, const char *path, const char *other)
{
    struct io_uring_sqe *sqe = next(opcode, 1);

    sqe->fd = AT_FDCWD;
    sqe->len = opcode == RENAMEAT ? AT_FDCWD : 0; // for the other path
    sqe->addr = (unsigned long)path;
    sqe->addr2 = (unsigned long)other;
    if (opcode == IORING_OP_OPENAT) {
        sqe->open_flags = O_WRONLY | O_CREAT;
        sqe->len = 0600;
    }
    submit();
    reap(1);
}

static void removes(int n, const char *folder)
{
    if (chdir(folder))
        return;
    while (n--) {
        of_path(IORING_OP_OPENAT, "plain", 0);
        of_path(UNLINKAT, "plain", 0);
        of_path(IORING_OP_OPENAT, "./old", 0);
        of_path(IORING_OP_OPENAT, "new", 0);
        of_path(RENAMEAT, "old", "./new");
        of_path(UNLINKAT, "new", 0);
    }
    of_path(UNLINKAT, "missing", 0);
}

static void sockets(int n)
{
    struct sockaddr_in v4 = {AF_INET, htons(4321), {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in6 v6 = {AF_INET6, htons(4322), 0, IN6ADDR_LOOPBACK_INIT};
    int first = socket(AF_INET, SOCK_STREAM, 0);

    bind_one(first, &v4, sizeof(v4));
    listen_one(first, 0, 23);
    syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &first, 1);
    listen_one(0, IOSQE_FIXED_FILE, 24);
    while (--n)
        bind_one(socket(AF_INET, SOCK_STREAM, 0), &v4, sizeof(v4));
    bind_one(socket(AF_INET6, SOCK_DGRAM, 0), &v6, sizeof(v6));
}

static void splices(int n)
{
    struct sockaddr_in address = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), server, ends[2];
    char data[100] = {};

    if (pipe(ends) || bind(listener, (void *)&address, size) || listen(listener, 1) ||
        getsockname(listener, (void *)&address, &size) || connect(client, (void *)&address, size))
        exit(5);
    server = accept(listener, 0, 0);
    while (n--) {
        struct io_uring_sqe *sqe = next(IORING_OP_SPLICE, n);

        if (write(client, data, sizeof(data)) != sizeof(data))
            exit(6);
        sqe->fd = ends[1];
        sqe->off = sqe->splice_off_in = -1;
        sqe->splice_fd_in = server;
        sqe->len = sizeof(data);
        submit();
        reap(1);
        if (read(ends[0], data, sizeof(data)) != sizeof(data))
            exit(7);
    }
}

int main(int argc, char **argv)
{
    int n = argc > 2 ? atoi(argv[2]) : 0, ends[2];
    char *mode = argv[1], buffer[16], room[256]; // a struct statx
    struct __kernel_timespec time = {.tv_nsec = 20000000};

    if (!n || pipe(ends)) // 3 and 4: the ring is 5
        return 1;
    if (!strcmp(mode, "polled")) {
        params.flags = IORING_SETUP_SQPOLL;
        params.sq_thread_idle = 50;
    }
    ring = syscall(SYS_io_uring_setup, ENTRIES, &params);
    if (ring < 0)
        return 2;
    sq = mmap(0, params.sq_off.array + ENTRIES * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
              IORING_OFF_SQ_RING);
    cq = mmap(0, params.cq_off.cqes + params.cq_entries * 16, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
              IORING_OFF_CQ_RING);
    sqes = mmap(0, ENTRIES * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
        return 3;
    if (!strcmp(mode, "fixed")) {
        int file = open("/proc/self/exe", 0);
        if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &file, 1))
            return 4;
    }
    if (!strcmp(mode, "opens")) {
        int none = -1;

        for (int i = 0; i < 2 * n + 1; i++) {
            struct io_uring_sqe *sqe = next(IORING_OP_OPENAT, i);

            if (i == 2 * n) {
                syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &none, 1);
                sqe->file_index = 1;
            }
            sqe->fd = AT_FDCWD;
            sqe->addr = (unsigned long)(i < n || i == 2 * n ? argv[3] : "/nowhere/at/all");
            sqe->open_flags = O_RDWR | O_CREAT;
            sqe->len = 0600;
            submit();
            reap(1);
        }
        struct io_uring_sqe *sqe = next(IORING_OP_STATX, 1);

        sqe->fd = AT_FDCWD;
        sqe->addr = (unsigned long)argv[3];
        sqe->addr2 = (unsigned long)room;
        submit();
        reap(1);
        n = 0;
    } else if (!strcmp(mode, "files")) {
        static const int calls[] = {IORING_OP_WRITE, IORING_OP_READ, IORING_OP_FSYNC};
        int file = open(argv[3], O_RDWR | O_CREAT, 0600);

        for (int i = 0; i < 2 * n + 2; i++) {
            struct io_uring_sqe *sqe = next(calls[i < 2 * n ? i / n : 2], i);

            sqe->fd = file;
            if (i < 2 * n) {
                sqe->addr = (unsigned long)buffer;
                sqe->len = sizeof(buffer);
                sqe->off = i % n * sizeof(buffer);
            } else if (i > 2 * n) {
                sqe->fsync_flags = IORING_FSYNC_DATASYNC;
            }
            submit();
            reap(1);
        }
        n = 0;
    } else if (!strcmp(mode, "removes")) {
        removes(n, argv[3]);
        n = 0;
    } else if (!strcmp(mode, "sockets")) {
        sockets(n);
        n = 0;
    } else if (!strcmp(mode, "splices")) {
        splices(n);
        n = 0;
    } else if (argc > 3) { // once its ring is there, it waits until it may go on
        puts("ready");
        fflush(stdout);
        read(0, buffer, 1);
    }
    if (!strcmp(mode, "multishot")) {
        struct io_uring_sqe *sqe = next(IORING_OP_POLL_ADD, 7);
        sqe->fd = ends[0];
        sqe->poll32_events = POLLIN;
        sqe->len = MULTI;
        submit();
        for (int i = 0; i < n; i++) {
            write(ends[1], "x", 1);
            reap(1);
            read(ends[0], buffer, 1);
        }
        next(IORING_OP_POLL_REMOVE, 8)->addr = 7;
        submit();
        reap(2);
    } else {
        for (int i = 0; i < n; i++) {
            struct io_uring_sqe *sqe;

            if (!strcmp(mode, "fixed")) {
                sqe = next(IORING_OP_READ, i);
                sqe->fd = 0;
                sqe->flags = IOSQE_FIXED_FILE;
                sqe->addr = (unsigned long)buffer;
                sqe->len = sizeof(buffer);
            } else if (!strcmp(mode, "timeouts")) {
                sqe = next(IORING_OP_TIMEOUT, i);
                sqe->addr = (unsigned long)&time;
                sqe->len = 1;
            } else {
                sqe = next(IORING_OP_NOP, i);
                sqe->flags = strcmp(mode, "skipped") ? 0 : SKIP;
            }
            submit();
            if (strcmp(mode, "skipped")) {
                reap(1);
                continue;
            }
            sqe = next(IORING_OP_READ, i);
            sqe->flags = SKIP;
            sqe->addr = (unsigned long)buffer;
            sqe->len = 1;
            submit();
            reap(1);
        }
    }
    fprintf(stderr, "%d %d %d %d\n", submitted, completed, failed, more / 2);
    return 0;
}
