/* Saving a guest to a stream, building one from it, and dumping its memory. */
#define _GNU_SOURCE
#include "guest.h"
#include "lifecycle.h"

#include "../glue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 16, POLL_MS = 20 };

static const char STREAM_BEGIN[16] = "xapid-mock-save1", STREAM_END[16] = "xapid-mock-end-1";

struct stream_header {
    char begin[16];
    int64_t counter_ns;
    uint64_t target_kib;
    int32_t type;
    uint32_t pv_drivers;
    uint32_t pages;
    uint32_t reserved;
};

/* ---- bytes in and out, without the lock; an abort ends the wait for a slow peer ---- */

static int wait_for(struct call *call, int fd, short events)
{
    struct pollfd poller = { .fd = fd, .events = events };

    while (poll(&poller, 1, POLL_MS) == 0)
        if (call_is_aborted(call))
            return ERROR_ABORTED;
    return call_is_aborted(call) ? ERROR_ABORTED : 0;
}

static int transfer(struct call *call, int fd, void *bytes, size_t length, bool out)
{
    char *at = bytes;
    int rc;

    while (length) {
        ssize_t moved;
        rc = wait_for(call, fd, out ? POLLOUT : POLLIN);
        if (rc)
            return rc;
        moved = out ? write(fd, at, length) : read(fd, at, length);
        if (moved < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (moved <= 0)
            return ERROR_FAIL;
        at += moved;
        length -= (size_t)moved;
    }
    return 0;
}

static void report_progress(struct call *call, unsigned long done)
{
    xentoollog_logger *lg = call->ctx->lg;

    if (lg && lg->progress)
        lg->progress(lg, "libxl-save-helper", "Memory", (int)(done * 100 / PAGES), done, PAGES);
}

/* The guest's memory, with the time that it takes spread over it. */
static int transfer_pages(struct call *call, int fd, bool out)
{
    int64_t page_ns = state()->knobs[KNOB_SAVE_MS] * NS_PER_MS / PAGES;
    char page[PAGE], expected[PAGE];
    int rc = 0;

    for (unsigned long i = 0; i < PAGES && !rc; i++) {
        memset(expected, (int)i, PAGE);
        memcpy(page, expected, PAGE);
        call_leave(call);
        rc = transfer(call, fd, page, PAGE, out);
        report_progress(call, i + 1);
        call_return(call);
        if (!rc && memcmp(page, expected, PAGE))
            rc = ERROR_FAIL;
        if (!rc)
            rc = call_wait(call, now_ns() + page_ns);
        if (i == PAGES / 2)
            call_midway(call);
    }
    return rc;
}

static int transfer_unlocked(struct call *call, int fd, void *bytes, size_t length, bool out)
{
    int rc;

    call_leave(call);
    rc = transfer(call, fd, bytes, length, out);
    call_return(call);
    return rc;
}

/* ---- suspend ---- */

static bool can_suspend(const struct domain *d)
{
    return d->shutdown || guest_listens(d);
}

/* Have the guest suspend itself; one without PV drivers is stopped from outside. */
static int suspend_guest(struct call *call)
{
    struct domain *d = domain_by_id(call->domid);
    bool cooperates = d->type == LIBXL_DOMAIN_TYPE_PV || domain_has_pv_drivers(d);
    int rc = cooperates ? guest_await(call, can_suspend) : 0;

    if (rc) {
        LOG_ERROR(call, "guest did not suspend");
        return rc == ERROR_TIMEDOUT ? ERROR_GUEST_TIMEDOUT : rc;
    }
    d = domain_by_id(call->domid);
    if (d->shutdown) {
        LOG_ERROR(call, "guest shut down instead of suspending");
        return ERROR_FAIL;
    }
    domain_open(d);
    domain_shut_down(d, LIBXL_SHUTDOWN_REASON_SUSPEND);
    state_commit();
    return 0;
}

static int write_header(struct call *call, int fd)
{
    const struct domain *d = domain_by_id(call->domid);
    struct stream_header header = { .pages = PAGES };

    memcpy(header.begin, STREAM_BEGIN, sizeof(header.begin));
    header.counter_ns = domain_counter_ns(d);
    header.target_kib = d->target_kib;
    header.type = (int32_t)d->type;
    header.pv_drivers = d->pv_drivers;
    return transfer_unlocked(call, fd, &header, sizeof(header), true);
}

int libxl_domain_suspend(libxl_ctx *ctx, uint32_t domid, int fd, int flags, const libxl_asyncop_how *ao_how)
{
    struct call call;
    struct domain *d;
    char end[sizeof(STREAM_END)];
    int rc;

    (void)flags;
    BEGIN_OPERATION(call, ctx, domid, ao_how);
    d = call_domain(&call);
    if (!d || d->dying || !d->finished)
        return call_end(&call, ERROR_FAIL);
    rc = suspend_guest(&call);
    if (!rc)
        rc = write_header(&call, fd);
    if (!rc)
        rc = transfer_pages(&call, fd, true);
    memcpy(end, STREAM_END, sizeof(end));
    if (!rc)
        rc = transfer_unlocked(&call, fd, end, sizeof(end), true);
    if (rc)
        LOG_ERROR(&call, "saving domain: domain did not respond or the stream failed: %d", rc);
    return call_end(&call, rc);
}

/* ---- restore ---- */

static int read_stream(struct call *call, int fd, struct guest_state *restored)
{
    struct stream_header header;
    char end[sizeof(STREAM_END)];
    int rc = transfer_unlocked(call, fd, &header, sizeof(header), false);

    if (!rc && (memcmp(header.begin, STREAM_BEGIN, sizeof(STREAM_BEGIN)) || header.pages != PAGES))
        rc = ERROR_FAIL;
    if (!rc)
        rc = transfer_pages(call, fd, false);
    if (!rc)
        rc = transfer_unlocked(call, fd, end, sizeof(end), false);
    if (!rc && memcmp(end, STREAM_END, sizeof(end)))
        rc = ERROR_FAIL;
    if (rc) {
        LOG_ERROR(call, "restoring domain: Failed to read the stream");
        return rc;
    }
    restored->counter_ns = header.counter_ns;
    restored->pv_drivers = header.pv_drivers;
    return 0;
}

int xapid_domain_create_restore(libxl_ctx *ctx, libxl_domain_config *d_config, uint32_t *domid, int fd)
{
    struct guest_state restored = { 0, false };
    struct call call;
    struct plan plan;
    int rc;

    plan_read(d_config->json, &plan);
    *domid = ANY_DOMID;
    if (!operation_begin(&call, ctx, "libxl_domain_create_restore", ANY_DOMID, &plan.uuid, NULL))
        return call.rc;
    rc = read_stream(&call, fd, &restored);
    if (!rc)
        rc = create_domain(&call, d_config, domid, &restored);
    return call_end(&call, rc);
}

/* ---- core dump ---- */

int libxl_domain_core_dump(libxl_ctx *ctx, uint32_t domid, const char *filename, const libxl_asyncop_how *ao_how)
{
    struct call call;
    const struct domain *d;
    char page[PAGE] = "xapid mock core";
    int fd, rc = 0;

    BEGIN_OPERATION(call, ctx, domid, ao_how);
    d = call_domain(&call);
    if (!d)
        return call_end(&call, ERROR_FAIL);
    fd = open(filename, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return call_end(&call, ERROR_FAIL);
    for (int i = 0; i < PAGES && !rc; i++)
        rc = write(fd, page, PAGE) == PAGE ? 0 : ERROR_FAIL;
    if (close(fd))
        rc = ERROR_FAIL;
    return call_end(&call, rc);
}
