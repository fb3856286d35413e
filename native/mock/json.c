#include "json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64 };

struct reader {
    const char *start;
    const char *at;
    int depth;
};

struct text {
    char *bytes;
    size_t used;
    size_t size;
};

static struct json *read_value(struct reader *reader);

/* ---- memory ---- */

void *must_alloc(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    if (!memory)
        abort();
    return memory;
}

char *must_strdup(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

static void text_add(struct text *text, const char *bytes, size_t length)
{
    if (text->used + length + 1 > text->size) {
        text->size = (text->used + length + 1) * 2;
        text->bytes = realloc(text->bytes, text->size);
        if (!text->bytes)
            abort();
    }
    memcpy(text->bytes + text->used, bytes, length);
    text->used += length;
    text->bytes[text->used] = 0;
}

static struct json *new_value(enum json_kind kind)
{
    struct json *value = must_alloc(sizeof(*value));
    value->kind = kind;
    return value;
}

void json_free(struct json *value)
{
    if (!value)
        return;
    for (size_t i = 0; i < value->count; i++) {
        json_free(value->items[i]);
        if (value->keys)
            free(value->keys[i]);
    }
    free(value->items);
    free(value->keys);
    free(value->text);
    free(value);
}

/* ---- reading ---- */

static void skip_blanks(struct reader *reader)
{
    while (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r')
        reader->at++;
}

/* The length of the valid UTF-8 sequence at p, or 0. */
static size_t utf8_length(const unsigned char *p)
{
    size_t length = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return length;
}

static void add_code_point(struct text *text, uint32_t code)
{
    char bytes[4];

    if (code < 0x80) {
        bytes[0] = (char)code;
        text_add(text, bytes, 1);
    } else if (code < 0x800) {
        bytes[0] = (char)(0xc0 | code >> 6);
        bytes[1] = (char)(0x80 | (code & 0x3f));
        text_add(text, bytes, 2);
    } else if (code < 0x10000) {
        bytes[0] = (char)(0xe0 | code >> 12);
        bytes[1] = (char)(0x80 | (code >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (code & 0x3f));
        text_add(text, bytes, 3);
    } else {
        bytes[0] = (char)(0xf0 | code >> 18);
        bytes[1] = (char)(0x80 | (code >> 12 & 0x3f));
        bytes[2] = (char)(0x80 | (code >> 6 & 0x3f));
        bytes[3] = (char)(0x80 | (code & 0x3f));
        text_add(text, bytes, 4);
    }
}

static bool read_hex4(struct reader *reader, uint32_t *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++) {
        char c = *reader->at;
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            digit = (uint32_t)((c | 32) - 'a' + 10);
        else
            return false;
        *code = *code << 4 | digit;
        reader->at++;
    }
    return true;
}

/* After "\u". A code point of 0 is refused: it would end the C string. */
static bool read_unicode_escape(struct reader *reader, struct text *text)
{
    uint32_t high, low;

    if (!read_hex4(reader, &high) || high == 0 || (high >= 0xdc00 && high < 0xe000))
        return false;
    if (high >= 0xd800 && high < 0xdc00) {
        if (reader->at[0] != '\\' || reader->at[1] != 'u')
            return false;
        reader->at += 2;
        if (!read_hex4(reader, &low) || low < 0xdc00 || low > 0xdfff)
            return false;
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }
    add_code_point(text, high);
    return true;
}

static bool read_escape(struct reader *reader, struct text *text)
{
    static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    char name = *reader->at;
    const char *found = name ? strchr(names, name) : NULL;

    if (name)
        reader->at++;
    if (found) {
        text_add(text, bytes + (found - names), 1);
        return true;
    }
    return name == 'u' && read_unicode_escape(reader, text);
}

static char *read_string(struct reader *reader)
{
    struct text text = { 0 };

    if (*reader->at != '"')
        return NULL;
    reader->at++;
    text_add(&text, "", 0);
    for (;;) {
        const unsigned char *p = (const unsigned char *)reader->at;
        size_t length;
        if (*p == '"') {
            reader->at++;
            return text.bytes;
        }
        if (*p == '\\') {
            reader->at++;
            if (!read_escape(reader, &text))
                break;
            continue;
        }
        length = *p < 0x20 ? 0 : utf8_length(p);
        if (!length)
            break;
        text_add(&text, reader->at, length);
        reader->at += length;
    }
    free(text.bytes);
    return NULL;
}

static bool skip_digits(struct reader *reader)
{
    const char *start = reader->at;

    while (*reader->at >= '0' && *reader->at <= '9')
        reader->at++;
    return reader->at > start;
}

static struct json *read_number(struct reader *reader)
{
    const char *start = reader->at;
    bool integer = true;
    struct json *value;
    long long number;

    if (*reader->at == '-')
        reader->at++;
    if (*reader->at == '0')
        reader->at++;
    else if (!skip_digits(reader))
        return NULL;
    if (*reader->at == '.') {
        integer = false;
        reader->at++;
        if (!skip_digits(reader))
            return NULL;
    }
    if ((*reader->at | 32) == 'e') {
        integer = false;
        reader->at++;
        if (*reader->at == '+' || *reader->at == '-')
            reader->at++;
        if (!skip_digits(reader))
            return NULL;
    }
    errno = 0;
    number = integer ? strtoll(start, NULL, 10) : 0;
    if (!integer || errno)
        return new_value(JSON_OTHER_NUMBER);
    value = new_value(JSON_INTEGER);
    value->number = number;
    return value;
}

static struct json *read_word(struct reader *reader)
{
    static const struct { const char *word; enum json_kind kind; bool truth; } words[] = {
        { "true", JSON_BOOL, true }, { "false", JSON_BOOL, false }, { "null", JSON_NULL, false },
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t length = strlen(words[i].word);
        if (!strncmp(reader->at, words[i].word, length)) {
            struct json *value = new_value(words[i].kind);
            value->truth = words[i].truth;
            reader->at += length;
            return value;
        }
    }
    return NULL;
}

static void add_item(struct json *container, char *key, struct json *item)
{
    size_t count = container->count + 1;

    container->items = realloc(container->items, count * sizeof(*container->items));
    if (!container->items)
        abort();
    container->items[count - 1] = item;
    if (container->kind == JSON_OBJECT) {
        container->keys = realloc(container->keys, count * sizeof(*container->keys));
        if (!container->keys)
            abort();
        container->keys[count - 1] = key;
    }
    container->count = count;
}

/* One member of an object or element of an array, into container. */
static bool read_item(struct reader *reader, struct json *container)
{
    char *key = NULL;
    struct json *item;

    if (container->kind == JSON_OBJECT) {
        key = read_string(reader);
        if (!key)
            return false;
        skip_blanks(reader);
        if (*reader->at != ':') {
            free(key);
            return false;
        }
        reader->at++;
    }
    item = read_value(reader);
    if (!item) {
        free(key);
        return false;
    }
    add_item(container, key, item);
    return true;
}

static struct json *read_container(struct reader *reader, enum json_kind kind, char end)
{
    struct json *container = new_value(kind);

    reader->at++;
    skip_blanks(reader);
    if (*reader->at == end) {
        reader->at++;
        return container;
    }
    for (;;) {
        skip_blanks(reader);
        if (!read_item(reader, container))
            break;
        skip_blanks(reader);
        if (*reader->at == end) {
            reader->at++;
            return container;
        }
        if (*reader->at != ',')
            break;
        reader->at++;
    }
    json_free(container);
    return NULL;
}

static struct json *read_value(struct reader *reader)
{
    struct json *value = NULL;

    skip_blanks(reader);
    if (++reader->depth > MAX_DEPTH)
        return NULL;
    if (*reader->at == '{') {
        value = read_container(reader, JSON_OBJECT, '}');
    } else if (*reader->at == '[') {
        value = read_container(reader, JSON_ARRAY, ']');
    } else if (*reader->at == '"') {
        char *text = read_string(reader);
        if (text) {
            value = new_value(JSON_STRING);
            value->text = text;
        }
    } else if (*reader->at == '-' || (*reader->at >= '0' && *reader->at <= '9')) {
        value = read_number(reader);
    } else {
        value = read_word(reader);
    }
    reader->depth--;
    return value;
}

struct json *json_parse(const char *text, size_t *error_at)
{
    struct reader reader = { text, text, 0 };
    struct json *value = read_value(&reader);

    skip_blanks(&reader);
    if (value && *reader.at) {
        json_free(value);
        value = NULL;
    }
    if (!value && error_at)
        *error_at = (size_t)(reader.at - text);
    return value;
}

/* ---- writing ---- */

static void write_string(struct text *out, const char *text)
{
    char escape[8];

    text_add(out, "\"", 1);
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\') {
            text_add(out, "\\", 1);
            text_add(out, p, 1);
        } else if ((unsigned char)*p < 0x20) {
            snprintf(escape, sizeof(escape), "\\u%04x", *p);
            text_add(out, escape, 6);
        } else {
            text_add(out, p, 1);
        }
    }
    text_add(out, "\"", 1);
}

