// SPDX-License-Identifier: Apache-2.0
// Plugins that are loaded one after the other at one address: alpha, called by first(), and beta, by second().
//
//   plugins MODE ROUNDS CALLS MS THREADS ALPHA BETA
//
// In each round and thread both make CALLS system calls and are busy for MS milliseconds. MODE is
//   plain   all in one process
//   fork    each round in a child, which has alpha from its parent
//   exec    alpha alone; then another run of this program has beta alone, at the same address
//   move    all in one process that has both loaded, and swaps their code (mremap)
//   child   the same, each round in a child that ends at once
// Ends with 3 where their addresses are not the same. Says "ready" and waits for a line.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

typedef void function(int calls, int milliseconds);

static int calls, milliseconds, threads;
static function *code;

static void *first(void *unused)
{
    code(calls, milliseconds);
    return unused;
}

static void *second(void *unused)
{
    code(calls, milliseconds);
    return unused;
}

static void *load(const char *path, const char *name)
{
    static function *at;
    void *handle = dlopen(path, RTLD_NOW);

    code = handle ? (function *)dlsym(handle, name) : 0;
    if (!code || (at && at != code))
        _exit(3);
    at = code;
    return handle;
}

static void run(void *(*caller)(void *))
{
    pthread_t others[64];

    for (int n = 1; n < threads; n++)
        pthread_create(&others[n], 0, caller, 0);
    caller(0);
    for (int n = 1; n < threads; n++)
        pthread_join(others[n], 0);
}

static void both(void *handle, const char *alpha, const char *beta)
{
    handle = handle ? handle : load(alpha, "alpha");
    run(first);
    dlclose(handle);
    handle = load(beta, "beta");
    run(second);
    dlclose(handle);
}

static char *page(void *handle, const char *name)
{
    char *at = handle ? dlsym(handle, name) : 0;

    if (!at)
        _exit(3);
    return at - (unsigned long)at % sysconf(_SC_PAGESIZE);
}

static void move(char *from, char *to)
{
    long size = sysconf(_SC_PAGESIZE);

    if (mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
        _exit(3);
}

// Their code is one page each, laid out alike, and works with the data of either.
static void swapped(const char *alpha, const char *beta)
{
    static void *first_handle, *second_handle;
    char *one, *other, *aside = mmap(0, 1 << 16, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    first_handle = first_handle ? first_handle : dlopen(alpha, RTLD_NOW);
    second_handle = second_handle ? second_handle : dlopen(beta, RTLD_NOW);
    one = page(first_handle, "alpha");
    other = page(second_handle, "beta");
    code = (function *)dlsym(first_handle, "alpha");
    run(first);
    move(one, aside);
    move(other, one);
    move(aside, other);
    run(second);
    move(one, aside);
    move(other, one);
    move(aside, other);
}

int main(int argc, char **argv)
{
    char at[32];
    int status = 0;

    if (argc < 8)
        return 2;
    if (!strcmp(argv[1], "exec") && !(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {
        personality(ADDR_NO_RANDOMIZE);
        execv("/proc/self/exe", argv);
    }
    calls = atoi(argv[3]);
    milliseconds = atoi(argv[4]);
    threads = atoi(argv[5]);
    if (argc == 9) { // after an exec
        load(argv[7], "beta");
        if (strtoul(argv[8], 0, 16) != (unsigned long)code)
            return 3;
        run(second);
        return 0;
    }
    puts("ready");
    fflush(stdout);
    if (!fgets(at, sizeof(at), stdin))
        return 2;
    for (int round = atoi(argv[2]); round > 0; round--) {
        if (!strcmp(argv[1], "plain"))
            both(0, argv[6], argv[7]);
        if (!strcmp(argv[1], "move"))
            swapped(argv[6], argv[7]);
        if (!strcmp(argv[1], "child")) {
            if (!fork()) {
                swapped(argv[6], argv[7]);
                _exit(0);
            }
            wait(&status);
            if (status)
                return 3;
        }
        if (!strcmp(argv[1], "fork")) {
            void *handle = load(argv[6], "alpha");

            if (!fork()) {
                both(handle, argv[6], argv[7]);
                _exit(0);
            }
            wait(&status);
            if (status)
                return 3;
            dlclose(handle);
        }
        if (!strcmp(argv[1], "exec")) {
            load(argv[6], "alpha");
            run(first);
            snprintf(at, sizeof(at), "%lx", (unsigned long)code);
            execl("/proc/self/exe", "plugins", argv[1], argv[2], argv[3], argv[4], argv[5], argv[6], argv[7], at,
                  (char *)0);
        }
    }
    return 0;
}
