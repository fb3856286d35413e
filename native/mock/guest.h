/* The mock's guests as the host sees them answer. */
#ifndef XAPID_MOCK_GUEST_H
#define XAPID_MOCK_GUEST_H

#include "context.h"

/* The guest is up and answers requests. */
bool guest_listens(const struct domain *d);
/* Wait until ready(domain), and the guest's acknowledgement: 0, ERROR_TIMEDOUT, ERROR_ABORTED, or ERROR_FAIL. */
int guest_await(struct call *call, bool (*ready)(const struct domain *));
/* The guest goes down after its delay; the domain is open. */
void guest_begin_shutdown(struct domain *d, libxl_shutdown_reason reason);

#endif
