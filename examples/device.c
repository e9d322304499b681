/* A Longwire v2 device in one file: POSIX sockets, fixed buffers, no malloc after
 * the start. It keeps the ledger of a device that also rejects (SPEC 2.5): a
 * window of one, a log name and three numbers.
 *
 *   cc -O2 -Wall -Wextra -o device device.c
 *   ./device localhost 6666 meter-7 meter-7.state [token]
 *
 * A delivery is handled by printing it; replace handle(). Each line of standard
 * input is sent as an uplink. There is no TLS here: put your stack's calls in the
 * place of connect, send and recv.
 *
 * ./device --vectors decodes protocol/testdata/vectors, a line each: "<1 if both ends
 * have agreed to ask> <hex>". */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { REGISTER = 1, REGISTER_ACK, HEARTBEAT, HEARTBEAT_ACK, DATA, ACK, CLOSE };
enum { DUP = 0x10, EPHEMERAL = 0x20, HEAD = 0x40 };
enum { OK, REJECT, RETRY, NOT_HANDLED, NOT_KEPT };
enum { KEEP = 1024, LOG = 129, LINE = 512 }; /* bytes of a body that fit; a longer payload is rejected */
enum { SERVERS = 8 };                        /* addresses of the server that are tried in turn */

struct frame {
    unsigned char type, flags;
    uint64_t seq;
    int code;                     /* of an ACK */
    const unsigned char *payload; /* of DATA and ACK, or the whole body */
    uint64_t length;              /* of the payload; what is above KEEP is not there */
    uint64_t size;                /* of the whole frame */
};

/* The ledger, as it is saved. */
static struct { char log[LOG]; uint64_t ask_through, rejected, complete_from; } ledger;
static char state_file[256], state_new[256 + 4], state_lock[256 + 5], state_dir[256];

static struct { struct sockaddr_storage at; socklen_t size; } servers[SERVERS];
static int known, present;
static const char *id, *token;
static int sock, registered, agreed, settled;
static uint64_t limit, heartbeat, grace; /* of a body, bytes; milliseconds */
static uint64_t last_in, asked_at, began, retry_after; /* the connection began, then its registration */
static unsigned char in[16 + KEEP];
static size_t have;
static uint64_t skip; /* bytes of a long frame that are still to be read over */
static char uplink[LINE];
static size_t uplink_length;
static uint64_t uplink_number, uplink_sent, uplink_again, uplink_later; /* milliseconds; later is 0 before a retry later */
static int uplink_open, uplink_cut, input_ended;

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void say(const char *what, size_t n) { while (n > 0) { ssize_t w = write(1, what, n); if (w <= 0) return; what += w; n -= (size_t)w; } }
static void die(const char *why) { say("fatal: ", 7); say(why, strlen(why)); say("\n", 1); _exit(1); }

/* uvarint reads a minimal number of at most max bytes (SPEC 4.2): its size, 0 for
 * more to come, -1 for none. */
static int uvarint(const unsigned char *b, uint64_t n, int max, uint64_t *v) {
    *v = 0;
    for (int i = 0; i < max; i++) {
        if ((uint64_t)i == n) return 0;
        if (i == 9 && b[i] > 1) return -1;
        *v |= (uint64_t)(b[i] & 0x7f) << (7 * i);
        if (b[i] < 0x80) return b[i] == 0 && i > 0 ? -1 : i + 1;
    }
    return -1;
}

/* parse reads the frame at the start of b: 1, 0 for more to come, -1 for none. Of a
 * body longer than KEEP only the start need be there. */
static int parse(const unsigned char *b, uint64_t n, int ask, uint64_t most, struct frame *f) {
    uint64_t length, kept;
    int head, k = 0;
    memset(f, 0, sizeof *f);
    if (n == 0) return 0;
    if (b[0] < REGISTER || b[0] > CLOSE) return -1;
    if (n == 1) return 0;
    if ((b[1] & 0x0f) != 2) return -1;
    head = uvarint(b + 2, n - 2, 4, &length);
    if (head <= 0) return head;
    if (length > most) return -1;
    head += 2;
    kept = length < KEEP ? length : KEEP;
    if (n < (uint64_t)head + kept) return 0;
    f->type = b[0], f->flags = b[1] & 0xf0, f->size = (uint64_t)head + length;
    b += head;
    if (f->type == DATA || f->type == ACK) {
        k = uvarint(b, kept, 10, &f->seq);
        if (k <= 0 || f->seq == 0) return -1;
    }
    if (f->type == ACK) {
        if (length <= (uint64_t)k || b[k] > (ask ? 5 : 2)) return -1;
        f->code = b[k++];
    }
    f->payload = b + k, f->length = length - (uint64_t)k;
    if (f->type == DATA && f->flags & HEAD && (!ask || !(f->flags & DUP) || f->flags & EPHEMERAL || f->length > 0)) return -1;
    if ((f->type == HEARTBEAT || f->type == HEARTBEAT_ACK) && length > 0) return -1;
    if (f->type == CLOSE && length < 6) return -1;
    if (f->type == REGISTER_ACK && (length == 0 || length > KEEP || b[0] != '{')) return -1;
    return 1;
}

