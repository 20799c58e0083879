// A function whose arguments have types of its own, compiled with what debug information says of them.
//
//     typed N     N times, i from 0: insert(list, &node, 0.5, i, RED or GREEN), where node is
//                 {key: i, weight: i + 0.5, name: "node i", {at: {10 * i, -i}}, low: i % 8, high: i % 32, next: the
//                 node before or null, shade: as passed}; it returns the node. Then size((struct pair){1, 2}, i),
//                 and wide(i), which returns a struct.
#include <stdio.h>
#include <stdlib.h>

enum shade { RED = -1, GREEN = 7 };
typedef unsigned int number;

struct node {
    number key;
    double weight;
    char name[16];
    union {
        long at[2];
        char bytes[16];
    };
    unsigned low : 3, high : 5;
    const struct node *next;
    enum shade shade;
};

struct list {
    struct node *first;
    const char *title;
};

struct pair {
    int a, b;
};

struct wide {
    long all[4];
};

__attribute__((noinline)) struct node *insert(
    struct list *list, struct node *node, double weight, number times, enum shade shade)
{
    node->weight = weight + times;
    node->shade = shade;
    node->next = list->first;
    list->first = node;
    asm volatile("" ::: "memory");
    return node;
}

__attribute__((noinline)) int size(struct pair pair, int more)
{
    asm volatile("" ::: "memory");
    return pair.a + pair.b + more;
}

__attribute__((noinline)) struct wide wide(long first)
{
    struct wide made = {{first}};

    asm volatile("" ::: "memory");
    return made;
}

int main(int argc, char **argv)
{
    static struct node nodes[1000];
    struct list list = {NULL, "all of them"};
    long sum = 0;

    for (int i = 0; i < atoi(argv[1]) && i < 1000; i++) {
        nodes[i] = (struct node){.key = i, .at = {10 * i, -i}, .low = i % 8, .high = i % 32};
        sprintf(nodes[i].name, "node %d", i);
        insert(&list, &nodes[i], 0.5, i, i % 2 ? GREEN : RED);
        sum += size((struct pair){1, 2}, i) + wide(i).all[0];
    }
    return sum < 0;
}
