// Functions, and USDT probes whose arguments are in all forms that the assembler has for them.
//
//     marks work N         says "ready", waits for a line, calls work N times, work_more N + 1, by two threads
//     marks forms N        the same with the probes "forms:..." N times; then says what the semaphore was
//     marks nested N       the same with a call within a call, N deep
//     marks orphaned N     its first thread ends; another one calls work N times
//     marks headless N     its first thread ends, then the same as work, by one thread
//     marks load FILE N    loads FILE from memory only, says "ready", waits, calls its probe N times
//
// The notes are written here, so that nobody needs sys/sdt.h.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "marks.h"

__attribute__((section(".probes"))) volatile unsigned short forms_semaphore;

static volatile int sink;
static int times;

__attribute__((noinline)) int work(int n)
{
    sink += n;
    return n * 2;
}

__attribute__((noinline)) int work_more(int n)
{
    sink -= n;
    return n + 1;
}

__attribute__((noinline)) int rest(int n)
{
    sink ^= n;
    return n;
}

__attribute__((noinline)) int nest(int n)
{
    int below = n > 1 ? nest(n - 1) : 0;

    sink += n;
    return below + 1;
}

// In `symbol`, 0x1122334455667788 and -5; in the array behind it, what the index chooses.
volatile long symbol[2] = {0x1122334455667788, -5};
static volatile long array[4] = {100, 200, -300, 400};

static void forms(void)
{
#ifdef __x86_64__
    long b = 0x1020304050607080, c = -7, d = 0xabcd, r10 = 0xfffe;

    asm volatile("movq %[b], %%rbx; movq %[c], %%rcx; movq %[d], %%rdx; movq %[e], %%r10\n" MARK(
                     "registers", "forms_semaphore",
                     "8@%%rbx -8@%%rcx -4@%%ecx 4@%%ecx 1@%%dl 1@%%dh -1@%%dl 2@%%dx -2@%%r10w 4@$77 -8@$-9 %%rbx")
                 :
                 : [b] "m"(b), [c] "m"(c), [d] "m"(d), [e] "m"(r10)
                 : "rbx", "rcx", "rdx", "r10");
    asm volatile("movq %[at], %%rsi; movq $2, %%rdi; movq %[at], %%rax; shrq $3, %%rax\n" MARK(
                     "memory", "forms_semaphore",
                     "8@(%%rsi) -8@16(%%rsi) -4@0x10(%%rsi) 4@16(%%rsi) -8@(%%rsi,%%rdi,8) -8@-16(%%rsi,%%rdi,8) "
                     "8@(,%%rax,8) -8@symbol+8(%%rip) 8@symbol(%%rip) 8f@%%xmm0 8@nosuch(%%rip) -8@8+8(%%rsi)")
                 :
                 : [at] "r"(array)
                 : "rsi", "rdi", "rax");
    asm volatile("movq $1, %%rsi\n" MARK("nowhere", "forms_semaphore", "8@(%%rsi) 8@$1") : : : "rsi");
#endif
    asm volatile(MARK("bare", "0", ""));
}

static void *both(void *unused)
{
    (void)unused;
    for (int i = 0; i < times; i++)
        work(i);
    return NULL;
}

static void *orphan(void *first)
{
    pthread_join(*(pthread_t *)first, NULL);
    both(NULL);
    _exit(0);
}

static void wait_for_line(void)
{
    char line[16];

    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        exit(1);
}

static void *headless(void *unused)
{
    char text[512] = "";

    while (!strstr(text, ") Z ")) { // the first thread is a zombie, as long as this one lives
        FILE *file = fopen("/proc/self/stat", "r");

        if (!file || !fgets(text, sizeof(text), file))
            exit(1);
        fclose(file);
    }
    wait_for_line();
    both(unused);
    _exit(0);
}

static int load(const char *path)
{
    int from = open(path, O_RDONLY), memory = memfd_create("made", 0);
    char block[65536], name[64];
    void *library;
    void (*fire)(void);
    ssize_t got;

    while ((got = read(from, block, sizeof(block))) > 0)
        if (write(memory, block, got) != got)
            return 1;
    snprintf(name, sizeof(name), "/proc/self/fd/%d", memory);
    library = dlopen(name, RTLD_NOW);
    if (!library || !(fire = (void (*)(void))dlsym(library, "fire")))
        return 1;
    wait_for_line();
    for (int i = 0; i < times; i++)
        fire();
    return 0;
}

int main(int argc, char **argv)
{
    pthread_t other;

    if (argc < 3)
        return 2;
    times = atoi(argv[argc - 1]);
    if (!strcmp(argv[1], "load"))
        return load(argv[2]);
    if (!strcmp(argv[1], "headless")) {
        pthread_create(&other, NULL, headless, NULL);
        pthread_exit(NULL);
    }
    wait_for_line();
    if (!strcmp(argv[1], "forms")) {
        for (int i = 0; i < times; i++)
            forms();
        printf("semaphore %d\n", forms_semaphore);
        return 0;
    }
    if (!strcmp(argv[1], "nested"))
        return nest(times) != times;
    if (!strcmp(argv[1], "orphaned")) {
        static pthread_t first;

        first = pthread_self();
        pthread_create(&other, NULL, orphan, &first);
        pthread_exit(NULL);
    }
    both(NULL);
    for (int i = 0; i <= times; i++)
        sink += work_more(i) + getppid();
    pthread_create(&other, NULL, both, NULL);
    pthread_join(other, NULL);
    rest(1);
    return 0;
}
