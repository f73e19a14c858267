#include "train/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "graph/node.h"
#include "train/differences.h"

enum { KEPT_CHECKPOINTS = 2, NAME_SIZE = 512 };

/* clquant.checkpoint_version. Files from before it was written are of version 1. */
#define VERSION "2"

/* Covered by the checksum beside the version; those of version 1 cover only the state. */
static const char *const covered[] = {"clquant.state", "clquant.config", "clquant.data",
                                      "clquant.start", "clquant.facts",  "clquant.recipe"};
enum { COVERED = sizeof covered / sizeof *covered };

/* Names, sizes and data of the tensors, and then the metadata. */
static uint64_t checksum_of(const clq_tensors *tensors, bool first_version) {
    uint64_t hash = 0;
    for (int i = 0; i < clq_tensors_count(tensors); i++) {
        const clq_file_tensor *tensor = clq_tensors_at(tensors, i);
        uint64_t own = clq_hash64(tensor->name, strlen(tensor->name));
        own = clq_hash64_seeded(tensor->data, tensor->size, own);
        hash += own; /* independent of the order in which a file lists its tensors */
    }
    if (first_version) {
        const char *state = clq_tensors_get_metadata(tensors, covered[0]);
        return clq_hash64_seeded(state, strlen(state), hash);
    }
    hash = clq_hash64_seeded(VERSION, sizeof VERSION, hash);
    for (size_t i = 0; i < COVERED; i++) {
        const char *text = clq_tensors_get_metadata(tensors, covered[i]);
        hash = text ? clq_hash64_seeded(text, strlen(text) + 1, hash) : hash + 1;
    }
    return hash;
}

/* ---- saving ---- */

static clq_status add_buffer(clq_tensors *tensors, const clq_checkpoint_buffer *buffer) {
    const size_t size = clq_buffer_size(buffer->buffer);
    const int64_t count = (int64_t)(size / sizeof(float));
    void *data = clq_calloc(size, 1);
    if (!data) {
        return CLQ_NO_MEMORY;
    }
    clq_status status = clq_buffer_read(buffer->buffer, 0, size, data);
    if (status == CLQ_OK) {
        status = clq_tensors_add(tensors, buffer->name, CLQ_FILE_F32, 1, &count, data);
    }
    clq_free(data);
    return status;
}

static clq_status add_model(clq_tensors *tensors, const clq_graph *graph) {
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        char name[NAME_SIZE];
        if (clq_is_constant(value)) {
            snprintf(name, sizeof name, "model.%s", value->name);
            CLQ_TRY(clq_tensors_lend(tensors, name, CLQ_FILE_F32, value->shape.rank,
                                     value->shape.dim, value->data));
        }
    }
    return CLQ_OK;
}

static clq_status set_hex(clq_tensors *tensors, const char *key, uint64_t number) {
    char text[32];
    snprintf(text, sizeof text, "%016" PRIx64, number);
    return clq_tensors_set_metadata(tensors, key, text);
}

/* Whether `name` is a checkpoint's, "PHASE-checkpoint-STEP.safetensors"; fills in the length of its
 * phase and the step. */
static bool parse_any(const char *name, size_t *phase_length, int64_t *step) {
    static const char between[] = "-checkpoint-";
    const char *found = strstr(name, between);
    char *end = NULL;
    if (!found) {
        return false;
    }
    const char *digits = found + sizeof between - 1;
    *phase_length = (size_t)(found - name);
    *step = strtoll(digits, &end, 10);
    return end != digits && strcmp(end, ".safetensors") == 0;
}

/* The same for one phase's. */
static bool parse_name(const char *name, const char *phase, int64_t *step) {
    size_t length = 0;
    return parse_any(name, &length, step) && strlen(phase) == length &&
           memcmp(name, phase, length) == 0;
}

/* The names of the phase's checkpoints in the folder, oldest first (steps have a fixed width). */
static clq_status list(const char *folder, const char *phase, char ***names, size_t *count) {
    char **all = NULL;
    size_t all_count = 0, found = 0;
    int64_t step;
    *names = NULL;
    *count = 0;
    if (!clq_is_folder(folder)) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_folder_list(folder, &all, &all_count));
    for (size_t i = 0; i < all_count; i++) {
        if (parse_name(all[i], phase, &step)) {
            all[found++] = all[i];
        } else {
            clq_free(all[i]);
        }
    }
    *names = all;
    *count = found;
    return CLQ_OK;
}

