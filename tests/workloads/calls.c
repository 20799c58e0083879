// SPDX-License-Identifier: Apache-2.0
// A workload whose system calls are known to the last one: it is linked with nothing.
//
//   calls getppid N     N getppid calls
//   calls fail N        N calls of close(-1): EBADF
//   calls compat N      N getppid calls by the 32-bit entry (int 0x80)
//   calls x32 N         N getppid calls by the x32 ABI (ENOSYS where the kernel has none)
//   calls unknown N     N calls of number 999
//   calls sleep N       N nanosleep calls of 2 ms
//   calls signal N      N signals to itself (kill), and as many returns from the handler; rt_sigaction, getpid
#ifndef __x86_64__
#error "written for x86-64"
#endif

static long call(long number, long a, long b)
{
    long result;

    asm volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b) : "rcx", "r11", "memory");
    return result;
}

static long call32(long number)
{
    long result;

    asm volatile("int $0x80" : "=a"(result) : "0"(number) : "memory", "r8", "r9", "r10", "r11");
    return result;
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

extern char handled[], back[];

// A handler that does nothing, and what the kernel has it return to: rt_sigreturn.
asm("handled:\n\tret\nback:\n\tmov $15, %eax\n\tsyscall\n");

static long catch_signals(void)
{
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        unsigned long mask;
    } action = {handled, 0x04000000, back, 0}; // SA_RESTORER
    long result;
    register long size asm("r10") = sizeof(action.mask);

    asm volatile("syscall"
                 : "=a"(result)
                 : "0"(13), "D"(10), "S"(&action), "d"(0), "r"(size)
                 : "rcx", "r11", "memory");
    return result ? -1 : call(39, 0, 0);
}

__attribute__((used)) static void work(long *stack)
{
    char **argv = (char **)(stack + 1);
    struct {
        long seconds, nanoseconds;
    } nap = {0, 2000000};
    long times = 0, self = 0;

    if (stack[0] == 3)
        for (char *digit = argv[2]; *digit; digit++)
            times = times * 10 + *digit - '0';
    if (times && same(argv[1], "signal"))
        self = catch_signals();
    for (long i = 0; i < times; i++) {
        if (same(argv[1], "getppid"))
            call(110, 0, 0);
        else if (same(argv[1], "fail"))
            call(3, -1, 0);
        else if (same(argv[1], "compat"))
            call32(64);
        else if (same(argv[1], "x32"))
            call(0x40000000 | 110, 0, 0);
        else if (same(argv[1], "unknown"))
            call(999, 0, 0);
        else if (same(argv[1], "sleep"))
            call(35, (long)&nap, 0);
        else if (same(argv[1], "signal"))
            call(62, self, 10);
    }
    call(231, times ? 0 : 2, 0);
}

asm(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall work\n");
