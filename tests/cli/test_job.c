/* The whole job through the command on a tiny network, stage by stage and at once, and killed on
 * the way. */
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/files.h"
#include "base/json.h"
#include "base/rng.h"
#include "cli/command.h"

#define DATA "synthetic:train=512,test=128,size=8"
#define SOME "synthetic:train=64,test=32,size=8" /* where few steps say enough */

static const char recipe[] =
    "{\"name\": \"tiny\", \"network\": {\"name\": \"resnet20\", \"seed\": 3}, \"train\": "
    "{\"epochs\": 2, \"batch\": 32, "
    "\"checkpoint_steps\": 3, \"schedule\": {\"lr\": 0.05}}, \"ptq\": {\"images\": 64}, \"qat\": "
    "{\"epochs\": 1, "
    "\"schedule\": {\"name\": \"cosine\", \"lr\": 0.002}}, \"bench\": {\"iterations\": 5}}";

static json_t *read_json(const char *name) {
    json_t *json = NULL;
    assert_ok(clq_json_load(clq_test_temp_path(name), &json));
    return json;
}

static void run_does_everything(void **state) {
    (void)state;
    static const char *const files[] = {
        "fp32.onnx",         "ptq.onnx",        "qat.onnx",         "weights.safetensors",
        "eval-fp32.json",    "eval-ptq.json",   "eval-qat.json",    "verify-ptq.json",
        "verify-qat.json",   "bench.json",      "run.json",         "report/index.html",
        "train/history.csv", "qat/history.csv", "train/steps.json", "qat/steps.json",
        "origin.json"};
    const char *path = text_file("recipe.json", recipe);
    assert_exit(0, "run %s --data " DATA " --out %s --analyze", path, clq_test_temp_path("out"));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[128];
        snprintf(name, sizeof name, "out/%s", files[i]);
        if (!clq_file_exists(clq_test_temp_path(name))) {
            fail_msg("%s is missing", name);
        }
    }
    json_t *json = read_json("out/run.json");
    json_t *ptq = json_object_get(json, "ptq"), *qat = json_object_get(json, "qat");
    assert_int_equal(json_integer_value(json_object_get(ptq, "mismatched_codes")), 0);
    assert_int_equal(json_integer_value(json_object_get(qat, "mismatched_codes")), 0);
    assert_true(json_is_real(json_object_get(qat, "speedup")));
    json_decref(json);
    json = read_json("out/analysis.json");
    assert_string_equal(json_string_value(json_object_get(json, "quantized_model")), "ptq.onnx");
    assert_int_equal(json_integer_value(json_object_get(json, "images")), 128);
    assert_int_equal(json_array_size(json_object_get(json, "ladder")), 5);
    assert_true(clq_file_exists(clq_test_temp_path("out/report/analysis-layers.csv")));
    json_decref(json);
}

/* Where the numbers come from, complete enough to make them again. */
static void a_run_says_where_it_comes_from(void **state) {
    static const char *const stages[] = {"train", "ptq", "qat", "evaluate", "verify", "bench"};
    (void)state;
    json_t *json = read_json("out/origin.json");
    const char *command = json_string_value(json_object_get(json, "command"));
    assert_non_null(command);
    assert_non_null(strstr(command, "clquant run "));
    assert_non_null(strstr(command, " --data " DATA " --out "));
    assert_true(strlen(json_string_value(json_object_get(json, "commit"))) >= 7);
    assert_true(json_is_string(json_object_get(json, "finished")));
    assert_true(json_is_false(json_object_get(json, "resumed")));
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        json_t *seconds = json_object_get(json_object_get(json, "seconds"), stages[i]);
        assert_true(json_number_value(seconds) > 0);
    }
    json_t *data = json_object_get(json, "data"), *train = json_object_get(data, "train");
    assert_string_equal(json_string_value(json_object_get(data, "kind")), "synthetic");
    assert_int_equal(json_integer_value(json_object_get(train, "count")), 512);
    assert_int_equal(strlen(json_string_value(json_object_get(train, "hash"))), 16);
    json_t *given = NULL;
    assert_ok(clq_json_parse("recipe", recipe, strlen(recipe), &given));
    assert_true(json_equal(json_object_get(json, "recipe"), given));
    json_t *device = json_object_get(json, "device");
    assert_true(json_array_size(json_object_get(device, "dot_paths")) > 0);
    json_decref(given);
    json_decref(json);
}