static clq_status remove_one(const char *folder, const char *name) {
    char *path = clq_path_join(folder, name);
    const clq_status status = path ? clq_file_remove(path) : CLQ_NO_MEMORY;
    clq_free(path);
    return status;
}

static clq_status remove_old(const clq_checkpoint *checkpoint, int64_t newest) {
    char **names = NULL;
    size_t count = 0;
    int kept = 0;
    clq_status status = list(checkpoint->folder, checkpoint->phase, &names, &count);
    for (size_t i = count; status == CLQ_OK && i-- > 0;) {
        int64_t step = 0;
        parse_name(names[i], checkpoint->phase, &step);
        if (step > newest || kept++ >= KEPT_CHECKPOINTS) {
            status = remove_one(checkpoint->folder, names[i]);
        }
    }
    clq_folder_list_free(names, count);
    return status;
}

/* What has a checkpoint's name and is no file can neither be read nor replaced. */
static clq_status check_file(const char *folder, const char *name) {
    char *path = clq_path_join(folder, name);
    const clq_status status = path ? clq_file_check_replaceable(path) : CLQ_NO_MEMORY;
    clq_free(path);
    return status;
}

clq_status clq_checkpoint_count(const char *folder, const char *phase, int *count) {
    char **names = NULL;
    size_t found = 0;
    clq_status status = list(folder, phase, &names, &found);
    for (size_t i = 0; i < found && status == CLQ_OK; i++) {
        status = check_file(folder, names[i]);
    }
    clq_folder_list_free(names, found);
    *count = (int)found;
    return status;
}

clq_status clq_checkpoint_check_phase(const char *folder, const char *phase) {
    char **names = NULL;
    size_t count = 0, length = 0;
    int64_t step;
    clq_status status = CLQ_OK;
    if (!clq_is_folder(folder)) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_folder_list(folder, &names, &count));
    for (size_t i = 0; i < count && status == CLQ_OK; i++) {
        if (parse_any(names[i], &length, &step) && !(phase && parse_name(names[i], phase, &step))) {
            status = clq_fail(CLQ_CANNOT_CREATE,
                              "%s: holds another kind of run (%s), which is neither continued nor "
                              "replaced; give another folder",
                              folder, names[i]);
        }
    }
    clq_folder_list_free(names, count);
    return status;
}

clq_status clq_checkpoint_remove_all(const char *folder, const char *phase) {
    char **names = NULL;
    size_t count = 0;
    clq_status status = list(folder, phase, &names, &count);
    for (size_t i = 0; i < count && status == CLQ_OK; i++) {
        status = remove_one(folder, names[i]);
    }
    clq_folder_list_free(names, count);
    return status;
}

char *clq_checkpoint_path(const char *folder, const char *phase, int64_t step) {
    return clq_format("%s/%s-checkpoint-%09lld.safetensors", folder, phase, (long long)step);
}

clq_status clq_checkpoint_save(const clq_checkpoint *checkpoint, int64_t step,
                               const json_t *state) {
    clq_status status = CLQ_OK;
    clq_tensors *tensors = NULL;
    char *text = NULL, *path = NULL;
    CLQ_GOTO(status, cleanup, clq_params_download(checkpoint->params));
    CLQ_GOTO(status, cleanup, clq_tensors_create(&tensors));
    CLQ_GOTO(status, cleanup, add_model(tensors, checkpoint->graph));
    for (size_t i = 0; i < checkpoint->buffer_count; i++) {
        CLQ_GOTO(status, cleanup, add_buffer(tensors, &checkpoint->buffers[i]));
    }
    CLQ_GOTO(status, cleanup, clq_json_dump_exact(state, &text));
    CLQ_GOTO(status, cleanup,
             clq_tensors_set_metadata(tensors, "clquant.checkpoint_version", VERSION));
    CLQ_GOTO(status, cleanup, clq_tensors_set_metadata(tensors, "clquant.state", text));
    CLQ_GOTO(status, cleanup, set_hex(tensors, "clquant.config", checkpoint->config_hash));
    CLQ_GOTO(status, cleanup, set_hex(tensors, "clquant.data", checkpoint->data_hash));
    CLQ_GOTO(status, cleanup, set_hex(tensors, "clquant.start", checkpoint->start_hash));
    if (checkpoint->facts) {
        CLQ_GOTO(status, cleanup,
                 clq_tensors_set_metadata(tensors, "clquant.facts", checkpoint->facts));
    }
    if (checkpoint->recipe) {
        CLQ_GOTO(status, cleanup,
                 clq_tensors_set_metadata(tensors, "clquant.recipe", checkpoint->recipe));
    }
    CLQ_GOTO(status, cleanup, set_hex(tensors, "clquant.checksum", checksum_of(tensors, false)));
    path = clq_checkpoint_path(checkpoint->folder, checkpoint->phase, step);
    if (!path) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_tensors_save(tensors, path));
    CLQ_GOTO(status, cleanup, remove_old(checkpoint, step));