/* member finds a member of a JSON object and returns its value as it stands there,
 * strings without their quotes; NULL if there is none. */
static const char *member(const char *p, size_t n, const char *name, size_t *size) {
    const char *end = p + n, *key = NULL, *start;
    size_t key_size = 0, depth = 0;
    while (p < end) {
        char c = *p;
        if (c == '"') {
            start = ++p;
            while (p < end && *p != '"') p += *p == '\\' ? 2 : 1;
            if (p >= end) return NULL;
            if (depth == 1 && key != NULL && key_size == strlen(name) && memcmp(key, name, key_size) == 0) { *size = (size_t)(p - start); return start; }
            if (depth == 1) { key = key == NULL ? start : NULL; key_size = (size_t)(p - start); }
            p++;
        } else if (depth == 1 && key != NULL && (c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'))) {
            for (start = p; p < end && *p != ',' && *p != '}' && *p != ' '; p++) {}
            if (key_size == strlen(name) && memcmp(key, name, key_size) == 0) { *size = (size_t)(p - start); return start; }
            key = NULL;
        } else {
            if (c == '{' || c == '[') depth++;
            if (c == '}' || c == ']') { depth--; if (depth == 1) key = NULL; }
            p++;
        }
    }
    return NULL;
}

static uint64_t number(const struct frame *f, const char *name, uint64_t otherwise) {
    size_t n;
    const char *v = member((const char *)f->payload, f->length, name, &n);
    uint64_t sum = 0;
    for (size_t i = 0; v != NULL && i < n && v[i] >= '0' && v[i] <= '9'; i++) sum = sum * 10 + (uint64_t)(v[i] - '0');
    return v == NULL || sum == 0 ? otherwise : sum;
}

static int is_true(const struct frame *f, const char *name) {
    size_t n;
    const char *v = member((const char *)f->payload, f->length, name, &n);
    return v != NULL && n == 4 && memcmp(v, "true", 4) == 0;
}

/* save puts the ledger on stable storage: the new file, then its name. If the disk
 * takes nothing, the device goes on with what it has in memory, and the next save
 * has all of it: only a power cut before that is forgotten (SPEC 2.4). */
static void save(void) {
    char line[2 * LOG + 80];
    int saved, n = snprintf(line, sizeof line, "%s %llu %llu %llu %s\n", ledger.log[0] ? ledger.log : "-", (unsigned long long)ledger.ask_through,
                     (unsigned long long)ledger.rejected, (unsigned long long)ledger.complete_from, id);
    int f = open(state_new, O_WRONLY | O_CREAT | O_TRUNC, 0600), d = open(state_dir, O_RDONLY);
    saved = f >= 0 && d >= 0 && write(f, line, (size_t)n) == n && fsync(f) == 0 && rename(state_new, state_file) == 0 && fsync(d) == 0;
    if (f >= 0) close(f);
    if (d >= 0) close(d);
    if (!saved) say("not saved\n", 10);
}

/* lock keeps a second process away from the state until this one ends. Where no lock can
 * be had, as on a disk that takes nothing, the device goes on. */
static void lock(void) {
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int f = open(state_lock, O_RDWR | O_CREAT, 0600);
    if (f >= 0 && fcntl(f, F_SETLK, &all) != 0 && (errno == EAGAIN || errno == EACCES)) die("another process uses the state file");
}

static void load(void) {
    char line[2 * LOG + 80], owner[LOG] = "";
    unsigned long long a, r, c;
    ssize_t n;
    int f = open(state_file, O_RDONLY);
    if (f < 0 && errno == ENOENT && readlink(state_file, line, sizeof line) < 0) return; /* the first start */
    if (f < 0) die("the state file cannot be read");
    n = read(f, line, sizeof line - 1);
    close(f);
    line[n > 0 ? n : 0] = 0;
    if (strchr(line, '\n') == NULL || sscanf(line, "%128s %llu %llu %llu %128s", ledger.log, &a, &r, &c, owner) < 4) die("the state file is damaged");
    if (owner[0] && strcmp(owner, id) != 0) die("the state file is that of another id"); /* it knows nothing of our deliveries */
    if (strcmp(ledger.log, "-") == 0) ledger.log[0] = 0;
    ledger.ask_through = a, ledger.rejected = r, ledger.complete_from = c;
}

static int send_all(const void *p, size_t n) {
    for (const char *b = p; n > 0;) {
        ssize_t w = send(sock, b, n, MSG_NOSIGNAL);
        if (w <= 0) return 0;
        b += w, n -= (size_t)w;
    }
    return 1;
}

static size_t put_uvarint(unsigned char *b, uint64_t v) {
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) b[n++] = (unsigned char)(v | 0x80);
    b[n++] = (unsigned char)v;
    return n;
}

