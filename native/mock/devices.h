/* The mock's disks and network interfaces. They live in the stored configuration alone, as in libxl. */
#ifndef XAPID_MOCK_DEVICES_H
#define XAPID_MOCK_DEVICES_H

#include "context.h"
#include "json.h"

/* What libxl fills in for the devices of a new domain; 0, ERROR_INVAL or ERROR_DEVICE_EXISTS. */
int devices_set_defaults(struct call *call, struct json *config);

/* Whether libxl starts a device model for a new domain of that configuration. */
bool devices_need_model(const struct json *config, libxl_domain_type type);

/* The stored configuration, parsed; json_free() it. NULL: none stored. */
struct json *domain_config_json(const struct domain *domain);
/* Store it, as one change; the domain is opened here. */
int domain_store_config(struct domain *domain, const struct json *config);

#endif
