/* The checked reader of json.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/numbers.h"
#include "base/text.h"

clq_status clq_json_reader_init(clq_json_reader *reader, const char *file, const json_t *value) {
    *reader = (clq_json_reader){.file = file, .object = value};
    if (value && !json_is_object(value)) {
        return clq_fail(CLQ_BAD_DATA, "%s: must be a JSON object", file);
    }
    return CLQ_OK;
}

clq_status clq_json_fail(const clq_json_reader *reader, const char *key, const char *format, ...) {
    char rule[1024];
    va_list arguments;
    va_start(arguments, format);
    clq_vsnprintf(rule, sizeof rule, format, arguments);
    va_end(arguments);
    return clq_fail(CLQ_BAD_DATA, "%s: %s%s%s: %s", reader->file, reader->path,
                    reader->path[0] ? "." : "", key, rule);
}

/* What the user wrote, for "must be ..., is ...". */
static void describe(const json_t *value, char *out, size_t size) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        snprintf(out, size, "an object");
        break;
    case JSON_ARRAY:
        snprintf(out, size, "an array of %zu", json_array_size(value));
        break;
    case JSON_STRING:
        snprintf(out, size, "\"%.80s\"", json_string_value(value));
        break;
    case JSON_INTEGER:
        snprintf(out, size, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        clq_snprintf(out, size, "%.9g", json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        snprintf(out, size, json_is_true(value) ? "true" : "false");
        break;
    case JSON_NULL:
        snprintf(out, size, "null");
        break;
    }
}

static clq_status mismatch(const clq_json_reader *reader, const char *key, const json_t *value,
                           const char *expected) {
    char actual[128];
    describe(value, actual, sizeof actual);
    return clq_json_fail(reader, key, "must be %s, is %s", expected, actual);
}

