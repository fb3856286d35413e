/* libxl's reading of a configuration in JSON, driven by the tables in schema.c. */
#include "schema.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The outcome of one value: an item to keep, nothing to keep, or an error. */
struct outcome {
    struct json *kept;
    bool refused;
};

static const struct outcome NOTHING = { NULL, false }, REFUSED = { NULL, true };

static struct outcome keep(struct json *item)
{
    return (struct outcome){ item, false };
}

static struct outcome apply_field(const struct field *field, enum field_kind kind, const struct json *value, int minor);

static struct outcome apply_integer(const struct field *field, const struct json *value, bool element)
{
    if (value->kind != JSON_INTEGER)
        return NOTHING;
    if (value->number < field->min || value->number > field->max)
        return REFUSED;
    return !element && value->number == field->initial_value ? NOTHING : keep(json_integer(value->number));
}

static struct outcome apply_defbool(const struct json *value)
{
    if (value->kind != JSON_STRING || !strcmp(value->text, "<default>"))
        return NOTHING;
    if (strcmp(value->text, "True") && strcmp(value->text, "False"))
        return REFUSED;
    return keep(json_string(value->text));
}

static struct outcome apply_enum(const struct field *field, const struct json *value, bool element)
{
    if (value->kind != JSON_STRING)
        return NOTHING;
    for (const struct enum_value *known = field->values; known->name; known++)
        if (!strcasecmp(known->name, value->text))
            return !element && known->value == field->initial_value ? NOTHING : keep(json_string(known->name));
    return REFUSED;
}

/* Lower-case hexadecimal of the form of pattern ('x': a digit); all zero: nothing. */
static struct outcome apply_hex(const char *pattern, const struct json *value)
{
    bool zero = true;
    struct outcome outcome;

    if (value->kind != JSON_STRING)
        return NOTHING;
    if (strlen(value->text) != strlen(pattern))
        return REFUSED;
    for (size_t i = 0; pattern[i]; i++) {
        if (pattern[i] == 'x' ? !isxdigit((unsigned char)value->text[i]) : value->text[i] != pattern[i])
            return REFUSED;
        zero = zero && (pattern[i] != 'x' || value->text[i] == '0');
    }
    if (zero)
        return NOTHING;
    outcome = keep(json_string(value->text));
    for (char *p = outcome.kept->text; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return outcome;
}

static int compare_numbers(const void *a, const void *b)
{
    const struct json *left = *(struct json *const *)a, *right = *(struct json *const *)b;
    return left->number < right->number ? -1 : left->number > right->number;
}

/* A set of bit numbers, sorted, each once. */
static struct outcome apply_bitmap(const struct json *value)
{
    struct json *set;

    if (value->kind != JSON_ARRAY)
        return NOTHING;
    set = json_array();
    for (size_t i = 0; i < value->count; i++) {
        const struct json *bit = value->items[i];
        if (bit->kind != JSON_INTEGER) {
            json_free(set);
            return REFUSED;
        }
        if (bit->number >= 0 && bit->number <= 65535)
            json_append(set, json_integer(bit->number));
    }
    if (set->count)
        qsort(set->items, set->count, sizeof(*set->items), compare_numbers);
    for (size_t i = 1; i < set->count;)
        if (set->items[i]->number == set->items[i - 1]->number)
            json_remove(set, i);
        else
            i++;
    if (set->count)
        return keep(set);
    json_free(set);
    return NOTHING;
}

static struct outcome apply_strings(const struct json *value, enum json_kind kind)
{
    if (value->kind != kind || !value->count)
        return NOTHING;
    for (size_t i = 0; i < value->count; i++)
        if (value->items[i]->kind != JSON_STRING)
            return REFUSED;
    return keep(json_copy(value));
}

static struct outcome apply_genid(const struct json *value)
{
    bool zero = true;

    if (value->kind != JSON_ARRAY || value->count != 16)
        return REFUSED;
    for (size_t i = 0; i < 16; i++) {
        if (value->items[i]->kind != JSON_INTEGER || value->items[i]->number < 0 || value->items[i]->number > 255)
            return REFUSED;
        zero = zero && !value->items[i]->number;
    }
    return zero ? NOTHING : keep(json_copy(value));
}

static struct outcome apply_array(const struct field *field, const struct json *value, int minor)
{
    struct json *array;

