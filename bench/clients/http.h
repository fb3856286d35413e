/* One HTTP/1.1 connection of the load: sends prepared requests, counts what comes back. */
#ifndef BENCH_HTTP_H
#define BENCH_HTTP_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request {
    char *bytes;
    size_t length;
    char *counter;              /* eight characters in it that differ in every call, or NULL */
};

struct connection {
    int fd;
    SSL *tls;                   /* NULL on a Unix socket */
    struct request *requests;   /* asked in turn, over and over */
    size_t count, next;
    const char *sending;
    size_t unsent;
    char head[4096];            /* the beginning of the answer, through its first bytes of body */
    size_t held;
    size_t missing;             /* bytes of the body still to come */
    bool in_body;
    int64_t began_ns;
    size_t answer_bytes;
};

int64_t now_ns(void);
_Noreturn void give_up(const char *format, ...);

/* Reads "connection length\n" and that many bytes, again and again; the connections it names. */
struct connection *read_script(const char *path, size_t connections);
/* "unix:PATH" or "tls:HOST:PORT". */
void open_connection(struct connection *c, const char *address);
/* Begins the connection's next request. */
void ask(struct connection *c);
/* Goes on sending; false: the rest must wait until there is room. */
bool send_on(struct connection *c);
/* Takes in what has come; true: the answer is whole. Ends the process when it is not a success. */
bool receive(struct connection *c);

#endif
