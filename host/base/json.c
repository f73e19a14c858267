/* Loading and writing JSON; json_reader.c has the checked reader. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "base/numbers.h"
#include "base/text.h"

enum { MAX_DEPTH = 64, MAX_BYTES = 64 << 20 };

/* jansson itself allows 2048 levels, each of them a stack frame here and in every walker. */
static clq_status check_depth(const char *name, const char *text, size_t size) {
    int depth = 0;
    int line = 1;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '\n') {
            line++;
        }
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > MAX_DEPTH) {
                return clq_fail(CLQ_BAD_DATA, "%s:%d: nests deeper than %d levels", name, line,
                                MAX_DEPTH);
            }
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return CLQ_OK;
}

static clq_status parse(const char *name, const void *text, size_t size, size_t flags,
                        json_t **out) {
    if (size > MAX_BYTES) {
        return clq_fail(CLQ_BAD_DATA, "%s: %zu bytes of JSON exceed the limit of %d", name, size,
                        MAX_BYTES);
    }
    CLQ_TRY(check_depth(name, text, size));
    json_error_t error;
    clq_json_exhausted = false;
    clq_json_parsing = true;
    const locale_t before = clq_c_locale_begin();
    json_t *json = json_loadb(text, size, flags, &error);
    clq_c_locale_end(before);
    clq_json_parsing = false;
    const bool unset = !json && error.line == -1; /* jansson could not even begin */
    if (clq_json_exhausted || unset ||
        (!json && json_error_code(&error) == json_error_out_of_memory)) {
        clq_json_exhausted = false; /* is told */
        json_decref(json);
        return clq_fail(CLQ_NO_MEMORY, "%s: out of memory parsing it", name);
    }
    if (!json) {
        return clq_fail(CLQ_BAD_DATA, "%s:%d:%d: %s", name, error.line, error.column, error.text);
    }
    *out = json;
    return CLQ_OK;
}

clq_status clq_json_parse(const char *name, const void *text, size_t size, json_t **out) {
    return parse(name, text, size, JSON_REJECT_DUPLICATES, out);
}

clq_status clq_json_load(const char *path, json_t **out) {
    void *text = NULL;
    size_t size = 0;
    CLQ_TRY(clq_file_read(path, MAX_BYTES, &text, &size));
    /* Of what begins as JSON does, the parser tells the place. */
    const char *at = text;
    const size_t blanks = size ? strspn(at, " \t\r\n") : 0;
    const bool begins = blanks < size && strchr("[{", at[blanks]);
    clq_status status = begins ? CLQ_OK : clq_file_check_text(path, "a JSON text", text, size);
    if (status == CLQ_OK) {
        status = clq_json_parse(path, text, size, out);
    }
    clq_free(text);
    return status;
}

/* ---- changing ---- */

clq_status clq_json_put(json_t *object, const char *key, json_t *value) {
    if (value && json_object_set_new(object, key, value) == 0) {
        return CLQ_OK;
    }
    clq_json_exhausted = false; /* is told */
    return clq_is_utf8(key) ? clq_fail(CLQ_NO_MEMORY, "out of memory setting \"%s\"", key)
                            : clq_fail(CLQ_USAGE, "\"%s\": is not UTF-8", key);
}

clq_status clq_json_put_text(json_t *object, const char *key, const char *text) {
    return clq_is_utf8(text) ? clq_json_put(object, key, json_string(text))
                             : clq_fail(CLQ_USAGE, "\"%s\": \"%s\" is not UTF-8", key, text);
}

/* The member `name[length]` of *object as an object; made when missing. */
static clq_status enter(json_t **object, const char *name, size_t length, const char *path) {
    char key[128];
    if (length == 0 || length >= sizeof key) {
        return clq_fail(CLQ_USAGE, "\"%s\": not a path of keys", path);
    }
    memcpy(key, name, length);
    key[length] = '\0';
    json_t *member = json_object_get(*object, key);
    if (!member) {
        member = json_object();
        CLQ_TRY(clq_json_put(*object, key, member));
    }
    if (!json_is_object(member)) {
        return clq_fail(CLQ_USAGE, "%s: \"%s\" is no object", path, key);
    }
    *object = member;
    return CLQ_OK;
}

