/* The life of a domain: made, paused, unpaused, destroyed, found. */
#define _GNU_SOURCE
#include "lifecycle.h"
#include "devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_MEMKB = 32 * 1024, PV_EXTRA_KIB = 1024, HVM_EXTRA_KIB = 2048, MEGABYTE_KIB = 1024 };

/* ---- what a configuration asks for ---- */

static libxl_domain_type parse_type(const char *name)
{
    static const libxl_domain_type types[] = { LIBXL_DOMAIN_TYPE_HVM, LIBXL_DOMAIN_TYPE_PV, LIBXL_DOMAIN_TYPE_PVH };

    for (size_t i = 0; name && i < sizeof(types) / sizeof(types[0]); i++)
        if (!strcmp(name, libxl_domain_type_to_string(types[i])))
            return types[i];
    return LIBXL_DOMAIN_TYPE_INVALID;
}

static bool parse_uuid(const char *text, libxl_uuid *uuid)
{
    unsigned digit, filled = 0;

    memset(uuid, 0, sizeof(*uuid));
    if (!text || strlen(text) != 36)
        return false;
    for (const char *p = text; *p && filled < 16;) {
        if (*p == '-') {
            p++;
            continue;
        }
        if (sscanf(p, "%2x", &digit) != 1)
            return false;
        uuid->uuid[filled++] = (unsigned char)digit;
        p += 2;
    }
    return filled == 16;
}

bool uuid_from_text(const char *text, libxl_uuid *uuid)
{
    return parse_uuid(text, uuid);
}

static uint64_t shadow_kib(uint64_t max_kib, uint32_t vcpus)
{
    return 4 * (256 * (uint64_t)vcpus + 2 * (max_kib / MEGABYTE_KIB));
}

void plan_read(const struct json *config, struct plan *plan)
{
    const struct json *c_info = json_get(config, "c_info"), *b_info = json_get(config, "b_info");
    const struct json *sched = json_get(b_info, "sched_params"), *avail = json_get(b_info, "avail_vcpus");

    memset(plan, 0, sizeof(*plan));
    plan->type = parse_type(json_get_string(c_info, "type"));
    plan->name = json_get_string(c_info, "name");
    parse_uuid(json_get_string(c_info, "uuid"), &plan->uuid);
    plan->max_vcpus = (uint32_t)json_get_integer(b_info, "max_vcpus", 1);
    plan->max_kib = (uint64_t)json_get_integer(b_info, "max_memkb", DEFAULT_MEMKB);
    plan->target_kib = (uint64_t)json_get_integer(b_info, "target_memkb", (int64_t)plan->max_kib);
    plan->weight = (int)json_get_integer(sched, "weight", 256);
    plan->cap = (int)json_get_integer(sched, "cap", 0);
    if (!avail)
        plan->online[0] = 1;
    for (size_t i = 0; avail && i < avail->count; i++)
        if (avail->items[i]->number < MAX_VCPUS)
            plan->online[avail->items[i]->number / 64] |= UINT64_C(1) << (avail->items[i]->number % 64);
    if (plan->type != LIBXL_DOMAIN_TYPE_PV)
        plan->paging_kib = (uint64_t)json_get_integer(
            b_info, "shadow_memkb", (int64_t)shadow_kib(plan->max_kib, plan->max_vcpus));
    plan->need_kib = plan->target_kib + plan->paging_kib;
    plan->need_kib += plan->type == LIBXL_DOMAIN_TYPE_PV ? PV_EXTRA_KIB : HVM_EXTRA_KIB;
    plan->need_kib += 2 * MEGABYTE_KIB - plan->need_kib % (2 * MEGABYTE_KIB);
}

/* The branch of the build information that belongs to the domain's type. */
static const struct json *type_branch(const struct json *config, libxl_domain_type type)
{
    char key[16];

    snprintf(key, sizeof(key), "type.%s", libxl_domain_type_to_string(type));
    return json_get(json_get(config, "b_info"), key);
}

static bool has_boot_source(const struct json *config, const struct plan *plan)
{
    const struct json *b_info = json_get(config, "b_info"), *branch = type_branch(config, plan->type);

    return plan->type == LIBXL_DOMAIN_TYPE_HVM || json_get(b_info, "kernel") || json_get(b_info, "bootloader") ||
           json_get(branch, "kernel") || json_get(branch, "bootloader");
}

