/* Options in, results out: both are JSON. */
#include "session/options.h"

#include <math.h>
#include <string.h>

#include "base/arguments.h"
#include "base/json.h"

/* ---- options ---- */

clq_status clq_options_create(clq_options **out) {
    CLQ_NEEDS(out);
    clq_options *options = clq_calloc(1, sizeof *options);
    *out = NULL;
    if (!options) {
        return CLQ_NO_MEMORY;
    }
    options->json = json_object();
    if (!options->json) {
        clq_free(options);
        return CLQ_NO_MEMORY;
    }
    *out = options;
    return CLQ_OK;
}

void clq_options_destroy(clq_options *options) {
    if (options) {
        json_decref(options->json);
        clq_free(options);
    }
}

clq_status clq_options_set(clq_options *options, const char *key, const char *value) {
    CLQ_NEEDS(options, key, value);
    return clq_json_override(options->json, key, value);
}

clq_status clq_options_set_number(clq_options *options, const char *key, double value) {
    CLQ_NEEDS(options, key);
    char text[32];
    CLQ_REQUIRE(isfinite(value), "value must be finite");
    clq_snprintf(text, sizeof text, "%.17g", value);
    return clq_json_override(options->json, key, text);
}

clq_status clq_options_set_text(clq_options *options, const char *key, const char *text) {
    CLQ_NEEDS(options, key, text);
    json_t *json = json_string(text);
    char *quoted = NULL;
    clq_status status =
        json ? clq_json_dump_line(json, &quoted) : clq_fail(CLQ_USAGE, "%s: must be UTF-8", key);
    if (status == CLQ_OK) {
        status = clq_json_override(options->json, key, quoted);
    }
    clq_free(quoted);
    json_decref(json);
    return status;
}

/* ---- results ---- */

clq_status clq_result_take(json_t *json, clq_result **out) {
    clq_result *result = clq_calloc(1, sizeof *result);
    clq_status status = result && json ? clq_json_dump_exact(json, &result->text) : CLQ_NO_MEMORY;
    if (status != CLQ_OK) {
        json_decref(json);
        clq_free(result);
        return status;
    }
    result->json = json;
    *out = result;
    return CLQ_OK;
}

void clq_result_free(clq_result *result) {
    if (result) {
        json_decref(result->json);
        clq_free(result->text);
        clq_free(result);
    }
}

const char *clq_result_json(const clq_result *result) {
    CLQ_NEEDS_OR(NULL, result);
    return result->text;
}

/* The member at a dotted path; a key itself may have dots. */
static const json_t *find(const json_t *json, const char *key) {
    const json_t *member = json_object_get(json, key);
    for (const char *dot = strchr(key, '.'); !member && dot; dot = strchr(dot + 1, '.')) {
        char first[256];
        const size_t length = (size_t)(dot - key);
        if (length < sizeof first) {
            memcpy(first, key, length);
            first[length] = '\0';
            const json_t *inner = json_object_get(json, first);
            member = inner ? find(inner, dot + 1) : NULL;
        }
    }
    return member;
}

double clq_result_number(const clq_result *result, const char *key) {
    CLQ_NEEDS_OR(NAN, result, key);
    const json_t *member = find(result->json, key);
    return json_is_number(member) ? json_number_value(member) : NAN;
}

const char *clq_result_text(const clq_result *result, const char *key) {
    CLQ_NEEDS_OR(NULL, result, key);
    return json_string_value(find(result->json, key));
}
