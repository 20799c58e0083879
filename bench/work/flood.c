// SPDX-License-Identifier: Apache-2.0
// Work of a known size that times itself: prints nanoseconds for each unit of it.
//
//   flood calls N          N getppid calls
//   flood seeks N          N lseek calls
//   flood opens N          N openat calls, of one file that is not there
//   flood names N          the same, every other one of a file of its own, whose name takes escapes
//   flood schedulers N     N sched_getscheduler calls
//   flood functions N      N calls of the function "passed"
//   flood returns N        N calls of "framed", which begins as compilers have it, and returns at one place
//   flood deep N           N calls of "passed" below 27 calls of "descend", all with frame pointers
//   flood lanes N FILE... N datagrams to the loopback interface of each network namespace, some at a time in
//                          turns: a line for each turn, what a datagram took
//   flood frames N NAME    N frames of UDP out by the interface NAME
//   flood sockets N        N sockets made and closed
//   flood connects N       a datagram socket connected N times
//   flood faults N         a page touched N times that is not there yet
//   flood allocations N    N blocks of 64 bytes allocated and freed
//   flood processes N M    N processes at once, each of M getppid calls: processor time
//
// With "gated" in front of these words it stops itself first, and begins when it is continued.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <linux/if_packet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64  // frames with a call
#define LANES 8   // network namespaces
#define TURN  200 // datagrams

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void calls(long n)
{
    while (n--)
        syscall(SYS_getppid);
}

static void allocations(long n)
{
    while (n--) {
        void *volatile block = malloc(64);

        free(block);
    }
}

static void seeks(long n)
{
    int file = open("/dev/null", O_RDONLY);

    if (file < 0)
        exit(1);
    while (n--)
        lseek(file, 0, SEEK_SET);
}

static void opens(long n)
{
    while (n--)
        open("/nonexistent/file", O_RDONLY);
}

static void names(long n)
{
    char name[64];

    while (n--) {
        snprintf(name, sizeof(name), n % 2 ? "/nonexistent/file" : "/nonexistent/%ld\x01\"", n);
        open(name, O_RDONLY);
    }
}

static void schedulers(long n)
{
    while (n--)
        syscall(SYS_sched_getscheduler, 0);
}

__attribute__((noinline)) void passed(void)
{
    __asm__ volatile("");
}

static void functions(long n)
{
    while (n--)
        passed();
}

__attribute__((noinline, optimize("no-omit-frame-pointer"))) void framed(void)
{
    __asm__ volatile("" ::: "memory");
}

static void returns(long n)
{
    while (n--)
        framed();
}

__attribute__((noinline, optimize("no-omit-frame-pointer"))) static long descend(long n, int depth)
{
    if (depth)
        n = descend(n, depth - 1);
    else
        functions(n);
    __asm__ volatile("" : "+r"(n)); // else the recursion would become a loop
    return n;
}

__attribute__((noinline, optimize("no-omit-frame-pointer"))) static void deep(long n)
{
    static volatile long depth;

    depth = descend(n, 26);
}

struct lane {
    int from, to;
    struct sockaddr_in address;
};

// To a socket that nobody reads: without it, each datagram would be answered that there is none.
static struct lane lane(void)
{
    struct lane l = {socket(AF_INET, SOCK_DGRAM, 0), socket(AF_INET, SOCK_DGRAM, 0), {.sin_family = AF_INET}};
    socklen_t size = sizeof(l.address);

    l.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(l.to, (struct sockaddr *)&l.address, size) ||
        getsockname(l.to, (struct sockaddr *)&l.address, &size))
        fail("bind");
    return l;
}

static void send_to(const struct lane *l, long n)
{
    char data[64] = {0};

    while (n--)
        sendto(l->from, data, sizeof(data), 0, (struct sockaddr *)&l->address, sizeof(l->address));
}

// A socket stays in the namespace in which it was made.
static void lanes(long n, int number, char **names)
{
    struct lane l[LANES];

    for (int i = 0; i < number; i++) {
        int namespace = open(names[i], O_RDONLY | O_CLOEXEC);

        if (namespace < 0 || setns(namespace, CLONE_NEWNET))
            fail(names[i]);
        l[i] = lane();
    }
    for (; n > 0; n -= TURN) {
        for (int i = 0; i < number; i++) {
            double begun = now(CLOCK_MONOTONIC);

            send_to(&l[i], TURN);
            printf("%.1f%c", (now(CLOCK_MONOTONIC) - begun) / TURN, i + 1 < number ? ' ' : '\n');
        }
    }
}

