// stacked N: says "ready", waits for a line, then calls leaf by two ways: outer, middle, leaf N times, and other,
// leaf N + 1 times. leaf passes the USDT probe "forms:leaf" and calls close(-1), itself: the libraries' functions have
// no frames.
#include <stdio.h>
#include <stdlib.h>

#include "marks.h"

static volatile int sink;

__attribute__((noinline)) void leaf(int n)
{
    long result = 3; // __NR_close

    asm volatile(MARK("leaf", "0", ""));
    asm volatile("syscall" : "+a"(result) : "D"(-1L) : "rcx", "r11", "memory");
    sink += result + n;
}

__attribute__((noinline)) void middle(int n)
{
    leaf(n);
    sink++;
}

__attribute__((noinline)) void outer(int n)
{
    middle(n);
    sink++;
}

__attribute__((noinline)) void other(int n)
{
    leaf(n);
    sink--;
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
    for (int i = 0; i <= times; i++)
        other(i);
    return 0;
}