cleanup:
    clq_free(path);
    clq_free(text);
    clq_tensors_destroy(tensors);
    return status;
}

/* ---- loading ---- */

/* The named tensor, which must be F32 with `count` elements. */
static clq_status find(const clq_tensors *tensors, const char *path, const char *name, size_t count,
                       const clq_file_tensor **tensor) {
    *tensor = clq_tensors_find(tensors, name);
    if (!*tensor) {
        return clq_fail(CLQ_BAD_DATA, "%s: tensor \"%s\" is missing", path, name);
    }
    if ((*tensor)->dtype != CLQ_FILE_F32 || (*tensor)->size != count * sizeof(float)) {
        return clq_fail(CLQ_BAD_DATA, "%s: tensor \"%s\" must be %zu F32, is %zu bytes of %s", path,
                        name, count, (*tensor)->size, clq_file_dtype_name((*tensor)->dtype));
    }
    return CLQ_OK;
}

static bool is_sum(const clq_tensors *tensors, bool first_version) {
    const char *checksum = clq_tensors_get_metadata(tensors, "clquant.checksum");
    return checksum && strtoull(checksum, NULL, 16) == checksum_of(tensors, first_version);
}

/* *damaged: not the file is of another version, but the number is wrong. */
static clq_status check_version(const clq_tensors *tensors, const char *path, bool *first,
                                bool *damaged) {
    const char *version = clq_tensors_get_metadata(tensors, "clquant.checkpoint_version");
    *first = !version || strcmp(version, "1") == 0;
    if (!*first && strcmp(version, VERSION) != 0) {
        *damaged = is_sum(tensors, false);
        return clq_fail(CLQ_BAD_DATA,
                        "%s: is a checkpoint of format version %.40s, and this clquant reads "
                        "versions 1 to " VERSION,
                        path, version);
    }
    return CLQ_OK;
}

static clq_status check_sum(const clq_tensors *tensors, const char *path, bool first_version) {
    const char *state = clq_tensors_get_metadata(tensors, "clquant.state");
    const char *checksum = clq_tensors_get_metadata(tensors, "clquant.checksum");
    if (!state || !checksum) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: no clquant checkpoint: metadata \"clquant.state\" is missing", path);
    }
    if (!is_sum(tensors, first_version)) {
        return clq_fail(CLQ_BAD_DATA, "%s: the checksum does not match the content", path);
    }
    return CLQ_OK;
}

/* Says what differs, as far as the file knows. */
static clq_status refuse(const clq_checkpoint *checkpoint, const clq_tensors *tensors,
                         const char *path, const char *other) {
    clq_text found = {0};
    clq_train_differences(clq_tensors_get_metadata(tensors, "clquant.facts"), checkpoint->facts,
                          NULL, &found);
    clq_train_differences(clq_tensors_get_metadata(tensors, "clquant.recipe"), checkpoint->recipe,
                          checkpoint->phase, &found);
    const clq_status status =
        clq_fail(CLQ_USAGE, "%s: %s%s%s; resume with the same ones or start in an empty folder",
                 path, other, found.size > 0 ? ": " : "", found.size > 0 ? found.data : "");
    clq_text_free(&found);
    return status;
}

static clq_status check_config(const clq_checkpoint *checkpoint, const clq_tensors *tensors,
                               const char *path) {
    const char *config = clq_tensors_get_metadata(tensors, "clquant.config");
    if (!config || strtoull(config, NULL, 16) != checkpoint->config_hash) {
        return refuse(checkpoint, tensors, path,
                      "belongs to another network, data set or configuration");
    }
    const char *data = clq_tensors_get_metadata(tensors, "clquant.data");
    if (data && strtoull(data, NULL, 16) != checkpoint->data_hash) {
        return refuse(checkpoint, tensors, path,
                      "belongs to a training on other data: the images or rows, labels or classes "
                      "of the training or test set have changed since");
    }
    const char *start = clq_tensors_get_metadata(tensors, "clquant.start");
    if (start && strtoull(start, NULL, 16) != checkpoint->start_hash) {
        return refuse(checkpoint, tensors, path,
                      "belongs to a training that began with other parameters: another model, "
                      "other weights or another seed of the network");
    }
    return CLQ_OK;
}

