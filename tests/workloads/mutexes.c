// SPDX-License-Identifier: Apache-2.0
// Takes mutexes and rwlocks in known ways: mutexes ROUNDS. Writes to standard error, in nanoseconds, how long they were held at
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
static pthread_rwlock_t shared = PTHREAD_RWLOCK_INITIALIZER, third = PTHREAD_RWLOCK_INITIALIZER;
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

// Holds the rwlock, as a reader or as a writer, until somebody waits for it, and for a while.
static void hold_shared(int take(pthread_rwlock_t *), unsigned int waits)
{
    long long before = now(), after;

    take(&shared);
    after = now();
    sem_post(&taken);
    while (!(__atomic_load_n(&shared.__data.__readers, __ATOMIC_SEQ_CST) & waits))
        usleep(100);
    usleep(PAUSE);
    least += now() - after;
    pthread_rwlock_unlock(&shared);
    most += now() - before;
    sem_wait(&seen);
}

NOINLINE void read_it(void)
{
    hold_shared(pthread_rwlock_rdlock, 2); // PTHREAD_RWLOCK_WRLOCKED
    __asm__ volatile("");                  // no tail call: this function stays in the stack
}

NOINLINE void write_it(void)
{
    hold_shared(pthread_rwlock_wrlock, ~7U); // readers
    __asm__ volatile("");
}

static void wait_for_shared(int take(pthread_rwlock_t *))
{
    long long before;

    sem_wait(&taken);
    before = now();
    take(&shared);
    waited += now() - before;
    pthread_rwlock_unlock(&shared);
    sem_post(&seen);
}

NOINLINE void write_after_reader(void)
{
    wait_for_shared(pthread_rwlock_wrlock);
    __asm__ volatile("");
}

NOINLINE void read_after_writer(void)
{
    wait_for_shared(pthread_rwlock_rdlock);
    __asm__ volatile("");
}

static void *shared_waiter(void *unused)
{
    for (int i = 0; i < rounds; i++)
        write_after_reader();
    sem_wait(&taken); // the times of the rounds before are reported
    for (int i = 0; i < rounds; i++)
        read_after_writer();
    return 0;
}

NOINLINE void read_thrice(void)
{
    pthread_rwlock_rdlock(&third);
    pthread_rwlock_rdlock(&third);
    if (pthread_rwlock_tryrdlock(&third) || pthread_rwlock_trywrlock(&third) != EBUSY)
        exit(4);
    pthread_rwlock_unlock(&third);
    pthread_rwlock_unlock(&third);
    pthread_rwlock_unlock(&third);
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
    pthread_create(&thread, 0, shared_waiter, 0);
    for (int i = 0; i < rounds; i++)
        read_it();
    report("read_it");
    sem_post(&taken);
    for (int i = 0; i < rounds; i++)
        write_it();
    pthread_join(thread, 0);
    report("write_it");
    for (int i = 0; i < rounds; i++)
        read_thrice();
    return 0;
}
