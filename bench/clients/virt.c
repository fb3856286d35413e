/* Load on libvirtd's test driver: the peer's side of the benchmark, through its own C library.
 *
 *   virt URI hold DOMAINS 0            defines the domains and keeps them until its input ends
 *   virt URI info|xml|list|define|cycle CONNECTIONS SECONDS
 *   virt URI events WATCHERS ROUNDS    from a change's start to the last watcher's event
 *
 * Prints one line of JSON; times in microseconds.
 */
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_TIMES 200000
#define SETTLE_US 60000

struct client {
    const char *uri;
    int number;
    int64_t end_ns;
    pthread_t thread;
    size_t calls, bytes;
    uint32_t *times_us;
    void (*call)(struct client *);
    virConnectPtr connection;
    virDomainPtr domain;
};

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, virGetLastErrorMessage());
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void quiet(void *data, virErrorPtr error)
{
    (void)data;
    (void)error;
}

/* A domain as xapid's benchmark has them too: two disks and an interface. */
static void describe(char *xml, size_t size, const char *name, int number)
{
    snprintf(xml, size,
             "<domain type='test'><name>%s</name><memory unit='MiB'>256</memory>"
             "<description>description %d</description><vcpu>2</vcpu>"
             "<os><type arch='x86_64'>hvm</type><boot dev='hd'/></os>"
             "<features><acpi/><apic/><pae/></features><clock offset='utc'/>"
             "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>"
             "<devices>"
             "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
             "<source file='/srv/disks/%s-a.img'/><target dev='xvda'/></disk>"
             "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
             "<source file='/srv/disks/%s-b.img'/><target dev='xvdb'/></disk>"
             "<interface type='network'><mac address='52:54:00:%02x:%02x:%02x'/><source network='default'/></interface>"
             "</devices></domain>",
             name, number, name, name, number >> 16 & 255, number >> 8 & 255, number & 255);
}

static virDomainPtr defined(virConnectPtr connection, const char *prefix, int number)
{
    char name[64], xml[4096];
    virDomainPtr domain;

    snprintf(name, sizeof name, "%s%04d", prefix, number);
    describe(xml, sizeof xml, name, number);
    if (!(domain = virDomainDefineXML(connection, xml)))
        give_up("define");
    return domain;
}

static void call_info(struct client *c)
{
    virDomainInfo info;

    if (virDomainGetInfo(c->domain, &info))
        give_up("info");
}

static void call_xml(struct client *c)
{
    char *xml = virDomainGetXMLDesc(c->domain, 0);

    if (!xml && virGetLastErrorCode() == VIR_ERR_NO_DOMAIN)
        return;                 /* another client took it away after it was listed */
    if (!xml)
        give_up("xml");
    c->bytes += strlen(xml);
    free(xml);
}

static void call_list(struct client *c)
{
    virDomainPtr *domains, kept = c->domain;
    int count = virConnectListAllDomains(c->connection, &domains, 0);

    if (count < 0)
        give_up("list");
    for (int i = 0; i < count; i++) {
        c->domain = domains[i];
        call_xml(c);
        virDomainFree(domains[i]);
    }
    free(domains);
    c->domain = kept;
}

static void call_define(struct client *c)
{
    virDomainPtr domain = defined(c->connection, "new", c->number);

    if (virDomainUndefine(domain))
        give_up("undefine");
    virDomainFree(domain);
}

static void call_cycle(struct client *c)
{
    if (virDomainCreate(c->domain) || virDomainDestroy(c->domain))
        give_up("start and destroy");
}