/* Goes through all tensors: checks that they are there, or takes them over. */
static clq_status visit(const clq_checkpoint *checkpoint, const clq_tensors *tensors,
                        const char *path, bool take) {
    const clq_file_tensor *tensor;
    for (int v = 0; v < checkpoint->graph->value_count; v++) {
        const clq_value *value = &checkpoint->graph->values[v];
        char name[NAME_SIZE];
        if (!clq_is_constant(value)) {
            continue;
        }
        snprintf(name, sizeof name, "model.%s", value->name);
        CLQ_TRY(find(tensors, path, name, (size_t)clq_shape_count(&value->shape), &tensor));
        if (take) {
            memcpy(value->data, tensor->data, tensor->size);
        }
    }
    for (size_t i = 0; i < checkpoint->buffer_count; i++) {
        const clq_checkpoint_buffer *buffer = &checkpoint->buffers[i];
        const size_t size = clq_buffer_size(buffer->buffer);
        CLQ_TRY(find(tensors, path, buffer->name, size / sizeof(float), &tensor));
        if (take) {
            CLQ_TRY(clq_buffer_write(buffer->buffer, 0, size, tensor->data));
        }
    }
    return take ? clq_params_upload(checkpoint->params) : CLQ_OK;
}

typedef struct loading {
    const clq_checkpoint *checkpoint;
    clq_checkpoint_check check;
    void *context;
    json_t *state; /* of the file that was taken */
} loading;

/* Reads and checks one file, and then restores. *damaged: it failed, but another one may do. */
static clq_status load_one(loading *l, const char *path, bool *damaged) {
    clq_status status = CLQ_OK;
    clq_tensors *tensors = NULL;
    json_t *state = NULL;
    bool first_version;
    *damaged = true;
    CLQ_GOTO(status, cleanup, clq_tensors_load(path, &tensors));
    *damaged = false;
    CLQ_GOTO(status, cleanup, check_version(tensors, path, &first_version, damaged));
    *damaged = true;
    CLQ_GOTO(status, cleanup, check_sum(tensors, path, first_version));
    CLQ_GOTO(status, cleanup, check_config(l->checkpoint, tensors, path));
    const char *text = clq_tensors_get_metadata(tensors, "clquant.state");
    CLQ_GOTO(status, cleanup, clq_json_parse(path, text, strlen(text), &state));
    CLQ_GOTO(status, cleanup, visit(l->checkpoint, tensors, path, false));
    CLQ_GOTO(status, cleanup, l->check(l->context, path, state));
    CLQ_GOTO(status, cleanup, visit(l->checkpoint, tensors, path, true));
    l->state = json_incref(state);
cleanup:
    *damaged = *damaged && status == CLQ_BAD_DATA;
    json_decref(state);
    clq_tensors_destroy(tensors);
    return status;
}

clq_status clq_checkpoint_load(const clq_checkpoint *checkpoint, clq_checkpoint_check check,
                               void *context, json_t **state) {
    loading l = {.checkpoint = checkpoint, .check = check, .context = context};
    char **names = NULL;
    size_t count = 0;
    bool damaged = true;
    clq_status status = CLQ_OK;
    *state = NULL;
    CLQ_TRY(list(checkpoint->folder, checkpoint->phase, &names, &count));
    for (size_t i = count; i-- > 0 && damaged;) {
        char *path = clq_path_join(checkpoint->folder, names[i]);
        damaged = false;
        status = path ? load_one(&l, path, &damaged) : CLQ_NO_MEMORY;
        clq_free(path);
        if (damaged) {
            clq_log_warn("passing over a damaged checkpoint: %s", clq_last_error());
        }
    }
    if (status != CLQ_OK && damaged) {
        status = clq_fail_in(status, "no checkpoint is good; the oldest");
    }
    clq_folder_list_free(names, count);
    *state = l.state;
    return status;
}
