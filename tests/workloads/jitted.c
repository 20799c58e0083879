// SPDX-License-Identifier: Apache-2.0
// Functions that are made one after the other at one address, as the perf map of the process lists them.
//
//   jitted MS NAME NAME [shared | nameless]
//
// The first is called by first(), the other by second(); each is busy for MS milliseconds of processor time.
// The last word makes them in memory that can be shared, nameless also without a perf map.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

typedef void function(volatile sig_atomic_t *over);

static volatile sig_atomic_t over;
static int milliseconds;
static FILE *map;

// while (!*first argument);
static const unsigned char code[] = {
#if defined(__x86_64__)
    0x55, 0x48, 0x89, 0xe5, 0x83, 0x3f, 0x00, 0x74, 0xfb, 0x5d, 0xc3,
#elif defined(__aarch64__)
    0x01, 0x00, 0x40, 0xb9, 0xe1, 0xff, 0xff, 0x34, 0xc0, 0x03, 0x5f, 0xd6,
#endif
};

static void alarmed(int number)
{
    over = number;
}

static function *make(char *page, const char *name)
{
    struct itimerval timer = {};

    memcpy(page, code, sizeof(code));
    __builtin___clear_cache(page, page + sizeof(code));
    fprintf(map, "%lx %lx %s\n", (unsigned long)page, (unsigned long)sizeof(code), name);
    fflush(map);
    over = 0;
    timer.it_value.tv_sec = milliseconds / 1000;
    timer.it_value.tv_usec = milliseconds % 1000 * 1000;
    setitimer(ITIMER_PROF, &timer, 0);
    return (function *)page;
}

static void first(function *made)
{
    made(&over);
    over = 0;
}

static void second(function *made)
{
    made(&over);
    over = 0;
}

int main(int argc, char **argv)
{
    int sharing = argc > 4 ? MAP_SHARED : MAP_PRIVATE;
    char *page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, sharing | MAP_ANONYMOUS, -1, 0);
    char name[64];

    if (argc < 4 || page == MAP_FAILED)
        return 2;
    milliseconds = atoi(argv[1]);
    signal(SIGPROF, alarmed);
    snprintf(name, sizeof(name), "/tmp/perf-%d.map", getpid());
    map = fopen(argc > 4 && !strcmp(argv[4], "nameless") ? "/dev/null" : name, "w");
    first(make(page, argv[2]));
    second(make(page, argv[3]));
    unlink(name);
    return 0;
}
