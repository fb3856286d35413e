#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char MAGIC[16] = "xapid-mock-1";

static struct shared *shared;
static pthread_once_t mapped = PTHREAD_ONCE_INIT;

int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 * NS_PER_MS + now.tv_nsec;
}

/* ---- the mapping ---- */

static void read_boot_id(char id[40])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, id, 39);

    id[length > 0 ? length : 0] = 0;
    if (fd >= 0)
        close(fd);
}

static void begin(struct shared *s)
{
    pthread_mutexattr_t attributes;

    memset(s, 0, offsetof(struct shared, blobs));
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&s->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    state_set_defaults(s);
    read_boot_id(s->boot_id);
    memcpy(s->magic, MAGIC, sizeof(MAGIC));
}

/* Map the file under an flock; a file of another boot of the machine is a host that was restarted. */
static struct shared *map_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct shared *s = MAP_FAILED;
    char boot_id[40];

    if (fd < 0)
        return NULL;
    if (!flock(fd, LOCK_EX) && !ftruncate(fd, sizeof(*s)))
        s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (s != MAP_FAILED) {
        read_boot_id(boot_id);
        if (memcmp(s->magic, MAGIC, sizeof(MAGIC)) || strcmp(s->boot_id, boot_id))
            begin(s);
    }
    /* Closing is not enough: the mapping keeps the open file, and so its lock. */
    flock(fd, LOCK_UN);
    close(fd);
    return s == MAP_FAILED ? NULL : s;
}

static void map_state(void)
{
    const char *path = getenv("XAPID_MOCK_STATE");

    if (path && *path) {
        shared = map_file(path);
        if (!shared)
            fprintf(stderr, "libxl mock: XAPID_MOCK_STATE %s: %s\n", path, strerror(errno));
        return;
    }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared == MAP_FAILED)
        shared = NULL;
    else
        begin(shared);
}

struct shared *state(void)
{
    pthread_once(&mapped, map_state);
    return shared;
}

/* ---- the lock and the journal ---- */

enum { SAVED_HOST = 1, SAVED_DOMAIN = 2 };

/* One store, so that host and domain always belong together; the compiler moves nothing across it. */
static void mark_saved(uint32_t saved)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&shared->journal.saved, saved, __ATOMIC_SEQ_CST);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void recover(void)
{
    if (shared->journal.saved & SAVED_DOMAIN)
        shared->domains[shared->journal.slot] = shared->journal.domain;
    if (shared->journal.saved & SAVED_HOST)
        shared->host = shared->journal.host;
    mark_saved(0);
    memset(shared->slot_of, 0, sizeof(shared->slot_of));
    for (uint32_t i = 0; i < shared->host.slots; i++)
        if (shared->domains[i].in_use)
            shared->slot_of[shared->domains[i].domid] = (uint16_t)(i + 1);
    shared->host.next_due_ns = 0;
}

void domain_open(struct domain *domain)
{
    shared->journal.slot = (uint32_t)(domain - shared->domains);
    shared->journal.domain = *domain;
    mark_saved(SAVED_HOST | SAVED_DOMAIN);
}

void state_commit(void)
{
    mark_saved(0);
    shared->journal.host = shared->host;
    mark_saved(SAVED_HOST);
}

static void earlier(int64_t *next, int64_t at)
{
    if (at < *next)
        *next = at;
}

/* What the guest does when its timers run out. */
static void run_timers(struct domain *d, int64_t now)
{
    domain_open(d);
    if (d->boot_due_ns <= now) {
        d->boot_due_ns = NEVER;
        d->booted = true;
    }
    if (d->ack_due_ns <= now)
        d->ack_due_ns = NEVER;
    if (d->console_due_ns <= now)
        d->console_due_ns = NEVER;
    if (d->shutdown_due_ns <= now) {
        d->shutdown_due_ns = NEVER;
        if (domain_runs(d))
            domain_shut_down(d, d->due_reason);
    }
    state_changed();
    state_commit();
}

static int64_t first_due(const struct domain *d)
{
    int64_t first = NEVER;

    earlier(&first, d->boot_due_ns);
    earlier(&first, d->ack_due_ns);
    earlier(&first, d->console_due_ns);
    earlier(&first, d->shutdown_due_ns);
    return first;
}

static void let_time_pass(void)
{
    int64_t now = now_ns(), next = NEVER;

    if (now < shared->host.next_due_ns)
        return;
    for (uint32_t i = 0; i < shared->host.slots; i++) {
        struct domain *d = &shared->domains[i];
        if (!d->in_use)
            continue;
        if (first_due(d) <= now)
            run_timers(d, now);
        earlier(&next, first_due(d));
    }
    shared->host.next_due_ns = next;
}

void state_lock(void)
{
    int error = pthread_mutex_lock(&shared->lock);

    if (error == EOWNERDEAD) {
        recover();
        pthread_mutex_consistent(&shared->lock);
    } else if (error) {
        fprintf(stderr, "libxl mock: lock: %s\n", strerror(error));
        abort();
    }
    state_commit();
    let_time_pass();
}