/* frame sends head and body as one frame. */
static int frame(int type, int flags, const void *head, size_t h, const void *body, size_t n) {
    static unsigned char out[32 + LINE + KEEP];
    size_t at = 2;
    if (h + n + 8 > sizeof out) return 0;
    out[0] = (unsigned char)type, out[1] = (unsigned char)(flags | 2);
    at += put_uvarint(out + at, h + n);
    if (h > 0) memcpy(out + at, head, h);
    if (n > 0) memcpy(out + at + h, body, n);
    return send_all(out, at + h + n);
}

static int ack(uint64_t seq, int flags, int code) {
    const char *reason = code == REJECT ? "too long for this device" : "";
    unsigned char head[11];
    size_t n = put_uvarint(head, seq);
    head[n++] = (unsigned char)code;
    return frame(ACK, flags, head, n, reason, strlen(reason));
}

static int send_uplink(int flags) {
    unsigned char head[10];
    uplink_sent = now_ms(), uplink_again = 30000;
    return frame(DATA, flags, head, put_uvarint(head, uplink_number), uplink, uplink_length);
}

/* handle does what a delivery says. Put your own work here. */
static void handle(const struct frame *f) {
    char line[64 + KEEP];
    int n = snprintf(line, sizeof line, "handled %s%llu %.*s\n", f->flags & EPHEMERAL ? "e" : "", (unsigned long long)f->seq, (int)f->length, (const char *)f->payload);
    say(line, (size_t)n);
}

/* fits reports whether all of the payload is there. */
static int fits(const struct frame *f) { return f->size <= KEEP; }

static int verdict(uint64_t seq) {
    if (seq == ledger.rejected) return REJECT;
    if (seq <= ledger.complete_from) return agreed ? NOT_KEPT : OK;
    return OK;
}

static int on_data(const struct frame *f) {
    if (f->flags & EPHEMERAL) {
        if (fits(f)) handle(f);
        return ack(f->seq, EPHEMERAL, fits(f) ? OK : REJECT);
    }
    if (f->flags & HEAD) return ack(f->seq, 0, f->seq > ledger.ask_through ? NOT_HANDLED : verdict(f->seq));
    if (f->seq > ledger.ask_through) {
        if (fits(f)) handle(f);
        else ledger.complete_from = ledger.rejected, ledger.rejected = f->seq;
        ledger.ask_through = f->seq;
        save(); /* before the ACK */
    }
    return ack(f->seq, 0, verdict(f->seq));
}

static int on_register_ack(const struct frame *f) {
    size_t n = 0;
    const char *log = member((const char *)f->payload, f->length, "log", &n);
    if (registered || log == NULL || n >= LOG || n == 0) return 0;
    registered = 1, began = now_ms(), agreed = is_true(f, "ask");
    heartbeat = number(f, "heartbeat_ms", heartbeat), grace = number(f, "grace_ms", grace);
    limit = number(f, "max_payload", limit) + 16;
    if (limit < 8192) limit = 8192;
    if (!is_true(f, "resumed") || strlen(ledger.log) != n || memcmp(ledger.log, log, n) != 0) {
        memset(&ledger, 0, sizeof ledger);
        memcpy(ledger.log, log, n);
        save();
    }
    say("registered\n", 11);
    return uplink_open ? send_uplink(DUP) : 1;
}

