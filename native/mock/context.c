#define _GNU_SOURCE
#include "context.h"
#include "json.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- contexts ---- */

static char *format_version(const char *format, int minor)
{
    char text[200];

    snprintf(text, sizeof(text), format, minor, minor, minor);
    return must_strdup(text);
}

int libxl_ctx_alloc(libxl_ctx **pctx, int version, unsigned flags, xentoollog_logger *lg)
{
    libxl_ctx *ctx;
    int minor;

    (void)flags;
    *pctx = NULL;
    if (version != LIBXL_VERSION)
        return ERROR_VERSION;
    if (!state())
        return ERROR_FAIL;
    minor = (int)state()->knobs[KNOB_XEN_MINOR];
    ctx = must_alloc(sizeof(*ctx));
    ctx->lg = lg;
    ctx->events_end = &ctx->events;
    ctx->version = (libxl_version_info){
        .xen_version_major = 4, .xen_version_minor = minor, .pagesize = 4096,
        .xen_version_extra = must_strdup(".0-mock"), .compiler = must_strdup("cc"),
        .compile_by = must_strdup("xapid"), .compile_domain = must_strdup("mock"),
        .compile_date = must_strdup("Thu Jan  1 00:00:00 UTC 1970"),
        .capabilities = format_version("xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ", minor),
        .changeset = must_strdup(""), .commandline = must_strdup("mock"), .build_id = must_strdup(""),
    };
    *pctx = ctx;
    return 0;
}

int libxl_ctx_free(libxl_ctx *ctx)
{
    libxl_version_info *v;

    if (!ctx)
        return 0;
    if (ctx->calls) {
        fprintf(stderr, "libxl mock: Assertion failed: context freed during %s\n", ctx->calls->function);
        abort();
    }
    while (ctx->evgens)
        libxl_evdisable_domain_death(ctx, ctx->evgens);
    while (ctx->events) {
        libxl_event *event = ctx->events;
        ctx->events = event->next;
        libxl_event_free(ctx, event);
    }
    v = &ctx->version;
    free(v->xen_version_extra);
    free(v->compiler);
    free(v->compile_by);
    free(v->compile_domain);
    free(v->compile_date);
    free(v->capabilities);
    free(v->changeset);
    free(v->commandline);
    free(v->build_id);
    free(ctx);
    return 0;
}

const libxl_version_info *libxl_get_version_info(libxl_ctx *ctx)
{
    return &ctx->version;
}

static void __attribute__((format(printf, 3, 4)))
send_line(xentoollog_logger *lg, xentoollog_level level, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    lg->vmessage(lg, level, -1, "libxl", format, arguments);
    va_end(arguments);
}

void ctx_log(libxl_ctx *ctx, xentoollog_level level, uint32_t domid, const char *format, ...)
{
    char text[512];
    va_list arguments;

    if (!ctx->lg)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (domid == ANY_DOMID)
        send_line(ctx->lg, level, "%s", text);
    else
        send_line(ctx->lg, level, "Domain %u:%s", domid, text);
}

/* ---- rules: how a call is told to fail ---- */

static bool rule_matches(const struct rule *rule, const char *function, uint32_t domid, const libxl_uuid *uuid)
{
    const struct domain *d = domain_by_id(domid);

    if (!rule->remaining || (strcmp(rule->function, "*") && strcmp(rule->function, function)))
        return false;
    if (rule->domid != ANY_DOMID && rule->domid != domid)
        return false;
    if (!uuid && d)
        uuid = &d->uuid;
    return rule->any_uuid || (uuid && !memcmp(uuid, &rule->uuid, sizeof(*uuid)));
}

/* Sleep until xapid_mock_release, or the abort of the operation. */
static int hang(struct call *call)
{
    uint32_t seen = state()->releases_of_hangs;
    int entry = -1;

    for (int i = 0; i < 64; i++) {
        int32_t pid = state()->hanging[i];
        if (pid && kill(pid, 0) == 0)
            continue;
        entry = i;
        state()->hanging[i] = getpid();
        break;
    }
    state_changed();
    while (state()->releases_of_hangs == seen && !call->aborted)
        state_wait(NEVER);
    if (entry >= 0)
        state()->hanging[entry] = 0;
    state_changed();
    return call->aborted ? ERROR_ABORTED : 0;
}

