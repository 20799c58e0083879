// SPDX-License-Identifier: Apache-2.0
// Accepts connections as 32-bit programs do, by the 32-bit entry (int 0x80): accept32 N
// N times each of accept4, socketcall(SYS_ACCEPT) and socketcall(SYS_ACCEPT4), on 127.0.0.1.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int call32(int number, long a, long b)
{
    int result;

    asm volatile("int $0x80"
                 : "=a"(result)
                 : "0"(number), "b"(a), "c"(b), "d"(0), "S"(0)
                 : "memory", "r8", "r9", "r10", "r11");
    return result;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    unsigned *words = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

    if (argc != 2 || words == MAP_FAILED || bind(listener, (struct sockaddr *)&address, length) ||
        listen(listener, 8) || getsockname(listener, (struct sockaddr *)&address, &length))
        return 1;
    words[0] = listener;
    for (int i = 0; i < atoi(argv[1]) * 3; i++) {
        int client = socket(AF_INET, SOCK_STREAM, 0), server;

        if (connect(client, (struct sockaddr *)&address, length))
            return 2;
        if (i % 3 == 0)
            server = call32(364, listener, 0); // accept4
        else
            server = call32(102, i % 3 == 1 ? 5 : 18, (long)words); // socketcall
        if (server < 0)
            return 3;
        close(client);
        close(server);
    }
    return 0;
}