static int on_ack(const struct frame *f) {
    if (!uplink_open || f->seq != uplink_number) return 1; /* stale */
    if (f->code == RETRY) { /* again in 1 s, then 2 s, 4 s and so on, at most a minute (SPEC 2.2) */
        uplink_sent = now_ms();
        uplink_again = uplink_later = uplink_later == 0 ? 1000 : uplink_later < 30000 ? 2 * uplink_later : 60000;
    } else {
        uplink_open = 0, uplink_length = 0, uplink_later = 0;
        if (f->code == OK) say("stored\n", 7);
        else say("refused\n", 8);
    }
    return 1;
}

static int on_close(const struct frame *f) {
    unsigned code = (unsigned)f->payload[0] << 8 | f->payload[1];
    char line[300];
    int n = snprintf(line, sizeof line, "closed %u %.*s\n", code, f->length > 262 ? 256 : (int)f->length - 6, (const char *)f->payload + 6);
    say(line, (size_t)n);
    retry_after = (uint64_t)f->payload[2] << 24 | (uint64_t)f->payload[3] << 16 | (uint64_t)f->payload[4] << 8 | f->payload[5];
    if (code >= 3500 && code <= 3999) die("the server says not to come back");
    return 0;
}

static int on_frame(const struct frame *f) {
    if (!registered && f->type != REGISTER_ACK && f->type != CLOSE) return 0;
    switch (f->type) {
    case REGISTER_ACK: return on_register_ack(f);
    case HEARTBEAT: return frame(HEARTBEAT_ACK, 0, NULL, 0, NULL, 0);
    case HEARTBEAT_ACK: return 1;
    case DATA: return on_data(f);
    case ACK: return on_ack(f);
    case CLOSE: return on_close(f);
    }
    return 0;
}

/* receive takes one read: 0 ends the connection. */
static int receive(void) {
    struct frame f;
    ssize_t n = recv(sock, in + have, sizeof in - have, 0);
    if (n <= 0) return 0;
    last_in = now_ms(), asked_at = 0, have += (size_t)n;
    for (;;) {
        size_t over = skip < have ? (size_t)skip : have;
        int got;
        skip -= over;
        memmove(in, in + over, have -= over);
        if (skip > 0) return 1;
        got = parse(in, have, agreed, limit, &f);
        if (got <= 0) return got == 0;
        if (!on_frame(&f)) return 0;
        skip = f.size;
    }
}

/* read_input takes one line of standard input as the next uplink. It reads bytes
 * one by one, so that the next line stays where it is. */
static void read_input(void) {
    char c;
    ssize_t n = read(0, &c, 1);
    if (n <= 0) { input_ended = 1; return; }
    if (c != '\n') {
        if (uplink_length < LINE) uplink[uplink_length++] = c;
        else uplink_cut = 1;
        return;
    }
    if (uplink_cut) { uplink_cut = 0, uplink_length = 0; say("too long\n", 9); return; }
    if (uplink_length > 0) uplink_number++, uplink_open = 1;
}

static int send_register(void) {
    char body[LINE + KEEP];
    int n = snprintf(body, sizeof body, "{\"id\":\"%s\",\"window\":1,%s%s%s\"log\":\"%s\",\"ask_through\":%llu}", id, token ? "\"token\":\"" : "", token ? token : "",
                     token ? "\"," : "", ledger.log, (unsigned long long)ledger.ask_through);
    if (n >= (int)sizeof body) die("the token is too long for this device");
    return frame(REGISTER, 0, NULL, 0, body, (size_t)n);
}

/* live goes on until the connection ends. */
static void live(void) {
    have = 0, skip = 0, registered = agreed = 0, asked_at = retry_after = 0;
    heartbeat = 10000, grace = 2000, limit = 262144 + 16;
    began = last_in = now_ms();
    if (!send_register()) return;
    for (;;) {
        struct pollfd p[2] = {{sock, POLLIN, 0}, {registered && !uplink_open && !input_ended ? 0 : -1, POLLIN, 0}};
        uint64_t now = now_ms();
        if (!registered && now - began > 12000) return;
        settled = settled || (registered && now - began > 30000);
        if (registered && asked_at == 0 && now - last_in > heartbeat + grace) { /* the server is silent */
            asked_at = now;
            if (!frame(HEARTBEAT, 0, NULL, 0, NULL, 0)) return;
        }
        if (asked_at != 0 && now - asked_at > grace) return;
        if (registered && uplink_open && now - uplink_sent > uplink_again && !send_uplink(DUP)) return;
        if (poll(p, 2, 500) < 0) return;
        if (p[0].revents && !receive()) return;
        if (p[1].revents && p[1].fd == 0) {
            read_input();
            if (uplink_open && !send_uplink(0)) return;
        }
    }
}

