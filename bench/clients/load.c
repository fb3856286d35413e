/* HTTP load: as many calls as fit into a time, from connections that each wait for their answer.
 *
 *   load ADDRESS CONNECTIONS SECONDS SCRIPT           calls of all connections
 *   load ADDRESS CONNECTIONS -ROUNDS SCRIPT           rounds of waiting clients: connection 0
 *       changes something, the others wait for it; from the change's start to the last answer
 *
 * Prints one line of JSON; times in microseconds.
 */
#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define MOST_TIMES 4000000
#define SETTLE_NS 60000000

static uint32_t *times_us;
static size_t calls, bytes;
static int poller;

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static double quantile(double q)
{
    return calls ? times_us[(size_t)(q * (double)(calls - 1))] : 0;
}

static void report(double seconds)
{
    struct timespec cpu;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    qsort(times_us, calls, sizeof *times_us, by_size);
    printf("{\"calls\": %zu, \"seconds\": %.6f, \"p50_us\": %.0f, \"p99_us\": %.0f, \"max_us\": %.0f,"
           " \"bytes\": %zu, \"client_cpu_s\": %.3f}\n",
           calls, seconds, quantile(0.5), quantile(0.99), quantile(1), bytes,
           (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
}

static void note(int64_t began_ns, size_t length)
{
    bytes += length;
    if (calls < MOST_TIMES)
        times_us[calls++] = (uint32_t)((now_ns() - began_ns) / 1000);
}

static void follow(struct connection *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
}

static void begin(struct connection *c)
{
    ask(c);
    while (!send_on(c))         /* requests are far smaller than a socket's buffer */
        ;
}

static void load(struct connection *all, size_t count, double seconds)
{
    int64_t start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    size_t open = count;

    for (size_t i = 0; i < count; i++)
        begin(&all[i]);
    while (open) {
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, 256, 10000);

        if (ready <= 0)
            give_up("no answer within ten seconds");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;

            if (!receive(c))
                continue;
            note(c->began_ns, c->answer_bytes);
            if (now_ns() < end || c->next)      /* a script that has begun goes to its end */
                begin(c);
            else
                open--;
        }
    }
    report((double)(now_ns() - start) / 1e9);
}

static void watch(struct connection *all, size_t count, int rounds)
{
    int64_t start = now_ns();

    for (int round = 0; round < rounds; round++) {
        struct timespec settle = {.tv_nsec = SETTLE_NS};
        struct epoll_event events[256];
        size_t open = count;
        int64_t began;

        for (size_t i = 1; i < count; i++)
            begin(&all[i]);
        nanosleep(&settle, NULL);
        if (epoll_wait(poller, events, 256, 0))
            give_up("a waiting client had its answer before the change");
        began = now_ns();
        begin(&all[0]);
        while (open) {
            int ready = epoll_wait(poller, events, 256, 10000);

            if (ready <= 0)
                give_up("no answer within ten seconds");
            for (int i = 0; i < ready; i++)
                open -= receive(events[i].data.ptr);
        }
        note(began, 0);
    }
    report((double)(now_ns() - start) / 1e9);
}

int main(int argc, char **argv)
{
    size_t count = argc == 5 ? strtoul(argv[2], NULL, 10) : 0;
    struct connection *all;
    double seconds;

    if (!count)
        give_up("usage: load ADDRESS CONNECTIONS SECONDS|-ROUNDS SCRIPT");
    seconds = strtod(argv[3], NULL);
    all = read_script(argv[4], count);
    times_us = malloc(MOST_TIMES * sizeof *times_us);
    poller = epoll_create1(0);
    if (!times_us || poller < 0)
        give_up("no memory");
    for (size_t i = 0; i < count; i++) {
        if (!all[i].count)
            give_up("connection %zu has no request", i);
        open_connection(&all[i], argv[1]);
        follow(&all[i]);
    }
    if (seconds > 0)
        load(all, count, seconds);
    else
        watch(all, count, (int)-seconds);
    return 0;
}
