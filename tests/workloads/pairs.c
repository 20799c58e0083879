// Pairs of events, as USDT probes and as functions, whose numbers are known.
//
//     pairs plain N        N pairs, each with a sleep of 1 ms, or of 20 ms if its number divides by 5
//     pairs failing N      N starts, of which every third has no end; at last one more end
//     pairs nested N       a start within a start, N deep, and the ends
//     pairs threads N      four threads, N pairs each at the same time
//     pairs requests N     a thread starts N requests, another one ends them in the reverse order
//     pairs race N         a thread starts the request 0 N times, another one ends it N times meanwhile
//     pairs ended N        N times a thread starts and ends, and then another one ends what it did not start
//     pairs exec           a thread that is not the first starts, and ends after its exec
//
// The probe pairs:start has the number and a string, pairs:done the number and twice the number.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK_PROVIDER "pairs"
#include "marks.h"

static volatile int sink;
static int times;
static char text[16];

__attribute__((noinline)) void begin(long id)
{
    const char *name = text;

    sink += id;
    asm volatile(MARK("start", "0", "-8@%[id] 8@%[name]") : : [id] "r"(id), [name] "r"(name) : "memory");
}

__attribute__((noinline)) void finish(long id)
{
    long twice = 2 * id;

    sink -= id;
    asm volatile(MARK("done", "0", "-8@%[id] -4@%[twice]") : : [id] "r"(id), [twice] "r"((int)twice));
}

static void plain(int from)
{
    for (int i = from; i < from + times; i++) {
        snprintf(text, sizeof(text), "request %d", i % 3);
        begin(i);
        usleep(i % 5 ? 1000 : 20000);
        finish(i);
    }
}

static void nested(int depth)
{
    begin(depth);
    if (depth + 1 < times)
        nested(depth + 1);
    finish(depth);
}

static void *one_of_many(void *unused)
{
    for (int i = 0; i < times; i++) {
        begin(i);
        finish(i);
    }
    return unused;
}

static void *backwards(void *unused)
{
    for (int i = times; i-- > 0;)
        finish(i);
    return unused;
}

static void *start_often(void *unused)
{
    for (int i = 0; i < times; i++)
        begin(0);
    return unused;
}

static void *end_often(void *unused)
{
    for (int i = 0; i < times; i++)
        finish(0);
    return unused;
}

static void *start_once(void *unused)
{
    begin(0);
    return unused;
}

static void *end_once(void *unused)
{
    finish(0);
    return unused;
}

static void *execute(void *unused)
{
    begin(0);
    execl("/proc/self/exe", "pairs", "executed", "1", NULL);
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t threads[4];

    if (argc < 3)
        return 2;
    times = atoi(argv[2]);
    if (!strcmp(argv[1], "plain")) {
        plain(0);
    } else if (!strcmp(argv[1], "failing")) {
        for (int i = 0; i < times; i++) {
            begin(i);
            if (i % 3)
                finish(i);
        }
        finish(times);
        finish(times);
    } else if (!strcmp(argv[1], "nested")) {
        nested(0);
    } else if (!strcmp(argv[1], "threads")) {
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, one_of_many, NULL);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    } else if (!strcmp(argv[1], "ended")) {
        for (int i = 0; i < 2 * times; i++) {
            pthread_create(&threads[0], NULL, i % 2 ? end_once : start_once, NULL);
            pthread_join(threads[0], NULL);
            usleep(2000); // until the kernel has freed the thread
        }
    } else if (!strcmp(argv[1], "exec")) {
        pthread_create(&threads[0], NULL, execute, NULL);
        pthread_join(threads[0], NULL);
    } else if (!strcmp(argv[1], "executed")) {
        finish(0);
    } else if (!strcmp(argv[1], "race")) {
        pthread_create(&threads[0], NULL, start_often, NULL);
        pthread_create(&threads[1], NULL, end_often, NULL);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
    } else {
        for (int i = 0; i < times; i++)
            begin(i);
        pthread_create(&threads[0], NULL, backwards, NULL);
        pthread_join(threads[0], NULL);
    }
    return 0;
}
