// Makes each system call that asks for attributes, of both ABIs, so many times: stats COUNT PATH.
//
// The 32-bit calls are made by int 0x80 of this 64-bit program; what they are given lies below 4 GiB.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static long compat(long number, long a, long b, long c, long d, long e)
{
    long result;

    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}

int main(int argc, char **argv)
{
    char *low = mmap(0, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    long path = (long)low, to = (long)low + 8192;
    int count = atoi(argv[1]);

    strcpy(low, argv[2]);
    for (int i = 0; i < count; i++) {
        syscall(4, path, to);                   // stat
        syscall(6, path, to);                   // lstat
        syscall(5, 987, to);                    // fstat
        syscall(262, -100, path, to, 0);        // newfstatat
        syscall(332, -100, path, 0, 0x7ff, to); // statx
        syscall(137, path, to);                 // statfs
        syscall(138, 987, to);                  // fstatfs
        syscall(136, 0, to);                    // ustat
        compat(106, path, to, 0, 0, 0);         // stat
        compat(18, path, to, 0, 0, 0);          // oldstat
        compat(107, path, to, 0, 0, 0);         // lstat
        compat(84, path, to, 0, 0, 0);          // oldlstat
        compat(108, 987, to, 0, 0, 0);          // fstat
        compat(28, 987, to, 0, 0, 0);           // oldfstat
        compat(195, path, to, 0, 0, 0);         // stat64
        compat(196, path, to, 0, 0, 0);         // lstat64
        compat(197, 987, to, 0, 0, 0);          // fstat64
        compat(300, -100, path, to, 0, 0);      // fstatat64
        compat(383, -100, path, 0, 0x7ff, to);  // statx
        compat(99, path, to, 0, 0, 0);          // statfs
        compat(268, path, 84, to, 0, 0);        // statfs64
        compat(100, 987, to, 0, 0, 0);          // fstatfs
        compat(269, 987, 84, to, 0, 0);         // fstatfs64
        compat(62, 0, to, 0, 0, 0);             // ustat
    }
    return 0;
}
