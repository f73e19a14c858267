/* origin.json. */
#include <string.h>

#include "report/run_data.h"

/* An array whose elements are all of this type, or one that is not there. */
static clq_status read_list(clq_json_reader *reader, const char *key, json_type type,
                            const json_t **list) {
    CLQ_TRY(clq_json_read_array(reader, key, list));
    for (size_t i = 0; i < json_array_size(*list); i++) {
        if (json_typeof(json_array_get(*list, i)) != type) {
            return clq_json_fail(reader, key, "has an element of another type, [%zu]", i);
        }
    }
    return CLQ_OK;
}

static clq_status read_device(clq_json_reader *top, clq_run_origin *out) {
    clq_json_reader reader;
    CLQ_TRY(clq_json_read_object(top, "device", &reader));
    CLQ_TRY(clq_json_read_string(&reader, "name", &out->device));
    CLQ_TRY(clq_json_read_string(&reader, "platform", &out->platform));
    CLQ_TRY(clq_json_read_string(&reader, "version", &out->opencl));
    CLQ_TRY(clq_json_read_string(&reader, "driver", &out->driver));
    CLQ_TRY(clq_json_read_string(&reader, "schedule", &out->schedule));
    CLQ_TRY(clq_json_read_int(&reader, "compute_units", 0, INT32_MAX, &out->compute_units));
    CLQ_TRY(read_list(&reader, "dot_paths", JSON_STRING, &out->dot_paths));
    return read_list(&reader, "failed_self_tests", JSON_OBJECT, &out->failed_tests);
}

static clq_status read_split(clq_json_reader *data, const char *key, clq_run_split *out) {
    clq_json_reader reader;
    CLQ_TRY(clq_json_read_object(data, key, &reader));
    CLQ_TRY(clq_json_read_i64(&reader, "count", 0, INT64_MAX, &out->count));
    return clq_json_read_string(&reader, "hash", &out->hash);
}

static clq_status read_data(clq_json_reader *top, clq_run_data *data) {
    clq_run_origin *out = &data->origin;
    const struct {
        const char *key;
        int *value;
    } counts[] = {{"height", &out->height},     {"width", &out->width},
                  {"channels", &out->channels}, {"features", &out->features},
                  {"classes", &out->classes},   {"targets", &out->targets}};
    clq_json_reader reader;
    CLQ_TRY(clq_json_read_object(top, "data", &reader));
    CLQ_TRY(clq_json_read_string(&reader, "kind", &out->kind));
    CLQ_TRY(clq_json_read_string(&reader, "path", &data->data));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        *counts[i].value = -1;
        CLQ_TRY(clq_json_read_int(&reader, counts[i].key, 0, INT32_MAX, counts[i].value));
    }
    CLQ_TRY(read_split(&reader, "train", &out->train));
    return read_split(&reader, "test", &out->test);
}

static clq_status read_seeds(clq_json_reader *top, clq_run_origin *out) {
    clq_json_reader reader;
    CLQ_TRY(clq_json_read_object(top, "seeds", &reader));
    CLQ_TRY(clq_json_read_i64(&reader, "network", 0, INT64_MAX, &out->network_seed));
    CLQ_TRY(clq_json_read_i64(&reader, "train", 0, INT64_MAX, &out->train_seed));
    return clq_json_read_i64(&reader, "qat", 0, INT64_MAX, &out->qat_seed);
}

static clq_status read_seconds(clq_json_reader *top, clq_run_origin *out) {
    clq_json_reader reader;
    const char *key;
    json_t *value;
    CLQ_TRY(clq_json_read_object(top, "seconds", &reader));
    /* jansson's iteration takes a non-const pointer and changes nothing. */
    json_object_foreach((json_t *)reader.object, key, value) {
        if (!json_is_number(value) || !(json_number_value(value) >= 0) ||
            json_number_value(value) > CLQ_RUN_LARGE) {
            return clq_json_fail(&reader, key, "must be a number of at least 0");
        }
    }
    out->seconds = reader.object;
    return CLQ_OK;
}

void clq_run_forget_origin(clq_run_data *data) {
    clq_run_origin *out = &data->origin;
    *out = (clq_run_origin){.network_seed = -1, .train_seed = -1, .qat_seed = -1};
    out->train = out->test = (clq_run_split){-1, ""};
    const char **const texts[] = {&out->commit, &out->command,  &out->started,  &out->finished,
                                  &out->system, &out->device,   &out->platform, &out->opencl,
                                  &out->driver, &out->schedule, &out->kind};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        *texts[i] = "";
    }
}

clq_status clq_run_read_origin(const char *file, const json_t *json, clq_run_data *data) {
    clq_run_origin *out = &data->origin;
    clq_json_reader reader, recipe;
    CLQ_TRY(clq_json_reader_init(&reader, file, json));
    CLQ_TRY(clq_run_read_schema(&reader));
    CLQ_TRY(clq_json_read_string(&reader, "version", &data->version));
    CLQ_TRY(clq_json_read_string(&reader, "commit", &out->commit));
    CLQ_TRY(clq_json_read_string(&reader, "command", &out->command));
    CLQ_TRY(clq_json_read_string(&reader, "started", &out->started));
    if (!json_is_null(json_object_get(json, "finished"))) {
        CLQ_TRY(clq_json_read_string(&reader, "finished", &out->finished));
    }
    if (!json_is_null(json_object_get(json, "system"))) {
        CLQ_TRY(clq_json_read_string(&reader, "system", &out->system));
    }
    CLQ_TRY(clq_json_read_bool(&reader, "resumed", &out->resumed));
    CLQ_TRY(clq_json_read_int(&reader, "ranks", 0, INT32_MAX, &out->ranks));
    CLQ_TRY(read_device(&reader, out));
    CLQ_TRY(read_data(&reader, data));
    CLQ_TRY(read_seeds(&reader, out));
    CLQ_TRY(read_seconds(&reader, out));
    CLQ_TRY(clq_json_read_object(&reader, "recipe", &recipe));
    out->recipe = recipe.object;
    data->device = *data->device ? data->device : out->device;
    data->created = *data->created ? data->created : out->started;
    const char *name = json_string_value(json_object_get(out->recipe, "name"));
    data->name = *data->name || !name ? data->name : name;
    out->present = true;
    return CLQ_OK;
}
