/* Checkpoints: a JSON object is saved as a training's state and must come back equal, unless its
 * history is refused; anything else is taken as a checkpoint's file, which is restored or refused.
 */
#include <clquant/models.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "fuzz.h"
#include "support/device.h"
#include "train/checkpoint.h"
#include "train/history.h"

static clq_checkpoint checkpoint = {.phase = "train", .config_hash = 7};

static void open_once(void) {
    static clq_device *device;
    if (device) {
        return;
    }
    const int hidden[] = {2};
    const clq_network_options options = {
        .network = "mlp", .inputs = 2, .classes = 2, .hidden = hidden, .hidden_count = 1};
    fuzz_check(clq_test_open(NULL, &device) == CLQ_OK, "device");
    fuzz_check(clq_network_build(&options, &checkpoint.graph) == CLQ_OK, "network");
    fuzz_check(clq_params_create(device, checkpoint.graph, false, &checkpoint.params) == CLQ_OK,
               "parameters");
    checkpoint.folder = fuzz_folder();
}

static clq_status check(void *context, const char *path, const json_t *state) {
    clq_history history = {0};
    (void)context;
    const clq_status status =
        clq_history_from_json(&history, path, json_object_get(state, "history"));
    clq_history_clear(&history);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *state = NULL, *again = NULL;
    open_once();
    const bool whole =
        clq_json_parse("fuzz", data, size, &state) == CLQ_OK && json_is_object(state);
    if (whole) {
        fuzz_check(clq_checkpoint_save(&checkpoint, 1, state) == CLQ_OK, "saves");
    } else {
        fuzz_put("train-checkpoint-000000001.safetensors", data, size);
    }
    const clq_status status = clq_checkpoint_load(&checkpoint, check, NULL, &again);
    if (whole) {
        fuzz_check(status == CLQ_OK ? again && json_equal(state, again) : status == CLQ_BAD_DATA,
                   "comes back");
    }
    json_decref(state);
    json_decref(again);
    return 0;
}

void fuzz_seeds(void) {
    fuzz_add_text("{\"step\":3,\"steps_per_epoch\":2,\"skipped_steps\":0,\"history\":[{\"epoch\":1,"
                  "\"lr\":0.1,"
                  "\"train_loss\":0.5}]}");
    fuzz_add_file("tests/formats/data/tiny.safetensors");
}
