/* What the mock's host tells about itself and its domains. */
#include "context.h"
#include "json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- domains ---- */

static void fill_dominfo(libxl_dominfo *info, const struct domain *d)
{
    libxl_dominfo_init(info);
    info->uuid = d->uuid;
    info->domid = d->domid;
    info->paused = d->paused;
    info->shutdown = d->shutdown;
    info->dying = d->dying;
    info->running = domain_runs(d);
    if (d->shutdown || d->dying)
        info->shutdown_reason = d->reason;
    info->current_memkb = d->current_kib;
    info->max_memkb = d->max_kib;
    info->cpu_time = (uint64_t)domain_counter_ns(d);
    info->vcpu_max_id = d->max_vcpus ? d->max_vcpus - 1 : 0;
    info->vcpu_online = (uint32_t)(__builtin_popcountll(d->online[0]) + __builtin_popcountll(d->online[1]));
    info->domain_type = d->type;
}

int libxl_domain_info(libxl_ctx *ctx, libxl_dominfo *info_r, uint32_t domid)
{
    struct call call;
    const struct domain *d;

    BEGIN_CALL(call, ctx, domid);
    d = domain_by_id(domid);
    if (d && info_r)
        fill_dominfo(info_r, d);
    return call_end(&call, d ? 0 : ERROR_DOMAIN_NOTFOUND);
}

static int by_domid(const void *a, const void *b)
{
    const libxl_dominfo *left = a, *right = b;
    return left->domid < right->domid ? -1 : left->domid > right->domid;
}

libxl_dominfo *libxl_list_domain(libxl_ctx *ctx, int *nb_domain_out)
{
    struct call call;
    libxl_dominfo *list;
    int count = 0;

    if (!call_begin(&call, ctx, __func__, ANY_DOMID, NULL))
        return NULL;
    list = must_alloc(state()->host.domains * sizeof(*list));
    for (uint32_t i = 0; i < state()->host.slots; i++)
        if (state()->domains[i].in_use)
            fill_dominfo(&list[count++], &state()->domains[i]);
    if (call_end(&call, 0)) {
        free(list);
        return NULL;
    }
    qsort(list, (size_t)count, sizeof(*list), by_domid);
    *nb_domain_out = count;
    return list;
}

void libxl_dominfo_list_free(libxl_dominfo *list, int nb_domain)
{
    (void)nb_domain;
    free(list);
}

/* ---- the machine ---- */

int libxl_get_physinfo(libxl_ctx *ctx, libxl_physinfo *physinfo)
{
    const int64_t *knobs = state()->knobs;
    struct call call;

    BEGIN_CALL(call, ctx, ANY_DOMID);
    physinfo->threads_per_core = 1;
    physinfo->nr_cpus = (uint32_t)knobs[KNOB_CPUS];
    physinfo->nr_nodes = (uint32_t)knobs[KNOB_NODES];
    physinfo->cores_per_socket = physinfo->nr_cpus / physinfo->nr_nodes;
    physinfo->max_cpu_id = physinfo->nr_cpus - 1;
    physinfo->cpu_khz = 2400000;
    physinfo->total_pages = (uint64_t)knobs[KNOB_MEMORY_KIB] / 4;
    physinfo->free_pages = free_kib() / 4;
    physinfo->max_possible_mfn = physinfo->total_pages;
    physinfo->hw_cap[0] = 0x178bfbff;
    physinfo->cap_pv = knobs[KNOB_PV_CAPABLE];
    physinfo->cap_hvm = physinfo->cap_hap = knobs[KNOB_HVM_CAPABLE];
    physinfo->cap_shadow = true;
    return call_end(&call, 0);
}

int libxl_get_max_cpus(libxl_ctx *ctx)
{
    (void)ctx;
    return (int)state()->knobs[KNOB_CPUS];
}

int libxl_get_online_cpus(libxl_ctx *ctx)
{
    return libxl_get_max_cpus(ctx);
}

/* Every CPU is busy for a quarter of the time, whatever the guests do. */
int xapid_cpu_idle(libxl_ctx *ctx, uint64_t *idle_ns, int room)
{
    struct call call;
    int cpus, rc;

    BEGIN_CALL(call, ctx, ANY_DOMID);
    cpus = (int)state()->knobs[KNOB_CPUS];
    for (int cpu = 0; cpu < cpus && cpu < room; cpu++)
        idle_ns[cpu] = (uint64_t)now_ns() / 4 * 3;
    rc = call_end(&call, 0);
    return rc ? rc : cpus < room ? cpus : room;
}

