// unwound MODE N: says "ready", waits for a line, then calls leaf N times from code that has no frame pointers: by
// plain calls, from a comparison of qsort(3), in a signal handler (on a stack of its own, too), in a thread, and below
// frames that alloca(3), aligned variables, both, or assembler code give another shape. leaf calls close(-1) itself. In
// the mode "registered", quiet is called instead.
#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile long sink;
static char alternate[1 << 16];

__attribute__((noinline)) void leaf(void)
{
    long result = 3; // __NR_close

    asm volatile("syscall" : "+a"(result) : "D"(-1L) : "rcx", "r11", "memory");
    sink += result;
}

__attribute__((noinline)) void middle(void)
{
    leaf();
    sink++;
}

__attribute__((noinline)) void plain(void)
{
    middle();
    sink++;
}

static int compare(const void *a, const void *b)
{
    if (sink >= 0)
        sink = -1; // once for each array
    leaf();
    return *(const int *)a - *(const int *)b;
}

__attribute__((noinline)) void sorted(void)
{
    int values[2] = {2, 1};

    qsort(values, 2, sizeof(values[0]), compare);
    sink += values[0];
}

static void handle(int number)
{
    middle();
    sink += number;
}

__attribute__((noinline)) void raised(void)
{
    raise(SIGUSR1);
    sink++;
}

__attribute__((noinline)) void raised_elsewhere(void)
{
    raise(SIGUSR2);
    sink++;
}

__attribute__((noinline)) void allocated(void)
{
    char *space = alloca((sink & 63) + 100);

    memset(space, 1, 100);
    middle();
    sink += space[3];
}

__attribute__((noinline)) void aligned(void)
{
    _Alignas(64) volatile char space[64];

    space[3] = 1;
    middle();
    sink += space[3];
}

__attribute__((noinline)) void realigned(long a, long b, long c, long d, long e, long f, long g, long h)
{
    _Alignas(64) volatile char space[64];
    char *more = alloca((g & 63) + 100);

    memset(more, 1, 100);
    space[3] = 1;
    middle();
    sink += space[3] + more[3] + a + b + c + d + e + f + g + h;
}

// As OpenSSL's assembler code: the stack pointer that it began with is in its frame. The escape says that the CFA is
// *(rsp + 152) + 8.
void saved(void);
asm(".pushsection .text\n"
    ".type saved, @function\n"
    "saved:\n"
    ".cfi_startproc\n"
    "mov %rsp, %rax\n"
    ".cfi_def_cfa_register %rax\n"
    "push %rbp\n"
    ".cfi_offset %rbp, -16\n"
    "sub $512, %rsp\n"
    "and $-128, %rsp\n"
    "mov %rax, 152(%rsp)\n"
    ".cfi_escape 0x0f, 0x06, 0x77, 0x98, 0x01, 0x06, 0x23, 0x08\n"
    "xor %ebp, %ebp\n"
    "call middle\n"
    "mov 152(%rsp), %rsi\n"
    ".cfi_def_cfa %rsi, 8\n"
    "mov -8(%rsi), %rbp\n"
    ".cfi_restore %rbp\n"
    "mov %rsi, %rsp\n"
    ".cfi_def_cfa_register %rsp\n"
    "ret\n"
    ".cfi_endproc\n"
    ".size saved, .-saved\n"
    ".popsection");

// The CFA is in r10, which quiet leaves alone.
void registered(void);
asm(".pushsection .text\n"
    ".type quiet, @function\n"
    "quiet:\n"
    ".cfi_startproc\n"
    "ret\n"
    ".cfi_endproc\n"
    ".size quiet, .-quiet\n"
    ".type registered, @function\n"
    "registered:\n"
    ".cfi_startproc\n"
    "lea 8(%rsp), %r10\n"
    ".cfi_def_cfa %r10, 0\n"
    "and $-128, %rsp\n"
    "call quiet\n"
    "lea -8(%r10), %rsp\n"
    ".cfi_def_cfa %rsp, 8\n"
    "ret\n"
    ".cfi_endproc\n"
    ".size registered, .-registered\n"
    ".popsection");

static void *threaded(void *argument)
{
    plain();
    sink++;
    return argument;
}

static void in_thread(void)
{
    pthread_t thread;

    pthread_create(&thread, 0, threaded, 0);
    pthread_join(thread, 0);
}

static void call(const char *mode)
{
    if (!strcmp(mode, "plain"))
        plain();
    else if (!strcmp(mode, "sorted"))
        sorted();
    else if (!strcmp(mode, "raised"))
        raised();
    else if (!strcmp(mode, "raised_elsewhere"))
        raised_elsewhere();
    else if (!strcmp(mode, "allocated"))
        allocated();
    else if (!strcmp(mode, "aligned"))
        aligned();
    else if (!strcmp(mode, "realigned"))
        realigned(1, 2, 3, 4, 5, 6, 7, 8);
    else if (!strcmp(mode, "saved"))
        saved();
    else if (!strcmp(mode, "registered"))
        registered();
    else if (!strcmp(mode, "threaded"))
        in_thread();
    else
        exit(1);
    sink++;
}

int main(int argc, char **argv)
{
    struct sigaction elsewhere = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
    int times = argc > 2 ? atoi(argv[2]) : 0;
    char line[16];

    signal(SIGUSR1, handle);
    sigaltstack(&stack, 0);
    sigaction(SIGUSR2, &elsewhere, 0);
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        return 1;
    for (int i = 0; i < times; i++)
        call(argv[1]);
    return 0;
}
