/* Constructors, destructors, names and bitmaps: what of libxl needs no host. */
#include "context.h"
#include "json.h"
#include "schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- names ---- */

struct name { int value; const char *name; };

static const char *name_of(const struct name *names, int value)
{
    for (; names->name; names++)
        if (names->value == value)
            return names->name;
    return NULL;
}

const char *libxl_error_to_string(libxl_error p)
{
    static const struct name names[] = {
        { ERROR_NONSPECIFIC, "nonspecific" }, { ERROR_VERSION, "version" }, { ERROR_FAIL, "fail" }, { ERROR_NI, "ni" },
        { ERROR_NOMEM, "nomem" }, { ERROR_INVAL, "inval" }, { ERROR_BADFAIL, "badfail" },
        { ERROR_GUEST_TIMEDOUT, "guest_timedout" }, { ERROR_TIMEDOUT, "timedout" },
        { ERROR_NOPARAVIRT, "noparavirt" }, { ERROR_NOT_READY, "not_ready" },
        { ERROR_OSEVENT_REG_FAIL, "osevent_reg_fail" }, { ERROR_BUFFERFULL, "bufferfull" },
        { ERROR_UNKNOWN_CHILD, "unknown_child" }, { ERROR_LOCK_FAIL, "lock_fail" },
        { ERROR_JSON_CONFIG_EMPTY, "json_config_empty" }, { ERROR_DEVICE_EXISTS, "device_exists" },
        { ERROR_CHECKPOINT_DEVOPS_DOES_NOT_MATCH, "checkpoint_devops_does_not_match" },
        { ERROR_CHECKPOINT_DEVICE_NOT_SUPPORTED, "checkpoint_device_not_supported" },
        { ERROR_VNUMA_CONFIG_INVALID, "vnuma_config_invalid" }, { ERROR_DOMAIN_NOTFOUND, "domain_notfound" },
        { ERROR_ABORTED, "aborted" }, { ERROR_NOTFOUND, "notfound" }, { ERROR_DOMAIN_DESTROYED, "domain_destroyed" },
        { ERROR_FEATURE_REMOVED, "feature_removed" }, { ERROR_PROTOCOL_ERROR_QMP, "protocol_error_qmp" },
        { ERROR_UNKNOWN_QMP_ERROR, "unknown_qmp_error" }, { ERROR_QMP_GENERIC_ERROR, "qmp_generic_error" },
        { ERROR_QMP_COMMAND_NOT_FOUND, "qmp_command_not_found" },
        { ERROR_QMP_DEVICE_NOT_ACTIVE, "qmp_device_not_active" },
        { ERROR_QMP_DEVICE_NOT_FOUND, "qmp_device_not_found" }, { ERROR_QEMU_API, "qemu_api" }, { 0, NULL },
    };
    return name_of(names, (int)p);
}

const char *libxl_domain_type_to_string(libxl_domain_type p)
{
    static const struct name names[] = {
        { LIBXL_DOMAIN_TYPE_INVALID, "invalid" }, { LIBXL_DOMAIN_TYPE_HVM, "hvm" }, { LIBXL_DOMAIN_TYPE_PV, "pv" },
        { LIBXL_DOMAIN_TYPE_PVH, "pvh" }, { 0, NULL },
    };
    return name_of(names, (int)p);
}

const char *libxl_shutdown_reason_to_string(libxl_shutdown_reason p)
{
    static const struct name names[] = {
        { LIBXL_SHUTDOWN_REASON_UNKNOWN, "unknown" }, { LIBXL_SHUTDOWN_REASON_POWEROFF, "poweroff" },
        { LIBXL_SHUTDOWN_REASON_REBOOT, "reboot" }, { LIBXL_SHUTDOWN_REASON_SUSPEND, "suspend" },
        { LIBXL_SHUTDOWN_REASON_CRASH, "crash" }, { LIBXL_SHUTDOWN_REASON_WATCHDOG, "watchdog" },
        { LIBXL_SHUTDOWN_REASON_SOFT_RESET, "soft_reset" }, { 0, NULL },
    };
    return name_of(names, (int)p);
}

const char *libxl_scheduler_to_string(libxl_scheduler p)
{
    static const struct name names[] = {
        { LIBXL_SCHEDULER_UNKNOWN, "unknown" }, { LIBXL_SCHEDULER_SEDF, "sedf" }, { LIBXL_SCHEDULER_CREDIT, "credit" },
        { LIBXL_SCHEDULER_CREDIT2, "credit2" }, { LIBXL_SCHEDULER_ARINC653, "arinc653" },
        { LIBXL_SCHEDULER_RTDS, "rtds" }, { LIBXL_SCHEDULER_NULL, "null" }, { 0, NULL },
    };
    return name_of(names, (int)p);
}

int libxl_trigger_from_string(const char *s, libxl_trigger *e)
{
    static const struct name names[] = {
        { LIBXL_TRIGGER_UNKNOWN, "unknown" }, { LIBXL_TRIGGER_POWER, "power" }, { LIBXL_TRIGGER_SLEEP, "sleep" },
        { LIBXL_TRIGGER_NMI, "nmi" }, { LIBXL_TRIGGER_INIT, "init" }, { LIBXL_TRIGGER_RESET, "reset" },
        { LIBXL_TRIGGER_S3RESUME, "s3resume" }, { 0, NULL },
    };
    for (const struct name *known = names; known->name; known++)
        if (!strcasecmp(known->name, s)) {
            *e = (libxl_trigger)known->value;
            return 0;
        }
    return ERROR_INVAL;
}

