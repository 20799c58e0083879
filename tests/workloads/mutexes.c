// SPDX-License-Identifier: Apache-2.0
// Takes mutexes in known ways: mutexes ROUNDS. Writes to standard error, in nanoseconds, how long they were held at
// least and at most, and how long was waited for them: a line for each function that takes one.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))
#define PAUSE    50000 // us

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, other = PTHREAD_MUTEX_INITIALIZER, nested;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t taken, seen;
static int rounds;
static long long least, most, waited;

static long long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

NOINLINE void hold_it(void)
{
    long long before = now(), after;

    pthread_mutex_lock(&lock);
    after = now();
    sem_post(&taken);
    while (__atomic_load_n(&lock.__data.__lock, __ATOMIC_SEQ_CST) != 2) // somebody waits
        usleep(100);
    usleep(PAUSE);
    least += now() - after;
    pthread_mutex_unlock(&lock);
    most += now() - before;
    sem_wait(&seen);
}

NOINLINE void wait_for_it(void)
{
    long long before;

    sem_wait(&taken);
    before = now();
    pthread_mutex_lock(&lock);
    waited += now() - before;
    pthread_mutex_unlock(&lock);
    sem_post(&seen);
}

static void *waiter(void *unused)
{
    for (int i = 0; i < rounds; i++)
        wait_for_it();
    return 0;
}

NOINLINE void take_thrice(void)
{
    pthread_mutex_lock(&nested);
    pthread_mutex_lock(&nested);
    pthread_mutex_trylock(&nested);
    pthread_mutex_unlock(&nested);
    pthread_mutex_unlock(&nested);
    pthread_mutex_unlock(&nested);
}

NOINLINE void try_twice(void)
{
    if (pthread_mutex_trylock(&other) || pthread_mutex_trylock(&other) != EBUSY)
        exit(2);
    pthread_mutex_unlock(&other);
}

NOINLINE void wait_for_condition(void)
{
    long long before = now(), locked, begun, ended;
    struct timespec until;

    pthread_mutex_lock(&other);
    locked = now();
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += PAUSE * 1000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    begun = now();
    if (pthread_cond_timedwait(&condition, &other, &until) != ETIMEDOUT)
        exit(3);
    ended = now();
    waited += ended - begun;
    least += now() - ended + begun - locked;
    pthread_mutex_unlock(&other);
    most += now() - before;
}

static void report(const char *name)
{
    fprintf(stderr, "%s %lld %lld %lld\n", name, least, most, waited);
    least = most = waited = 0;
}

int main(int argc, char **argv)
{
    pthread_mutexattr_t attributes;
    pthread_t thread;

    rounds = argc > 1 ? atoi(argv[1]) : 1;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&nested, &attributes);
    pthread_create(&thread, 0, waiter, 0);
    for (int i = 0; i < rounds; i++)
        hold_it();
    pthread_join(thread, 0);
    report("hold_it");
    for (int i = 0; i < rounds; i++)
        take_thrice();
    for (int i = 0; i < rounds; i++)
        try_twice();
    for (int i = 0; i < rounds; i++)
        wait_for_condition();
    report("wait_for_condition");
    return 0;
}
