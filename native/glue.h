/* What cffi cannot or should not do with libxl itself: a logger in C, contexts set up the one right way, functions that
 * are static inlines or macros in libxl. Contracts: xenlight.cdef.h. */
#ifndef XAPID_GLUE_H
#define XAPID_GLUE_H

#ifdef XAPID_MOCK
#include "mock/libxl.h"
#else
#include <libxl.h>
#include <libxl_event.h>
#include <libxl_utils.h>
#endif

#include <stdlib.h>

#define XAPID_INVALID_DOMID 0xffffffffU
#define XAPID_LOG_MAX 1024
#define XAPID_EXIT_DISASTER 70

int xapid_ctx_alloc(libxl_ctx **ctx_out, xentoollog_logger *lg);
xentoollog_logger *xapid_logger_new(int fd, int min_level);
void xapid_logger_free(xentoollog_logger *lg);
uint64_t xapid_logger_dropped(const xentoollog_logger *lg);
void xapid_logger_emit(xentoollog_logger *lg, int level, const char *context, const char *text);
int xapid_sigchld_is_ours(void);
int xapid_domain_create_restore(libxl_ctx *ctx, libxl_domain_config *d_config, uint32_t *domid, int fd);
int xapid_event_shutdown_reason(const libxl_event *event);
/*
 * fork() for libxl, whose children go on without exec: they would wait for ever for a lock of Xen's libraries that
 * another thread held at that moment (the cache of hypercall buffers has one). Such a child is ended and made again.
 */
pid_t xapid_fork(void *user);
int xapid_cpu_idle(libxl_ctx *ctx, uint64_t *idle_ns, int room);
int xapid_set_paging_memory(libxl_ctx *ctx, uint32_t domid, uint64_t kib);
const char *xapid_libxl_version(void);

int xapid_is_mock(void);
int xapid_mock_set(const char *knob, int64_t value);
int xapid_mock_get(const char *knob, int64_t *value);
int xapid_mock_order(uint32_t domid, const char *order, int64_t value);
int xapid_mock_ask(uint32_t domid, const char *fact, int64_t *value);
int xapid_mock_find(const char *uuid, uint32_t *domid);
int xapid_mock_fail(const char *function, int action, int rc, int count, uint32_t domid, const char *uuid);
int xapid_mock_release(void);
int xapid_mock_hanging(void);
int xapid_mock_reset(void);

#endif
