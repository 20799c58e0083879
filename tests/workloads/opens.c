// SPDX-License-Identifier: Apache-2.0
// opens KIND FLAGS COUNT [PATH]: COUNT opens, of which nothing is closed; it is linked with nothing and opens
// nothing else.
//
//   KIND   open, openat, openat2, creat; compat-... of these: by the 32-bit entry (int 0x80); x32-openat;
//          bad: open of an address that is not there
//   PATH   without it, 5000 characters, "x"
#ifndef __x86_64__
#error "written for x86-64"
#endif

// Within 32 bits: the program is linked to a fixed address.
static char path[5008];
static struct {
    unsigned long long flags, mode, resolve;
} how;

static long call(long number, long a, long b, long c, long d)
{
    register long r10 asm("r10") = d;
    long result;

    asm volatile("syscall"
                 : "=a"(result)
                 : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                 : "rcx", "r11", "memory");
    return result;
}

static long call32(long number, long a, long b, long c, long d)
{
    long result;

    asm volatile("int $0x80"
                 : "=a"(result)
                 : "0"(number), "b"(a), "c"(b), "d"(c), "S"(d)
                 : "memory", "r8", "r9", "r10", "r11");
    return result;
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static long number_of(const char *digits)
{
    long number = 0;

    while (*digits)
        number = number * 10 + *digits++ - '0';
    return number;
}

__attribute__((used)) static void work(long *stack)
{
    char **argv = (char **)(stack + 1);
    const char *kind = argv[1];
    long flags, count, at = -100; // AT_FDCWD

    if (stack[0] < 4)
        call(231, 2, 0, 0, 0);
    flags = number_of(argv[2]);
    count = number_of(argv[3]);
    for (int i = 0; i < 5000; i++)
        path[i] = 'x';
    if (stack[0] > 4) {
        char *to = path;

        for (const char *from = argv[4]; (*to++ = *from++);)
            ;
    }
    how.flags = flags;
    for (long i = 0; i < count; i++) {
        if (same(kind, "open"))
            call(2, (long)path, flags, 0600, 0);
        else if (same(kind, "creat"))
            call(85, (long)path, 0600, 0, 0);
        else if (same(kind, "openat"))
            call(257, at, (long)path, flags, 0600);
        else if (same(kind, "openat2"))
            call(437, at, (long)path, (long)&how, sizeof(how));
        else if (same(kind, "compat-open"))
            call32(5, (long)path, flags, 0600, 0);
        else if (same(kind, "compat-creat"))
            call32(8, (long)path, 0600, 0, 0);
        else if (same(kind, "compat-openat"))
            call32(295, at, (long)path, flags, 0600);
        else if (same(kind, "compat-openat2"))
            call32(437, at, (long)path, (long)&how, sizeof(how));
        else if (same(kind, "x32-openat"))
            call(0x40000000 | 257, at, (long)path, flags, 0600);
        else if (same(kind, "bad"))
            call(2, 1, flags, 0600, 0);
    }
    call(231, 0, 0, 0, 0);
}

asm(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall work\n");
