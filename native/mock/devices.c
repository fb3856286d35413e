#define _GNU_SOURCE
#include "devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

enum { MAJOR_XVD = 202, MAJOR_HDA = 3, MAJOR_HDC = 22, MAJOR_SD = 8, STATE_INIT_WAIT = 2, STATE_CONNECTED = 4 };

/* Which list of the configuration, and which members name one device of it. */
struct device_class {
    const char *list;
    const char *keys[2];
};

static const struct device_class DISKS = { "disks", { "vdev", NULL } }, NICS = { "nics", { "mac", "devid" } };

/* ---- stored configurations ---- */

struct json *domain_config_json(const struct domain *domain)
{
    char *text = domain_config_text(domain);
    struct json *config = text ? json_parse(text, NULL) : NULL;

    free(text);
    return config;
}

int domain_store_config(struct domain *domain, const struct json *config)
{
    char *text = json_write(config);
    int rc;

    domain_open(domain);
    rc = domain_set_config(domain, text);
    free(text);
    state_changed();
    return rc;
}

/* ---- finding a device in a list ---- */

static bool same_member(const struct json *a, const struct json *b)
{
    if (!a || !b || a->kind != b->kind)
        return false;
    return a->kind == JSON_STRING ? !strcasecmp(a->text, b->text) : a->number == b->number;
}

/* Its index, or -1. */
static int find_device(const struct json *config, const struct device_class *class, const struct json *device)
{
    const struct json *list = json_get(config, class->list);

    for (size_t i = 0; list && i < list->count; i++)
        for (int k = 0; k < 2 && class->keys[k]; k++)
            if (same_member(json_get(list->items[i], class->keys[k]), json_get(device, class->keys[k])))
                return (int)i;
    return -1;
}

static struct json *device_list(struct json *config, const struct device_class *class)
{
    if (!json_get(config, class->list))
        json_set(config, class->list, json_array());
    return json_get(config, class->list);
}

/* ---- what libxl fills in ---- */

/* What precedes the letters of a disk: xvd, hd or sd; NULL for others. */
static const char *vdev_prefix(const char *vdev)
{
    static const char *const prefixes[] = { "xvd", "hd", "sd" };

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (!strncmp(vdev, prefixes[i], strlen(prefixes[i])))
            return prefixes[i];
    return NULL;
}

/* The number of a virtual disk such as xvdb, hdc, sda1 (Xen's vbd-interface document), or -1. */
static int vdev_number(const char *vdev)
{
    const char *prefix = vdev_prefix(vdev), *p;
    unsigned disk = 0, part = 0;
    int used;

    if (!prefix)
        return -1;
    p = vdev + strlen(prefix);
    if (*p < 'a' || *p > 'z')
        return -1;
    for (unsigned letters = 0; *p >= 'a' && *p <= 'z' && disk < 4096; p++)
        disk = (letters++ ? disk + 1 : 0) * 26 + (unsigned)(*p - 'a');
    if (*p && (sscanf(p, "%u%n", &part, &used) != 1 || p[used] || part > 255))
        return -1;
    if (*prefix == 'h')
        return disk < 4 && part < 64 ? (int)((disk < 2 ? MAJOR_HDA : MAJOR_HDC) << 8 | (disk & 1) << 6 | part) : -1;
    if (*prefix == 's')
        return disk < 16 && part < 16 ? (int)(MAJOR_SD << 8 | disk << 4 | part) : -1;
    return disk < 16 && part < 16 ? (int)(MAJOR_XVD << 8 | disk << 4 | part) : (int)(1u << 28 | disk << 8 | part);
}

static int set_disk_defaults(struct call *call, struct json *disk)
{
    const char *vdev = json_get_string(disk, "vdev"), *path = json_get_string(disk, "pdev_path");
    const char *format = json_get_string(disk, "format");
    bool empty = format && !strcmp(format, "empty");

    if (!vdev || vdev_number(vdev) < 0) {
        LOG_ERROR(call, "Invalid or unsupported virtual disk identifier %s", vdev ? vdev : "(none)");
        return ERROR_INVAL;
    }
    if (!path && !empty && !json_get_integer(disk, "is_cdrom", 0)) {
        LOG_ERROR(call, "Disk vdev=%s has no target", vdev);
        return ERROR_INVAL;
    }
    if (!format)
        json_set(disk, "format", json_string(path ? "raw" : "empty"));
    if (!json_get(disk, "backend"))
        json_set(disk, "backend", json_string(path && !strncmp(path, "/dev/", 5) ? "phy" : "qdisk"));
    return 0;
}