static int check_plan(struct call *call, const struct json *config, const struct plan *plan)
{
    const int64_t *knobs = state()->knobs;
    const char *complaint = NULL;
    bool pv = plan->type == LIBXL_DOMAIN_TYPE_PV;

    if (plan->type == LIBXL_DOMAIN_TYPE_INVALID || !type_branch(config, plan->type))
        complaint = "c_info.type and the branch of b_info are not one domain type";
    else if (!plan->name || !*plan->name || strlen(plan->name) >= NAME_MAX_LENGTH)
        complaint = "no usable name";
    else if (!pv && !knobs[KNOB_HVM_CAPABLE])
        complaint = "HVM/PVH guest support not available, is VT-x/AMD-V enabled?";
    else if (pv && !knobs[KNOB_PV_CAPABLE])
        complaint = "PV guest support not available";
    else if (plan->max_vcpus < 1 || plan->max_vcpus > MAX_VCPUS)
        complaint = "bad number of vCPUs";
    else if (plan->target_kib > plan->max_kib || !plan->target_kib)
        complaint = "target memory is larger than maximum memory, or none";
    else if (!has_boot_source(config, plan))
        complaint = "no kernel and no bootloader";
    else if (domain_by_name(plan->name))
        complaint = "domain with this name already exists";
    if (!complaint)
        return 0;
    LOG_ERROR(call, "%s: %s", call->function, complaint);
    return ERROR_INVAL;
}

/* ---- creation ---- */

/* The domain with its memory, half-made; NULL and *rc. */
static struct domain *make_domain(struct call *call, const struct plan *plan, int *rc)
{
    struct domain *d;

    if (plan->need_kib > free_kib()) {
        LOG_ERROR(call, "xc: panic: memory allocation of %llu KiB failed: %llu KiB free",
                  (unsigned long long)plan->need_kib, (unsigned long long)free_kib());
        *rc = ERROR_NOMEM;
        return NULL;
    }
    d = domain_new();
    if (!d) {
        LOG_ERROR(call, "no domain id left");
        *rc = ERROR_FAIL;
        return NULL;
    }
    d->uuid = plan->uuid;
    strcpy(d->name, plan->name);
    d->type = plan->type;
    d->held_kib = plan->need_kib;
    d->paging_kib = plan->paging_kib;
    d->current_kib = d->target_kib = plan->target_kib;
    d->max_kib = plan->max_kib;
    d->max_vcpus = plan->max_vcpus;
    memcpy(d->online, plan->online, sizeof(d->online));
    d->weight = plan->weight;
    d->cap = plan->cap;
    state()->host.used_kib += plan->need_kib;
    console_line("(XEN) d%u: built with %llu KiB", d->domid, (unsigned long long)plan->need_kib);
    state_changed();
    state_commit();
    return d;
}

static int finish_domain(struct call *call, const struct json *config, const struct guest_state *restored)
{
    struct domain *d = call_domain(call);
    int rc;

    if (!d || d->dying)
        return ERROR_FAIL;
    rc = domain_store_config(d, config);
    if (rc)
        return rc;
    d->device_model = devices_need_model(config, d->type);
    d->finished = true;
    d->booted = restored != NULL;
    d->counter_ns = restored ? restored->counter_ns : 0;
    if (restored)
        d->pv_drivers = restored->pv_drivers;
    domain_due(d, &d->console_due_ns, now_ns() + state()->knobs[KNOB_CONSOLE_DELAY_MS] * NS_PER_MS);
    state_commit();
    return 0;
}

/* As libxl: an abort leaves the half-made domain behind, any other failure takes it away. */
int create_domain(struct call *call, libxl_domain_config *d_config, uint32_t *domid,
                  const struct guest_state *restored)
{
    struct plan plan;
    struct domain *d;
    int rc;

    *domid = ANY_DOMID;
    plan_read(d_config->json, &plan);
    rc = check_plan(call, d_config->json, &plan);
    if (!rc)
        rc = devices_set_defaults(call, d_config->json);
    if (rc)
        return rc;
    d = make_domain(call, &plan, &rc);
    if (!d)
        return rc;
    call->domid = *domid = d->domid;
    rc = call_wait(call, now_ns() + state()->knobs[KNOB_BUILD_MS] * NS_PER_MS / 2);
    if (!rc)
        call_midway(call);
    if (!rc)
        rc = call_wait(call, now_ns() + state()->knobs[KNOB_BUILD_MS] * NS_PER_MS / 2);
    if (!rc)
        rc = finish_domain(call, d_config->json, restored);
    if (rc && rc != ERROR_ABORTED) {
        d = domain_by_id(*domid);
        if (d)
            domain_remove(d);
        *domid = ANY_DOMID;
    }
    return rc;
}

