/* The parts of the glue that exist only with the real libxl, and the mock's controls as refusals. */
#include "glue.h"

#include <errno.h>
#include <pthread.h>
#include <xenctrl.h>

int xapid_domain_create_restore(libxl_ctx *ctx, libxl_domain_config *d_config, uint32_t *domid, int fd)
{
    libxl_domain_restore_params params;
    int rc;

    libxl_domain_restore_params_init(&params);
    params.stream_version = 2;
    rc = libxl_domain_create_restore(ctx, d_config, domid, fd, -1, &params, NULL, NULL);
    libxl_domain_restore_params_dispose(&params);
    return rc;
}

static pthread_once_t first_question = PTHREAD_ONCE_INIT;
static xc_interface *hypervisor;

static void open_hypervisor(void)
{
    hypervisor = xc_interface_open(NULL, NULL, 0);
}

int xapid_cpu_idle(libxl_ctx *ctx, uint64_t *idle_ns, int room)
{
    xc_cpuinfo_t *cpus = calloc((size_t)room, sizeof(*cpus));
    int count = 0;

    (void)ctx;
    pthread_once(&first_question, open_hypervisor);
    if (!cpus || !hypervisor || xc_getcpuinfo(hypervisor, room, cpus, &count)) {
        free(cpus);
        return ERROR_FAIL;
    }
    if (count > room)
        count = room;
    for (int cpu = 0; cpu < count; cpu++)
        idle_ns[cpu] = cpus[cpu].idletime;
    free(cpus);
    return count;
}

int xapid_set_paging_memory(libxl_ctx *ctx, uint32_t domid, uint64_t kib)
{
    (void)ctx;
    pthread_once(&first_question, open_hypervisor);
    if (!hypervisor)
        return ERROR_FAIL;
    if (!xc_set_paging_mempool_size(hypervisor, domid, kib * 1024))
        return 0;
    switch (errno) {
    case ENOMEM:
        return ERROR_NOMEM;
    case EINVAL:
        return ERROR_INVAL;
    case ESRCH:
        return ERROR_DOMAIN_NOTFOUND;
    default:
        return ERROR_FAIL;
    }
}

int xapid_is_mock(void)
{
    return 0;
}

int xapid_mock_set(const char *knob, int64_t value)
{
    (void)knob, (void)value;
    return ERROR_NI;
}

int xapid_mock_get(const char *knob, int64_t *value)
{
    (void)knob, (void)value;
    return ERROR_NI;
}

int xapid_mock_order(uint32_t domid, const char *order, int64_t value)
{
    (void)domid, (void)order, (void)value;
    return ERROR_NI;
}

int xapid_mock_ask(uint32_t domid, const char *fact, int64_t *value)
{
    (void)domid, (void)fact, (void)value;
    return ERROR_NI;
}

int xapid_mock_find(const char *uuid, uint32_t *domid)
{
    (void)uuid, (void)domid;
    return ERROR_NI;
}

int xapid_mock_fail(const char *function, int action, int rc, int count, uint32_t domid, const char *uuid)
{
    (void)function, (void)action, (void)rc, (void)count, (void)domid, (void)uuid;
    return ERROR_NI;
}

int xapid_mock_release(void)
{
    return ERROR_NI;
}

int xapid_mock_hanging(void)
{
    return ERROR_NI;
}

int xapid_mock_reset(void)
{
    return ERROR_NI;
}