static int set_nic_defaults(struct json *nic, const struct json *config)
{
    struct json probe = { .kind = JSON_OBJECT };
    unsigned char random[3] = { 0 };
    char mac[18];
    int64_t devid = 0;
    bool taken = true;

    if (!json_get(nic, "mac")) {
        if (getrandom(random, sizeof(random), 0) < 0)
            return ERROR_FAIL;
        snprintf(mac, sizeof(mac), "00:16:3e:%02x:%02x:%02x", random[0] & 0x7f, random[1], random[2]);
        json_set(nic, "mac", json_string(mac));
    }
    while (!json_get(nic, "devid") && taken) {
        struct json *number = json_integer(devid);
        json_set(&probe, "devid", number);
        taken = find_device(config, &NICS, &probe) >= 0;
        if (!taken)
            json_set(nic, "devid", json_copy(number));
        json_unset(&probe, "devid");
        devid++;
    }
    free(probe.items);
    free(probe.keys);
    return 0;
}

static int set_defaults(struct call *call, const struct device_class *class, struct json *device,
                        const struct json *config)
{
    return class == &DISKS ? set_disk_defaults(call, device) : set_nic_defaults(device, config);
}

static int check_list(struct call *call, struct json *config, const struct device_class *class)
{
    struct json *list = json_get(config, class->list);
    int rc = 0;

    for (size_t i = 0; list && i < list->count && !rc; i++) {
        rc = set_defaults(call, class, list->items[i], config);
        if (!rc && find_device(config, class, list->items[i]) != (int)i) {
            LOG_ERROR(call, "two devices of one identity in %s", class->list);
            rc = ERROR_DEVICE_EXISTS;
        }
    }
    return rc;
}

int devices_set_defaults(struct call *call, struct json *config)
{
    int rc = check_list(call, config, &DISKS);
    return rc ? rc : check_list(call, config, &NICS);
}

static bool served_by_model(const struct json *disk)
{
    const char *backend = json_get_string(disk, "backend");

    return backend && !strcmp(backend, "qdisk");
}

bool devices_need_model(const struct json *config, libxl_domain_type type)
{
    const struct json *disks = json_get(config, "disks"), *channels = json_get(config, "channels");
    const struct json *screens = json_get(config, "vfbs");
    bool needed = type == LIBXL_DOMAIN_TYPE_HVM || (channels && channels->count) || (screens && screens->count);

    for (size_t i = 0; disks && i < disks->count && !needed; i++)
        needed = served_by_model(disks->items[i]);
    return needed;
}

/* ---- adding ---- */

static int add_device(libxl_ctx *ctx, const char *function, uint32_t domid, const struct device_class *class,
                      struct json *device, const libxl_asyncop_how *ao_how)
{
    struct call call;
    struct domain *d;
    struct json *config = NULL;
    int rc;

    if (!operation_begin(&call, ctx, function, domid, NULL, ao_how))
        return call.rc;
    d = call_domain(&call);
    if (d && !d->dying)
        config = domain_config_json(d);
    if (!config || !device) {
        json_free(config);
        return call_end(&call, ERROR_FAIL);
    }
    rc = set_defaults(&call, class, device, config);
    if (!rc && find_device(config, class, device) >= 0) {
        LOG_ERROR(&call, "device already exists");
        rc = ERROR_DEVICE_EXISTS;
    }
    if (!rc && class == &DISKS && served_by_model(device) && !d->device_model) {
        LOG_ERROR(&call, "Domain %u:device model required but not running", domid);
        rc = ERROR_FAIL;
    }
    if (!rc) {
        json_append(device_list(config, class), json_copy(device));
        rc = domain_store_config(d, config);
    }
    json_free(config);
    return call_end(&call, rc);
}

int libxl_device_disk_add(libxl_ctx *ctx, uint32_t domid, libxl_device_disk *disk, const libxl_asyncop_how *ao_how)
{
    return add_device(ctx, __func__, domid, &DISKS, disk->json, ao_how);
}

int libxl_device_nic_add(libxl_ctx *ctx, uint32_t domid, libxl_device_nic *nic, const libxl_asyncop_how *ao_how)
{
    return add_device(ctx, __func__, domid, &NICS, nic->json, ao_how);
}

/* ---- removing ---- */

enum force { NEVER_FORCE, FORCE_LATE, FORCE_NOW };

/* The guest lets go of its device. */
static bool lets_go(const struct domain *d)
{
    return d->shutdown || (domain_runs(d) && domain_has_pv_drivers(d) && !d->refuse_unplug);
}

static int await_unplug(struct call *call, enum force force)
{
    const int64_t *knobs = state()->knobs;
    int64_t give_up = now_ns() + knobs[KNOB_UNPLUG_TIMEOUT_MS] * NS_PER_MS;
    int64_t done = now_ns() + knobs[KNOB_UNPLUG_MS] * NS_PER_MS;
    const struct domain *d;

    for (;;) {
        d = domain_by_id(call->domid);
        if (!d || d->dying)
            return ERROR_FAIL;
        if (call->aborted)
            return ERROR_ABORTED;
        if (force == FORCE_NOW || (lets_go(d) && now_ns() >= done))
            return 0;
        if (now_ns() >= give_up)
            break;
        state_wait(lets_go(d) && done < give_up ? done : give_up);
    }
    if (force == FORCE_LATE)
        return 0;
    LOG_ERROR(call, "unable to remove device: the guest does not let go");
    return ERROR_TIMEDOUT;
}

