/* Which keys libxl knows, and what it makes of a configuration in JSON. */
#ifndef XAPID_MOCK_SCHEMA_H
#define XAPID_MOCK_SCHEMA_H

#include "json.h"

enum field_kind {
    KIND_INTEGER, KIND_BOOL, KIND_DEFBOOL, KIND_ENUM, KIND_STRING, KIND_UUID, KIND_MAC, KIND_BITMAP,
    KIND_STRING_LIST, KIND_KEY_VALUES, KIND_CPUID, KIND_GENID, KIND_STRUCT, KIND_ARRAY, KIND_UNION,
};

struct enum_value {
    const char *name;
    int64_t value;
};

struct field {
    const char *name;
    enum field_kind kind;
    enum field_kind element;            /* of a KIND_ARRAY */
    int since;                          /* the minor version of Xen 4 that brought the key; 0: older than 4.17 */
    const struct enum_value *values;    /* of a KIND_ENUM and KIND_UNION */
    const struct field *fields;         /* of a KIND_STRUCT and KIND_UNION (one member for each branch) */
    int64_t min, max;                   /* of a KIND_INTEGER */
    int64_t initial_value;              /* left out of the output */
};

extern const struct field schema_domain_config[], schema_device_disk[], schema_device_nic[];

/* What libxl's _from_json keeps of value (NULL: nothing), in libxl's order and spelling: unknown keys, values of another
 * JSON type and initial values are left out. NULL for a value that libxl refuses, such as an unknown enumeration.
 * Two branches of one union abort, as in libxl. */
struct json *schema_apply(const struct field *fields, const struct json *value, int xen_minor);

#endif