libxl_cputopology *libxl_get_cpu_topology(libxl_ctx *ctx, int *nb_cpu_out)
{
    uint32_t cpus, nodes, for_each;
    libxl_cputopology *list;
    struct call call;

    if (!call_begin(&call, ctx, __func__, ANY_DOMID, NULL))
        return NULL;
    cpus = (uint32_t)state()->knobs[KNOB_CPUS];
    nodes = (uint32_t)state()->knobs[KNOB_NODES];
    for_each = (cpus + nodes - 1) / nodes;
    list = must_alloc(cpus * sizeof(*list));
    for (uint32_t i = 0; i < cpus; i++)
        list[i] = (libxl_cputopology){ .core = i % for_each, .socket = i / for_each, .node = i / for_each };
    if (call_end(&call, 0)) {
        free(list);
        return NULL;
    }
    *nb_cpu_out = (int)cpus;
    return list;
}

void libxl_cputopology_list_free(libxl_cputopology *list, int nb_cpu)
{
    (void)nb_cpu;
    free(list);
}

libxl_numainfo *libxl_get_numainfo(libxl_ctx *ctx, int *nr)
{
    libxl_numainfo *list;
    struct call call;
    uint32_t nodes;

    if (!call_begin(&call, ctx, __func__, ANY_DOMID, NULL))
        return NULL;
    nodes = (uint32_t)state()->knobs[KNOB_NODES];
    list = must_alloc(nodes * sizeof(*list));
    for (uint32_t i = 0; i < nodes; i++) {
        list[i].size = (uint64_t)state()->knobs[KNOB_MEMORY_KIB] * 1024 / nodes;
        list[i].free = free_kib() * 1024 / nodes;
        list[i].num_dists = (int)nodes;
        list[i].dists = must_alloc(nodes * sizeof(*list[i].dists));
        for (uint32_t j = 0; j < nodes; j++)
            list[i].dists[j] = i == j ? 10 : 20;
    }
    if (call_end(&call, 0)) {
        libxl_numainfo_list_free(list, (int)nodes);
        return NULL;
    }
    *nr = (int)nodes;
    return list;
}

void libxl_numainfo_list_free(libxl_numainfo *list, int nr)
{
    for (int i = 0; i < nr; i++)
        free(list[i].dists);
    free(list);
}

/* ---- Xen's console ---- */

struct libxl__xen_console_reader {
    int64_t next;
    int64_t clear_to;           /* what is cleared when the reading ends; 0: nothing */
    char line[164];
};

int libxl_send_debug_keys(libxl_ctx *ctx, char *keys)
{
    struct call call;

    BEGIN_CALL(call, ctx, ANY_DOMID);
    for (const char *key = keys; *key; key++)
        console_line("(XEN) '%c' pressed -> handled by the mock", isprint((unsigned char)*key) ? *key : '?');
    return call_end(&call, 0);
}

libxl_xen_console_reader *libxl_xen_console_read_start(libxl_ctx *ctx, int clear)
{
    libxl_xen_console_reader *reader;
    struct call call;

    if (!call_begin(&call, ctx, __func__, ANY_DOMID, NULL))
        return NULL;
    reader = must_alloc(sizeof(*reader));
    reader->next = state()->host.console_from;
    if (reader->next + 64 < state()->console_lines)
        reader->next = state()->console_lines - 64;
    reader->clear_to = clear ? state()->console_lines : 0;
    if (call_end(&call, 0)) {
        free(reader);
        return NULL;
    }
    return reader;
}

int libxl_xen_console_read_line(libxl_ctx *ctx, libxl_xen_console_reader *cr, char **line_r)
{
    struct call call;
    bool more;

    BEGIN_CALL(call, ctx, ANY_DOMID);
    more = cr->next < state()->console_lines;
    if (more)
        snprintf(cr->line, sizeof(cr->line), "%s\n", state()->console[cr->next++ % 64]);
    *line_r = more ? cr->line : NULL;
    return call_end(&call, more);
}

void libxl_xen_console_read_finish(libxl_ctx *ctx, libxl_xen_console_reader *cr)
{
    (void)ctx;
    if (cr->clear_to) {
        state_lock();
        state()->host.console_from = cr->clear_to;
        state_unlock();
    }
    free(cr);
}
