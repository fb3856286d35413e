/* What libxl keeps beside a domain: userdata, the stored configuration; and where its console is. */
#define _GNU_SOURCE
#include "devices.h"
#include "schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- userdata ---- */

static struct userdata *find_userdata(struct domain *d, const char *key)
{
    for (int i = 0; i < USERDATA_KEYS; i++)
        if (!strcmp(d->userdata[i].key, key))
            return &d->userdata[i];
    return NULL;
}

/* A buffer that no key refers to: there is always one more than keys. */
static uint32_t spare_buffer(const struct domain *d)
{
    for (uint32_t buffer = 0;; buffer++) {
        bool used = false;
        for (int i = 0; i < USERDATA_KEYS; i++)
            used = used || (*d->userdata[i].key && d->userdata[i].buffer == buffer);
        if (!used)
            return buffer;
    }
}

int libxl_userdata_store(libxl_ctx *ctx, uint32_t domid, const char *userdata_userid, const uint8_t *data, int datalen)
{
    struct call call;
    struct domain *d;
    struct userdata *entry;
    uint32_t buffer;

    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    if (!d || d->dying)
        return call_end(&call, ERROR_LOCK_FAIL);
    if (!*userdata_userid || strlen(userdata_userid) >= USERDATA_KEY_MAX || datalen < 0)
        return call_end(&call, ERROR_INVAL);
    entry = find_userdata(d, userdata_userid);
    if (!entry && datalen)
        entry = find_userdata(d, "");
    if ((!entry && datalen) || datalen > USERDATA_MAX)
        return call_end(&call, ERROR_BUFFERFULL);
    domain_open(d);
    if (!datalen) {
        if (entry)
            entry->key[0] = 0;
        return call_end(&call, 0);
    }
    buffer = spare_buffer(d);
    memcpy(domain_blobs(d)->userdata[buffer], data, (size_t)datalen);
    strcpy(entry->key, userdata_userid);
    entry->buffer = buffer;
    entry->length = (uint32_t)datalen;
    state_changed();
    return call_end(&call, 0);
}

int libxl_userdata_retrieve(libxl_ctx *ctx, uint32_t domid, const char *userdata_userid, uint8_t **data_r,
                            int *datalen_r)
{
    struct call call;
    struct domain *d;
    const struct userdata *entry;

    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    if (!d)
        return call_end(&call, ERROR_LOCK_FAIL);
    entry = *userdata_userid ? find_userdata(d, userdata_userid) : NULL;
    if (data_r)
        *data_r = NULL;
    if (data_r && entry) {
        *data_r = must_alloc(entry->length);
        memcpy(*data_r, domain_blobs(d)->userdata[entry->buffer], entry->length);
    }
    if (datalen_r)
        *datalen_r = entry ? (int)entry->length : 0;
    return call_end(&call, 0);
}

int libxl_userdata_unlink(libxl_ctx *ctx, uint32_t domid, const char *userdata_userid)
{
    struct call call;
    struct domain *d;
    struct userdata *entry;

    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    if (!d)
        return call_end(&call, ERROR_LOCK_FAIL);
    entry = *userdata_userid ? find_userdata(d, userdata_userid) : NULL;
    if (entry) {
        domain_open(d);
        entry->key[0] = 0;
    }
    return call_end(&call, 0);
}

/* ---- the stored configuration, with what is true now ---- */

static void refresh(struct json *config, const struct domain *d)
{
    struct json *c_info = json_get(config, "c_info"), *b_info = json_get(config, "b_info"), *avail = json_array();

    json_set(c_info, "name", json_string(d->name));
    json_set(b_info, "max_memkb", json_integer((int64_t)d->max_kib));
    json_set(b_info, "target_memkb", json_integer((int64_t)d->target_kib));
    for (int i = 0; i < MAX_VCPUS; i++)
        if (d->online[i / 64] >> (i % 64) & 1)
            json_append(avail, json_integer(i));
    json_set(b_info, "avail_vcpus", avail);
    json_set(json_get(b_info, "sched_params"), "weight", json_integer(d->weight));
    json_set(json_get(b_info, "sched_params"), "cap", json_integer(d->cap));
}

int libxl_retrieve_domain_configuration(libxl_ctx *ctx, uint32_t domid, libxl_domain_config *d_config,
                                        const libxl_asyncop_how *ao_how)
{
    struct call call;
    const struct domain *d;
    struct json *config;

    BEGIN_OPERATION(call, ctx, domid, ao_how);
    d = call_domain(&call);
    if (!d)
        return call_end(&call, ERROR_LOCK_FAIL);
    config = domain_config_json(d);
    if (!config) {
        LOG_ERROR(&call, "no configuration is stored (yet)");
        return call_end(&call, ERROR_JSON_CONFIG_EMPTY);
    }
    refresh(config, d);
    json_free(d_config->json);
    d_config->json = schema_apply(schema_domain_config, config, (int)state()->knobs[KNOB_XEN_MINOR]);
    json_free(config);
    return call_end(&call, 0);
}

/* ---- consoles ---- */

static bool has_console(const struct domain *d, libxl_console_type type)
{
    struct json *config = domain_config_json(d);
    const struct json *hvm = json_get(json_get(config, "b_info"), "type.hvm");
    bool serial = json_get(hvm, "serial") || json_get(hvm, "serial_list");

    json_free(config);
    return d->finished && d->console_due_ns == NEVER && (type != LIBXL_CONSOLE_TYPE_SERIAL || serial);
}

static int get_tty(libxl_ctx *ctx, const char *function, uint32_t domid, libxl_console_type type, char **path)
{
    struct call call;
    const struct domain *d;
    char text[32];

    if (!call_begin(&call, ctx, function, domid, NULL))
        return call.rc;
    d = call_domain(&call);
    if (d && type == LIBXL_CONSOLE_TYPE_UNKNOWN)
        type = d->type == LIBXL_DOMAIN_TYPE_HVM ? LIBXL_CONSOLE_TYPE_SERIAL : LIBXL_CONSOLE_TYPE_PV;
    if (!d || !has_console(d, type)) {
        LOG_ERROR(&call, "unable to read console tty path");
        return call_end(&call, ERROR_INVAL);
    }
    snprintf(text, sizeof(text), "/dev/pts/%u", domid);
    *path = must_strdup(text);
    return call_end(&call, 0);
}

int libxl_primary_console_get_tty(libxl_ctx *ctx, uint32_t domid_vm, char **path)
{
    return get_tty(ctx, __func__, domid_vm, LIBXL_CONSOLE_TYPE_UNKNOWN, path);
}

int libxl_console_get_tty(libxl_ctx *ctx, uint32_t domid, int cons_num, libxl_console_type type, char **path)
{
    if (cons_num || (type != LIBXL_CONSOLE_TYPE_SERIAL && type != LIBXL_CONSOLE_TYPE_PV))
        return ERROR_INVAL;
    return get_tty(ctx, __func__, domid, type, path);
}
