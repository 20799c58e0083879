// SPDX-License-Identifier: Apache-2.0
// leader: a thread that is not the leader makes 7 getppid calls and executes "PROGRAM ARG ARG", while the
// leader sits in a call (the kernel ends it there, and gives its thread id to the thread that executes).
#include <pthread.h>
#include <unistd.h>

static void *other(void *arguments)
{
    char **argv = arguments;

    for (int i = 0; i < 7; i++)
        getppid();
    usleep(20000);
    execv(argv[1], argv + 1);
    _exit(1);
}

int main(int argc, char **argv)
{
    pthread_t thread;

    if (argc < 2 || pthread_create(&thread, 0, other, argv))
        return 2;
    pthread_join(thread, 0);
    return 3;
}
