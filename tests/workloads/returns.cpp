// Functions of C++ that exceptions pass. Says "ready", waits for a line, makes N calls of outer, and says what came of
// them: of three calls of inner one throws; middle is passed by that, has something to destroy and is not asked;
// between catches every other one itself and throws that anew.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

static volatile long sink;

struct Guard {
    ~Guard() { sink = sink + 1; }
};

extern "C" {
__attribute__((noinline)) long inner(long n)
{
    if (n % 3 == 0)
        throw std::runtime_error("number " + std::to_string(n));
    return n + 1;
}

__attribute__((noinline)) long middle(long n)
{
    Guard guard;

    return inner(n) + 1;
}

__attribute__((noinline)) long between(long n)
{
    try {
        return middle(n) + 1;
    } catch (const std::runtime_error &) {
        if (n % 2)
            throw;
        return -1;
    }
}

__attribute__((noinline)) long outer(long n)
{
    try {
        return between(n);
    } catch (const std::exception &error) {
        sink = sink + (long)std::string(error.what()).size();
        return -2;
    }
}
}

int main(int argc, char **argv)
{
    long times = argc > 1 ? std::atol(argv[1]) : 0, total = 0;
    char line[16];

    std::puts("ready");
    std::fflush(stdout);
    if (!std::fgets(line, sizeof(line), stdin))
        return 1;
    for (long n = 0; n < times; n++)
        total += outer(n);
    std::printf("%ld %ld\n", total, sink);
    return 0;
}
