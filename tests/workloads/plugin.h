// SPDX-License-Identifier: Apache-2.0
// What plugins.c loads: a function that makes CALLS system calls, then is busy for MS milliseconds of its thread's
// time. It makes the calls itself: its caller is the next frame.
#include <sys/syscall.h>
#include <time.h>

static long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static inline __attribute__((always_inline)) void call(void)
{
#if defined(__x86_64__)
    long result;

    asm volatile("syscall" : "=a"(result) : "0"(SYS_getppid) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long number asm("x8") = SYS_getppid;
    register long result asm("x0");

    asm volatile("svc 0" : "=r"(result) : "r"(number) : "memory");
#endif
}

#define PLUGIN(name)                                                                                         \
    void name(int calls, int milliseconds)                                                                   \
    {                                                                                                        \
        long end = now() + milliseconds;                                                                     \
                                                                                                             \
        while (calls--)                                                                                      \
            call();                                                                                          \
        while (milliseconds && now() < end)                                                                  \
            for (volatile int n = 0; n < 100000; n++)                                                        \
                ;                                                                                            \
    }
