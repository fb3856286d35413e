/* How tests turn the mock's host and speak for its guests. Contracts: xenlight.cdef.h. */
#define _GNU_SOURCE
#include "devices.h"
#include "guest.h"
#include "lifecycle.h"

#include "../glue.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

int xapid_is_mock(void)
{
    return 1;
}

static int64_t low_bound(const int64_t *knob)
{
    const int64_t *knobs = state()->knobs;
    bool at_least_one = knob == &knobs[KNOB_CPUS] || knob == &knobs[KNOB_NODES];

    return at_least_one ? 1 : knob == &knobs[KNOB_XEN_MINOR] ? 17 : 0;
}

static int64_t high_bound(const int64_t *knob)
{
    const int64_t *knobs = state()->knobs;
    bool cpus = knob == &knobs[KNOB_CPUS] || knob == &knobs[KNOB_NODES];

    return cpus ? MAX_CPUS : INT64_C(1) << 40;
}

int xapid_mock_set(const char *knob, int64_t value)
{
    int64_t *found = state() ? knob_by_name(knob) : NULL;

    if (!found || value < low_bound(found) || value > high_bound(found))
        return ERROR_INVAL;
    state_lock();
    *found = value;
    state_changed();
    state_unlock();
    return 0;
}

int xapid_mock_get(const char *knob, int64_t *value)
{
    int64_t *found = state() ? knob_by_name(knob) : NULL;
    int rc = 0;

    if (!state())
        return ERROR_FAIL;
    state_lock();
    if (found)
        *value = *found;
    else if (!strcmp(knob, "free_kib"))
        *value = (int64_t)free_kib();
    else if (!strcmp(knob, "domains"))
        *value = state()->host.domains;
    else if (!strcmp(knob, "generation"))
        *value = state()->generation;
    else
        rc = ERROR_INVAL;
    state_unlock();
    return rc;
}

/* ---- orders ---- */

static int order_shutdown(struct domain *d, libxl_shutdown_reason reason)
{
    if (!domain_runs(d))
        return ERROR_NOT_READY;
    domain_shut_down(d, reason);
    return 0;
}

/* Every CD is out of its drive. */
static int order_eject(struct domain *d)
{
    struct json *config = domain_config_json(d);
    struct json *disks = json_get(config, "disks");
    int rc = config ? 0 : ERROR_NOT_READY;

    for (size_t i = 0; disks && i < disks->count; i++) {
        if (!json_get_integer(disks->items[i], "is_cdrom", 0))
            continue;
        json_unset(disks->items[i], "pdev_path");
        json_set(disks->items[i], "format", json_string("empty"));
    }
    if (config)
        rc = domain_store_config(d, config);
    json_free(config);
    return rc;
}

static int give_order(struct domain *d, const char *order, int64_t value)
{
    static const struct { const char *order; libxl_shutdown_reason reason; } ends[] = {
        { "poweroff", LIBXL_SHUTDOWN_REASON_POWEROFF }, { "reboot", LIBXL_SHUTDOWN_REASON_REBOOT },
        { "suspend", LIBXL_SHUTDOWN_REASON_SUSPEND }, { "crash", LIBXL_SHUTDOWN_REASON_CRASH },
        { "watchdog", LIBXL_SHUTDOWN_REASON_WATCHDOG }, { "soft_reset", LIBXL_SHUTDOWN_REASON_SOFT_RESET },
    };

    if (!strcmp(order, "eject"))
        return order_eject(d);
    domain_open(d);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (!strcmp(order, ends[i].order))
            return order_shutdown(d, ends[i].reason);
    if (!strcmp(order, "ignore_shutdown")) {
        d->ignore_shutdown = (int)value;
    } else if (!strcmp(order, "pv_drivers")) {
        d->pv_drivers = value;
    } else if (!strcmp(order, "refuse_unplug")) {
        d->refuse_unplug = value;
    } else if (!strcmp(order, "shutdown_ms")) {
        d->shutdown_ms = value;
    } else if (!strcmp(order, "counter")) {
        d->counter_ns = value * NS_PER_MS;
        d->running_since_ns = domain_runs(d) ? now_ns() : 0;
    } else {
        return ERROR_INVAL;
    }
    return 0;
}

