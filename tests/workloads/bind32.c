// SPDX-License-Identifier: Apache-2.0
// Binds and listens as 32-bit programs do, by the 32-bit entry (int 0x80): bind32 PORT
// by bind and listen on 127.0.0.1:PORT, then by socketcall(SYS_BIND) and socketcall(SYS_LISTEN) on the next port.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

static int call32(int number, long a, long b, long c)
{
    int result;

    asm volatile("int $0x80"
                 : "=a"(result)
                 : "0"(number), "b"(a), "c"(b), "d"(c)
                 : "memory", "r8", "r9", "r10", "r11");
    return result;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    int first = socket(AF_INET, SOCK_STREAM, 0), second = socket(AF_INET, SOCK_STREAM, 0);
    unsigned *words = (unsigned *)low;

    if (argc != 2 || low == MAP_FAILED)
        return 1;
    address.sin_port = htons(atoi(argv[1]));
    memcpy(low + 64, &address, sizeof(address));
    if (call32(361, first, (long)(low + 64), sizeof(address)) || call32(363, first, 7, 0))
        return 2;
    address.sin_port = htons(atoi(argv[1]) + 1);
    memcpy(low + 64, &address, sizeof(address));
    words[0] = second;
    words[1] = (long)(low + 64);
    words[2] = sizeof(address);
    if (call32(102, 2, (long)words, 0))
        return 3;
    words[1] = 9;
    return call32(102, 4, (long)words, 0) ? 4 : 0;
}
