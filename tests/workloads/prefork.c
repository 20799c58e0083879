// A server of several processes, as PostgreSQL is one: a process forks workers, and later a process for each client.
//
//     prefork WORKERS CLIENTS N    forks WORKERS, says "ready", waits for a line, then forks CLIENTS, which fork once
//                                  more; each process calls work N times, and the first one ends last
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int sink;
static int times;

__attribute__((noinline)) int work(int n)
{
    sink += n;
    return n;
}

static void serve(void)
{
    for (int i = 0; i < times; i++)
        sink += work(i) + getppid();
}

int main(int argc, char **argv)
{
    int wake[2];
    char line[16], byte;

    if (argc < 4 || pipe(wake))
        return 2;
    times = atoi(argv[3]);
    for (int i = 0; i < atoi(argv[1]); i++)
        if (!fork()) {
            close(wake[1]); // so that a worker ends with the first process, whatever ends that
            if (read(wake[0], &byte, 1) != 1)
                return 1;
            serve();
            return 0;
        }
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        return 1;
    for (int i = 0; i < atoi(argv[1]); i++)
        if (write(wake[1], "x", 1) != 1)
            return 1;
    for (int i = 0; i < atoi(argv[2]); i++)
        if (!fork()) {
            prctl(PR_SET_NAME, "client");
            if (!fork()) {
                serve();
                return 0;
            }
            serve();
            wait(NULL);
            return 0;
        }
    serve();
    while (wait(NULL) > 0)
        ;
    return 0;
}
