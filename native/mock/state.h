/* The mock's host: one mapping that all contexts of all processes share, so that guests outlive the process that made
 * them. Every function here needs the lock unless it says otherwise. A process may be killed at any instruction: what it
 * had changed under the lock is undone by the next one to take it. */
#ifndef XAPID_MOCK_STATE_H
#define XAPID_MOCK_STATE_H

#include "libxl.h"

#include <pthread.h>

enum {
    MAX_DOMAINS = 6016,
    MAX_DOMID = 32751,
    MAX_CONFIG = 16384,
    MAX_VCPUS = 128,
    MAX_CPUS = 64,
    MAX_RULES = 64,
    USERDATA_KEYS = 4,
    USERDATA_KEY_MAX = 48,
    USERDATA_MAX = 16384,
    NAME_MAX_LENGTH = 128,
};

#define NS_PER_MS INT64_C(1000000)
#define NEVER INT64_MAX
#define ANY_DOMID 0xffffffffU        /* libxl calls it INVALID_DOMID */

struct userdata {
    char key[USERDATA_KEY_MAX];     /* "": free */
    uint32_t length;
    uint32_t buffer;                /* which of the slot's buffers holds it */
};

/* A domain. Small: it is copied before each change, so that a killed process leaves the old or the new one. */
struct domain {
    bool in_use;
    bool finished;                  /* built to the end; else half-made */
    bool paused, shutdown, dying;
    bool booted;                    /* the guest's kernel runs: it answers requests */
    bool pv_drivers, refuse_unplug;
    bool device_model;              /* one was started with it; libxl starts none later */
    int ignore_shutdown;            /* 1: requests are not even acknowledged; 2: acknowledged and forgotten */
    uint32_t domid;
    libxl_uuid uuid;
    char name[NAME_MAX_LENGTH];
    libxl_domain_type type;
    libxl_shutdown_reason reason;
    int64_t counter_ns;             /* run time until running_since_ns */
    int64_t running_since_ns;       /* 0 while it does not run */
    int64_t boot_due_ns, shutdown_due_ns, ack_due_ns, console_due_ns;       /* NEVER: not due */
    libxl_shutdown_reason due_reason;
    int64_t shutdown_ms;            /* its own delay, or -1: the host's knob */
    uint64_t held_kib;              /* of the host's memory, overhead included */
    uint64_t paging_kib;            /* of that, for page tables; 0 for a PV domain */
    uint64_t current_kib, max_kib, target_kib;
    uint32_t max_vcpus;
    uint64_t online[MAX_VCPUS / 64];
    int weight, cap;
    int last_sysrq, last_trigger;
    uint32_t shutdown_requests;
    uint32_t config_length;         /* 0: none stored */
    uint32_t config_buffer;
    struct userdata userdata[USERDATA_KEYS];
};

/* What is too large to copy: written to a buffer that nothing refers to, then referred to. */
struct blobs {
    char config[2][MAX_CONFIG];
    char userdata[USERDATA_KEYS + 1][USERDATA_MAX];
    uint64_t affinity[MAX_VCPUS][2];        /* hard, soft */
};

enum knob {
    KNOB_MEMORY_KIB, KNOB_CPUS, KNOB_NODES, KNOB_XEN_MINOR, KNOB_PV_CAPABLE, KNOB_HVM_CAPABLE, KNOB_BUILD_MS,
    KNOB_DESTROY_MS, KNOB_BOOT_MS, KNOB_SHUTDOWN_MS, KNOB_ACK_MS, KNOB_ACK_TIMEOUT_MS, KNOB_UNPLUG_MS,
    KNOB_UNPLUG_TIMEOUT_MS, KNOB_SAVE_MS, KNOB_DOMID_REUSE_MS, KNOB_IGNORE_SHUTDOWN, KNOB_HVM_PV_DRIVERS,
    KNOB_REFUSE_UNPLUG, KNOB_CONSOLE_DELAY_MS,
    KNOB_COUNT
};

