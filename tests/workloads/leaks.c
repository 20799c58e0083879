// Allocates in every way a known number of times, and frees some of it: leaks [THREADS]. Writes to standard error how
// many bytes more are in use then, as the allocator counts.
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define NOINLINE __attribute__((noinline, noclone))

static void *volatile kept;

NOINLINE void leak_malloc(void)
{
    for (int i = 0; i < 23; i++)
        kept = malloc(1000);
}
NOINLINE void leak_calloc(void)
{
    for (int i = 0; i < 17; i++)
        kept = calloc(10, 100);
}
NOINLINE void leak_aligned(void)
{
    void *block;

    for (int i = 0; i < 13; i++) {
        kept = memalign(64, 1000);
        kept = aligned_alloc(64, 1024);
        if (!posix_memalign(&block, 64, 1000))
            kept = block;
        kept = valloc(1000);
    }
}
NOINLINE void leak_realloc(void)
{
    for (int i = 0; i < 11; i++) {
        kept = realloc(NULL, 10);
        kept = realloc(kept, 100000); // moves it
        kept = reallocarray(kept, 2, 100000);
        void *refused = realloc(kept, PTRDIFF_MAX); // fails: the block stays
        if (refused)
            abort();
    }
}
NOINLINE void free_all(void)
{
    for (int i = 0; i < 101; i++) {
        kept = malloc(3000);
        free(kept);
    }
}

// Threads that allocate and free as fast as they can get each other's addresses.
static void *race(void *unused)
{
    for (int i = 0; i < 5003; i++) {
        void *block = malloc(64 + i % 7);
        block = realloc(block, 4000);
        free(block);
    }
    return unused;
}

static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 0;
    pthread_t threads[16];

    size_t before = in_use();

    leak_malloc();
    leak_calloc();
    leak_aligned();
    leak_realloc();
    free_all();
    fprintf(stderr, "in use %zu\n", in_use() - before);
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, race, NULL);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