void state_unlock(void)
{
    mark_saved(0);
    pthread_mutex_unlock(&shared->lock);
}

void state_changed(void)
{
    __atomic_add_fetch(&shared->generation, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &shared->generation, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void state_wait(int64_t until_ns)
{
    uint32_t seen = __atomic_load_n(&shared->generation, __ATOMIC_SEQ_CST);
    int64_t left;
    struct timespec timeout;

    earlier(&until_ns, shared->host.next_due_ns);
    left = until_ns == NEVER ? 0 : until_ns - now_ns();
    timeout.tv_sec = left / (1000 * NS_PER_MS);
    timeout.tv_nsec = left % (1000 * NS_PER_MS);
    state_unlock();
    if (until_ns == NEVER || left > 0)
        syscall(SYS_futex, &shared->generation, FUTEX_WAIT, seen, until_ns == NEVER ? NULL : &timeout, NULL, 0);
    state_lock();
}

/* ---- domains ---- */

struct domain *domain_by_id(uint32_t domid)
{
    uint32_t slot = domid <= MAX_DOMID ? shared->slot_of[domid] : 0;
    return slot ? &shared->domains[slot - 1] : NULL;
}

struct domain *domain_by_uuid(const libxl_uuid *uuid)
{
    for (uint32_t i = 0; i < shared->host.slots; i++)
        if (shared->domains[i].in_use && !memcmp(&shared->domains[i].uuid, uuid, sizeof(*uuid)))
            return &shared->domains[i];
    return NULL;
}

struct domain *domain_by_name(const char *name)
{
    for (uint32_t i = 0; i < shared->host.slots; i++)
        if (shared->domains[i].in_use && !strcmp(shared->domains[i].name, name))
            return &shared->domains[i];
    return NULL;
}

struct blobs *domain_blobs(const struct domain *domain)
{
    return &shared->blobs[domain - shared->domains];
}

/* The next domid that was not in use for a while; 0 when there is none. */
static uint32_t pick_domid(void)
{
    int64_t reusable = now_ns() - shared->knobs[KNOB_DOMID_REUSE_MS] * NS_PER_MS;

    for (uint32_t tried = 0, domid = shared->host.last_domid; tried < MAX_DOMID; tried++) {
        domid = domid >= MAX_DOMID ? 1 : domid + 1;
        if (!shared->slot_of[domid] && (!shared->freed_ns[domid] || shared->freed_ns[domid] <= reusable))
            return domid;
    }
    return 0;
}

struct domain *domain_new(void)
{
    uint32_t slot = 0, domid = pick_domid();
    struct domain *d;

    while (slot < shared->host.slots && shared->domains[slot].in_use)
        slot++;
    if (slot == MAX_DOMAINS || !domid)
        return NULL;
    d = &shared->domains[slot];
    domain_open(d);
    memset(d, 0, sizeof(*d));
    memset(domain_blobs(d)->affinity, 0xff, sizeof(domain_blobs(d)->affinity));
    d->in_use = d->paused = true;
    d->domid = domid;
    d->boot_due_ns = d->shutdown_due_ns = d->ack_due_ns = d->console_due_ns = NEVER;
    d->shutdown_ms = -1;
    d->last_sysrq = d->last_trigger = -1;
    d->weight = 256;
    d->ignore_shutdown = (int)shared->knobs[KNOB_IGNORE_SHUTDOWN];
    d->pv_drivers = shared->knobs[KNOB_HVM_PV_DRIVERS];
    d->refuse_unplug = shared->knobs[KNOB_REFUSE_UNPLUG];
    shared->slot_of[domid] = (uint16_t)(slot + 1);
    shared->host.last_domid = domid;
    shared->host.domains++;
    if (slot == shared->host.slots)
        shared->host.slots++;
    return d;
}

void domain_remove(struct domain *d)
{
    uint32_t domid = d->domid;

    domain_open(d);
    shared->freed_ns[domid] = now_ns();
    shared->host.used_kib -= d->held_kib;
    shared->host.domains--;
    shared->host.releases++;
    d->in_use = false;
    shared->slot_of[domid] = 0;
    state_changed();
    state_commit();
}

bool domain_runs(const struct domain *d)
{
    return d->finished && !d->paused && !d->shutdown && !d->dying;
}

int64_t domain_counter_ns(const struct domain *d)
{
    return d->counter_ns + (d->running_since_ns ? now_ns() - d->running_since_ns : 0);
}

void domain_clock(struct domain *d)
{
    if (domain_runs(d) == (d->running_since_ns != 0))
        return;
    d->counter_ns = domain_counter_ns(d);
    d->running_since_ns = domain_runs(d) ? now_ns() : 0;
}

void domain_shut_down(struct domain *d, libxl_shutdown_reason reason)
{
    d->shutdown = true;
    d->reason = reason;
    domain_clock(d);
    shared->host.releases++;
    state_changed();
}

void domain_due(struct domain *domain, int64_t *timer, int64_t at_ns)
{
    (void)domain;
    *timer = at_ns;
    earlier(&shared->host.next_due_ns, at_ns);
    state_changed();
}

uint64_t free_kib(void)
{
    uint64_t total = (uint64_t)shared->knobs[KNOB_MEMORY_KIB];
    return shared->host.used_kib < total ? total - shared->host.used_kib : 0;
}

bool domain_has_pv_drivers(const struct domain *d)
{
    return d->booted && (d->type != LIBXL_DOMAIN_TYPE_HVM || d->pv_drivers);
}

/* ---- configurations ---- */

char *domain_config_text(const struct domain *d)
{
    return d->config_length ? strndup(domain_blobs(d)->config[d->config_buffer], d->config_length) : NULL;
}

int domain_set_config(struct domain *d, const char *text)
{
    size_t length = strlen(text);
    uint32_t other = !d->config_buffer;

    if (length > MAX_CONFIG)
        return ERROR_BUFFERFULL;
    memcpy(domain_blobs(d)->config[other], text, length);
    d->config_buffer = other;
    d->config_length = (uint32_t)length;
    return 0;
}

/* ---- knobs and the console ring ---- */

static const struct { const char *name; int64_t initial; } knobs[KNOB_COUNT] = {
    [KNOB_MEMORY_KIB] = { "memory_kib", 16 * 1024 * 1024 },
    [KNOB_CPUS] = { "cpus", 8 },
    [KNOB_NODES] = { "nodes", 1 },
    [KNOB_XEN_MINOR] = { "xen_minor", 17 },
    [KNOB_PV_CAPABLE] = { "pv_capable", 1 },
    [KNOB_HVM_CAPABLE] = { "hvm_capable", 1 },
    [KNOB_BUILD_MS] = { "build_ms", 20 },
    [KNOB_DESTROY_MS] = { "destroy_ms", 0 },
    [KNOB_BOOT_MS] = { "boot_ms", 0 },
    [KNOB_SHUTDOWN_MS] = { "shutdown_ms", 30 },
    [KNOB_ACK_MS] = { "ack_ms", 0 },
    [KNOB_ACK_TIMEOUT_MS] = { "ack_timeout_ms", 60000 },
    [KNOB_UNPLUG_MS] = { "unplug_ms", 0 },
    [KNOB_UNPLUG_TIMEOUT_MS] = { "unplug_timeout_ms", 10000 },
    [KNOB_SAVE_MS] = { "save_ms", 0 },
    [KNOB_DOMID_REUSE_MS] = { "domid_reuse_ms", 60000 },
    [KNOB_IGNORE_SHUTDOWN] = { "ignore_shutdown", 0 },
    [KNOB_HVM_PV_DRIVERS] = { "hvm_pv_drivers", 1 },
    [KNOB_REFUSE_UNPLUG] = { "refuse_unplug", 0 },
    [KNOB_CONSOLE_DELAY_MS] = { "console_delay_ms", 0 },
};

int64_t *knob_by_name(const char *name)
{
    for (int i = 0; i < KNOB_COUNT; i++)
        if (!strcmp(knobs[i].name, name))
            return &state()->knobs[i];
    return NULL;
}

void console_line(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(shared->console[shared->console_lines % 64], sizeof(shared->console[0]), format, arguments);
    va_end(arguments);
    shared->console_lines++;
}

/* A host that has just booted: domain 0 alone, with 1 GiB. */
void state_set_defaults(struct shared *s)
{
    struct domain *zero = &s->domains[0];

    for (int i = 0; i < KNOB_COUNT; i++)
        s->knobs[i] = knobs[i].initial;
    for (uint32_t i = 0; i < s->host.slots; i++)
        s->domains[i].in_use = false;
    memset(s->slot_of, 0, sizeof(s->slot_of));
    memset(s->rules, 0, sizeof(s->rules));
    memset(s->freed_ns, 0, sizeof(s->freed_ns));
    memset(zero, 0, sizeof(*zero));
    memset(s->blobs[0].affinity, 0xff, sizeof(s->blobs[0].affinity));
    zero->in_use = zero->finished = zero->booted = zero->pv_drivers = true;
    strcpy(zero->name, "Domain-0");
    zero->type = LIBXL_DOMAIN_TYPE_PV;
    zero->boot_due_ns = zero->shutdown_due_ns = zero->ack_due_ns = zero->console_due_ns = NEVER;
    zero->held_kib = zero->current_kib = zero->target_kib = zero->max_kib = 1024 * 1024;
    zero->max_vcpus = 2;
    zero->online[0] = 3;
    zero->weight = 256;
    zero->shutdown_ms = zero->last_sysrq = zero->last_trigger = -1;
    zero->running_since_ns = now_ns();
    s->slot_of[0] = 1;
    s->host.used_kib = zero->held_kib;
    s->host.domains = s->host.slots = 1;
    s->host.last_domid = 0;
    s->host.next_due_ns = NEVER;
    s->host.releases++;
    s->console_lines = 0;
    s->host.console_from = 0;
    snprintf(s->console[s->console_lines++ % 64], sizeof(s->console[0]), "(XEN) Xen version 4.%d (mock)",
             (int)s->knobs[KNOB_XEN_MINOR]);
}
