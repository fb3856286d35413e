/* A small strict JSON reader and writer, for the mock's configurations. Running out of memory ends the process, as in
 * libxl itself. */
#ifndef XAPID_MOCK_JSON_H
#define XAPID_MOCK_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind { JSON_NULL, JSON_BOOL, JSON_INTEGER, JSON_OTHER_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_kind kind;
    bool truth;                 /* of a JSON_BOOL */
    int64_t number;             /* of a JSON_INTEGER; other numbers keep no value */
    char *text;                 /* of a JSON_STRING */
    size_t count;               /* of a JSON_ARRAY's or JSON_OBJECT's items */
    struct json **items;
    char **keys;                /* of a JSON_OBJECT, in order */
};

/* The whole text as one value, or NULL; *error_at says where it stopped being JSON. */
struct json *json_parse(const char *text, size_t *error_at);
char *json_write(const struct json *value);
void json_free(struct json *value);
struct json *json_copy(const struct json *value);

struct json *json_object(void);
struct json *json_array(void);
struct json *json_integer(int64_t number);
struct json *json_bool(bool truth);
struct json *json_string(const char *text);

/* The member, or NULL where value is NULL or no object. */
struct json *json_get(const struct json *value, const char *key);
/* The member's value where it has that type, or the one given. */
int64_t json_get_integer(const struct json *value, const char *key, int64_t otherwise);
const char *json_get_string(const struct json *value, const char *key);
/* Replace or add; the container owns the item from now on. */
void json_set(struct json *object, const char *key, struct json *item);
void json_unset(struct json *object, const char *key);
void json_append(struct json *array, struct json *item);
void json_remove(struct json *array, size_t index);

void *must_alloc(size_t size);
char *must_strdup(const char *text);

#endif
