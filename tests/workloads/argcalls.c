// Calls whose arguments are known, for probe specs.
//
//     argcalls N FILE N times, i from 0: work(i, "text i", 1 << 40 | i, -i, 'a' + i % 26, i % 2), which returns
//                     i - 10; a read of i + 1 bytes of FILE, from its start; an openat of "/no/such/i" with i as
//                     its flags' lowest bits. Then deep(2), which calls itself twice.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((noinline)) long work(int number, const char *text, unsigned long big, short less, char letter, bool odd)
{
    asm volatile("" ::: "memory");
    return number - 10;
}

__attribute__((noinline)) int deep(int more)
{
    asm volatile("" ::: "memory");
    return more ? deep(more - 1) + 1 : 100;
}

int main(int argc, char **argv)
{
    static char text[32], path[32], data[256];
    int file = open(argv[2], O_RDONLY);

    for (int i = 0; i < atoi(argv[1]); i++) {
        sprintf(text, "text %d", i);
        sprintf(path, "/no/such/%d", i);
        work(i, text, 1UL << 40 | i, -i, 'a' + i % 26, i % 2);
        if (pread(file, data, i + 1, 0) != i + 1 || open(path, i & O_ACCMODE) != -1)
            return 1;
    }
    return deep(2) != 102;
}
