// inlined N: says "ready", waits for a line, then calls leaf 2 * N times: from functions that are inlined into each
// other, and from a lexical block of a loop. leaf calls close(-1) itself.
#include <stdio.h>
#include <stdlib.h>

static volatile long sink;

__attribute__((noinline)) void leaf(long n)
{
    long result = 3; // __NR_close

    asm volatile("syscall" : "+a"(result) : "D"(-1L) : "rcx", "r11", "memory");
    sink += result + n;
}

static inline __attribute__((always_inline)) void innermost(long n)
{
    leaf(n);
    sink++;
}

static inline __attribute__((always_inline)) void between(long n)
{
    sink += n;
    innermost(n + 1);
    sink--;
}

__attribute__((noinline)) void outer(long n)
{
    between(n);
    sink++;
}

__attribute__((noinline)) void looped(long n)
{
    for (long i = 0; i < n; i++) {
        long twice = 2 * i;

        innermost(twice);
        sink ^= twice;
    }
}

int main(int argc, char **argv)
{
    int times = argc > 1 ? atoi(argv[1]) : 0;
    char line[16];

    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        return 1;
    for (int i = 0; i < times; i++)
        outer(i);
    looped(times);
    return 0;
}
