/* Checkpoints: a JSON object is saved as a training's state, must come back equal, and its history
 * is read; anything else is taken as a checkpoint's file, which is restored or passed over. */
#include <clquant/models.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "fuzz.h"
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
    fuzz_check(clq_device_open("cpu", &device) == CLQ_OK, "device");
    fuzz_check(clq_network_build(&options, &checkpoint.graph) == CLQ_OK, "network");
    fuzz_check(clq_params_create(device, checkpoint.graph, false, &checkpoint.params) == CLQ_OK,
               "parameters");
    checkpoint.folder = fuzz_folder();
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
    const clq_status status = clq_checkpoint_load(&checkpoint, &again);
    if (whole) {
        clq_history history = {0};
        fuzz_check(status == CLQ_OK && again && json_equal(state, again), "comes back");
        (void)clq_history_from_json(&history, "fuzz", json_object_get(again, "history"));
        clq_history_clear(&history);
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
