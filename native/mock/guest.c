/* What the host asks of a running guest: shutdown, reboot, triggers, keys. */
#include "guest.h"

#include <string.h>

static int64_t shutdown_delay_ns(const struct domain *d)
{
    return (d->shutdown_ms >= 0 ? d->shutdown_ms : state()->knobs[KNOB_SHUTDOWN_MS]) * NS_PER_MS;
}

void guest_begin_shutdown(struct domain *d, libxl_shutdown_reason reason)
{
    d->due_reason = reason;
    domain_due(d, &d->shutdown_due_ns, now_ns() + shutdown_delay_ns(d));
}

/* libxl asks the hypervisor whether an HVM or PVH guest has set up its event channels. */
static bool pv_control_available(const struct domain *d)
{
    return d->type == LIBXL_DOMAIN_TYPE_PV || domain_has_pv_drivers(d);
}

int guest_await(struct call *call, bool (*ready)(const struct domain *))
{
    int64_t give_up = now_ns() + state()->knobs[KNOB_ACK_TIMEOUT_MS] * NS_PER_MS;
    int64_t acknowledged = now_ns() + state()->knobs[KNOB_ACK_MS] * NS_PER_MS;
    const struct domain *d;

    for (;;) {
        d = domain_by_id(call->domid);
        if (!d || d->dying)
            return ERROR_FAIL;
        if (call->aborted)
            return ERROR_ABORTED;
        if (ready(d) && now_ns() >= acknowledged)
            return 0;
        if (now_ns() >= give_up)
            return ERROR_TIMEDOUT;
        state_wait(ready(d) && acknowledged < give_up ? acknowledged : give_up);
    }
}

bool guest_listens(const struct domain *d)
{
    return domain_runs(d) && d->booted && d->ignore_shutdown != 1;
}

static int request(libxl_ctx *ctx, const char *function, uint32_t domid, libxl_shutdown_reason reason,
                   const libxl_asyncop_how *ao_how)
{
    struct call call;
    struct domain *d;
    int rc;

    if (!operation_begin(&call, ctx, function, domid, NULL, ao_how))
        return call.rc;
    d = call_domain(&call);
    if (!d)
        return call_end(&call, ERROR_FAIL);
    if (!pv_control_available(d)) {
        LOG_ERROR(&call, "PV control mechanism not available");
        return call_end(&call, ERROR_NOPARAVIRT);
    }
    domain_open(d);
    d->shutdown_requests++;
    state_commit();
    rc = guest_await(&call, guest_listens);
    if (rc == ERROR_TIMEDOUT)
        LOG_ERROR(&call, "guest didn't acknowledge control request");
    d = domain_by_id(domid);
    if (!rc && !d->ignore_shutdown) {
        domain_open(d);
        guest_begin_shutdown(d, reason);
    }
    return call_end(&call, rc);
}

int libxl_domain_shutdown(libxl_ctx *ctx, uint32_t domid, const libxl_asyncop_how *ao_how)
{
    return request(ctx, __func__, domid, LIBXL_SHUTDOWN_REASON_POWEROFF, ao_how);
}

int libxl_domain_reboot(libxl_ctx *ctx, uint32_t domid, const libxl_asyncop_how *ao_how)
{
    return request(ctx, __func__, domid, LIBXL_SHUTDOWN_REASON_REBOOT, ao_how);
}

int libxl_domain_resume(libxl_ctx *ctx, uint32_t domid, int suspend_cancel, const libxl_asyncop_how *ao_how)
{
    struct call call;
    struct domain *d;

    (void)suspend_cancel;
    BEGIN_OPERATION(call, ctx, domid, ao_how);
    d = call_domain(&call);
    if (!d || d->dying || !d->shutdown || d->reason != LIBXL_SHUTDOWN_REASON_SUSPEND) {
        LOG_ERROR(&call, "xc_domain_resume failed: not suspended");
        return call_end(&call, ERROR_FAIL);
    }
    domain_open(d);
    d->shutdown = false;
    d->reason = LIBXL_SHUTDOWN_REASON_POWEROFF;
    domain_clock(d);
    state_changed();
    return call_end(&call, 0);
}

int libxl_send_trigger(libxl_ctx *ctx, uint32_t domid, libxl_trigger trigger, uint32_t vcpuid,
                       const libxl_asyncop_how *ao_how)
{
    struct call call;
    struct domain *d;

    BEGIN_OPERATION(call, ctx, domid, ao_how);
    d = call_domain(&call);
    if (!d || d->dying || d->type == LIBXL_DOMAIN_TYPE_PV || vcpuid >= d->max_vcpus) {
        LOG_ERROR(&call, "Send trigger '%d' failed", (int)trigger);
        return call_end(&call, ERROR_FAIL);
    }
    if (trigger == LIBXL_TRIGGER_UNKNOWN || trigger > LIBXL_TRIGGER_S3RESUME)
        return call_end(&call, ERROR_INVAL);
    domain_open(d);
    d->last_trigger = (int)trigger;
    if (trigger == LIBXL_TRIGGER_POWER && guest_listens(d) && !d->ignore_shutdown)
        guest_begin_shutdown(d, LIBXL_SHUTDOWN_REASON_POWEROFF);
    if (trigger == LIBXL_TRIGGER_RESET && domain_runs(d))
        domain_shut_down(d, LIBXL_SHUTDOWN_REASON_REBOOT);
    return call_end(&call, 0);
}

int libxl_send_sysrq(libxl_ctx *ctx, uint32_t domid, char sysrq)
{
    struct call call;
    struct domain *d;

    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    if (!d || d->dying)
        return call_end(&call, ERROR_FAIL);
    if (!pv_control_available(d))
        return call_end(&call, ERROR_NOPARAVIRT);
    domain_open(d);
    d->last_sysrq = (unsigned char)sysrq;
    if (domain_runs(d) && d->booted && (sysrq == 'c' || sysrq == 'b' || sysrq == 'o'))
        domain_shut_down(d, sysrq == 'c' ? LIBXL_SHUTDOWN_REASON_CRASH
                            : sysrq == 'b' ? LIBXL_SHUTDOWN_REASON_REBOOT : LIBXL_SHUTDOWN_REASON_POWEROFF);
    return call_end(&call, 0);
}
