#include "cli/origin.h"

#include <string.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/environment.h"
#include "base/files.h"
#include "base/json.h"
#include "base/numbers.h"
#include "base/text.h"
#include "cli/cli.h"
#include "commit.h"

const char *clq_commit(void) {
    return CLQ_COMMIT;
}

/* ---- the command line ---- */

static struct {
    int argc;
    char **argv;
} kept;

void clq_command_line_keep(int argc, char **argv) {
    kept.argc = argc;
    kept.argv = clq_calloc((size_t)argc, sizeof *kept.argv);
    if (kept.argv) { /* argp will sort argv */
        memcpy(kept.argv, argv, (size_t)argc * sizeof *argv);
    }
}

/* As a shell reads it back. */
static void put_word(clq_text *line, const char *word) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789_@%+=:,./-";
    clq_text_puts(line, line->size ? " " : "");
    if (*word && word[strspn(word, plain)] == '\0') {
        clq_text_puts(line, word);
        return;
    }
    clq_text_puts(line, "'");
    for (const char *c = word; *c; c++) {
        if (*c == '\'') {
            clq_text_puts(line, "'\\''");
        } else {
            clq_text_append(line, c, 1);
        }
    }
    clq_text_puts(line, "'");
}

/* The environment variables that are ours, since they may change results. */
static void put_environment(clq_text *line) {
    const char *name;
    for (size_t i = 0; (name = clq_environment_name(i)) != NULL; i++) {
        if (clq_environment(name)) {
            char *word = clq_format("%s=%s", name, clq_environment(name));
            put_word(line, word ? word : "");
            line->failed = line->failed || !word;
            clq_free(word);
        }
    }
}

/* Whether a word is an option or what argp takes for it, `least` letters with the dashes. */
static bool is_option(const char *word, const char *option, size_t least) {
    return strlen(word) >= least && strncmp(option, word, strlen(word)) == 0;
}

char *clq_command_line_to_resume(void) {
    clq_text line = {0};
    char *text = NULL;
    int end = 1; /* of the options */
    while (kept.argv && end < kept.argc && strcmp(kept.argv[end], "--") != 0) {
        end++;
    }
    put_environment(&line);
    put_word(&line, "clquant");
    for (int i = 1; kept.argv && i <= kept.argc; i++) {
        if (i == end) {
            put_word(&line, "--resume");
        }
        const char *word = i < kept.argc ? kept.argv[i] : NULL;
        if (word && (i > end || (!is_option(word, "--overwrite", sizeof "--ov" - 1) &&
                                 !is_option(word, "--resume", sizeof "--resu" - 1)))) {
            put_word(&line, word);
        }
    }
    if (clq_text_take(&line, &text) != CLQ_OK) {
        return NULL;
    }
    return text;
}

static json_t *command_line(void) {
    clq_text line = {0};
    put_environment(&line);
    put_word(&line, "clquant");
    for (int i = 1; kept.argv && i < kept.argc; i++) {
        put_word(&line, kept.argv[i]);
    }
    json_t *json = clq_text_status(&line) == CLQ_OK ? clq_json_string(line.data) : NULL;
    clq_text_free(&line);
    return json;
}

/* ---- parts ---- */

/* Of one split: how many, and a hash of what is in it (clq_dataset_hash). */
static clq_status put_split(json_t *json, const char *split, clq_dataset *dataset) {
    char text[32];
    uint64_t hash;
    if (!dataset) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_dataset_hash(dataset, &hash));
    clq_snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    json_t *part = json_object();
    json_object_set_new(part, "count", json_integer(clq_dataset_get_info(dataset)->count));
    json_object_set_new(part, "hash", json_string(text));
    return clq_json_put(json, split, part);
}

/* Each array's name, type and shape. */
static clq_status put_arrays(json_t *data, const clq_arrays *arrays) {
    json_t *list = json_array();
    json_object_set_new(data, "kind", json_string("arrays"));
    json_object_set_new(data, "path", clq_json_string(clq_arrays_path(arrays)));
    CLQ_TRY(clq_json_put(data, "arrays", list));
    for (int i = 0; i < clq_arrays_count(arrays); i++) {
        const clq_array *array = clq_arrays_at(arrays, i);
        json_t *one = json_object(), *shape = json_array();
        for (int d = 0; d < array->rank; d++) {
            json_array_append_new(shape, json_integer(array->dims[d]));
        }
        json_object_set_new(one, "name", clq_json_string(array->name));
        json_object_set_new(one, "type", clq_json_string(array->type));
        json_object_set_new(one, "shape", shape);
        json_array_append_new(list, one);
    }
    return CLQ_OK;
}

