// SPDX-License-Identifier: Apache-2.0
// spin: main calls a, a calls b, and b is busy for MS milliseconds of processor time.
//
//   spin user MS [NAME]   b calls spin, which counts; NAME becomes the thread's name
//   spin kernel MS        b reads from /dev/zero
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

static volatile sig_atomic_t over;
static volatile unsigned long count;
static char room[1 << 20];

static void alarmed(int number)
{
    over = number;
}

void spin(void)
{
    while (!over)
        count++;
}

void b(int in_kernel)
{
    int zero = open("/dev/zero", O_RDONLY);

    if (!in_kernel)
        spin();
    while (!over && read(zero, room, sizeof(room)) > 0)
        ;
}

void a(int in_kernel)
{
    b(in_kernel);
}

int main(int argc, char **argv)
{
    struct itimerval timer = {};

    if (argc < 3)
        return 2;
    if (argc > 3)
        prctl(PR_SET_NAME, argv[3]);
    timer.it_value.tv_sec = atoi(argv[2]) / 1000;
    timer.it_value.tv_usec = atoi(argv[2]) % 1000 * 1000;
    signal(SIGPROF, alarmed);
    setitimer(ITIMER_PROF, &timer, 0);
    a(!strcmp(argv[1], "kernel"));
    return 0;
}