static void write_value(struct text *out, const struct json *value)
{
    char number[32];
    const char *word;

    switch (value->kind) {
    case JSON_STRING:
        write_string(out, value->text);
        break;
    case JSON_INTEGER:
        text_add(out, number, (size_t)snprintf(number, sizeof(number), "%lld", (long long)value->number));
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        text_add(out, value->kind == JSON_ARRAY ? "[" : "{", 1);
        for (size_t i = 0; i < value->count; i++) {
            if (i)
                text_add(out, ",", 1);
            if (value->kind == JSON_OBJECT) {
                write_string(out, value->keys[i]);
                text_add(out, ":", 1);
            }
            write_value(out, value->items[i]);
        }
        text_add(out, value->kind == JSON_ARRAY ? "]" : "}", 1);
        break;
    default:
        word = value->kind != JSON_BOOL ? "null" : value->truth ? "true" : "false";
        text_add(out, word, strlen(word));
    }
}

char *json_write(const struct json *value)
{
    struct text out = { 0 };

    write_value(&out, value);
    return out.bytes;
}

/* ---- building and looking up ---- */

struct json *json_object(void)
{
    return new_value(JSON_OBJECT);
}

struct json *json_array(void)
{
    return new_value(JSON_ARRAY);
}

struct json *json_integer(int64_t number)
{
    struct json *value = new_value(JSON_INTEGER);
    value->number = number;
    return value;
}

