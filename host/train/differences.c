#include "train/differences.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum { SHOWN = 4, NAME_SIZE = 256 };

typedef struct search {
    clq_text *text;
    int found;
} search;

/* Keys that change no result, so that a resumed training may have others. */
static bool is_free(const char *key) {
    static const char *const names[] = {"loader_threads", "log_steps", "checkpoint_steps",
                                        "recompute", "on_nonfinite"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(key, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether a phase depends on a section of its recipe: QAT takes over what "train" and "ptq" say. */
static bool concerns(const char *section, const char *phase) {
    return strcmp(section, "network") == 0 || strcmp(section, "data") == 0 ||
           strcmp(section, phase) == 0 ||
           (strcmp(phase, "qat") == 0 &&
            (strcmp(section, "train") == 0 || strcmp(section, "ptq") == 0));
}

static void put_value(clq_text *text, const json_t *value) {
    char *line =
        value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    clq_text_printf(text, "%.60s%s", line ? line : "not set",
                    line && strlen(line) > 60 ? "..." : "");
    free(line); /* jansson's own */
}

static void compare(search *s, const char *name, const json_t *was, const json_t *is);

/* The keys of `was`, or those that only `is` has. */
static void compare_keys(search *s, const char *name, const json_t *was, const json_t *is,
                         bool only_new) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(only_new ? is : was), key, value) {
        char path[NAME_SIZE];
        if (is_free(key) || (only_new && json_object_get(was, key))) {
            continue;
        }
        snprintf(path, sizeof path, "%s%s%s", name, *name ? "." : "", key);
        compare(s, path, json_object_get(was, key), json_object_get(is, key));
    }
}

static void compare(search *s, const char *name, const json_t *was, const json_t *is) {
    const bool numbers = json_is_number(was) && json_is_number(is);
    if (numbers ? json_number_value(was) == json_number_value(is)
                : json_equal((json_t *)was, (json_t *)is)) {
        return;
    }
    if ((json_is_object(was) || !was) && (json_is_object(is) || !is)) {
        compare_keys(s, name, was, is, false);
        compare_keys(s, name, was, is, true);
        return;
    }
    if (s->found++ < SHOWN) {
        clq_text_printf(s->text, "%s%s is ", s->text->size ? ", " : "", name);
        put_value(s->text, is);
        clq_text_puts(s->text, ", was ");
        put_value(s->text, was);
    }
}

static void keep_what_concerns(json_t *recipe, const char *phase) {
    const char *section;
    json_t *value;
    void *next;
    json_object_foreach_safe(recipe, next, section, value) {
        if (phase && !concerns(section, phase)) {
            json_object_del(recipe, section);
        }
    }
}

static json_t *object_of(const char *text) {
    json_t *json = NULL;
    if (text && clq_json_parse("checkpoint", text, strlen(text), &json) == CLQ_OK &&
        json_is_object(json)) {
        return json;
    }
    json_decref(json);
    return NULL;
}

void clq_train_differences(const char *was, const char *is, const char *phase, clq_text *text) {
    search s = {.text = text};
    json_t *old = object_of(was), *now = object_of(is);
    if (old && now) {
        keep_what_concerns(old, phase);
        keep_what_concerns(now, phase);
        compare(&s, "", old, now);
    }
    if (s.found > SHOWN) {
        clq_text_printf(text, " and %d more", s.found - SHOWN);
    }
    json_decref(old);
    json_decref(now);
}
