/* JSON on jansson: strict loading, a reader that checks types and ranges and names the place of
 * every error, and output. jansson's memory comes from the allocator of clq_set_allocator. */
#ifndef CLQ_BASE_JSON_H
#define CLQ_BASE_JSON_H

#include <jansson.h>

#include "clquant/base.h"

/* ---- loading ---- */

/* Parses a file into *out (json_decref it). CLQ_BAD_DATA with "file:line:column: ..." for text
 * that is not strict JSON, has a key twice, nests deeper than 64 or is longer than 64 MiB. */
clq_status clq_json_load(const char *path, json_t **out);
/* The same for text in memory; `name` stands for the file in errors. */
clq_status clq_json_parse(const char *name, const void *text, size_t size, json_t **out);

/* ---- reading with checks ---- */

/* Reads one object. Every function takes a key; a missing key leaves *value as it is, so the
 * caller stores the default there first. Errors are CLQ_BAD_DATA, like
 *     recipe.json: training.epochs: must be an integer in 1..100000, is -3
 * Keys must outlive the reader (string literals). It needs no clean-up and must not outlive the
 * JSON tree. */
enum { CLQ_JSON_MAX_KEYS = 64 };
typedef struct clq_json_reader {
    const char *file;
    char path[256];                      /* of this object: "training.optimizer"; "" at the top */
    const json_t *object;                /* NULL: an object that is not there, all keys missing */
    const char *keys[CLQ_JSON_MAX_KEYS]; /* all keys asked for */
    size_t key_count;
    struct clq_text *places; /* NULL; or, begun by the caller, the paths of all keys that were asked
                              * for here and in sub-readers, each behind a newline */
} clq_json_reader;

/* CLQ_BAD_DATA unless `value` is an object (NULL is one without keys). `file` must outlive it. */
clq_status clq_json_reader_init(clq_json_reader *reader, const char *file, const json_t *value);

bool clq_json_has(clq_json_reader *reader, const char *key);
clq_status clq_json_require(clq_json_reader *reader, const char *key); /* the key must be there */

clq_status clq_json_read_i64(clq_json_reader *reader, const char *key, int64_t min, int64_t max,
                             int64_t *value);
clq_status clq_json_read_int(clq_json_reader *reader, const char *key, int min, int max,
                             int *value);
clq_status clq_json_read_size(clq_json_reader *reader, const char *key, size_t min, size_t max,
                              size_t *value);
/* Integers are accepted as reals. */
clq_status clq_json_read_f64(clq_json_reader *reader, const char *key, double min, double max,
                             double *value);
clq_status clq_json_read_f32(clq_json_reader *reader, const char *key, float min, float max,
                             float *value);
clq_status clq_json_read_bool(clq_json_reader *reader, const char *key, bool *value);
/* *value points into the JSON tree. */
clq_status clq_json_read_string(clq_json_reader *reader, const char *key, const char **value);
/* *value becomes the index in names[count]. */
clq_status clq_json_read_enum(clq_json_reader *reader, const char *key, const char *const *names,
                              size_t count, int *value);
/* At most `capacity` numbers; *count tells how many. */
clq_status clq_json_read_f64_array(clq_json_reader *reader, const char *key, double min, double max,
                                   double *values, size_t capacity, size_t *count);
clq_status clq_json_read_i64_array(clq_json_reader *reader, const char *key, int64_t min,
                                   int64_t max, int64_t *values, size_t capacity, size_t *count);
/* A sub-object; when the key is missing, `sub` reads as an object without keys. */
clq_status clq_json_read_object(clq_json_reader *reader, const char *key, clq_json_reader *sub);
/* An array (borrowed, NULL when missing); its elements are objects read by clq_json_read_element.
 */
clq_status clq_json_read_array(clq_json_reader *reader, const char *key, const json_t **array);
clq_status clq_json_read_element(const clq_json_reader *reader, const char *key,
                                 const json_t *array, size_t index, clq_json_reader *element);

/* Fails with CLQ_BAD_DATA naming reader's file and the key's place, for rules the caller checks. */
clq_status clq_json_fail(const clq_json_reader *reader, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Refuses keys nobody asked for, with the closest known one ("did you mean"): the same one
 * elsewhere in `places`, one that is near here, or one that is near elsewhere. Call it last. */
clq_status clq_json_reader_finish(const clq_json_reader *reader);

/* ---- changing ---- */

/* Sets the value at a dotted path ("training.epochs"), making the objects on the way: how a flag
 * overrides a recipe's key. `text` is taken as JSON where it is (3, 0.5, true, [1,2], null) and
 * else as a string. */
clq_status clq_json_override(json_t *root, const char *path, const char *text);

/* Sets a member, taking `value` over, also on failure (NULL: memory ran out). CLQ_USAGE when key or
 * text is not UTF-8; out of memory is told apart from it. */
clq_status clq_json_put(json_t *object, const char *key, json_t *value);
clq_status clq_json_put_text(json_t *object, const char *key, const char *text);

/* ---- writing ---- */

/* An object that begins as all results do: "schema": 1 and "version", clquant's. */
json_t *clq_json_result(void);
/* A real; null for NaN and infinities, which JSON does not have. */
json_t *clq_json_real(double value);
/* A text of any origin: bytes that are not UTF-8, as a file's name may have, become U+FFFD. */
json_t *clq_json_string(const char *text);
/* Indented, 9 significant digits, final newline; keys in the order they were set. */
clq_status clq_json_dump_file(const char *path, const json_t *json);
clq_status clq_json_dump_stdout(const json_t *json);
/* Compact text (clq_free it) with 17 digits, so that every double reads back as the same bits. */
clq_status clq_json_dump_exact(const json_t *json, char **text);
/* The same as a text (clq_free it). */
clq_status clq_json_dump_indented(const json_t *json, char **text);
/* One line for people and programs (clq_free it), with 9 digits and no newline. */
clq_status clq_json_dump_line(const json_t *json, char **text);

/* All of these end in CLQ_NO_MEMORY when jansson ran out of memory in this thread since the last
 * one: a member whose setting failed, which nobody looks at, would be missing. It is noticed while
 * an allocator is set, and from this call on (the command's: jansson's allocator is the process's).
 */
void clq_json_watch_memory(void);

/* ---- for memory.c and json.c ---- */

/* Whether jansson's parser runs, and whether an allocation failed since it began or since the last
 * output (memory.c). */
extern _Thread_local bool clq_json_parsing, clq_json_exhausted;

#endif