static void die(const struct call *call)
{
    fprintf(stderr, "libxl mock: Assertion failed: told to abort in %s\n", call->function);
    abort();
}

/* True when the call goes on. */
static bool apply_rule(struct call *call, struct rule *rule)
{
    if (rule->remaining > 0)
        rule->remaining--;
    switch (rule->action) {
    case ACTION_FAIL:
        call->rc = rule->rc;
        ctx_log(call->ctx, XTL_ERROR, call->domid, "%s: told to fail with %d", call->function, rule->rc);
        return false;
    case ACTION_DO_THEN_FAIL:
        call->rc = rule->rc;
        return true;
    case ACTION_HANG:
        call->rc = hang(call);
        return call->rc == 0;
    case ACTION_ABORT:
        die(call);
        break;
    case ACTION_ABORT_MIDWAY:
        call->die_midway = true;
        break;
    }
    return true;
}

/* ---- the frame of a call ---- */

static bool begin(struct call *call, const libxl_uuid *uuid)
{
    state_lock();
    call->next = call->ctx->calls;
    call->ctx->calls = call;
    ctx_log(call->ctx, XTL_DEBUG, call->domid, "%s: begins", call->function);
    for (int i = 0; i < MAX_RULES; i++) {
        if (!rule_matches(&state()->rules[i], call->function, call->domid, uuid))
            continue;
        if (apply_rule(call, &state()->rules[i]))
            break;
        call->rc = call_end(call, call->rc);
        return false;
    }
    return true;
}

bool call_begin(struct call *call, libxl_ctx *ctx, const char *function, uint32_t domid, const libxl_uuid *uuid)
{
    *call = (struct call){ .ctx = ctx, .function = function, .domid = domid };
    return begin(call, uuid);
}

bool operation_begin(struct call *call, libxl_ctx *ctx, const char *function, uint32_t domid,
                     const libxl_uuid *uuid, const void *how)
{
    *call = (struct call){ .ctx = ctx, .function = function, .domid = domid, .abortable = true };
    if (how) {
        ctx_log(ctx, XTL_ERROR, domid, "%s: the mock has no asynchronous operations", function);
        call->rc = ERROR_NI;
        return false;
    }
    return begin(call, uuid);
}

int call_end(struct call *call, int rc)
{
    struct call **link = &call->ctx->calls;

    if (!rc)
        rc = call->rc;
    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
    ctx_log(call->ctx, XTL_DEBUG, call->domid, "%s: ends with %d", call->function, rc);
    state_unlock();
    return rc;
}

void call_midway(struct call *call)
{
    if (call->die_midway)
        die(call);
}

bool call_is_aborted(const struct call *call)
{
    return __atomic_load_n(&call->aborted, __ATOMIC_SEQ_CST);
}

int call_wait(struct call *call, int64_t until_ns)
{
    while (!call->aborted && now_ns() < until_ns)
        state_wait(until_ns);
    return call->aborted ? ERROR_ABORTED : 0;
}

void call_leave(struct call *call)
{
    (void)call;
    state_unlock();
}

void call_return(struct call *call)
{
    (void)call;
    state_lock();
}

struct domain *call_domain(struct call *call)
{
    struct domain *d = domain_by_id(call->domid);

    if (!d)
        LOG_ERROR(call, "%s: no such domain", call->function);
    return d;
}

int libxl_ao_abort(libxl_ctx *ctx, const libxl_asyncop_how *how)
{
    int rc = ERROR_NOTFOUND;

    if (how)
        return ERROR_NOTFOUND;
    state_lock();
    for (struct call *call = ctx->calls; call; call = call->next) {
        if (!call->abortable)
            continue;
        rc = call->aborted ? ERROR_ABORTED : 0;
        __atomic_store_n(&call->aborted, true, __ATOMIC_SEQ_CST);
        break;
    }
    state_changed();
    state_unlock();
    return rc;
}