struct json *json_bool(bool truth)
{
    struct json *value = new_value(JSON_BOOL);
    value->truth = truth;
    return value;
}

struct json *json_string(const char *text)
{
    struct json *value = new_value(JSON_STRING);
    value->text = must_strdup(text);
    return value;
}

struct json *json_copy(const struct json *value)
{
    struct json *copy = new_value(value->kind);

    copy->truth = value->truth;
    copy->number = value->number;
    if (value->text)
        copy->text = must_strdup(value->text);
    for (size_t i = 0; i < value->count; i++)
        add_item(copy, value->keys ? must_strdup(value->keys[i]) : NULL, json_copy(value->items[i]));
    return copy;
}

struct json *json_get(const struct json *value, const char *key)
{
    if (value && value->kind == JSON_OBJECT)
        for (size_t i = 0; i < value->count; i++)
            if (!strcmp(value->keys[i], key))
                return value->items[i];
    return NULL;
}

int64_t json_get_integer(const struct json *value, const char *key, int64_t otherwise)
{
    const struct json *member = json_get(value, key);
    return member && member->kind == JSON_INTEGER ? member->number : otherwise;
}

const char *json_get_string(const struct json *value, const char *key)
{
    const struct json *member = json_get(value, key);
    return member && member->kind == JSON_STRING ? member->text : NULL;
}

void json_unset(struct json *object, const char *key)
{
    for (size_t i = 0; i < object->count; i++) {
        if (strcmp(object->keys[i], key))
            continue;
        free(object->keys[i]);
        memmove(&object->keys[i], &object->keys[i + 1], (object->count - i - 1) * sizeof(*object->keys));
        json_remove(object, i);
        return;
    }
}

void json_set(struct json *object, const char *key, struct json *item)
{
    json_unset(object, key);
    add_item(object, must_strdup(key), item);
}

void json_append(struct json *array, struct json *item)
{
    add_item(array, NULL, item);
}

void json_remove(struct json *container, size_t index)
{
    json_free(container->items[index]);
    memmove(&container->items[index], &container->items[index + 1],
            (container->count - index - 1) * sizeof(*container->items));
    container->count--;
}
