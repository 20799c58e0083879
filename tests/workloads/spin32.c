// SPDX-License-Identifier: Apache-2.0
// spin32: _start calls a, a calls b, b calls spin, which counts for a while; without a library, for 32 bits.
static volatile unsigned count;

void spin(void)
{
    while (count < 300000000)
        count++;
}

void b(void)
{
    spin();
}

void a(void)
{
    b();
}

void _start(void)
{
    a();
    __asm__ volatile("int $0x80" ::"a"(1), "b"(0));
}
