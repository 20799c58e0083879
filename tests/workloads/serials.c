// SPDX-License-Identifier: Apache-2.0
// serials N [CPUS]: N numbered getppid calls on each of so many CPUs, from a thread each. The first argument
// is 0x5e << 56 | thread << 40 | number, the second points at (number * 7 % 300) letters: number % 26 from 'a'.
// It stops itself first, and begins when it is continued.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static long n;

static void *calls(void *argument)
{
    long thread = (long)argument;
    char text[301];
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(thread, &cpus);
    sched_setaffinity(0, sizeof(cpus), &cpus);
    for (long i = 0; i < n; i++) {
        memset(text, 'a' + i % 26, i * 7 % 300);
        text[i * 7 % 300] = 0;
        syscall(SYS_getppid, 0x5eL << 56 | thread << 40 | i, text);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    long threads = argc > 2 ? atol(argv[2]) : 1;
    pthread_t thread[64];

    n = argc > 1 ? atol(argv[1]) : 0;
    if (n <= 0 || threads <= 0 || threads > 64)
        return 2;
    raise(SIGSTOP);
    for (long i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, calls, (void *)i);
    for (long i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    return 0;
}