/* Whether `places` has a path, which ends where it ends or at a newline. */
static bool has_place(const clq_text *places, const char *path) {
    const size_t length = strlen(path);
    for (const char *at = places->data; at; at = strchr(at, '\n')) {
        at++;
        if (strncmp(at, path, length) == 0 && (at[length] == '\n' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

static clq_status add_place(const clq_json_reader *reader, const char *key) {
    char path[sizeof reader->path + 64];
    snprintf(path, sizeof path, "%s%s%s", reader->path, reader->path[0] ? "." : "", key);
    if (!has_place(reader->places, path)) {
        clq_text_printf(reader->places, "\n%s", path);
    }
    return clq_text_status(reader->places);
}

/* The key's value or NULL; remembers that the key is known. */
static clq_status find(clq_json_reader *reader, const char *key, const json_t **value) {
    *value = json_object_get(reader->object, key);
    for (size_t i = 0; i < reader->key_count; i++) {
        if (strcmp(reader->keys[i], key) == 0) {
            return CLQ_OK;
        }
    }
    if (reader->key_count == CLQ_JSON_MAX_KEYS) {
        return clq_fail(CLQ_INTERNAL, "%s: %s has more than %d keys", reader->file, reader->path,
                        CLQ_JSON_MAX_KEYS);
    }
    reader->keys[reader->key_count++] = key;
    return reader->places ? add_place(reader, key) : CLQ_OK;
}

bool clq_json_has(clq_json_reader *reader, const char *key) {
    const json_t *value = NULL;
    return find(reader, key, &value) == CLQ_OK && value;
}

clq_status clq_json_require(clq_json_reader *reader, const char *key) {
    const json_t *value = NULL;
    CLQ_TRY(find(reader, key, &value));
    return value ? CLQ_OK : clq_json_fail(reader, key, "is missing");
}

/* ---- numbers ---- */

static clq_status check_i64(const clq_json_reader *reader, const char *key, const json_t *value,
                            int64_t min, int64_t max, int64_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max) {
        char expected[96];
        if (max == INT64_MAX) {
            snprintf(expected, sizeof expected, "an integer of at least %lld", (long long)min);
        } else {
            snprintf(expected, sizeof expected, "an integer in %lld..%lld", (long long)min,
                     (long long)max);
        }
        return mismatch(reader, key, value, expected);
    }
    *out = json_integer_value(value);
    return CLQ_OK;
}

static clq_status check_f64(const clq_json_reader *reader, const char *key, const json_t *value,
                            double min, double max, double *out) {
    /* Written so that a NaN, which jansson never yields, would be refused as well. */
    if (!json_is_number(value) ||
        !(json_number_value(value) >= min && json_number_value(value) <= max)) {
        char expected[96];
        clq_snprintf(expected, sizeof expected, "a number in %.9g..%.9g", min, max);
        return mismatch(reader, key, value, expected);
    }
    *out = json_number_value(value);
    return CLQ_OK;
}

clq_status clq_json_read_i64(clq_json_reader *reader, const char *key, int64_t min, int64_t max,
                             int64_t *value) {
    const json_t *found = NULL;
    CLQ_TRY(find(reader, key, &found));
    return found ? check_i64(reader, key, found, min, max, value) : CLQ_OK;
}

clq_status clq_json_read_int(clq_json_reader *reader, const char *key, int min, int max,
                             int *value) {
    int64_t wide = *value;
    CLQ_TRY(clq_json_read_i64(reader, key, min, max, &wide));
    *value = (int)wide;
    return CLQ_OK;
}

clq_status clq_json_read_size(clq_json_reader *reader, const char *key, size_t min, size_t max,
                              size_t *value) {
    int64_t low = min > INT64_MAX ? INT64_MAX : (int64_t)min;
    int64_t high = max > INT64_MAX ? INT64_MAX : (int64_t)max;
    int64_t wide = -1;
    CLQ_TRY(clq_json_read_i64(reader, key, low, high, &wide));
    if (wide >= 0) {
        *value = (size_t)wide;
    }
    return CLQ_OK;
}

clq_status clq_json_read_f64(clq_json_reader *reader, const char *key, double min, double max,
                             double *value) {
    const json_t *found = NULL;
    CLQ_TRY(find(reader, key, &found));
    return found ? check_f64(reader, key, found, min, max, value) : CLQ_OK;
}

clq_status clq_json_read_f32(clq_json_reader *reader, const char *key, float min, float max,
                             float *value) {
    double wide = *value;
    CLQ_TRY(clq_json_read_f64(reader, key, min, max, &wide));
    *value = (float)wide;
    return CLQ_OK;
}

/* ---- other scalars ---- */

clq_status clq_json_read_bool(clq_json_reader *reader, const char *key, bool *value) {
    const json_t *found = NULL;
    CLQ_TRY(find(reader, key, &found));
    if (found && !json_is_boolean(found)) {
        return mismatch(reader, key, found, "true or false");
    }
    if (found) {
        *value = json_is_true(found);
    }
    return CLQ_OK;
}

clq_status clq_json_read_string(clq_json_reader *reader, const char *key, const char **value) {
    const json_t *found = NULL;
    CLQ_TRY(find(reader, key, &found));
    if (found && !json_is_string(found)) {
        return mismatch(reader, key, found, "a string");
    }
    if (found) {
        *value = json_string_value(found);
    }
    return CLQ_OK;
}

clq_status clq_json_read_enum(clq_json_reader *reader, const char *key, const char *const *names,
                              size_t count, int *value) {
    const json_t *found = NULL;
    CLQ_TRY(find(reader, key, &found));
    if (!found) {
        return CLQ_OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (json_is_string(found) && strcmp(json_string_value(found), names[i]) == 0) {
            *value = (int)i;
            return CLQ_OK;
        }
    }
    char expected[512] = "one of";
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "%s \"%s\"", i ? "," : "", names[i]);
    }
    return mismatch(reader, key, found, expected);
}

/* ---- arrays and objects ---- */

clq_status clq_json_read_array(clq_json_reader *reader, const char *key, const json_t **array) {
    const json_t *found = NULL;
    CLQ_TRY(find(reader, key, &found));
    if (found && !json_is_array(found)) {
        return mismatch(reader, key, found, "an array");
    }
    *array = found;
    return CLQ_OK;
}

/* The array when there is one of at most `capacity` elements; NULL when the key is missing. */
static clq_status find_numbers(clq_json_reader *reader, const char *key, size_t capacity,
                               const json_t **array) {
    CLQ_TRY(clq_json_read_array(reader, key, array));
    if (*array && json_array_size(*array) > capacity) {
        char expected[64];
        snprintf(expected, sizeof expected, "an array of at most %zu", capacity);
        return mismatch(reader, key, *array, expected);
    }
    return CLQ_OK;
}

clq_status clq_json_read_f64_array(clq_json_reader *reader, const char *key, double min, double max,
                                   double *values, size_t capacity, size_t *count) {
    const json_t *array = NULL;
    CLQ_TRY(find_numbers(reader, key, capacity, &array));
    for (size_t i = 0; array && i < json_array_size(array); i++) {
        char place[300];
        snprintf(place, sizeof place, "%s[%zu]", key, i);
        CLQ_TRY(check_f64(reader, place, json_array_get(array, i), min, max, &values[i]));
    }
    if (array) {
        *count = json_array_size(array);
    }
    return CLQ_OK;
}

clq_status clq_json_read_i64_array(clq_json_reader *reader, const char *key, int64_t min,
                                   int64_t max, int64_t *values, size_t capacity, size_t *count) {
    const json_t *array = NULL;
    CLQ_TRY(find_numbers(reader, key, capacity, &array));
    for (size_t i = 0; array && i < json_array_size(array); i++) {
        char place[300];
        snprintf(place, sizeof place, "%s[%zu]", key, i);
        CLQ_TRY(check_i64(reader, place, json_array_get(array, i), min, max, &values[i]));
    }
    if (array) {
        *count = json_array_size(array);
    }
    return CLQ_OK;
}

/* `path` of a member; longer ones are cut, they only serve error texts. */
static void join_path(const clq_json_reader *reader, const char *member, clq_json_reader *sub) {
    char path[sizeof sub->path + 64];
    int used =
        snprintf(path, sizeof path, "%s%s%s", reader->path, reader->path[0] ? "." : "", member);
    size_t length = used < 0 ? 0 : strlen(path);
    if (length >= sizeof sub->path) {
        length = sizeof sub->path - 1;
    }
    memcpy(sub->path, path, length);
    sub->path[length] = '\0';
}

clq_status clq_json_read_object(clq_json_reader *reader, const char *key, clq_json_reader *sub) {
    const json_t *found = NULL;
    CLQ_TRY(find(reader, key, &found));
    if (found && !json_is_object(found)) {
        return mismatch(reader, key, found, "an object");
    }
    CLQ_TRY(clq_json_reader_init(sub, reader->file, found));
    join_path(reader, key, sub);
    sub->places = reader->places;
    return CLQ_OK;
}

clq_status clq_json_read_element(const clq_json_reader *reader, const char *key,
                                 const json_t *array, size_t index, clq_json_reader *element) {
    char place[300];
    snprintf(place, sizeof place, "%s[%zu]", key, index);
    const json_t *value = json_array_get(array, index);
    if (!value) {
        return clq_json_fail(reader, place, "is missing");
    }
    if (!json_is_object(value)) {
        return mismatch(reader, place, value, "an object");
    }
    CLQ_TRY(clq_json_reader_init(element, reader->file, value));
    join_path(reader, place, element);
    element->places = reader->places;
    return CLQ_OK;
}

/* ---- unknown keys ---- */

static bool is_known(const clq_json_reader *reader, const char *key) {
    for (size_t i = 0; i < reader->key_count; i++) {
        if (strcmp(reader->keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

enum { MAX_PLACES = 512, MAX_SUGGESTED = 4 };

/* The places, cut into names. */
typedef struct place_list {
    char *text;
    const char *paths[MAX_PLACES], *keys[MAX_PLACES]; /* a key: the last part of its path */
    size_t count;
} place_list;

static clq_status list_places(const clq_json_reader *reader, place_list *list) {
    *list = (place_list){.count = 0};
    if (!reader->places || !reader->places->data) {
        return CLQ_OK;
    }
    list->text = clq_strdup(reader->places->data);
    if (!list->text) {
        return CLQ_NO_MEMORY;
    }
    for (char *at = list->text; at && list->count < MAX_PLACES; list->count++) {
        *at++ = '\0';
        list->paths[list->count] = at;
        at = strchr(at, '\n');
    }
    for (size_t i = 0; i < list->count; i++) {
        const char *dot = strrchr(list->paths[i], '.');
        list->keys[i] = dot ? dot + 1 : list->paths[i];
    }
    return CLQ_OK;
}

/* The places of a key: those below the reader's own, or else all. */
static size_t find_places(const clq_json_reader *reader, const place_list *list, const char *key,
                          const char *found[MAX_SUGGESTED]) {
    const size_t length = strlen(reader->path);
    size_t count = 0;
    for (int anywhere = 0; anywhere < 2 && count == 0; anywhere++) {
        for (size_t i = 0; i < list->count && count < MAX_SUGGESTED; i++) {
            const bool below = length > 0 && strncmp(list->paths[i], reader->path, length) == 0 &&
                               list->paths[i][length] == '.';
            if (strcasecmp(list->keys[i], key) == 0 && (below || anywhere)) {
                found[count++] = list->paths[i];
            }
        }
    }
    return count;
}

static clq_status refuse(const clq_json_reader *reader, const char *key) {
    const char *found[MAX_SUGGESTED];
    place_list list;
    clq_text text = {0};
    CLQ_TRY(list_places(reader, &list));
    size_t count = find_places(reader, &list, key, found);
    if (count == 0) {
        found[0] = clq_nearest(key, reader->keys, reader->key_count);
        count = found[0] != NULL;
    }
    if (count == 0) {
        const char *near = clq_nearest(key, list.keys, list.count);
        count = near ? find_places(reader, &list, near, found) : 0;
    }
    for (size_t i = 0; i < count; i++) {
        clq_text_printf(&text, "%s\"%s\"",
                        i == 0           ? "; did you mean "
                        : i + 1 == count ? " or "
                                         : ", ",
                        found[i]);
    }
    clq_status status = clq_text_status(&text);
    if (status == CLQ_OK) {
        status = clq_json_fail(reader, key, "unknown key%s%s", text.data ? text.data : "",
                               count ? "?" : "");
    }
    clq_text_free(&text);
    clq_free(list.text);
    return status;
}

clq_status clq_json_reader_finish(const clq_json_reader *reader) {
    /* jansson's iteration takes a non-const pointer and changes nothing. */
    json_t *object = (json_t *)reader->object;
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const char *key = json_object_iter_key(it);
        if (!is_known(reader, key)) {
            return refuse(reader, key);
        }
    }
    return CLQ_OK;
}
