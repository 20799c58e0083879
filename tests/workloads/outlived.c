// SPDX-License-Identifier: Apache-2.0
// outlived COUNT FD: forks COUNT children and exits with 7. Each child waits for the end of the pipe FD, then
// executes "true". They hold none of the output.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int null = open("/dev/null", O_WRONLY), count, gate;
    char byte;

    if (argc != 3 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        return 2;
    count = atoi(argv[1]);
    gate = atoi(argv[2]);
    while (count--) {
        pid_t child = fork();

        if (child < 0)
            return 3;
        if (!child) {
            read(gate, &byte, 1);
            execlp("true", "true", (char *)0);
            _exit(1);
        }
    }
    return 7;
}
