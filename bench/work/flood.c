// SPDX-License-Identifier: Apache-2.0
// Work of a known size that times itself: prints nanoseconds for each unit of it.
//
//   flood calls N          N getppid calls
//   flood packets N        N datagrams to the loopback interface
//   flood processes N M    N processes at once, each of M getppid calls
//
// With "gated" in front of these words it stops itself first, and begins when it is continued.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void calls(long n)
{
    while (n--)
        syscall(SYS_getppid);
}

static void packets(long n)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    int s = socket(AF_INET, SOCK_DGRAM, 0), receiver = socket(AF_INET, SOCK_DGRAM, 0);
    socklen_t size = sizeof(to);
    char data[64] = {0};

    // To a socket that nobody reads: without it, each would be answered that there is none.
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(receiver, (struct sockaddr *)&to, size) || getsockname(receiver, (struct sockaddr *)&to, &size))
        exit(1);
    while (n--)
        sendto(s, data, sizeof(data), 0, (struct sockaddr *)&to, sizeof(to));
}

static void processes(long n, long m)
{
    for (long i = 0; i < n; i++)
        if (fork() == 0) {
            calls(m);
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
}

int main(int argc, char **argv)
{
    double begun;
    long n, m;

    if (argc > 1 && !strcmp(argv[1], "gated")) {
        raise(SIGSTOP);
        argc--, argv++;
    }
    n = argc > 2 ? atol(argv[2]) : 0;
    m = argc > 3 ? atol(argv[3]) : 1;
    if (n <= 0 || m <= 0)
        return 2;
    begun = now();
    if (!strcmp(argv[1], "calls"))
        calls(n);
    else if (!strcmp(argv[1], "packets"))
        packets(n);
    else
        processes(n, m);
    printf("%.3f\n", (now() - begun) / n / m);
    return 0;
}
