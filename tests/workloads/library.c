// A library with a function and a USDT probe.
#include "marks.h"

int answer(void)
{
    return ANSWER;
}

void fire(void)
{
    asm volatile(MARK("fired", "0", "4@$42"));
}
