// Numbers of each width and sign, and what this program's own printf shows of them.
//
//     widths PORT     for each value of VALUES: fills a struct with it, calls take(struct *), narrow(s8, u8, s16, u16,
//                     char, bool), which returns the u16, and the USDT probe forms:sizes; then prints a line for each
//                     conversion, "conversion|members that are int or narrower", or for the long ones all. At last
//                     it listens on TCP port PORT of 127.0.0.1, if that is not 0.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "marks.h"

enum below { BELOW = -5, ABOVE = 7 };
enum never_below { NONE = 0, TOP = 0xffffffff };
typedef uint16_t port;

struct all {
    int8_t s8;
    uint8_t u8;
    int16_t s16;
    uint16_t u16;
    int32_t s32;
    uint32_t u32;
    char c;
    bool b;
    enum below below;
    enum never_below never_below;
    port port;
    unsigned u3 : 3;
    int s5 : 5;
    bool b1 : 1;
    enum below e4 : 4;
    unsigned u31 : 31;
    int64_t s64;
    uint64_t u64;
    const char *address;
};

static volatile int sink;

__attribute__((noinline)) void take(const struct all *all)
{
    asm volatile("" ::"r"(all) : "memory");
}

__attribute__((noinline)) uint16_t narrow(int8_t s8, uint8_t u8, int16_t s16, uint16_t u16, char c, bool b)
{
    sink = s8 + u8 + s16 + u16 + c + b;
    return u16;
}

__attribute__((noinline)) void sizes(const struct all *all)
{
    asm volatile(MARK("sizes", "0", "-1@%0 1@%1 -2@%2 2@%3 -4@%4 4@%5 -8@%6 8@%7")
                 :
                 : "m"(all->s8), "m"(all->u8), "m"(all->s16), "m"(all->u16), "m"(all->s32), "m"(all->u32),
                   "m"(all->s64), "m"(all->u64));
}

#define SHORT(p)                                                                                             \
    (p)->s8, (p)->u8, (p)->s16, (p)->u16, (p)->s32, (p)->u32, (p)->c, (p)->b, (p)->below, (p)->never_below,  \
        (p)->port, (p)->u3, (p)->s5, (p)->b1, (p)->e4, (p)->u31
#define TIMES(x)                                                                                             \
    "%" x "/%" x "/%" x "/%" x "/%" x "/%" x "/%" x "/%" x "/%" x "/%" x "/%" x "/%" x "/%" x "/%" x "/%" x    \
    "/%" x
#define SHOW(x, p) printf(x "|" TIMES(x) "\n", SHORT(p))
#define LONG(x, type, p)                                                                                     \
    printf(x "|" TIMES(x) "/%" x "/%" x "/%" x "\n", (type)(p)->s8, (type)(p)->u8, (type)(p)->s16,          \
           (type)(p)->u16, (type)(p)->s32, (type)(p)->u32, (type)(p)->c, (type)(p)->b, (type)(p)->below,     \
           (type)(p)->never_below, (type)(p)->port, (type)(p)->u3, (type)(p)->s5, (type)(p)->b1,             \
           (type)(p)->e4, (type)(p)->u31, (type)(p)->s64, (type)(p)->u64, (type)(p)->address)

static const uint64_t VALUES[] = {0, 1, 'A', 0x7f, 200, 0xff, 50000, 0xffff, 0x7fffffff, 4000000000, -1, -100, -40000,
                                  1ULL << 63, 0x123456789abcdef1};

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int port = atoi(argv[1]), one = socket(AF_INET, SOCK_STREAM, 0);

    for (size_t i = 0; i < sizeof(VALUES) / sizeof(VALUES[0]); i++) {
        uint64_t v = VALUES[i];
        struct all all = {v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, (const char *)v};

        take(&all);
        narrow(v, v, v, v, v, v);
        sizes(&all);
        SHOW("d", &all), SHOW("i", &all), SHOW("u", &all), SHOW("x", &all), SHOW("X", &all), SHOW("o", &all);
        SHOW("hhd", &all), SHOW("hhu", &all), SHOW("hd", &all), SHOW("hu", &all), SHOW("hx", &all);
        SHOW("08x", &all), SHOW("+6d", &all), SHOW("#o", &all), SHOW("#x", &all), SHOW(".3d", &all);
        LONG("ld", long, &all), LONG("lld", long long, &all), LONG("llu", unsigned long long, &all);
        LONG("lx", unsigned long, &all), LONG("zu", size_t, &all);
    }
    to.sin_port = htons(port);
    if (port && (bind(one, (void *)&to, sizeof(to)) || listen(one, 1)))
        return 1;
    return 0;
}