static void stages_take_and_give_files(void **state) {
    (void)state;
    const char *fp32 = clq_test_temp_path("out/fp32.onnx"),
               *ptq = clq_test_temp_path("stage-ptq.onnx");
    assert_exit(0, "ptq %s --data " DATA " --images 64 -o %s", fp32, ptq);
    assert_exit(0, "eval %s --data " DATA " --json --logits %s", ptq,
                clq_test_temp_path("logits.npy"));
    assert_printed("\"logits_sha256\"");
    assert_exit(CLQ_GATE_FAILED, "eval %s --data " DATA " --min-top1 1.0", ptq);
    assert_exit(0, "verify %s --data " DATA " --limit 32 --json", ptq);
    assert_printed("\"mismatched_codes\": 0");
    assert_exit(0, "ptq %s --data " DATA " --images 64 --scale pow2 --activations symmetric -o %s",
                fp32, ptq);
    assert_exit(0, "verify %s --data " DATA " --limit 32", ptq);
    assert_exit(0, "bench %s %s --iterations 3 --no-peak --json", fp32, ptq);
    assert_printed("\"peak_fraction\"");
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " -o %s", ptq, clq_test_temp_path("again.onnx"));
    assert_printed("already quantized");
}

static void teachers_teach(void **state) {
    (void)state;
    const char *path = text_file("recipe.json", recipe);
    const char *fp32 = clq_test_temp_path("out/fp32.onnx"), *out = clq_test_temp_path("taught");
    assert_exit(0, "train %s --data " SOME " --out %s --set train.distill.teacher=%s", path, out,
                fp32);
    assert_exit(CLQ_USAGE,
                "train %s --data " SOME " --out %s --overwrite --set train.distill.teacher=fp32",
                path, out);
    assert_printed("\"fp32\" is for qat");
    assert_exit(CLQ_NO_INPUT,
                "train %s --data " SOME " --out %s --overwrite --set train.distill.teacher=no",
                path, out);
    assert_printed("distill.teacher");
    assert_exit(0, "qat %s --data " SOME " -r %s --set qat.distill.teacher=fp32 -o %s", fp32, path,
                clq_test_temp_path("taught.onnx"));
}

/* The weights of a network for ten classes in one for twelve. */
static void weights_for_other_classes_take_a_new_head(void **state) {
    (void)state;
    const char *path = text_file("recipe.json", recipe);
    const char *weights = clq_test_temp_path("out/weights.safetensors");
    const char *out = clq_test_temp_path("tuned");
    assert_exit(CLQ_BAD_DATA, "train %s --data " SOME " --out %s -w %s --set network.classes=12",
                path, out, weights);
    assert_printed("must have (12, 64)");
    assert_exit(0, "train %s --data " SOME " --out %s -w %s --new-head --set network.classes=12",
                path, out, weights);
    assert_printed("not loaded, as initialised: fc.weight, fc.bias");
    assert_exit(CLQ_USAGE, "train %s --data " SOME " --out %s --overwrite --new-head", path, out);
}

/* Starts `clquant train` with a log file and kills it after `milliseconds`. */
static void start_and_kill(const char *recipe_path, const char *out, long milliseconds) {
    char log[600];
    snprintf(log, sizeof log, "%s/log.jsonl", out);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const char *how = clq_is_folder(out) ? "--resume" : "--quiet";
        execl(CLQ_BINARY_DIR "/clquant", "clquant", "train", recipe_path, "--data", DATA, "--out",
              out, how, "--quiet", "--log-file", log, (char *)NULL);
        _exit(127);
    }
    const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
}

