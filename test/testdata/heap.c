/* A heap for the test of examples/device.c: it serves what the start needs and says
 * so whenever it is used. */
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static char heap[1 << 22];
static size_t used;

void *malloc(size_t n) {
    void *p = heap + used;
    used += (n + 31) & ~(size_t)15;
    if (used > sizeof heap) _exit(2);
    if (write(1, "malloc\n", 7) != 7) _exit(2);
    return p;
}
void free(void *p) { (void)p; }
void *calloc(size_t n, size_t size) { return malloc(n * size); }
void *realloc(void *old, size_t n) {
    char *p = malloc(n);
    if (old != NULL) memmove(p, old, n);
    return p;
}
