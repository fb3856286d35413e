#define _GNU_SOURCE
#include "glue.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the logger ---- */

struct xapid_logger {
    xentoollog_logger base;         /* first: libxl sees only this */
    int fd;
    int min_level;
    pid_t owner;
    _Atomic uint64_t dropped;
};

static struct xapid_logger *logger_of(xentoollog_logger *base)
{
    return (struct xapid_logger *)base;
}

/* text with control characters as blanks, cut at room bytes, not in the middle of a UTF-8 sequence. */
static size_t put_clean(char *to, size_t room, const char *text)
{
    size_t used = 0;

    for (const unsigned char *p = (const unsigned char *)text; *p && used < room; p++)
        to[used++] = (char)(*p < 0x20 || *p == 0x7f ? ' ' : *p);
    if (used == room && ((unsigned char)text[used] & 0xc0) == 0x80) {
        while (used && ((unsigned char)to[used - 1] & 0xc0) == 0x80)
            used--;
        if (used)
            used--;
    }
    while (used && to[used - 1] == ' ')
        used--;
    return used;
}

void xapid_logger_emit(xentoollog_logger *base, int level, const char *context, const char *text)
{
    struct xapid_logger *lg = logger_of(base);
    char line[XAPID_LOG_MAX];
    size_t used;
    int saved_errno = errno;

    /* Children that libxl forks log through this before they exec: the socket is the parent's alone. */
    if (level < lg->min_level || getpid() != lg->owner)
        return;
    used = (size_t)snprintf(line, sizeof(line), "%d", level) + 1;
    used += put_clean(line + used, 64, context ? context : "");
    line[used++] = 0;
    used += put_clean(line + used, sizeof(line) - used, text);
    if (send(lg->fd, line, used, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        atomic_fetch_add(&lg->dropped, 1);
    errno = saved_errno;
}

static void __attribute__((format(printf, 5, 0)))
log_message(xentoollog_logger *base, xentoollog_level level, int errnoval, const char *context, const char *format,
            va_list arguments)
{
    char text[XAPID_LOG_MAX];
    char reason[96];
    int length;

    if ((int)level < logger_of(base)->min_level || getpid() != logger_of(base)->owner)
        return;
    length = vsnprintf(text, sizeof(text), format, arguments);
    if (length < 0)
        text[0] = 0;
    if (errnoval > 0 && length >= 0 && (size_t)length < sizeof(text) - sizeof(reason))
        snprintf(text + length, sizeof(text) - (size_t)length, ": %s", strerror_r(errnoval, reason, sizeof(reason)));
    xapid_logger_emit(base, (int)level, context, text);
}

static void log_progress(xentoollog_logger *base, const char *context, const char *doing_what, int percent,
                         unsigned long done, unsigned long total)
{
    char text[256];

    snprintf(text, sizeof(text), "%d%% %s %lu/%lu", percent, doing_what, done, total);
    xapid_logger_emit(base, XTL_PROGRESS, context, text);
}

static void log_destroy(xentoollog_logger *base)
{
    free(base);
}

xentoollog_logger *xapid_logger_new(int fd, int min_level)
{
    struct xapid_logger *lg = calloc(1, sizeof(*lg));

    if (!lg)
        return NULL;
    lg->base.vmessage = log_message;
    lg->base.progress = log_progress;
    lg->base.destroy = log_destroy;
    lg->fd = fd;
    lg->min_level = min_level;
    lg->owner = getpid();
    return &lg->base;
}

void xapid_logger_free(xentoollog_logger *lg)
{
    if (lg)
        lg->destroy(lg);
}

uint64_t xapid_logger_dropped(const xentoollog_logger *lg)
{
    return atomic_load(&((const struct xapid_logger *)lg)->dropped);
}

/* ---- SIGCHLD ---- */

static pthread_once_t first_context = PTHREAD_ONCE_INIT;
static void (*sigchld_handler)(int);

static void (*current_sigchld_handler(void))(int)
{
    struct sigaction now;

    return sigaction(SIGCHLD, NULL, &now) ? SIG_ERR : now.sa_handler;
}

static void remember_sigchld(void)
{
    sigchld_handler = current_sigchld_handler();
}

int xapid_sigchld_is_ours(void)
{
    return sigchld_handler == current_sigchld_handler();
}

/* ---- contexts ---- */

#ifdef XAPID_MOCK

static int set_up(libxl_ctx *ctx, xentoollog_logger *lg)
{
    (void)ctx;
    (void)lg;
    return 0;
}

#else

/* libxl cannot go on: its own answer is exit(-1), which would run the exit handlers of a threaded process. */
static void disaster(void *user, libxl_event_type type, const char *message, int errnoval)
{
    char text[XAPID_LOG_MAX];

    snprintf(text, sizeof(text), "libxl disaster (event type %d): %s: errno %d", (int)type, message, errnoval);
    if (user)
        xapid_logger_emit(user, XTL_CRITICAL, "xapid", text);
    dprintf(STDERR_FILENO, "critical %s\n", text);
    _exit(XAPID_EXIT_DISASTER);
}

static int set_up(libxl_ctx *ctx, xentoollog_logger *lg)
{
    /* libxl keeps the pointers. */
    static const libxl_childproc_hooks children = { .chldowner = libxl_sigchld_owner_libxl_always_selective_reap,
                                                    .fork_replacement = xapid_fork };
    static const libxl_event_hooks events = { .event_occurs_mask = 0, .disaster = disaster };

    libxl_event_register_callbacks(ctx, &events, lg);
    libxl_childproc_setmode(ctx, &children, NULL);
    /* Filled without a lock at its first use, so let that be now. */
    return libxl_get_version_info(ctx) ? 0 : ERROR_FAIL;
}

#endif

int xapid_ctx_alloc(libxl_ctx **ctx_out, xentoollog_logger *lg)
{
    /* libxl does not accept the lack of a logger. */
    static struct xapid_logger silent = { { log_message, log_progress, NULL }, -1, XTL_NUM_LEVELS, 0, 0 };
    libxl_ctx *ctx = NULL;
    int rc;

    *ctx_out = NULL;
    if (!lg)
        lg = &silent.base;
    rc = libxl_ctx_alloc(&ctx, LIBXL_VERSION, 0, lg);
    if (rc)
        return rc;
    rc = set_up(ctx, lg);
    if (rc) {
        libxl_ctx_free(ctx);
        return rc;
    }
    pthread_once(&first_context, remember_sigchld);
    *ctx_out = ctx;
    return 0;
}

/* ---- what libxl has as inlines, macros or unions ---- */

int xapid_event_shutdown_reason(const libxl_event *event)
{
    return event->type == LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN ? event->u.domain_shutdown.shutdown_reason
                                                           : LIBXL_SHUTDOWN_REASON_UNKNOWN;
}

const char *xapid_libxl_version(void)
{
    return XAPID_LIBXL_VERSION;
}