static void killed_training_resumes_to_the_same_bits(void **state) {
    (void)state;
    enum { KILLS = 2 };
    char whole[512], killed[512], path[512];
    clq_rng rng = clq_rng_start(clq_test_seed(), 77);
    snprintf(path, sizeof path, "%s", text_file("recipe.json", recipe));
    snprintf(whole, sizeof whole, "%s", clq_test_temp_path("whole"));
    snprintf(killed, sizeof killed, "%s", clq_test_temp_path("killed"));
    assert_exit(0, "train %s --data " DATA " --out %s", path, whole);
    for (int i = 0; i < KILLS; i++) {
        start_and_kill(path, killed, 300 + (long)clq_bounded(clq_rng_next(&rng), 1500));
    }
    assert_exit(0, "train %s --data " DATA " --out %s %s --log-file %s/log.jsonl", path, killed,
                clq_is_folder(killed) ? "--resume" : "", killed);
    assert_exit(0, "report %s", killed);
    assert_exit(CLQ_USAGE, "report %s %s", whole, killed);
    assert_printed("several runs need --out");
    const char *both = clq_test_temp_path("compared");
    assert_exit(0, "report %s %s --out %s", whole, killed, both);
    assert_printed("compared/index.html");
    assert_exit(CLQ_CANNOT_CREATE, "report %s --out %s", whole, both);
    assert_exit(0, "report %s --out %s --overwrite", whole, both);
    assert_printed("replaced: the report of other runs");
    char line[2048];
    snprintf(line, sizeof line, "test -z \"$(ls -A %s | grep '^\\.')\"", killed);
    assert_int_equal(system(line), 0); /* nothing hidden is left */
    snprintf(
        line, sizeof line,
        "cd %s && for f in *.safetensors model.onnx steps.json; do cmp -s $f %s/$f || exit 1; done",
        whole, killed);
    assert_int_equal(system(line), 0);
}

/* Exit code 3 with step and layer, and the checkpoint before it is good: going on from there, the
 * same step fails again. */
static void divergence_names_step_and_layer(void **state) {
    (void)state;
    const char *path = text_file("recipe.json", recipe), *out = clq_test_temp_path("diverged");
    char first[512];
    int step = 0;
    for (int start = 0; start < 2; start++) {
        assert_exit(CLQ_DIVERGED,
                    "train %s --data " DATA " --out %s %s --set train.schedule.name=constant "
                    "--set train.schedule.lr=1000 --set train.checkpoint_steps=1",
                    path, out, start ? "--resume" : "");
        const char *message = strstr(command_output, "clquant train: diverged in step ");
        assert_non_null(message);
        assert_non_null(strstr(message, "the last checkpoint is unharmed"));
        assert_non_null(strstr(message, "layer "));
        if (start == 0) {
            assert_int_equal(sscanf(message, "clquant train: diverged in step %d ", &step), 1);
            snprintf(first, sizeof first, "%.*s", (int)strcspn(message, "\n"), message);
        }
        assert_printed(first);
    }
    char name[128];
    snprintf(name, sizeof name, "diverged/train-checkpoint-%09d.safetensors", step - 1);
    assert_true(step > 1 && clq_file_exists(clq_test_temp_path(name)));
    assert_exit(CLQ_DIVERGED,
                "train %s --data " DATA " --out %s --set train.schedule.name=constant --set "
                "train.schedule.lr=1000 --set train.checkpoint_steps=0",
                path, clq_test_temp_path("diverged-early"));
    assert_printed("there is no checkpoint from before it");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_does_everything),
        cmocka_unit_test(a_run_says_where_it_comes_from),
        cmocka_unit_test(stages_take_and_give_files),
        cmocka_unit_test(teachers_teach),
        cmocka_unit_test(weights_for_other_classes_take_a_new_head),
        cmocka_unit_test(killed_training_resumes_to_the_same_bits),
        cmocka_unit_test(divergence_names_step_and_layer),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