/* ---- configurations as JSON ---- */

static int xen_minor(void)
{
    return (int)state()->knobs[KNOB_XEN_MINOR];
}

static int from_json(libxl_ctx *ctx, struct json **into, const struct field *fields, const char *text)
{
    struct json *given = json_parse(text, NULL), *kept;

    if (!given) {
        ctx_log(ctx, XTL_ERROR, ANY_DOMID, "unable to generate libxl__json_object from JSON representation");
        return ERROR_FAIL;
    }
    kept = schema_apply(fields, given, xen_minor());
    json_free(given);
    if (!kept) {
        ctx_log(ctx, XTL_ERROR, ANY_DOMID, "unable to convert libxl__json_object");
        return ERROR_FAIL;
    }
    json_free(*into);
    *into = kept;
    return 0;
}

static char *to_json(const struct json *json, const struct field *fields)
{
    struct json *initial = json ? NULL : schema_apply(fields, NULL, xen_minor());
    char *text = json_write(json ? json : initial);

    json_free(initial);
    return text;
}

/* What initialises, disposes of, reads and writes one type of configuration. NULL stands for all initial values. */
#define JSON_TYPE(type) \
    void libxl_##type##_init(libxl_##type *p) \
    { \
        p->json = NULL; \
    } \
    void libxl_##type##_dispose(libxl_##type *p) \
    { \
        if (!p) \
            return; \
        json_free(p->json); \
        p->json = NULL; \
    } \
    char *libxl_##type##_to_json(libxl_ctx *ctx, libxl_##type *p) \
    { \
        (void)ctx; \
        return to_json(p->json, schema_##type); \
    } \
    int libxl_##type##_from_json(libxl_ctx *ctx, libxl_##type *p, const char *s) \
    { \
        return from_json(ctx, &p->json, schema_##type, s); \
    }

JSON_TYPE(domain_config)
JSON_TYPE(device_disk)
JSON_TYPE(device_nic)

/* ---- plain structs ---- */

#define PLAIN_INIT(type) \
    void libxl_##type##_init(libxl_##type *p) \
    { \
        memset(p, 0, sizeof(*p)); \
    }

PLAIN_INIT(physinfo)
PLAIN_INIT(diskinfo)
PLAIN_INIT(nicinfo)

void libxl_physinfo_dispose(libxl_physinfo *p)
{
    libxl_physinfo_init(p);
}

void libxl_dominfo_init(libxl_dominfo *p)
{
    memset(p, 0, sizeof(*p));
    p->shutdown_reason = LIBXL_SHUTDOWN_REASON_UNKNOWN;
    p->domain_type = LIBXL_DOMAIN_TYPE_INVALID;
}

void libxl_dominfo_dispose(libxl_dominfo *p)
{
    libxl_dominfo_init(p);
}

void libxl_diskinfo_dispose(libxl_diskinfo *p)
{
    free(p->backend);
    free(p->frontend);
    libxl_diskinfo_init(p);
}

void libxl_nicinfo_dispose(libxl_nicinfo *p)
{
    free(p->backend);
    free(p->frontend);
    libxl_nicinfo_init(p);
}

void libxl_domain_sched_params_init(libxl_domain_sched_params *p)
{
    p->sched = LIBXL_SCHEDULER_UNKNOWN;
    p->weight = LIBXL_DOMAIN_SCHED_PARAM_WEIGHT_DEFAULT;
    p->cap = LIBXL_DOMAIN_SCHED_PARAM_CAP_DEFAULT;
}

void libxl_domain_sched_params_dispose(libxl_domain_sched_params *p)
{
    libxl_domain_sched_params_init(p);
}

/* ---- bitmaps ---- */

void libxl_bitmap_init(libxl_bitmap *map)
{
    memset(map, 0, sizeof(*map));
}

void libxl_bitmap_dispose(libxl_bitmap *map)
{
    free(map->map);
    libxl_bitmap_init(map);
}

int libxl_bitmap_alloc(libxl_ctx *ctx, libxl_bitmap *bitmap, int n_bits)
{
    (void)ctx;
    if (n_bits < 0)
        return ERROR_INVAL;
    bitmap->size = (uint32_t)(n_bits + 7) / 8;
    bitmap->map = must_alloc(bitmap->size);
    return 0;
}

int libxl_cpu_bitmap_alloc(libxl_ctx *ctx, libxl_bitmap *cpumap, int max_cpus)
{
    return libxl_bitmap_alloc(ctx, cpumap, max_cpus ? max_cpus : libxl_get_max_cpus(ctx));
}

static bool in_map(const libxl_bitmap *bitmap, int bit)
{
    return bit >= 0 && (uint32_t)bit < bitmap->size * 8;
}

void libxl_bitmap_set(libxl_bitmap *bitmap, int bit)
{
    if (in_map(bitmap, bit))
        bitmap->map[bit / 8] |= (uint8_t)(1 << (bit & 7));
}

void libxl_bitmap_reset(libxl_bitmap *bitmap, int bit)
{
    if (in_map(bitmap, bit))
        bitmap->map[bit / 8] &= (uint8_t)~(1 << (bit & 7));
}

int libxl_bitmap_test(const libxl_bitmap *bitmap, int bit)
{
    return in_map(bitmap, bit) && bitmap->map[bit / 8] >> (bit & 7) & 1;
}

int libxl_bitmap_count_set(const libxl_bitmap *bitmap)
{
    int count = 0;

    for (uint32_t bit = 0; bit < bitmap->size * 8; bit++)
        count += libxl_bitmap_test(bitmap, (int)bit);
    return count;
}