/* ---- events ---- */

static void add_event(libxl_ctx *ctx, const libxl_evgen_domain_death *evgen, libxl_event_type type, int reason)
{
    libxl_event *event = must_alloc(sizeof(*event));

    event->domid = evgen->domid;
    event->for_user = evgen->user;
    event->type = type;
    event->u.domain_shutdown.shutdown_reason = (uint8_t)reason;
    *ctx->events_end = event;
    ctx->events_end = &event->next;
}

/* As libxl does when @releaseDomain fires: each shutdown and each death once for each evgen. */
static void scan_domains(libxl_ctx *ctx)
{
    if (!ctx->scan && ctx->seen_releases == state()->host.releases)
        return;
    ctx->scan = false;
    ctx->seen_releases = state()->host.releases;
    for (libxl_evgen_domain_death *evgen = ctx->evgens; evgen; evgen = evgen->next) {
        const struct domain *d = domain_by_id(evgen->domid);
        if (evgen->death_reported)
            continue;
        if (!d || d->dying) {
            add_event(ctx, evgen, LIBXL_EVENT_TYPE_DOMAIN_DEATH, 0);
            evgen->death_reported = true;
        } else if (d->shutdown && !evgen->shutdown_reported) {
            add_event(ctx, evgen, LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN, (int)d->reason);
            evgen->shutdown_reported = true;
        }
    }
}

static libxl_event *take_event(libxl_ctx *ctx, uint64_t typemask, libxl_event_predicate *predicate, void *user)
{
    for (libxl_event **link = &ctx->events; *link; link = &(*link)->next) {
        libxl_event *event = *link;
        if (!(typemask & (UINT64_C(1) << event->type)) || (predicate && !predicate(event, user)))
            continue;
        *link = event->next;
        if (ctx->events_end == &event->next)
            ctx->events_end = link;
        return event;
    }
    return NULL;
}

int libxl_event_check(libxl_ctx *ctx, libxl_event **event_r, uint64_t typemask, libxl_event_predicate *predicate,
                      void *predicate_user)
{
    struct call call;

    BEGIN_CALL(call, ctx, ANY_DOMID);
    scan_domains(ctx);
    *event_r = take_event(ctx, typemask, predicate, predicate_user);
    return call_end(&call, *event_r ? 0 : ERROR_NOT_READY);
}

int libxl_event_wait(libxl_ctx *ctx, libxl_event **event_r, uint64_t typemask, libxl_event_predicate *predicate,
                     void *predicate_user)
{
    struct call call;

    BEGIN_CALL(call, ctx, ANY_DOMID);
    for (;;) {
        scan_domains(ctx);
        *event_r = take_event(ctx, typemask, predicate, predicate_user);
        if (*event_r)
            return call_end(&call, 0);
        state_wait(NEVER);
    }
}

void libxl_event_free(libxl_ctx *ctx, libxl_event *event)
{
    (void)ctx;
    free(event);
}

int libxl_evenable_domain_death(libxl_ctx *ctx, uint32_t domid, libxl_ev_user user,
                                libxl_evgen_domain_death **evgen_out)
{
    struct call call;
    libxl_evgen_domain_death *evgen;

    BEGIN_CALL(call, ctx, domid);
    evgen = must_alloc(sizeof(*evgen));
    evgen->domid = domid;
    evgen->user = user;
    /* Only the first one sets the watch, which fires at once: libxl does not look again for later ones. */
    if (!ctx->evgens)
        ctx->scan = true;
    evgen->next = ctx->evgens;
    ctx->evgens = evgen;
    *evgen_out = evgen;
    state_changed();
    return call_end(&call, 0);
}

void libxl_evdisable_domain_death(libxl_ctx *ctx, libxl_evgen_domain_death *evgen)
{
    libxl_evgen_domain_death **link = &ctx->evgens;

    if (!evgen)
        return;
    state_lock();
    while (*link && *link != evgen)
        link = &(*link)->next;
    if (*link)
        *link = evgen->next;
    state_unlock();
    free(evgen);
}