static int remove_device(libxl_ctx *ctx, const char *function, uint32_t domid, const struct device_class *class,
                         const struct json *device, enum force force, const libxl_asyncop_how *ao_how)
{
    struct call call;
    struct domain *d;
    struct json *config;
    int rc, at;

    if (!operation_begin(&call, ctx, function, domid, NULL, ao_how))
        return call.rc;
    d = call_domain(&call);
    config = d ? domain_config_json(d) : NULL;
    rc = !config ? ERROR_FAIL : find_device(config, class, device) < 0 ? ERROR_NOTFOUND : 0;
    json_free(config);
    if (!rc)
        rc = await_unplug(&call, force);
    if (rc)
        return call_end(&call, rc);
    d = domain_by_id(domid);
    config = domain_config_json(d);
    at = find_device(config, class, device);
    if (at >= 0) {
        json_remove(device_list(config, class), (size_t)at);
        rc = domain_store_config(d, config);
    }
    json_free(config);
    return call_end(&call, rc);
}

#define REMOVER(name, type, class, force) \
    int libxl_device_##type##_##name(libxl_ctx *ctx, uint32_t domid, libxl_device_##type *type, \
                                     const libxl_asyncop_how *ao_how) \
    { \
        return remove_device(ctx, __func__, domid, &class, type->json, force, ao_how); \
    }

REMOVER(remove, disk, DISKS, FORCE_LATE)
REMOVER(safe_remove, disk, DISKS, NEVER_FORCE)
REMOVER(destroy, disk, DISKS, FORCE_NOW)
REMOVER(remove, nic, NICS, FORCE_LATE)
REMOVER(destroy, nic, NICS, FORCE_NOW)

/* ---- listing ---- */

/* Copies of the devices' JSON in an array of one pointer each, which is what a device is in the mock. */
static struct json **list_devices(libxl_ctx *ctx, const char *function, uint32_t domid,
                                  const struct device_class *class, int *num)
{
    struct call call;
    const struct domain *d;
    struct json **list = NULL, *config, *devices;

    *num = 0;
    if (!call_begin(&call, ctx, function, domid, NULL))
        return NULL;
    d = call_domain(&call);
    config = d ? domain_config_json(d) : NULL;
    devices = json_get(config, class->list);
    if (devices && devices->count) {
        list = must_alloc(devices->count * sizeof(*list));
        for (size_t i = 0; i < devices->count; i++)
            list[(*num)++] = json_copy(devices->items[i]);
    }
    json_free(config);
    call_end(&call, 0);
    return list;
}

libxl_device_disk *libxl_device_disk_list(libxl_ctx *ctx, uint32_t domid, int *num)
{
    return (libxl_device_disk *)list_devices(ctx, __func__, domid, &DISKS, num);
}

libxl_device_nic *libxl_device_nic_list(libxl_ctx *ctx, uint32_t domid, int *num)
{
    return (libxl_device_nic *)list_devices(ctx, __func__, domid, &NICS, num);
}

void libxl_device_disk_list_free(libxl_device_disk *list, int num)
{
    for (int i = 0; i < num; i++)
        libxl_device_disk_dispose(&list[i]);
    free(list);
}

void libxl_device_nic_list_free(libxl_device_nic *list, int num)
{
    for (int i = 0; i < num; i++)
        libxl_device_nic_dispose(&list[i]);
    free(list);
}

/* A copy of the device that probe (taken over) names, or NULL and an error. */
static struct json *look_up(libxl_ctx *ctx, const char *function, uint32_t domid, const struct device_class *class,
                            struct json *probe, int missing, int *rc)
{
    struct call call;
    const struct domain *d;
    struct json *config, *found = NULL;
    int at;

    if (!call_begin(&call, ctx, function, domid, NULL)) {
        json_free(probe);
        *rc = call.rc;
        return NULL;
    }
    d = call_domain(&call);
    config = d ? domain_config_json(d) : NULL;
    at = find_device(config, class, probe);
    if (at >= 0)
        found = json_copy(json_get(config, class->list)->items[at]);
    json_free(config);
    json_free(probe);
    *rc = call_end(&call, found ? 0 : missing);
    return found;
}

static struct json *probe_of(const char *key, struct json *value)
{
    struct json *probe = json_object();

    json_set(probe, key, value);
    return probe;
}