enum action { ACTION_FAIL, ACTION_DO_THEN_FAIL, ACTION_HANG, ACTION_ABORT, ACTION_ABORT_MIDWAY };

struct rule {
    int remaining;                  /* 0: free; -1: for ever */
    char function[56];
    enum action action;
    int rc;
    uint32_t domid;                 /* ANY_DOMID: any */
    bool any_uuid;
    libxl_uuid uuid;
};

/* The part of the host that is copied before each change. */
struct host {
    uint64_t used_kib;
    uint32_t domains;
    uint32_t slots;                 /* no slot from here on was ever used */
    uint32_t last_domid;
    uint32_t releases;              /* how often a domain shut down or died: xenstore's @releaseDomain */
    int64_t next_due_ns;            /* no timer is due before */
    int64_t console_from;           /* lines of the console ring before this one were cleared */
};

struct shared {
    char magic[16];
    char boot_id[40];
    pthread_mutex_t lock;
    uint32_t generation;            /* a futex: rises with every change that someone may wait for */
    uint32_t releases_of_hangs;
    int32_t hanging[64];            /* processes with a call that hangs, each entry one call */
    int64_t knobs[KNOB_COUNT];
    struct rule rules[MAX_RULES];
    struct host host;
    struct {
        uint32_t saved;             /* SAVED_HOST | SAVED_DOMAIN: which copies below count */
        uint32_t slot;
        struct host host;
        struct domain domain;
    } journal;
    int64_t freed_ns[MAX_DOMID + 1];        /* when the domid was last given back */
    uint16_t slot_of[MAX_DOMID + 1];        /* 0: none, else slot + 1 */
    uint32_t console_lines;
    char console[64][160];
    struct domain domains[MAX_DOMAINS];
    struct blobs blobs[MAX_DOMAINS];
};

/* The host; mapped at the first call, never unmapped. NULL when XAPID_MOCK_STATE cannot be used. No lock needed. */
struct shared *state(void);

void state_lock(void);              /* also lets due timers happen */
void state_unlock(void);            /* ends the change: from here on it stays */
/* Unlock, sleep until something changes or the time comes, lock. */
void state_wait(int64_t until_ns);
/* Wake everyone who waits. */
void state_changed(void);
int64_t now_ns(void);               /* no lock needed */

/* Says that *domain will change; before the first change to it. One domain is open at a time. */
void domain_open(struct domain *domain);
/* Makes the changes so far stay, before another domain is opened. */
void state_commit(void);

struct domain *domain_by_id(uint32_t domid);            /* NULL: none */
struct domain *domain_by_uuid(const libxl_uuid *uuid);
struct domain *domain_by_name(const char *name);
struct blobs *domain_blobs(const struct domain *domain);
/* A domain with a fresh domid, opened, paused and half-made; NULL when the host is full. */
struct domain *domain_new(void);
/* The domain is gone, its memory and domid free. */
void domain_remove(struct domain *domain);

bool domain_runs(const struct domain *domain);
/* Start or stop the guest's clock as its flags say; after each change to them. */
void domain_clock(struct domain *domain);
int64_t domain_counter_ns(const struct domain *domain);
void domain_shut_down(struct domain *domain, libxl_shutdown_reason reason);
/* Its timer: at which time due. */
void domain_due(struct domain *domain, int64_t *timer, int64_t at_ns);
uint64_t free_kib(void);
bool domain_has_pv_drivers(const struct domain *domain);

/* The stored configuration as text, or NULL; free() it. */
char *domain_config_text(const struct domain *domain);
/* 0 or ERROR_BUFFERFULL; the domain is open. */
int domain_set_config(struct domain *domain, const char *text);

int64_t *knob_by_name(const char *name);                /* no lock needed */
void state_set_defaults(struct shared *shared);
void console_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
