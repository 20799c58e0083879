// SPDX-License-Identifier: Apache-2.0
// Programs are executed, as reported; it executes nothing else.
//
//   execs times N PROGRAM ARG...     N times, by vfork
//   execs long BYTES PROGRAM         with one argument of so many bytes, "y"
//   execs many N PROGRAM             with N arguments, "0", "1", ...
//   execs none PROGRAM               without any argument, its name neither
//   execs at FOLDER PROGRAM ARG...   by execveat
//   execs handle PROGRAM ARG...      by execveat of a descriptor, with an empty path
//   execs compat N                   N times "/nowhere" "b" by the 32-bit entry (int 0x80)
//   execs bad                        from an address that is not there
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void child(int folder, const char *path, char **argv, int flags)
{
    pid_t process = vfork();

    if (process == 0) {
        if (folder == -1)
            execve(path, argv, environ);
        else
            syscall(SYS_execveat, folder, path, argv, environ, flags);
        _exit(1);
    }
    waitpid(process, 0, 0);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (!strcmp(what, "times")) {
        for (int i = atoi(argv[2]); i > 0; i--)
            child(-1, argv[3], argv + 3, 0);
    } else if (!strcmp(what, "long")) {
        size_t size = atoi(argv[2]);
        char *words[] = {argv[3], calloc(size + 1, 1), 0};

        memset(words[1], 'y', size);
        child(-1, argv[3], words, 0);
    } else if (!strcmp(what, "many")) {
        int count = atoi(argv[2]);
        char **words = calloc(count + 2, sizeof(*words));

        words[0] = argv[3];
        for (int i = 0; i < count; i++)
            if (asprintf(&words[i + 1], "%d", i) < 0)
                return 1;
        child(-1, argv[3], words, 0);
    } else if (!strcmp(what, "none")) {
        char *words[] = {0};

        child(-1, argv[2], words, 0);
    } else if (!strcmp(what, "at")) {
        child(open(argv[2], O_PATH | O_DIRECTORY), argv[3], argv + 3, 0);
    } else if (!strcmp(what, "handle")) {
        child(open(argv[2], O_PATH | O_CLOEXEC), "", argv + 2, AT_EMPTY_PATH);
    } else if (!strcmp(what, "compat")) {
        // What 32-bit code names must lie within 32 bits.
        char *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        unsigned *words = (unsigned *)(low + 64);
        long result;

        strcpy(low, "/nowhere");
        strcpy(low + 32, "b");
        words[0] = (unsigned)(long)low;
        words[1] = (unsigned)(long)(low + 32);
        words[2] = 0;
        for (int i = atoi(argv[2]); i > 0; i--)
            asm volatile("int $0x80"
                         : "=a"(result)
                         : "0"(11L), "b"((long)low), "c"((long)words), "d"(0L)
                         : "memory", "r8", "r9", "r10", "r11");
    } else if (!strcmp(what, "bad")) {
        syscall(SYS_execve, 1L, 0L, 0L);
    } else {
        return 2;
    }
    return 0;
}