int libxl_vdev_to_device_disk(libxl_ctx *ctx, uint32_t domid, const char *vdev, libxl_device_disk *disk)
{
    int rc;

    disk->json = look_up(ctx, __func__, domid, &DISKS, probe_of("vdev", json_string(vdev)), ERROR_FAIL, &rc);
    return rc;
}

int libxl_mac_to_device_nic(libxl_ctx *ctx, uint32_t domid, const char *mac, libxl_device_nic *nic)
{
    int rc;

    nic->json = look_up(ctx, __func__, domid, &NICS, probe_of("mac", json_string(mac)), ERROR_INVAL, &rc);
    return rc;
}

int libxl_devid_to_device_nic(libxl_ctx *ctx, uint32_t domid, int devid, libxl_device_nic *nic)
{
    int rc;

    nic->json = look_up(ctx, __func__, domid, &NICS, probe_of("devid", json_integer(devid)), ERROR_FAIL, &rc);
    return rc;
}

/* ---- the state of one device ---- */

static char *xenstore_path(const char *format, uint32_t domid, int devid)
{
    char path[96];

    snprintf(path, sizeof(path), format, domid, devid);
    return must_strdup(path);
}

static int xenbus_state(const struct domain *d)
{
    return d && domain_has_pv_drivers(d) ? STATE_CONNECTED : STATE_INIT_WAIT;
}

int libxl_device_disk_getinfo(libxl_ctx *ctx, uint32_t domid, const libxl_device_disk *disk, libxl_diskinfo *diskinfo)
{
    struct call call;
    const struct domain *d;
    struct json *config;
    int at;

    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    config = d ? domain_config_json(d) : NULL;
    at = find_device(config, &DISKS, disk->json);
    json_free(config);
    if (at < 0)
        return call_end(&call, ERROR_FAIL);
    libxl_diskinfo_init(diskinfo);
    diskinfo->devid = vdev_number(json_get_string(disk->json, "vdev"));
    diskinfo->backend = xenstore_path("/local/domain/0/backend/vbd/%u/%d", domid, diskinfo->devid);
    diskinfo->frontend = xenstore_path("/local/domain/%u/device/vbd/%d", domid, diskinfo->devid);
    diskinfo->frontend_id = domid;
    diskinfo->state = xenbus_state(d);
    diskinfo->evtch = diskinfo->rref = diskinfo->state == STATE_CONNECTED ? diskinfo->devid & 0xff : -1;
    return call_end(&call, 0);
}

int libxl_device_nic_getinfo(libxl_ctx *ctx, uint32_t domid, const libxl_device_nic *nic, libxl_nicinfo *nicinfo)
{
    struct call call;
    const struct domain *d;
    struct json *config;
    int at;

    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    config = d ? domain_config_json(d) : NULL;
    at = find_device(config, &NICS, nic->json);
    json_free(config);
    if (at < 0)
        return call_end(&call, ERROR_FAIL);
    libxl_nicinfo_init(nicinfo);
    nicinfo->devid = (int)json_get_integer(nic->json, "devid", -1);
    nicinfo->backend = xenstore_path("/local/domain/0/backend/vif/%u/%d", domid, nicinfo->devid);
    nicinfo->frontend = xenstore_path("/local/domain/%u/device/vif/%d", domid, nicinfo->devid);
    nicinfo->frontend_id = domid;
    nicinfo->state = xenbus_state(d);
    nicinfo->evtch = nicinfo->rref_rx = nicinfo->rref_tx = nicinfo->state == STATE_CONNECTED ? 16 : -1;
    return call_end(&call, 0);
}

/* ---- CD drives ---- */

int libxl_cdrom_insert(libxl_ctx *ctx, uint32_t domid, libxl_device_disk *disk, const libxl_asyncop_how *ao_how)
{
    struct call call;
    struct domain *d;
    struct json *config, *drive;
    int at, rc = ERROR_FAIL;

    BEGIN_OPERATION(call, ctx, domid, ao_how);
    d = call_domain(&call);
    if (!d || d->type != LIBXL_DOMAIN_TYPE_HVM || !json_get_integer(disk->json, "is_cdrom", 0)) {
        LOG_ERROR(&call, "cdrom-insert requires an HVM domain and a CD drive");
        return call_end(&call, ERROR_INVAL);
    }
    config = domain_config_json(d);
    at = find_device(config, &DISKS, disk->json);
    drive = at < 0 ? NULL : json_get(config, "disks")->items[at];
    if (drive && json_get_integer(drive, "is_cdrom", 0)) {
        rc = set_disk_defaults(&call, disk->json);
        if (!rc) {
            json_remove(json_get(config, "disks"), (size_t)at);
            json_append(json_get(config, "disks"), json_copy(disk->json));
            rc = domain_store_config(d, config);
        }
    } else {
        LOG_ERROR(&call, "Virtual device not found");
    }
    json_free(config);
    return call_end(&call, rc);
}