static clq_status put_data(json_t *json, const clq_origin_data *from) {
    json_t *data = json_object();
    CLQ_TRY(clq_json_put(json, "data", data));
    if (from->arrays) {
        return put_arrays(data, from->arrays);
    }
    const clq_dataset_info *info = clq_dataset_get_info(from->train);
    json_object_set_new(data, "kind", clq_json_string(info->kind));
    json_object_set_new(data, "path", clq_json_string(info->path));
    if (info->features > 0) {
        json_object_set_new(data, "features", json_integer(info->features));
    } else {
        json_object_set_new(data, "height", json_integer(info->height));
        json_object_set_new(data, "width", json_integer(info->width));
        json_object_set_new(data, "channels", json_integer(info->channels));
    }
    json_object_set_new(data, "classes", json_integer(info->class_count));
    json_object_set_new(data, "targets", json_integer(info->targets));
    CLQ_TRY(put_split(data, "train", from->train));
    return put_split(data, "test", from->test);
}

static json_t *system_name(void) {
    struct utsname system;
    if (uname(&system) != 0) {
        return json_null();
    }
    char *text = clq_format("%s %s %s", system.sysname, system.release, system.machine);
    json_t *json = clq_json_string(text);
    clq_free(text);
    return json;
}

static void put_now(json_t *json, const char *key) {
    char now[CLQ_TIMESTAMP_SIZE];
    clq_timestamp(now);
    json_object_set_new(json, key, clq_json_string(now));
}

/* ---- the whole ---- */

clq_status clq_origin_begin(clq_origin *origin, const clq_recipe *recipe, clq_device *device,
                            const clq_origin_data *data, int ranks, bool resumed) {
    clq_origin_clear(origin);
    json_t *json = origin->json = clq_json_result(), *seeds = json_object();
    origin->lap = clq_now_seconds();
    json_object_set_new(json, "commit", json_string(clq_commit()));
    json_object_set_new(json, "command", command_line());
    put_now(json, "started");
    json_object_set_new(json, "finished", json_null());
    json_object_set_new(json, "resumed", json_boolean(resumed));
    json_object_set_new(json, "ranks", json_integer(ranks));
    json_object_set_new(json, "seconds", json_object());
    json_object_set_new(json, "system", system_name());
    json_object_set_new(json, "device", clq_device_to_json(device, clq_device_get_info(device)));
    CLQ_TRY(put_data(json, data));
    json_object_set_new(seeds, "network", json_integer((json_int_t)recipe->network.seed));
    json_object_set_new(seeds, "train", json_integer((json_int_t)recipe->train.seed));
    json_object_set_new(seeds, "qat", json_integer((json_int_t)recipe->qat.seed));
    json_object_set_new(json, "seeds", seeds);
    json_object_set(json, "recipe", recipe->json);
    return CLQ_OK;
}

void clq_origin_lap(clq_origin *origin, const char *stage) {
    const double now = clq_now_seconds();
    json_t *seconds = json_object_get(origin->json, "seconds");
    const double before = json_number_value(json_object_get(seconds, stage));
    json_object_set_new(seconds, stage, clq_json_real(before + now - origin->lap));
    origin->lap = now;
}

clq_status clq_origin_write(clq_origin *origin, const char *folder, bool finished) {
    if (!folder) {
        return CLQ_OK;
    }
    if (finished) {
        put_now(origin->json, "finished");
    }
    char *path = clq_path_join(folder, "origin.json");
    const clq_status status = path ? clq_json_dump_file(path, origin->json) : CLQ_NO_MEMORY;
    clq_free(path);
    return status;
}

void clq_origin_clear(clq_origin *origin) {
    json_decref(origin->json);
    *origin = (clq_origin){0};
}
