/* Contexts of the mock, and the frame that every call of a libxl function runs in. */
#ifndef XAPID_MOCK_CONTEXT_H
#define XAPID_MOCK_CONTEXT_H

#include "state.h"

/* One call in progress. call_begin takes the state's lock and call_end gives it back. */
struct call {
    libxl_ctx *ctx;
    const char *function;
    uint32_t domid;
    bool abortable;             /* an asynchronous operation: libxl_ao_abort sees it */
    bool aborted;
    bool die_midway;
    int rc;                     /* what to answer when call_begin is false, or after the work was done */
    struct call *next;
};

struct libxl__evgen_domain_death {
    uint32_t domid;
    libxl_ev_user user;
    bool shutdown_reported, death_reported;
    struct libxl__evgen_domain_death *next;
};

struct libxl__ctx {
    xentoollog_logger *lg;
    struct call *calls;
    libxl_evgen_domain_death *evgens;
    libxl_event *events, **events_end;
    uint32_t seen_releases;
    bool scan;                  /* look at all domains, whatever was seen */
    libxl_version_info version;
};

/* False: answer call->rc at once, the lock is not held. domid may be ANY_DOMID, uuid NULL. */
bool call_begin(struct call *call, libxl_ctx *ctx, const char *function, uint32_t domid, const libxl_uuid *uuid);
/* The same for a function with an ao_how, which the mock accepts only as NULL. */
bool operation_begin(struct call *call, libxl_ctx *ctx, const char *function, uint32_t domid,
                     const libxl_uuid *uuid, const void *how);
/* The call's answer, given what the work came to. */
int call_end(struct call *call, int rc);
/* Where a rule says so, the process ends here. */
void call_midway(struct call *call);
/* Sleep without the lock: 0 when the time came, ERROR_ABORTED. The state may be another afterwards. */
int call_wait(struct call *call, int64_t until_ns);
/* Leave and retake the lock around work that may block. */
void call_leave(struct call *call);
void call_return(struct call *call);
bool call_is_aborted(const struct call *call);

void ctx_log(libxl_ctx *ctx, xentoollog_level level, uint32_t domid, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#define LOG_ERROR(call, ...) ctx_log((call)->ctx, XTL_ERROR, (call)->domid, __VA_ARGS__)

/* The domain of the call, or NULL with a line in the log. */
struct domain *call_domain(struct call *call);

#define BEGIN_CALL(call, ctx, domid) \
    if (!call_begin(&(call), (ctx), __func__, (domid), NULL)) \
        return (call).rc
#define BEGIN_OPERATION(call, ctx, domid, how) \
    if (!operation_begin(&(call), (ctx), __func__, (domid), NULL, (how))) \
        return (call).rc

#endif
