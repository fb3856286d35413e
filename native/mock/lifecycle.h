/* How the mock makes a domain of a configuration. */
#ifndef XAPID_MOCK_LIFECYCLE_H
#define XAPID_MOCK_LIFECYCLE_H

#include "context.h"
#include "json.h"

/* What a configuration asks for, defaults filled in; points into the configuration. */
struct plan {
    libxl_domain_type type;
    const char *name;
    libxl_uuid uuid;
    uint32_t max_vcpus;
    uint64_t online[MAX_VCPUS / 64];
    uint64_t max_kib, target_kib;
    uint64_t need_kib;              /* of the host's memory, overhead included */
    uint64_t paging_kib;            /* of that, for page tables */
    int weight, cap;
};

/* What of a guest travels in a saved stream. */
struct guest_state {
    int64_t counter_ns;
    bool pv_drivers;
};

void plan_read(const struct json *config, struct plan *plan);
/* restored: NULL for a fresh guest. */
int create_domain(struct call *call, libxl_domain_config *d_config, uint32_t *domid,
                  const struct guest_state *restored);
bool uuid_from_text(const char *text, libxl_uuid *uuid);

#endif
