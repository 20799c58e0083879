// Functions whose calls end in every way there is. Says "ready", waits for a line, makes N calls, and says what came
// of them.
//
//     returns many N         calls many(n), which returns at a different place for each n
//     returns deep N         calls of deep within each other
//     returns tail N         copy ends in strdup, relay in many; stranger calls many without relay
//     returns indirect N     through ends in a function that its argument points to
//     returns jumps N        leave is left by longjmp
//     returns cancel N       threads are cancelled in await
//     returns exits N        threads end in finish
//     returns contexts N     coroutines, all in yields at once, go on in another order than they began
//     returns moves N        coroutines begin on one thread and go on on another
//     returns signals N      a handler calls sum while sum is interrupted
//     returns escapes N      a handler jumps out of stuck
//     returns loops N        again begins with what it jumps back to
//     returns forks N        splits returns twice, in two processes
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK 65536

static volatile long sink;
static jmp_buf back;
static sigjmp_buf out;

__attribute__((noinline)) long many(long n)
{
    switch (n % 9) {
    case 0:
        return sink + 3;
    case 1:
        sink++;
        return 1;
    case 2:
        return n * 5;
    case 3:
        sink += 2;
        return n - 7;
    case 4:
        return getppid() ? 11 : 12;
    case 5:
        return sink & 1 ? 13 : 14;
    case 6:
        sink ^= n;
        return 15;
    case 7:
        if (sink > n)
            return 16;
        sink = n;
        return 17;
    }
    return -1;
}

__attribute__((noinline)) long deep(long n)
{
    long below = n > 1 ? deep(n - 1) : 0;

    sink++;
    return below + 1;
}

__attribute__((noinline, optimize("O2"))) char *copy(const char *text)
{
    sink++;
    return strdup(text);
}

__attribute__((noinline, optimize("O2"))) long relay(long n)
{
    if (n % 3 == 0)
        return -2;
    sink++;
    return many(n);
}

__attribute__((noinline)) long stranger(long n)
{
    return many(n) + 1;
}

__attribute__((noinline, optimize("O2"))) long through(long (*next)(long), long n)
{
    if (n % 2)
        return -3;
    sink++;
    return next(n);
}

__attribute__((noinline)) void leave(long n)
{
    sink += n;
    longjmp(back, 1);
}

static pthread_barrier_t all;

__attribute__((noinline)) long await(long n)
{
    pthread_barrier_wait(&all);
    for (;;)
        pause();
    return n;
}

__attribute__((noinline)) long finish(long n)
{
    __atomic_fetch_add(&sink, n, __ATOMIC_RELAXED); // threads run it at the same time
    pthread_exit((void *)n);
    return n;
}

static ucontext_t home, *contexts;

__attribute__((noinline)) long yields(long n)
{
    swapcontext(&contexts[n], &home);
    sink++;
    return n + 1;
}

static void coroutine(int n)
{
    sink += yields(n);
    swapcontext(&contexts[n], &home); // to be continued by nobody
}

static void begin_all(long times)
{
    for (long n = 0; n < times; n++) {
        getcontext(&contexts[n]);
        contexts[n].uc_stack.ss_sp = malloc(STACK);
        contexts[n].uc_stack.ss_size = STACK;
        makecontext(&contexts[n], (void (*)(void))coroutine, 1, (int)n);
        swapcontext(&home, &contexts[n]);
    }
}

static void *continue_all(void *times)
{
    long count = (long)times;

    for (long n = 0; n < count; n++)
        swapcontext(&home, &contexts[(n * 7 + 3) % count]);
    return NULL;
}

static volatile sig_atomic_t depth;

__attribute__((noinline)) long sum(long n)
{
    depth++;
    if (depth == 1)
        raise(SIGUSR1);
    depth--;
    return n + 5;
}

static void handler(int signal)
{
    (void)signal;
    sink += sum(1);
}

__attribute__((noinline)) long stuck(long n)
{
    raise(SIGUSR2);
    return n;
}

static void escape(int signal)
{
    (void)signal;
    siglongjmp(out, 1);
}

// Jumps back to its first instruction, with the stack as it was.
long again(long n);
__asm__(".globl again\n"
        ".type again, @function\n"
        "again:\n"
        "    sub $1, %rdi\n"
        "    jg again\n"
        "    mov $7, %eax\n"
        "    ret\n"
        ".size again, .-again\n");

__attribute__((noinline)) long splits(long n)
{
    return fork() ? n : -n;
}

static void *in_thread(void *function)
{
    return (void *)((long (*)(long))function)(1);
}

static void threads(long times, long (*function)(long), int cancel)
{
    pthread_t *made = calloc(times, sizeof(*made));
    void *result;

    pthread_barrier_init(&all, NULL, times + 1);
    for (long n = 0; n < times; n++)
        pthread_create(&made[n], NULL, in_thread, (void *)function);
    if (cancel)
        pthread_barrier_wait(&all);
    for (long n = 0; n < times; n++) {
        if (cancel)
            pthread_cancel(made[n]);
        pthread_join(made[n], &result);
        sink += result == PTHREAD_CANCELED;
    }
}

int main(int argc, char **argv)
{
    const char *what = argv[1];
    volatile long total = 0; // longjmp keeps it
    long times = argc > 2 ? atol(argv[2]) : 0;
    pthread_t other;
    char line[16], *text;

    puts("ready");
    fflush(stdout);
    if (argc < 3 || !fgets(line, sizeof(line), stdin))
        return 2;
    signal(SIGUSR1, handler);
    signal(SIGUSR2, escape);
    contexts = calloc(times, sizeof(*contexts));
    if (!strcmp(what, "deep"))
        total = deep(times);
    else if (!strcmp(what, "cancel"))
        threads(times, await, 1);
    else if (!strcmp(what, "exits"))
        threads(times, finish, 0);
    else if (!strcmp(what, "contexts") || !strcmp(what, "moves")) {
        begin_all(times);
        if (!strcmp(what, "moves")) {
            pthread_create(&other, NULL, continue_all, (void *)times);
            pthread_join(other, NULL);
        } else
            continue_all((void *)times);
    } else
        for (volatile long n = 0; n < times; n++) {
            if (!strcmp(what, "many"))
                total += many(n);
            else if (!strcmp(what, "tail")) {
                text = copy("text");
                total += relay(n) + stranger(n) + (text[0] == 't');
                free(text);
            } else if (!strcmp(what, "indirect"))
                total += through(n % 4 ? many : deep, n);
            else if (!strcmp(what, "jumps")) {
                if (!setjmp(back))
                    leave(n);
                else
                    total++;
            } else if (!strcmp(what, "signals"))
                total += sum(n);
            else if (!strcmp(what, "escapes")) {
                if (!sigsetjmp(out, 1))
                    stuck(n);
                else
                    total++;
            } else if (!strcmp(what, "loops"))
                total += again(n + 1);
            else if (!strcmp(what, "forks")) {
                if (splits(n + 1) < 0)
                    _exit(0);
                wait(NULL);
            }
        }
    printf("%ld %ld\n", total, sink);
    return 0;
}