clq_status clq_json_override(json_t *root, const char *path, const char *text) {
    json_t *object = root;
    const char *name = path;
    for (const char *dot; (dot = strchr(name, '.')) != NULL; name = dot + 1) {
        CLQ_TRY(enter(&object, name, (size_t)(dot - name), path));
    }
    if (*name == '\0') {
        return clq_fail(CLQ_USAGE, "\"%s\": not a path of keys", path);
    }
    json_t *value = NULL;
    const clq_status status =
        parse(path, text, strlen(text), JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &value);
    if (status == CLQ_BAD_DATA) {
        return clq_json_put_text(object, name, text); /* a word */
    }
    CLQ_TRY(status);
    return clq_json_put(object, name, value);
}

/* ---- writing ---- */

json_t *clq_json_result(void) {
    json_t *json = json_object();
    json_object_set_new(json, "schema", json_integer(1));
    json_object_set_new(json, "version", json_string(clq_version()));
    return json;
}

json_t *clq_json_real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *clq_json_string(const char *text) {
    json_t *json = text ? json_string(text) : NULL;
    if (json || !text || clq_is_utf8(text)) {
        return json;
    }
    clq_text fixed = {0};
    while (*text) {
        const size_t length = clq_utf8_length(text);
        clq_text_append(&fixed, length ? text : "\xef\xbf\xbd", length ? length : 3);
        text += length ? length : 1;
    }
    clq_json_exhausted = clq_json_exhausted || fixed.failed;
    json = fixed.failed ? NULL : json_string(fixed.data);
    clq_text_free(&fixed);
    return json;
}

static int write_chunk(const char *data, size_t size, void *writer) {
    return clq_writer_write(writer, data, size) == CLQ_OK ? 0 : -1;
}

static int append_chunk(const char *data, size_t size, void *text) {
    clq_text_append(text, data, size);
    return ((clq_text *)text)->failed ? -1 : 0;
}

/* json_dump_callback in the C locale, of a tree that lacks nothing. */
static int dump(const json_t *json, json_dump_callback_t chunk, void *to, size_t flags) {
    if (clq_json_exhausted) {
        clq_json_exhausted = false; /* is told */
        return -1;
    }
    const locale_t before = clq_c_locale_begin();
    const int failed = json_dump_callback(json, chunk, to, flags);
    clq_c_locale_end(before);
    clq_json_exhausted = false;
    return failed;
}

static const size_t readable = JSON_INDENT(2) | JSON_REAL_PRECISION(9) | JSON_ENCODE_ANY;

clq_status clq_json_dump_file(const char *path, const json_t *json) {
    clq_writer *writer = NULL;
    clq_status status;
    CLQ_GOTO(status, cleanup, clq_writer_open(path, &writer));
    if (dump(json, write_chunk, writer, readable) != 0) {
        CLQ_GOTO(status, cleanup, clq_writer_write(writer, "", 0)); /* an I/O failure stays */
        CLQ_GOTO(status, cleanup, clq_fail(CLQ_NO_MEMORY, "%s: cannot format the JSON", path));
    }
    CLQ_GOTO(status, cleanup, clq_writer_write(writer, "\n", 1));
    status = clq_writer_commit(&writer);
cleanup:
    clq_writer_abort(&writer);
    return status;
}

clq_status clq_json_dump_stdout(const json_t *json) {
    clq_text text = {0};
    clq_status status = CLQ_OK;
    if (dump(json, append_chunk, &text, readable) != 0) {
        status = clq_fail(CLQ_NO_MEMORY, "out of memory formatting JSON");
    } else if (fwrite(text.data, 1, text.size, stdout) != text.size || putchar('\n') == EOF ||
               fflush(stdout) != 0) {
        status = clq_fail(CLQ_IO, "standard output: cannot write");
    }
    clq_text_free(&text);
    return status;
}

static clq_status dump_text(const json_t *json, size_t flags, char **out) {
    clq_text text = {0};
    if (dump(json, append_chunk, &text, flags | JSON_ENCODE_ANY) != 0) {
        clq_text_free(&text);
        return clq_fail(CLQ_NO_MEMORY, "out of memory formatting JSON");
    }
    return clq_text_take(&text, out);
}

clq_status clq_json_dump_indented(const json_t *json, char **out) {
    return dump_text(json, readable, out);
}

clq_status clq_json_dump_exact(const json_t *json, char **out) {
    return dump_text(json, JSON_COMPACT | JSON_REAL_PRECISION(17), out);
}

clq_status clq_json_dump_line(const json_t *json, char **out) {
    return dump_text(json, JSON_REAL_PRECISION(9), out);
}
