#define _GNU_SOURCE
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define COUNTER "@@@@@@@@"

static char sink[1 << 18];

int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

void give_up(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

struct connection *read_script(const char *path, size_t connections)
{
    struct connection *all = calloc(connections, sizeof *all);
    FILE *file = fopen(path, "r");
    size_t number, length;

    if (!all || !file)
        give_up("%s cannot be read", path);
    while (fscanf(file, "%zu %zu", &number, &length) == 2 && fgetc(file) == '\n') {
        struct connection *c = &all[number % connections];
        struct request *r;

        c->requests = realloc(c->requests, (c->count + 1) * sizeof *c->requests);
        r = &c->requests[c->count++];
        r->bytes = calloc(1, length + 1);
        r->length = length;
        if (fread(r->bytes, 1, length, file) != length)
            give_up("%s ends early", path);
        r->counter = strstr(r->bytes, COUNTER);
    }
    fclose(file);
    return all;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        give_up("%s: %s", path, strerror(errno));
    return fd;
}

static int connect_tcp(const char *name)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    char host[64];
    int port;

    if (sscanf(name, "%63[0-9.]:%d", host, &port) != 2)
        give_up("%s is no address", name);
    inet_pton(AF_INET, host, &address.sin_addr);
    address.sin_port = htons((uint16_t)port);
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        give_up("%s: %s", name, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

void open_connection(struct connection *c, const char *address)
{
    static SSL_CTX *context;

    if (!strncmp(address, "unix:", 5)) {
        c->fd = connect_unix(address + 5);
    } else {
        if (!context && !(context = SSL_CTX_new(TLS_client_method())))
            give_up("no TLS");
        c->fd = connect_tcp(address + 4);
        c->tls = SSL_new(context);
        SSL_set_fd(c->tls, c->fd);
        if (SSL_connect(c->tls) != 1)
            give_up("%s: the handshake failed", address);
    }
    fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
}

void ask(struct connection *c)
{
    static unsigned counter;
    struct request *r = &c->requests[c->next];
    char digits[16];

    c->next = (c->next + 1) % c->count;
    if (r->counter) {
        snprintf(digits, sizeof digits, "%08u", ++counter % 100000000);
        memcpy(r->counter, digits, 8);
    }
    c->sending = r->bytes;
    c->unsent = r->length;
    c->held = 0;
    c->in_body = false;
    c->answer_bytes = 0;
    c->began_ns = now_ns();
}

/* Whether what gave `result` has only to wait. */
static bool must_wait(struct connection *c, ssize_t result)
{
    int error;

    if (!c->tls)
        return result < 0 && errno == EAGAIN;
    error = SSL_get_error(c->tls, (int)result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

bool send_on(struct connection *c)
{
    while (c->unsent) {
        ssize_t sent = c->tls ? SSL_write(c->tls, c->sending, (int)c->unsent)
                              : send(c->fd, c->sending, c->unsent, MSG_NOSIGNAL);

        if (sent <= 0) {
            if (must_wait(c, sent))
                return false;
            give_up("the server closed a connection");
        }
        c->sending += sent;
        c->unsent -= (size_t)sent;
    }
    return true;
}

/* The answer's head is whole: how much body follows what is held. */
static void read_head(struct connection *c, char *end)
{
    char *found;
    size_t length, body;

    *end = 0;
    found = strcasestr(c->head, "\r\nContent-Length:");
    if (strncmp(c->head, "HTTP/1.1 200 ", 13) || !found)
        give_up("not a success: %.200s", c->head);
    length = strtoull(found + 17, NULL, 10);
    body = c->held - (size_t)(end + 4 - c->head);
    c->head[c->held] = 0;
    if (strstr(end + 4, "<value>Failure</value>"))
        give_up("a call failed: %.600s", end + 4);
    if (body > length)
        give_up("more than one answer");
    c->missing = length - body;
    c->in_body = true;
}

bool receive(struct connection *c)
{
    for (;;) {
        char *into = c->in_body ? sink : c->head + c->held;
        size_t room = c->in_body ? sizeof sink : sizeof c->head - 1 - c->held;
        ssize_t got = c->tls ? SSL_read(c->tls, into, (int)room) : recv(c->fd, into, room, 0);

        if (got <= 0) {
            if (must_wait(c, got))
                return false;
            give_up("the server closed a connection");
        }
        c->answer_bytes += (size_t)got;
        if (c->in_body) {
            if ((size_t)got > c->missing)
                give_up("more than one answer");
            c->missing -= (size_t)got;
        } else {
            char *end;

            c->held += (size_t)got;
            c->head[c->held] = 0;
            if ((end = strstr(c->head, "\r\n\r\n")))
                read_head(c, end);
            else if (c->held == sizeof c->head - 1)
                give_up("a head without end");
        }
        if (c->in_body && !c->missing)
            return true;
    }
}