int libxl_domain_create_new(libxl_ctx *ctx, libxl_domain_config *d_config, uint32_t *domid,
                            const libxl_asyncop_how *ao_how, const libxl_asyncprogress_how *aop_console_how)
{
    struct call call;
    struct plan plan;

    plan_read(d_config->json, &plan);
    *domid = ANY_DOMID;
    if (!operation_begin(&call, ctx, __func__, ANY_DOMID, &plan.uuid, ao_how ? (const void *)ao_how : aop_console_how))
        return call.rc;
    return call_end(&call, create_domain(&call, d_config, domid, NULL));
}

int libxl_domain_need_memory(libxl_ctx *ctx, libxl_domain_config *config, uint32_t domid_for_logging,
                             uint64_t *need_memkb)
{
    struct call call;
    struct plan plan;

    BEGIN_CALL(call, ctx, domid_for_logging);
    plan_read(config->json, &plan);
    *need_memkb = plan.need_kib;
    return call_end(&call, plan.type == LIBXL_DOMAIN_TYPE_INVALID ? ERROR_INVAL : 0);
}

/* ---- pause, unpause, destroy ---- */

int libxl_domain_pause(libxl_ctx *ctx, uint32_t domid, const libxl_asyncop_how *ao_how)
{
    struct call call;
    struct domain *d;

    BEGIN_OPERATION(call, ctx, domid, ao_how);
    d = call_domain(&call);
    if (!d || d->dying)
        return call_end(&call, ERROR_FAIL);
    domain_open(d);
    d->paused = true;
    domain_clock(d);
    state_changed();
    return call_end(&call, 0);
}

int libxl_domain_unpause(libxl_ctx *ctx, uint32_t domid, const libxl_asyncop_how *ao_how)
{
    struct call call;
    struct domain *d;

    BEGIN_OPERATION(call, ctx, domid, ao_how);
    d = call_domain(&call);
    if (!d || d->dying)
        return call_end(&call, ERROR_FAIL);
    domain_open(d);
    d->paused = false;
    domain_clock(d);
    if (d->finished && !d->booted && d->boot_due_ns == NEVER)
        domain_due(d, &d->boot_due_ns, now_ns() + state()->knobs[KNOB_BOOT_MS] * NS_PER_MS);
    state_changed();
    return call_end(&call, 0);
}

int libxl_domain_destroy(libxl_ctx *ctx, uint32_t domid, const libxl_asyncop_how *ao_how)
{
    struct call call;
    struct domain *d;
    libxl_uuid uuid;
    int rc;

    BEGIN_OPERATION(call, ctx, domid, ao_how);
    d = call_domain(&call);
    if (!d || !domid)
        return call_end(&call, d ? ERROR_INVAL : ERROR_DOMAIN_NOTFOUND);
    uuid = d->uuid;
    domain_open(d);
    d->dying = true;
    domain_clock(d);
    state()->host.releases++;
    state_changed();
    state_commit();
    call_midway(&call);
    rc = call_wait(&call, now_ns() + state()->knobs[KNOB_DESTROY_MS] * NS_PER_MS);
    if (rc)
        return call_end(&call, rc);
    d = domain_by_id(domid);
    if (d && d->dying && !memcmp(&d->uuid, &uuid, sizeof(uuid)))
        domain_remove(d);
    return call_end(&call, 0);
}

/* ---- names ---- */

int libxl_domain_rename(libxl_ctx *ctx, uint32_t domid, const char *old_name, const char *new_name)
{
    struct call call;
    struct domain *d;

    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    if (!d || (old_name && strcmp(d->name, old_name)))
        return call_end(&call, ERROR_FAIL);
    if (!*new_name || strlen(new_name) >= NAME_MAX_LENGTH)
        return call_end(&call, ERROR_INVAL);
    if (domain_by_name(new_name) && domain_by_name(new_name) != d) {
        LOG_ERROR(&call, "Domain with name \"%s\" already exists.", new_name);
        return call_end(&call, ERROR_INVAL);
    }
    domain_open(d);
    strcpy(d->name, new_name);
    state_changed();
    return call_end(&call, 0);
}

int libxl_name_to_domid(libxl_ctx *ctx, const char *name, uint32_t *domid)
{
    struct call call;
    const struct domain *d;

    BEGIN_CALL(call, ctx, ANY_DOMID);
    d = domain_by_name(name);
    if (d)
        *domid = d->domid;
    return call_end(&call, d ? 0 : ERROR_INVAL);
}

char *libxl_domid_to_name(libxl_ctx *ctx, uint32_t domid)
{
    struct call call;
    const struct domain *d;
    char *name;

    if (!call_begin(&call, ctx, __func__, domid, NULL))
        return NULL;
    d = domain_by_id(domid);
    name = d && *d->name ? must_strdup(d->name) : NULL;
    call_end(&call, 0);
    return name;
}
