/* Memory, vCPUs and scheduling of the mock's domains. */
#include "context.h"
#include "json.h"

#include <stdlib.h>
#include <string.h>

enum { MIN_DOM0_KIB = 128 * 1024, MAX_WEIGHT = 65535 };

/* ---- memory ---- */

/* The guest's balloon driver goes as far as the host's free memory lets it. */
static void balloon(struct domain *d)
{
    uint64_t wanted = d->target_kib, room = d->current_kib + free_kib();

    if (!domain_has_pv_drivers(d))
        return;
    if (wanted > room)
        wanted = room;
    state()->host.used_kib = state()->host.used_kib - d->current_kib + wanted;
    d->held_kib = d->held_kib - d->current_kib + wanted;
    d->current_kib = wanted;
}

int libxl_set_memory_target(libxl_ctx *ctx, uint32_t domid, int64_t target_memkb, int relative, int enforce)
{
    struct call call;
    struct domain *d;

    (void)enforce;
    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    if (!d || d->dying)
        return call_end(&call, ERROR_LOCK_FAIL);
    if (relative)
        target_memkb += (int64_t)d->target_kib;
    if (target_memkb <= 0 || (uint64_t)target_memkb > d->max_kib || (!domid && target_memkb < MIN_DOM0_KIB)) {
        LOG_ERROR(&call, "memory_dynamic_max must be less than or equal to memory_static_max");
        return call_end(&call, ERROR_INVAL);
    }
    domain_open(d);
    d->target_kib = (uint64_t)target_memkb;
    balloon(d);
    state_changed();
    return call_end(&call, 0);
}

int xapid_set_paging_memory(libxl_ctx *ctx, uint32_t domid, uint64_t kib)
{
    struct call call;
    struct domain *d;

    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    if (!d || d->dying)
        return call_end(&call, ERROR_DOMAIN_NOTFOUND);
    if (d->type == LIBXL_DOMAIN_TYPE_PV || kib % 4)
        return call_end(&call, ERROR_INVAL);
    if (kib > d->paging_kib + free_kib())
        return call_end(&call, ERROR_NOMEM);
    domain_open(d);
    state()->host.used_kib = state()->host.used_kib - d->paging_kib + kib;
    d->held_kib = d->held_kib - d->paging_kib + kib;
    d->paging_kib = kib;
    state_changed();
    return call_end(&call, 0);
}

int libxl_get_memory_target(libxl_ctx *ctx, uint32_t domid, uint64_t *out_target)
{
    struct call call;
    const struct domain *d;

    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    if (d)
        *out_target = d->target_kib;
    return call_end(&call, d ? 0 : ERROR_FAIL);
}

int libxl_domain_setmaxmem(libxl_ctx *ctx, uint32_t domid, uint64_t target_memkb)
{
    struct call call;
    struct domain *d;

    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    if (!d || d->dying)
        return call_end(&call, ERROR_LOCK_FAIL);
    if (target_memkb < d->target_kib) {
        LOG_ERROR(&call, "memory_static_max must be greater than or or equal to memory_dynamic_max");
        return call_end(&call, ERROR_INVAL);
    }
    domain_open(d);
    d->max_kib = target_memkb;
    state_changed();
    return call_end(&call, 0);
}

int libxl_get_free_memory(libxl_ctx *ctx, uint64_t *memkb)
{
    struct call call;

    BEGIN_CALL(call, ctx, ANY_DOMID);
    *memkb = free_kib();
    return call_end(&call, 0);
}

/* ---- vCPUs ---- */

static bool is_online(const struct domain *d, uint32_t vcpu)
{
    return d->online[vcpu / 64] >> (vcpu % 64) & 1;
}

int libxl_set_vcpuonline(libxl_ctx *ctx, uint32_t domid, libxl_bitmap *cpumap, const libxl_asyncop_how *ao_how)
{
    uint64_t online[MAX_VCPUS / 64] = { 0 };
    struct call call;
    struct domain *d;

    BEGIN_OPERATION(call, ctx, domid, ao_how);
    d = call_domain(&call);
    if (!d || d->dying)
        return call_end(&call, ERROR_FAIL);
    for (uint32_t bit = 0; bit < cpumap->size * 8; bit++) {
        if (!libxl_bitmap_test(cpumap, (int)bit))
            continue;
        if (bit >= d->max_vcpus) {
            LOG_ERROR(&call, "Requested %u VCPUs, however maxcpus is %u!", bit + 1, d->max_vcpus);
            return call_end(&call, ERROR_FAIL);
        }
        online[bit / 64] |= UINT64_C(1) << (bit % 64);
    }
    domain_open(d);
    memcpy(d->online, online, sizeof(online));
    state_changed();
    return call_end(&call, 0);
}

static uint64_t host_cpus(void)
{
    int64_t cpus = state()->knobs[KNOB_CPUS];
    return cpus >= MAX_CPUS ? UINT64_MAX : (UINT64_C(1) << cpus) - 1;
}

static uint64_t mask_of(const libxl_bitmap *map)
{
    uint64_t mask = 0;

    for (int bit = 0; bit < MAX_CPUS; bit++)
        if (libxl_bitmap_test(map, bit))
            mask |= UINT64_C(1) << bit;
    return mask & host_cpus();
}