static void sockets(long n)
{
    while (n--)
        close(socket(AF_INET, SOCK_DGRAM, 0));
}

static void connects(long n)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    int s = socket(AF_INET, SOCK_DGRAM, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    while (n--)
        if (connect(s, (struct sockaddr *)&to, sizeof(to)))
            fail("connect");
}

static void faults(long n)
{
    long size = sysconf(_SC_PAGESIZE);
    char *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        fail("mmap");
    while (n--) {
        *(volatile char *)page = 1;
        if (madvise(page, size, MADV_DONTNEED))
            fail("madvise");
    }
}

// Past the queueing discipline, many with each call: what is not the frame's own way takes as little as it can.
static void frames(long n, const char *name)
{
    // To and from stations that are not there; IPv4, 64 bytes of UDP.
    unsigned char frame[14 + 20 + 8 + 64] = {2, 0, 0, 0, 0, 0xee, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 92};
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(name)};
    struct iovec data = {frame, sizeof(frame)};
    struct mmsghdr batch[BATCH];
    int s = socket(AF_PACKET, SOCK_RAW, 0), bypass = 1;

    frame[14 + 9] = 17;
    if (s < 0 || !to.sll_ifindex || setsockopt(s, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof(bypass)))
        fail(name);
    for (int i = 0; i < BATCH; i++)
        batch[i] = (struct mmsghdr){.msg_hdr = {&to, sizeof(to), &data, 1}};
    while (n > 0) {
        int sent = sendmmsg(s, batch, n < BATCH ? n : BATCH, 0);

        if (sent < 0 && errno != ENOBUFS)
            fail("sendmmsg");
        n -= sent > 0 ? sent : 0;
    }
}

// They begin when all of them are there. Returns the processor time of the calls alone: to make and to switch
// between so many takes longer.
static double processes(long n, long m)
{
    unsigned long long *spent =
        mmap(NULL, sizeof(*spent), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int gate[2];
    char end;

    if (spent == MAP_FAILED || pipe(gate))
        fail("pipe");
    for (long i = 0; i < n; i++) {
        pid_t child = fork();

        if (child < 0)
            fail("fork");
        if (child == 0) {
            double begun;

            close(gate[1]);
            if (read(gate[0], &end, 1) < 0)
                _exit(1);
            begun = now(CLOCK_PROCESS_CPUTIME_ID);
            calls(m);
            __atomic_fetch_add(spent, now(CLOCK_PROCESS_CPUTIME_ID) - begun, __ATOMIC_RELAXED);
            _exit(0);
        }
    }
    close(gate[1]);
    while (wait(NULL) > 0)
        ;
    return *spent;
}

static const struct {
    const char *name;
    void (*once)(long n);
} works[] = {{"calls", calls},     {"seeks", seeks},     {"schedulers", schedulers},
             {"opens", opens},     {"names", names},     {"functions", functions},
             {"returns", returns}, {"sockets", sockets}, {"connects", connects},
             {"deep", deep},       {"faults", faults},   {"allocations", allocations}};

// What one of them takes altogether, in nanoseconds.
static double timed(const char *name, long n, const char *interface)
{
    double begun = now(CLOCK_MONOTONIC);

    if (!strcmp(name, "frames")) {
        frames(n, interface);
        return now(CLOCK_MONOTONIC) - begun;
    }
    for (size_t i = 0; i < sizeof(works) / sizeof(*works); i++) {
        if (!strcmp(name, works[i].name)) {
            works[i].once(n);
            return now(CLOCK_MONOTONIC) - begun;
        }
    }
    fprintf(stderr, "flood: no such work: %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    const char *name, *third;
    long n;

    if (argc > 1 && !strcmp(argv[1], "gated")) {
        raise(SIGSTOP);
        argc--, argv++;
    }
    name = argc > 1 ? argv[1] : "";
    n = argc > 2 ? atol(argv[2]) : 0;
    third = argc > 3 ? argv[3] : "";
    if (n <= 0)
        return 2;
    if (!strcmp(name, "lanes") && argc > 3 && argc - 3 <= LANES)
        lanes(n, argc - 3, argv + 3);
    else if (!strcmp(name, "processes") && atol(third) > 0)
        printf("%.3f\n", processes(n, atol(third)) / n / atol(third));
    else
        printf("%.3f\n", timed(name, n, third) / n);
    return 0;
}