int xapid_mock_order(uint32_t domid, const char *order, int64_t value)
{
    struct domain *d;
    int rc = ERROR_DOMAIN_NOTFOUND;

    if (!state())
        return ERROR_FAIL;
    state_lock();
    d = domain_by_id(domid);
    if (d)
        rc = give_order(d, order, value);
    state_changed();
    state_unlock();
    return rc;
}

static int answer(const struct domain *d, const char *fact, int64_t *value)
{
    const struct { const char *fact; int64_t value; } facts[] = {
        { "counter", domain_counter_ns(d) / NS_PER_MS }, { "pv_drivers", d->pv_drivers },
        { "ignore_shutdown", d->ignore_shutdown }, { "refuse_unplug", d->refuse_unplug }, { "booted", d->booted },
        { "half_made", !d->finished }, { "sysrq", d->last_sysrq }, { "trigger", d->last_trigger },
        { "target_kib", (int64_t)d->target_kib }, { "held_kib", (int64_t)d->held_kib },
        { "paging_kib", (int64_t)d->paging_kib },
        { "shutdown_requests", d->shutdown_requests },
    };

    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
        if (!strcmp(fact, facts[i].fact)) {
            *value = facts[i].value;
            return 0;
        }
    return ERROR_INVAL;
}

int xapid_mock_ask(uint32_t domid, const char *fact, int64_t *value)
{
    const struct domain *d;
    int rc;

    if (!state())
        return ERROR_FAIL;
    state_lock();
    d = domain_by_id(domid);
    rc = d ? answer(d, fact, value) : ERROR_DOMAIN_NOTFOUND;
    state_unlock();
    return rc;
}

int xapid_mock_find(const char *uuid, uint32_t *domid)
{
    const struct domain *d;
    libxl_uuid wanted;

    if (!state())
        return ERROR_FAIL;
    if (!uuid_from_text(uuid, &wanted))
        return ERROR_INVAL;
    state_lock();
    d = domain_by_uuid(&wanted);
    if (d)
        *domid = d->domid;
    state_unlock();
    return d ? 0 : ERROR_DOMAIN_NOTFOUND;
}

/* ---- failures ---- */

int xapid_mock_fail(const char *function, int action, int rc, int count, uint32_t domid, const char *uuid)
{
    struct rule rule = { .remaining = count, .action = (enum action)action, .rc = rc, .domid = domid };
    int outcome = ERROR_NOMEM;

    if (!state())
        return ERROR_FAIL;
    rule.any_uuid = !uuid || !*uuid;
    if (strlen(function) >= sizeof(rule.function) || action < ACTION_FAIL || action > ACTION_ABORT_MIDWAY || !count ||
        (!rule.any_uuid && !uuid_from_text(uuid, &rule.uuid)))
        return ERROR_INVAL;
    strcpy(rule.function, function);
    state_lock();
    for (int i = 0; i < MAX_RULES && outcome; i++) {
        if (state()->rules[i].remaining)
            continue;
        state()->rules[i] = rule;
        outcome = 0;
    }
    state_unlock();
    return outcome;
}

int xapid_mock_release(void)
{
    if (!state())
        return ERROR_FAIL;
    state_lock();
    state()->releases_of_hangs++;
    memset(state()->rules, 0, sizeof(state()->rules));
    state_changed();
    state_unlock();
    return 0;
}

int xapid_mock_hanging(void)
{
    int count = 0;

    if (!state())
        return ERROR_FAIL;
    state_lock();
    for (int i = 0; i < 64; i++)
        if (state()->hanging[i] && kill(state()->hanging[i], 0) == 0)
            count++;
    state_unlock();
    return count;
}

int xapid_mock_reset(void)
{
    if (!state())
        return ERROR_FAIL;
    state_lock();
    state()->releases_of_hangs++;
    state_set_defaults(state());
    state_changed();
    state_unlock();
    return 0;
}