/* Set what of the two is given for the vCPUs from first up to but without end. */
static int set_affinity(struct call *call, uint32_t first, uint32_t end, const libxl_bitmap *hard,
                        const libxl_bitmap *soft)
{
    struct domain *d = call_domain(call);

    if (!d || d->dying || first >= d->max_vcpus || (!hard && !soft))
        return ERROR_FAIL;
    if ((hard && !mask_of(hard)) || (soft && !mask_of(soft))) {
        LOG_ERROR(call, "Setting vcpu affinity: no usable CPU");
        return ERROR_FAIL;
    }
    for (uint32_t vcpu = first; vcpu < end && vcpu < d->max_vcpus; vcpu++) {
        if (hard)
            domain_blobs(d)->affinity[vcpu][0] = mask_of(hard);
        if (soft)
            domain_blobs(d)->affinity[vcpu][1] = mask_of(soft);
    }
    state_changed();
    return 0;
}

int libxl_set_vcpuaffinity(libxl_ctx *ctx, uint32_t domid, uint32_t vcpuid, const libxl_bitmap *cpumap_hard,
                           const libxl_bitmap *cpumap_soft)
{
    struct call call;

    BEGIN_CALL(call, ctx, domid);
    return call_end(&call, set_affinity(&call, vcpuid, vcpuid + 1, cpumap_hard, cpumap_soft));
}

int libxl_set_vcpuaffinity_all(libxl_ctx *ctx, uint32_t domid, unsigned int max_vcpus,
                               const libxl_bitmap *cpumap_hard, const libxl_bitmap *cpumap_soft)
{
    struct call call;

    BEGIN_CALL(call, ctx, domid);
    return call_end(&call, set_affinity(&call, 0, max_vcpus, cpumap_hard, cpumap_soft));
}

static void map_of(libxl_bitmap *map, uint64_t mask)
{
    libxl_bitmap_alloc(NULL, map, (int)state()->knobs[KNOB_CPUS]);
    for (int bit = 0; bit < MAX_CPUS; bit++)
        if (mask >> bit & 1)
            libxl_bitmap_set(map, bit);
}

libxl_vcpuinfo *libxl_list_vcpu(libxl_ctx *ctx, uint32_t domid, int *nb_vcpu, int *nr_cpus_out)
{
    struct call call;
    const struct domain *d;
    libxl_vcpuinfo *list = NULL;

    if (!call_begin(&call, ctx, __func__, domid, NULL))
        return NULL;
    d = call_domain(&call);
    if (d) {
        list = must_alloc(d->max_vcpus * sizeof(*list));
        for (uint32_t i = 0; i < d->max_vcpus; i++) {
            bool online = is_online(d, i);
            list[i].vcpuid = i;
            list[i].cpu = i % (uint32_t)state()->knobs[KNOB_CPUS];
            list[i].online = online;
            list[i].running = online && domain_runs(d);
            list[i].blocked = online && !domain_runs(d);
            list[i].vcpu_time = online ? (uint64_t)domain_counter_ns(d) : 0;
            map_of(&list[i].cpumap, domain_blobs(d)->affinity[i][0]);
            map_of(&list[i].cpumap_soft, domain_blobs(d)->affinity[i][1]);
        }
        *nb_vcpu = (int)d->max_vcpus;
        *nr_cpus_out = (int)state()->knobs[KNOB_CPUS];
    }
    if (call_end(&call, 0)) {
        libxl_vcpuinfo_list_free(list, d ? *nb_vcpu : 0);
        return NULL;
    }
    return list;
}

void libxl_vcpuinfo_list_free(libxl_vcpuinfo *list, int nr_vcpus)
{
    for (int i = 0; i < nr_vcpus; i++) {
        libxl_bitmap_dispose(&list[i].cpumap);
        libxl_bitmap_dispose(&list[i].cpumap_soft);
    }
    free(list);
}

/* ---- scheduling ---- */

int libxl_get_scheduler(libxl_ctx *ctx)
{
    struct call call;

    BEGIN_CALL(call, ctx, ANY_DOMID);
    if (call_end(&call, 0))
        return call.rc;
    return LIBXL_SCHEDULER_CREDIT2;
}

int libxl_domain_sched_params_get(libxl_ctx *ctx, uint32_t domid, libxl_domain_sched_params *params)
{
    struct call call;
    const struct domain *d;

    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    if (!d)
        return call_end(&call, ERROR_INVAL);
    params->sched = LIBXL_SCHEDULER_CREDIT2;
    params->weight = d->weight;
    params->cap = d->cap;
    return call_end(&call, 0);
}

int libxl_domain_sched_params_set(libxl_ctx *ctx, uint32_t domid, const libxl_domain_sched_params *params)
{
    struct call call;
    struct domain *d;
    bool weight, cap;

    BEGIN_CALL(call, ctx, domid);
    d = call_domain(&call);
    weight = params->weight != LIBXL_DOMAIN_SCHED_PARAM_WEIGHT_DEFAULT;
    cap = params->cap != LIBXL_DOMAIN_SCHED_PARAM_CAP_DEFAULT;
    if (!d || (params->sched != LIBXL_SCHEDULER_UNKNOWN && params->sched != LIBXL_SCHEDULER_CREDIT2) ||
        (weight && (params->weight < 1 || params->weight > MAX_WEIGHT)) ||
        (cap && (params->cap < 0 || params->cap > (int)d->max_vcpus * 100))) {
        LOG_ERROR(&call, "weight or cap out of range, or not the host's scheduler");
        return call_end(&call, ERROR_INVAL);
    }
    domain_open(d);
    if (weight)
        d->weight = params->weight;
    if (cap)
        d->cap = params->cap;
    return call_end(&call, 0);
}
