// SPDX-License-Identifier: Apache-2.0
// opens32: a 32-bit program without a library that opens /dev/null 23 times.
static int call(int number, int first, int second, int third)
{
    int result;

    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "0"(number), "b"(first), "c"(second), "d"(third)
                     : "memory");
    return result;
}

void _start(void)
{
    for (int i = 0; i < 23; i++)
        call(5, (int)"/dev/null", 0, 0);
    call(1, 0, 0, 0);
}