/* dial makes one connection. The next attempt goes to another address of the server
 * if this one did not lead to a registration: a network may carry only one family. */
static void dial(void) {
    struct timeval t = {10, 0};
    registered = 0;
    sock = socket(servers[present].at.ss_family, SOCK_STREAM, 0);
    if (sock >= 0) {
        setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
        if (connect(sock, (struct sockaddr *)&servers[present].at, servers[present].size) == 0) live();
        else perror("not connected");
        close(sock);
    }
    if (!registered) present = (present + 1) % known;
}

/* Back-off (SPEC 7.4): retry_after and a random part of 500 ms x 2^tries, at most a minute. */
static void wait_before(int tries) {
    uint64_t ceiling = tries < 7 ? 500ull << tries : 60000, ms = retry_after + (uint64_t)rand() % ceiling;
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* first_number is the number before the first uplink: microseconds since 1970, so that
 * a start uses no number of an earlier one again. A backend drops repeats by their
 * numbers (docs/guide/uplinks.md). A device without a clock keeps its number. */
static uint64_t first_number(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* A fleet may start in the same millisecond, with the same process id: only the id differs for sure. */
static unsigned seed(void) {
    unsigned s = (unsigned)(now_ms() ^ (uint64_t)getpid());
    for (const char *c = id; *c; c++) s = (s ^ (unsigned char)*c) * 16777619u;
    return s;
}

static int vectors(void) {
    static char line[1 << 16];
    static unsigned char b[1 << 15];
    while (fgets(line, sizeof line, stdin) != NULL) { /* "<0 or 1: agreed> <hex>" */
        struct frame f;
        unsigned v;
        size_t n = 0;
        int got;
        for (char *p = line + 2; sscanf(p, "%2x", &v) == 1; p += 3) b[n++] = (unsigned char)v;
        got = parse(b, n, line[0] == '1', 262144 + 16, &f);
        if (got <= 0) { puts(got == 0 ? "incomplete" : "error"); continue; }
        printf("%d %llu %d %d %d %llu %d ", f.type, (unsigned long long)f.size, !!(f.flags & DUP), !!(f.flags & EPHEMERAL), !!(f.flags & HEAD), (unsigned long long)f.seq, f.code);
        for (uint64_t i = 0; (f.type == DATA || f.type == ACK) && i < f.length; i++) printf("%02x", f.payload[i]);
        puts("");
    }
    return 0;
}

int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char *slash;
    int tries = 0, failed;
    if (argc == 2 && strcmp(argv[1], "--vectors") == 0) return vectors();
    if (argc < 5 || argc > 6 || strlen(argv[4]) >= sizeof state_file) die("usage: device HOST PORT ID STATE-FILE [TOKEN]");
    id = argv[3], token = argc > 5 ? argv[5] : NULL;
    if (token != NULL && strpbrk(token, "\"\\") != NULL) die("a token with quotes");
    snprintf(state_file, sizeof state_file, "%s", argv[4]);
    snprintf(state_new, sizeof state_new, "%s.new", state_file);
    snprintf(state_lock, sizeof state_lock, "%s.lock", state_file);
    snprintf(state_dir, sizeof state_dir, "%s", state_file);
    slash = strrchr(state_dir, '/');
    if (slash == NULL) strcpy(state_dir, ".");
    else slash[slash == state_dir] = 0;
    srand(seed());
    uplink_number = first_number();
    lock();
    load();
    while ((failed = getaddrinfo(argv[1], argv[2], &hints, &found)) == EAI_AGAIN) { /* the network is not there yet */
        say("no answer for the host's name\n", 30);
        wait_before(tries < 7 ? tries++ : 7);
    }
    if (failed != 0) die("no such host");
    for (struct addrinfo *a = found; a != NULL && known < SERVERS; a = a->ai_next) {
        memcpy(&servers[known].at, a->ai_addr, a->ai_addrlen);
        servers[known++].size = a->ai_addrlen;
    }
    freeaddrinfo(found); /* the last use of the heap */
    tries = 0;
    for (;;) {
        settled = 0, retry_after = 0;
        dial();
        if (settled) tries = 0;
        wait_before(tries < 7 ? tries++ : 7);
    }
}