static void *run(void *data)
{
    struct client *c = data;

    while (now_ns() < c->end_ns) {
        int64_t began = now_ns();

        c->call(c);
        if (c->calls < MOST_TIMES)
            c->times_us[c->calls++] = (uint32_t)((now_ns() - began) / 1000);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void report(uint32_t *times_us, size_t calls, size_t bytes, double seconds)
{
    struct timespec cpu;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    qsort(times_us, calls, sizeof *times_us, by_size);
    printf("{\"calls\": %zu, \"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u, \"max_us\": %u,"
           " \"bytes\": %zu, \"client_cpu_s\": %.3f}\n",
           calls, seconds, times_us[calls / 2], times_us[(size_t)((double)(calls - 1) * 0.99)],
           times_us[calls - 1], bytes, (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
}

static virConnectPtr connected(const char *uri)
{
    virConnectPtr connection = virConnectOpen(uri);

    if (!connection)
        give_up("connect");
    return connection;
}

static virDomainPtr numbered(virConnectPtr connection, int number)
{
    char name[64];
    virDomainPtr domain;

    snprintf(name, sizeof name, "vm%04d", number);
    if (!(domain = virDomainLookupByName(connection, name)))
        give_up("look up");
    return domain;
}

static void load(const char *uri, void (*call)(struct client *), int count, double seconds)
{
    struct client *clients = calloc((size_t)count, sizeof *clients);
    uint32_t *times_us = NULL;
    size_t calls = 0, bytes = 0;
    int64_t start;

    for (int i = 0; i < count; i++) {
        struct client *c = &clients[i];

        c->number = i;
        c->call = call;
        c->times_us = malloc(MOST_TIMES * sizeof *c->times_us);
        c->connection = connected(uri);
        c->domain = numbered(c->connection, i);
    }
    start = now_ns();
    for (int i = 0; i < count; i++) {
        clients[i].end_ns = start + (int64_t)(seconds * 1e9);
        pthread_create(&clients[i].thread, NULL, run, &clients[i]);
    }
    for (int i = 0; i < count; i++) {
        struct client *c = &clients[i];

        pthread_join(c->thread, NULL);
        times_us = realloc(times_us, (calls + c->calls) * sizeof *times_us);
        memcpy(times_us + calls, c->times_us, c->calls * sizeof *times_us);
        calls += c->calls;
        bytes += c->bytes;
    }
    report(times_us, calls, bytes, (double)(now_ns() - start) / 1e9);
}

static int heard;

static int on_event(virConnectPtr connection, virDomainPtr domain, int event, int detail, void *data)
{
    (void)connection;
    (void)domain;
    (void)event;
    (void)detail;
    (void)data;
    heard++;
    return 0;
}

/* The change is made by a thread of its own: this one delivers the events. */
static void *change(void *data)
{
    struct client *c = data;
    int result = c->number ? virDomainResume(c->domain) : virDomainSuspend(c->domain);

    if (result)
        give_up("change");
    return NULL;
}

static void watch(const char *uri, int watchers, int rounds)
{
    uint32_t *times_us = calloc((size_t)rounds, sizeof *times_us);
    struct client changer = {.connection = connected(uri)};
    int64_t start = now_ns();

    changer.domain = numbered(changer.connection, 1);
    virDomainCreate(changer.domain);
    for (int i = 0; i < watchers; i++)
        if (virConnectDomainEventRegisterAny(connected(uri), NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                             VIR_DOMAIN_EVENT_CALLBACK(on_event), NULL, NULL) < 0)
            give_up("register");
    for (int round = 0; round < rounds; round++) {
        int64_t began;

        usleep(SETTLE_US);
        changer.number = round % 2;
        heard = 0;
        began = now_ns();
        pthread_create(&changer.thread, NULL, change, &changer);
        while (heard < watchers)
            virEventRunDefaultImpl();
        times_us[round] = (uint32_t)((now_ns() - began) / 1000);
        pthread_join(changer.thread, NULL);
    }
    virDomainDestroy(changer.domain);
    report(times_us, (size_t)rounds, 0, (double)(now_ns() - start) / 1e9);
}

static void hold(const char *uri, int domains)
{
    virConnectPtr connection = connected(uri);
    char byte;

    for (int i = 0; i < domains; i++)
        virDomainFree(defined(connection, "vm", i));
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*call)(struct client *);
    } modes[] = {
        {"info", call_info}, {"xml", call_xml}, {"list", call_list},
        {"define", call_define}, {"cycle", call_cycle},
    };
    const char *mode = argc == 5 ? argv[2] : "";

    virSetErrorFunc(NULL, quiet);
    if (!strcmp(mode, "events"))
        virEventRegisterDefaultImpl();
    if (!strcmp(mode, "events"))
        return watch(argv[1], atoi(argv[3]), atoi(argv[4])), 0;
    if (!strcmp(mode, "hold"))
        return hold(argv[1], atoi(argv[3])), 0;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(mode, modes[i].name))
            return load(argv[1], modes[i].call, atoi(argv[3]), strtod(argv[4], NULL)), 0;
    fputs("usage: virt URI hold|info|xml|list|define|cycle|events COUNT SECONDS|ROUNDS\n", stderr);
    return 2;
}