    if (value->kind != JSON_ARRAY || !value->count)
        return NOTHING;
    array = json_array();
    for (size_t i = 0; i < value->count; i++) {
        const struct json *item = value->items[i];
        struct outcome outcome = apply_field(field, field->element, item, minor);
        if (outcome.refused || (field->element == KIND_BITMAP && item->kind != JSON_ARRAY) ||
            (field->element == KIND_INTEGER && item->kind != JSON_INTEGER)) {
            json_free(outcome.kept);
            json_free(array);
            return REFUSED;
        }
        json_append(array, outcome.kept ? outcome.kept : json_array());
    }
    return keep(array);
}

static struct outcome apply_field(const struct field *field, enum field_kind kind, const struct json *value, int minor)
{
    struct json *kept;
    bool element = field->kind == KIND_ARRAY;

    switch (kind) {
    case KIND_INTEGER:
        return apply_integer(field, value, element);
    case KIND_BOOL:
        return value->kind == JSON_BOOL && value->truth ? keep(json_bool(true)) : NOTHING;
    case KIND_DEFBOOL:
        return apply_defbool(value);
    case KIND_ENUM:
        return apply_enum(field, value, element);
    case KIND_STRING:
        return value->kind == JSON_STRING ? keep(json_string(value->text)) : NOTHING;
    case KIND_UUID:
        return apply_hex("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", value);
    case KIND_MAC:
        return apply_hex("xx:xx:xx:xx:xx:xx", value);
    case KIND_BITMAP:
        return apply_bitmap(value);
    case KIND_STRING_LIST:
        return apply_strings(value, JSON_ARRAY);
    case KIND_KEY_VALUES:
        return apply_strings(value, JSON_OBJECT);
    case KIND_CPUID:
        return value->kind == JSON_ARRAY || value->kind == JSON_OBJECT ? keep(json_copy(value)) : NOTHING;
    case KIND_GENID:
        return apply_genid(value);
    case KIND_ARRAY:
        return apply_array(field, value, minor);
    case KIND_STRUCT:
    case KIND_UNION:
        break;
    }
    kept = schema_apply(field->fields, value, minor);
    return kept ? keep(kept) : REFUSED;
}

/* A keyed union is one member "name.branch"; none given is the branch of the selector's initial value. */
static bool apply_union(const struct field *field, const struct json *value, int minor, struct json *into)
{
    const struct field none = { .name = NULL };
    const char *chosen = NULL, *initial = NULL;
    const struct field *branch = &none;
    const struct json *given = NULL;
    struct json *kept;
    char key[80];

    for (const struct enum_value *known = field->values; known->name; known++) {
        struct json *member;
        snprintf(key, sizeof(key), "%s.%s", field->name, known->name);
        member = json_get(value, key);
        if (known->value <= 0)
            initial = known->name;
        if (!member || member->kind != JSON_OBJECT)
            continue;
        if (chosen && known->value > 0) {
            fprintf(stderr, "libxl mock: Assertion failed: two branches of the union %s\n", field->name);
            abort();
        }
        chosen = known->name;
        given = member;
    }
    if (!chosen)
        chosen = initial;
    if (!chosen)
        return true;
    for (const struct field *known = field->fields; known->name; known++)
        if (!strcmp(known->name, chosen))
            branch = known->fields;
    kept = schema_apply(branch, given, minor);
    if (!kept)
        return false;
    snprintf(key, sizeof(key), "%s.%s", field->name, chosen);
    json_set(into, key, kept);
    return true;
}

struct json *schema_apply(const struct field *fields, const struct json *value, int xen_minor)
{
    struct json *into = json_object();
    const struct json nothing = { .kind = JSON_NULL };

    for (const struct field *field = fields; field->name; field++) {
        const struct json *member = json_get(value, field->name);
        struct outcome outcome = NOTHING;

        if (field->since > xen_minor)
            continue;
        if (field->kind == KIND_UNION) {
            outcome.refused = !apply_union(field, value, xen_minor, into);
        } else if (field->kind == KIND_STRUCT) {
            outcome = apply_field(field, KIND_STRUCT, member ? member : &nothing, xen_minor);
        } else if (member) {
            outcome = apply_field(field, field->kind, member, xen_minor);
        }
        if (outcome.refused) {
            json_free(into);
            return NULL;
        }
        if (outcome.kept)
            json_set(into, field->name, outcome.kept);
    }
    return into;
}
