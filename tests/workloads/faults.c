// SPDX-License-Identifier: Apache-2.0
// Events that the kernel counts, known to the last one. Half a second later it ends: until then it can be seen
// whose the addresses are.
//
//   faults touch N      touch writes to N fresh pages: as many page faults
//   faults sleep N      nap sleeps N times for a millisecond, on no CPU meanwhile
//   faults threads N    3 threads are there; after a byte of standard input 4 more; each of them touches N pages
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#ifndef __x86_64__
#error "written for x86-64"
#endif

#define PAGE 4096

static long times;
static pthread_barrier_t ready;

void touch(volatile char *pages, long count)
{
    for (long i = 0; i < count; i++)
        pages[i * PAGE] = 1;
}

void nap(long count)
{
    struct timespec little = {0, 1000000};
    long result;

    for (long i = 0; i < count; i++)
        asm volatile("syscall" : "=a"(result) : "0"(35), "D"(&little), "S"(0) : "rcx", "r11", "memory");
}

static char *fresh(void)
{
    char *pages = mmap(0, times * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    madvise(pages, times * PAGE, MADV_NOHUGEPAGE);
    return pages;
}

static void *work(void *waits)
{
    char *pages = fresh();

    if (waits)
        pthread_barrier_wait(&ready);
    touch(pages, times);
    return 0;
}

static void threads(void)
{
    pthread_t all[7];
    char go;

    pthread_barrier_init(&ready, 0, 4);
    for (int i = 0; i < 3; i++)
        pthread_create(&all[i], 0, work, &ready);
    write(1, "\n", 1);
    read(0, &go, 1);
    for (int i = 3; i < 7; i++)
        pthread_create(&all[i], 0, work, 0);
    pthread_barrier_wait(&ready);
    for (int i = 0; i < 7; i++)
        pthread_join(all[i], 0);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    times = atol(argv[2]);
    if (!strcmp(argv[1], "touch"))
        touch(fresh(), times);
    else if (!strcmp(argv[1], "sleep"))
        nap(times);
    else
        threads();
    usleep(500000);
    return 0;
}
