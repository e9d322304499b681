/* A resolver for the test of examples/device.c: at first it has no answer, then it has
 * an address where nobody listens, and the one that was asked for. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static struct sockaddr_in at[2];
static struct addrinfo list[2];
static int asked;

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found) {
    (void)hints;
    if (asked++ == 0) return EAI_AGAIN;
    for (int i = 0; i < 2; i++) {
        at[i].sin_family = AF_INET;
        at[i].sin_port = htons((unsigned short)(i == 0 ? 1 : atoi(port)));
        if (inet_pton(AF_INET, host, &at[i].sin_addr) != 1) return EAI_NONAME;
        list[i].ai_family = AF_INET, list[i].ai_addr = (struct sockaddr *)&at[i], list[i].ai_addrlen = sizeof at[i];
    }
    list[0].ai_next = &list[1];
    *found = list;
    return 0;
}
void freeaddrinfo(struct addrinfo *found) { (void)found; }
