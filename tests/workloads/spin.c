// SPDX-License-Identifier: Apache-2.0
// spin: main calls a, a calls b, and b is busy for MS milliseconds of processor time.
//
//   spin user MS [NAME]   b calls spin, which counts; NAME becomes the thread's name
//   spin kernel MS        b reads from /dev/zero
//   spin made MS          b calls a function that is not in the file, but in /tmp/perf-PID.map
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

static volatile sig_atomic_t over;
static volatile unsigned long count;
static char room[1 << 20];

static void alarmed(int number)
{
    over = number;
}

void spin(void)
{
    while (!over)
        count++;
}

// while (!*first argument);
static const unsigned char code[] = {
#if defined(__x86_64__)
    0x55, 0x48, 0x89, 0xe5, 0x83, 0x3f, 0x00, 0x74, 0xfb, 0x5d, 0xc3,
#elif defined(__aarch64__)
    0x01, 0x00, 0x40, 0xb9, 0xe1, 0xff, 0xff, 0x34, 0xc0, 0x03, 0x5f, 0xd6,
#endif
};

static void make(void)
{
    int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    char *page = mmap(0, 4096, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char name[64];
    FILE *map;

    snprintf(name, sizeof(name), "/tmp/perf-%d.map", getpid());
    map = fopen(name, "w");
    fprintf(map, "%lx %lx made;to measure\n", (unsigned long)page, (unsigned long)sizeof(code));
    fclose(map);
    memcpy(page, code, sizeof(code));
    __builtin___clear_cache(page, page + sizeof(code));
    ((void (*)(volatile sig_atomic_t *))page)(&over);
    unlink(name);
}

void b(const char *mode)
{
    int zero = open("/dev/zero", O_RDONLY);

    if (!strcmp(mode, "user"))
        spin();
    if (!strcmp(mode, "made"))
        make();
    while (!over && read(zero, room, sizeof(room)) > 0)
        ;
}

void a(const char *mode)
{
    b(mode);
}

int main(int argc, char **argv)
{
    struct itimerval timer = {};

    if (argc < 3)
        return 2;
    if (argc > 3)
        prctl(PR_SET_NAME, argv[3]);
    timer.it_value.tv_sec = atoi(argv[2]) / 1000;
    timer.it_value.tv_usec = atoi(argv[2]) % 1000 * 1000;
    signal(SIGPROF, alarmed);
    setitimer(ITIMER_PROF, &timer, 0);
    a(argv[1]);
    return 0;
}
