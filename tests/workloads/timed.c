// Functions that take a time that is known: at least so long.
//
//     timed nap N MS        says "ready", waits for a line, calls nap N times, which sleeps MS milliseconds
//     timed both N MS       the same, while another thread is in one nap as long as all of them together
//     timed nested N MS     the same with N calls of nest within each other, each of which sleeps
//     timed twice N MS      that two times
//     timed jumps N MS      the same with N calls of leave, which sleeps and never returns: it jumps
//     timed dies N MS       the same with N processes that end in a call of quit
//     timed inside N MS     says "ready" and waits in a nap, and then calls it N times more
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int sink;
static jmp_buf back;
static long times, milliseconds;

static void wait_for_line(void)
{
    char line[16];

    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        exit(1);
}

static void rest(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};

    while (nanosleep(&left, &left))
        ;
}

__attribute__((noinline)) long nap(long ms)
{
    if (ms)
        rest(ms);
    else
        wait_for_line();
    sink++;
    return ms + 1;
}

__attribute__((noinline)) long nest(long n)
{
    long below = n > 1 ? nest(n - 1) : 0;

    rest(milliseconds);
    return below + 1;
}

__attribute__((noinline)) void leave(long ms)
{
    rest(ms);
    longjmp(back, 1);
}

__attribute__((noinline)) void quit(long ms)
{
    rest(ms);
    _exit(0);
}

static void *whole(void *unused)
{
    (void)unused;
    nap(times * milliseconds);
    return NULL;
}

int main(int argc, char **argv)
{
    const char *what = argv[1];
    pthread_t other;
    int both;

    if (argc < 4)
        return 2;
    times = atol(argv[2]);
    milliseconds = atol(argv[3]);
    both = !strcmp(what, "both");
    if (!strcmp(what, "inside"))
        nap(0);
    else
        wait_for_line();
    if (both)
        pthread_create(&other, NULL, whole, NULL);
    if (!strcmp(what, "nested") || !strcmp(what, "twice")) {
        sink += nest(times);
        if (!strcmp(what, "twice"))
            sink += nest(times);
        return 0;
    }
    for (volatile long i = 0; i < times; i++) {
        if (!strcmp(what, "jumps")) {
            if (!setjmp(back))
                leave(milliseconds);
        } else if (!strcmp(what, "dies")) {
            if (!fork())
                quit(milliseconds);
            wait(NULL);
        } else
            nap(milliseconds);
    }
    if (both)
        pthread_join(other, NULL);
    return 0;
}
