/* `clquant bench` as a user runs it: batches, models, gates, start-up times, wrong flags. */
#include "base/files.h"
#include "base/json.h"
#include "cli/command.h"

static char fp32[512], int8[512];

const char *__lsan_default_suppressions(void); /* tests/support/sanitizers.c */

/* Builds with sanitizers: the leaks of a driver's compiler, which --startup makes run, are no more
 * the command's than they are a test program's. */
static void suppress_leaks_of_drivers(void) {
    char value[1024];
    snprintf(value, sizeof value, "print_suppressions=0:suppressions=%s",
             text_file("leaks", __lsan_default_suppressions()));
    setenv("LSAN_OPTIONS", value, 0);
}

static int setup(void **state) {
    clq_test_setup_temp_dir(state);
    suppress_leaks_of_drivers();
    snprintf(fp32, sizeof fp32, "%s", clq_test_temp_path("tiny.onnx"));
    snprintf(int8, sizeof int8, "%s", clq_test_temp_path("tiny-int8.onnx"));
    return command("convert --network resnet20 --size 8 --classes 4 -o %s", fp32) ||
           command("ptq %s --data synthetic:train=16,test=16,size=8 --images 8 -o %s", fp32, int8);
}

/* The JSON that the latest command printed; there may be messages around it. */
static json_t *printed_json(void) {
    const char *start = strchr(command_output, '{');
    json_t *json = start ? json_loads(start, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    if (!json) {
        fail_msg("no JSON in: %s", command_output);
    }
    return json;
}

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static void all_cases_are_in_one_json(void **state) {
    static const struct {
        const char *model, *precision;
        int batch;
    } expected[] = {{"tiny", "fp32", 1},      {"tiny", "fp32", 3},     {"tiny-int8", "int8", 1},
                    {"tiny-int8", "int8", 3}, {"tiny", "fp32", 1},     {"tiny", "fp32", 3},
                    {"tiny-int8", "int8", 1}, {"tiny-int8", "int8", 3}};
    (void)state;
    /* The same device twice: two are rare. */
    assert_exit(0,
                "bench %s %s -d cpu -d cpu --batch 1,3 --iterations 3 --warmup 1 --no-peak --json",
                fp32, int8);
    json_t *json = printed_json();
    const json_t *results = json_object_get(json, "results");
    assert_int_equal(json_array_size(results), sizeof expected / sizeof *expected);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const json_t *result = json_array_get(results, i);
        assert_string_equal(text_of(result, "model"), expected[i].model);
        assert_string_equal(text_of(result, "precision"), expected[i].precision);
        assert_int_equal(json_integer_value(json_object_get(result, "batch")), expected[i].batch);
        assert_int_equal(json_array_size(json_object_get(result, "samples_ms")), 3);
        assert_true(json_is_null(json_object_get(result, "startup")));
    }
    assert_null(json_object_get(json, "compare"));
    json_decref(json);
}

static void assert_lines_fit(size_t width) {
    for (const char *line = command_output; *line;) {
        const size_t length = strcspn(line, "\n");
        if (length > width && strncmp(line, "warning: ", 9) != 0) {
            fail_msg("%zu characters: %.*s", length, (int)length, line);
        }
        line += length + (line[length] == '\n');
    }
}

static void tables_have_every_part(void **state) {
    (void)state;
    unsetenv("COLUMNS"); /* this is no terminal: 80 */
    assert_exit(0, "bench %s --iterations 3 --warmup 1 --layers --explain --batch 2", int8);
    setenv("COLUMNS", "200", 1);
    assert_lines_fit(80);
    assert_printed("GFLOPS fp32");
    assert_printed("tiny-int8 as fp32"); /* made from the integer model */
    assert_printed("layer1.0.conv2 + layer1.0.add");
    assert_printed("why not 2x");
    assert_printed("Of the int8 time is in layers that are:");
    assert_printed("Of the int8 time goes into:");
    const char *name = strstr(command_output, "pthread-"); /* once, if it is PoCL's */
    assert_true(!name || !strstr(name + 1, "pthread-"));
    assert_exit(0, "bench %s %s --iterations 3 --warmup 1 --explain", int8, fp32);
    assert_null(strstr(command_output, "as fp32")); /* it was given */
    assert_printed("why not 2x");
}

static void peaks_may_be_left_out(void **state) {
    (void)state;
    assert_exit(0, "bench %s --iterations 3 --warmup 1 --layers --no-peak", int8);
    assert_printed("peaks were not measured");
    assert_null(strstr(command_output, "% of peak"));
    assert_null(strstr(command_output, "nan"));
    assert_exit(0, "bench %s --iterations 3 --warmup 1 --no-peak --json", int8);
    json_t *json = printed_json();
    const json_t *result = json_array_get(json_object_get(json, "results"), 0);
    static const char *const keys[] = {"peak_gops", "peak_fraction", "fp32_peak_gops",
                                       "bandwidth_gbs", "launch_us"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        assert_true(json_is_null(json_object_get(result, keys[i])));
    }
    assert_true(json_is_real(json_object_get(result, "gops")));
    const json_t *layer = json_array_get(json_object_get(result, "layers"), 1);
    assert_true(json_is_null(json_object_get(layer, "peak_fraction")));
    assert_true(json_is_false(json_object_get(layer, "above_peak")));
    json_decref(json);
}

static void files_of_one_name_are_told_apart(void **state) {
    char other[512];
    (void)state;
    snprintf(other, sizeof other, "%s", clq_test_temp_path("other"));
    assert_ok(clq_make_dirs(other));
    assert_exit(0, "convert --network mlp --size 8 --classes 4 -o %s/tiny.onnx", other);
    assert_exit(0, "bench %s %s/tiny.onnx --iterations 3 --warmup 1 --no-peak", fp32, other);
    assert_printed("other/tiny.onnx");
}

/* ---- --compare ---- */

/* Writes the base with every sample multiplied by `factor`. */
static const char *scaled_base(json_t *base, double factor) {
    const char *path = clq_test_temp_path("scaled.json");
    json_t *copy = json_deep_copy(base), *result, *sample;
    size_t r, i;
    json_array_foreach(json_object_get(copy, "results"), r, result) {
        json_t *samples = json_object_get(result, "samples_ms");
        json_array_foreach(samples, i, sample) {
            json_array_set_new(samples, i, json_real(json_real_value(sample) * factor));
        }
    }
    assert_ok(clq_json_dump_file(path, copy));
    json_decref(copy);
    return path;
}

static void compare_fails_slower_runs_only(void **state) {
    (void)state;
    assert_exit(0, "bench %s %s --iterations 5 --warmup 1 --no-peak --json", fp32, int8);
    json_t *base = printed_json();
    /* Factors that no machine's noise reaches. */
    const char *path = scaled_base(base, 1e-4);
    assert_exit(CLQ_GATE_FAILED, "bench %s --iterations 5 --warmup 1 --no-peak --compare %s", int8,
                path);
    assert_printed("FAILED: slower");
    assert_printed("missing in this run: tiny, fp32");
    assert_printed("more than 5 % slower");
    assert_exit(
        CLQ_GATE_FAILED,
        "bench %s --iterations 5 --warmup 1 --no-peak --compare %s --max-regress 0.5 --json "
        "2>/dev/null",
        int8, path);
    json_t *json = printed_json();
    const json_t *compare = json_object_get(json, "compare");
    assert_int_equal(json_integer_value(json_object_get(compare, "failed")), 1);
    assert_int_equal(json_array_size(json_object_get(compare, "missing")), 1);
    json_decref(json);
    path = scaled_base(base, 1e4);
    assert_exit(0, "bench %s --iterations 5 --warmup 1 --no-peak --compare %s --max-regress 0%%",
                int8, path);
    assert_printed("faster");
    json_decref(base);
}

/* Nothing is measured, and what was not the same is said. */
static void two_files_are_compared(void **state) {
    (void)state;
    char before[512], after[512];
    assert_exit(0, "bench %s %s --iterations 5 --warmup 1 --json --no-peak", fp32, int8);
    json_t *base = printed_json(), *result;
    size_t i;
    snprintf(before, sizeof before, "%s", clq_test_temp_path("before.json"));
    assert_ok(clq_json_dump_file(before, base));
    json_array_foreach(json_object_get(base, "results"), i, result) {
        json_object_set_new(result, "device", json_string("another"));
        json_object_set_new(result, "driver", json_string("newer"));
    }
    snprintf(after, sizeof after, "%s", scaled_base(base, 1000));
    json_decref(base);
    assert_exit(CLQ_GATE_FAILED, "bench --compare %s %s", before, after);
    assert_printed("scaled.json against");
    assert_printed("not the same device: another, and ");
    assert_printed("not the same driver: newer, and ");
    assert_printed("FAILED: slower");
    assert_printed("1000.000");
    assert_printed("2 of 2 results are more than 5 % slower");
    assert_exit(0, "bench --compare %s %s --json", after, before);
    json_t *json = printed_json();
    const json_t *compare = json_object_get(json, "compare");
    assert_int_equal(json_array_size(json_object_get(json, "results")), 0);
    assert_int_equal(json_array_size(json_object_get(compare, "rows")), 2);
    assert_int_equal(json_array_size(json_object_get(compare, "differences")), 2);
    const json_t *row = json_array_get(json_object_get(compare, "rows"), 0);
    assert_float_equal(json_real_value(json_object_get(row, "ratio")), 1e-3, 1e-9);
    assert_float_equal(json_real_value(json_object_get(row, "base_median_ms")),
                       1e3 * json_real_value(json_object_get(row, "median_ms")), 1e-3);
    json_decref(json);
    assert_exit(0, "bench --compare %s %s --max-regress 0", before, before);
    assert_null(strstr(command_output, "not the same"));
    assert_exit(CLQ_NO_INPUT, "bench --compare %s none.json", before);
    assert_printed("none.json");
}

static void bad_bases_end_before_measuring(void **state) {
    (void)state;
    assert_exit(CLQ_NO_INPUT, "bench %s --compare %s", fp32, clq_test_temp_path("absent.json"));
    assert_printed("absent.json");
    const char *path = text_file("bad.json", "{\"schema\":1,\"results\":[{}]}");
    assert_exit(CLQ_BAD_DATA, "bench %s --compare %s", fp32, path);
    assert_printed("results[0].model");
    path = text_file("cut.json", "{\"schema\":1,\"resul");
    assert_exit(CLQ_BAD_DATA, "bench %s --compare %s", fp32, path);
    assert_printed("cut.json:1");
}

/* ---- --startup ---- */

static void startup_times_are_in_the_json(void **state) {
    static const char *const keys[] = {"cold_ms", "second_ms", "warm_ms"};
    (void)state;
    const char *model = clq_test_temp_path("few-kernels.onnx"); /* they are built anew */
    assert_exit(0, "convert --network mlp --size 8 --classes 4 -o %s", model);
    assert_exit(0, "bench %s --iterations 3 --warmup 1 --no-peak --startup --json", model);
    json_t *json = printed_json();
    const json_t *startup =
        json_object_get(json_array_get(json_object_get(json, "results"), 0), "startup");
    for (int i = 0; i < 3; i++) {
        assert_true(json_real_value(json_object_get(startup, keys[i])) > 0);
    }
    json_decref(json);
    assert_exit(CLQ_DEVICE, "bench %s --startup -d nonesuch", int8);
    assert_printed("nonesuch");
    assert_printed("ended with exit code 69");
}

/* ---- --train ---- */

static void training_steps_take_turns_in_one_json(void **state) {
    static const char *const modes[] = {"train", "qat"};
    (void)state;
    assert_exit(0, "bench --train resnet20 --size 8 --classes 4 --qat --batch 3 --iterations 2 "
                   "--warmup 1 --no-peak --json");
    json_t *json = printed_json();
    const json_t *results = json_object_get(json, "results");
    assert_int_equal(json_array_size(results), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *result = json_array_get(results, i);
        assert_string_equal(text_of(result, "model"), "resnet20");
        assert_string_equal(text_of(result, "mode"), modes[i]);
        assert_int_equal(json_integer_value(json_object_get(result, "batch")), 3);
        assert_int_equal(json_integer_value(json_object_get(result, "steps")), 2);
        assert_true(json_is_null(json_object_get(result, "peak_fraction")));
        assert_true(json_array_size(json_object_get(result, "kernels")) > 5);
    }
    json_decref(json);
}

static void a_recipe_says_how_to_train(void **state) {
    const char *recipe =
        text_file("r.json", "{\"name\": \"small\", \"network\": {\"name\": \"mlp\", "
                            "\"hidden\": [16], \"size\": 8, \"classes\": 4}, "
                            "\"train\": {\"batch\": 5}}");
    (void)state;
    assert_exit(0, "bench --train %s --iterations 1 --warmup 1 --set train.optimizer.name=adam",
                recipe);
    assert_printed("% of peak");
    assert_printed("small ");
    assert_printed("train step, batch 5: kernels");
    assert_printed("optimizer_adam");
    recipe = text_file("r.json", "{\"train\": {\"batch\": 5}}");
    assert_exit(CLQ_BAD_DATA, "bench --train %s", recipe);
    assert_printed("names no network");
    assert_exit(0, "bench --train mlp-classification --iterations 1 --warmup 1 --no-peak");
    assert_printed("recipe: ");
    assert_null(strstr(command_output, "% of peak"));
    assert_exit(CLQ_USAGE, "bench --train mlp-classificatoin");
    assert_printed("network \"mlp-classificatoin\": must be one of resnet18, ");
    assert_printed("did you mean mlp-classification?");
}

/* ---- usage ---- */

static void wrong_flags_are_usage_errors(void **state) {
    static const struct {
        const char *arguments, *part;
    } cases[] = {
        {"", "a model is missing"},
        {"m.onnx --batch 0", "--batch: must be up to 16 different integers in 1..65536"},
        {"m.onnx --batch 1,,2", "--batch"},
        {"m.onnx --batch 1,2,", "--batch"},
        {"m.onnx --batch 4,8,4", "--batch"},
        {"m.onnx --batch eight", "is \"eight\""},
        {"m.onnx --iterations 0", "--iterations"},
        {"m.onnx --warmup -1", "--warmup"},
        {"m.onnx --max-regress 5%", "--max-regress needs --compare"},
        {"m.onnx --compare b.json --max-regress fast", "--max-regress: must be a fraction in 0..1"},
        {"m.onnx --compare b.json --max-regress -1%", "--max-regress"},
        {"m.onnx --compare b.json --max-regress 5%%", "--max-regress"},
        {"m.onnx --compare b.json --max-regress inf", "--max-regress"},
        {"m.onnx --compare", "--compare"},
        {"m.onnx --no-such-flag", "--no-such-flag"},
        {"m.json", "m.json: a file of results is compared with another"},
        {"m.onnx m.json --compare b.json", "m.json: a file of results is compared"},
        {"--compare b.json m.json --layers", "nothing is measured where two files are compared"},
        {"m.onnx --explain --no-peak", "--explain needs the peaks"},
        {"--train", "a network or a recipe is missing; `clquant bench --help`"},
        {"--train resnet20 resnet32", "one network only"},
        {"--train resnet20 --batch 0", "--batch: must be an integer in 1..65536"},
        {"--train resnet20 --shortcut C", "--shortcut: must be A or B"},
        {"--train resnet19", "must be one of resnet18, "},
        {"--tra resnet20", "must be written in full"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_exit(CLQ_USAGE, "bench %s", cases[i].arguments);
        assert_printed(cases[i].part);
    }
    assert_exit(CLQ_NO_INPUT, "bench %s", clq_test_temp_path("absent.onnx"));
    assert_exit(CLQ_DEVICE, "bench %s -d nonesuch", fp32);
}

int main(void) {
    setenv("COLUMNS", "200", 1); /* no text of a table is broken */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_cases_are_in_one_json),
        cmocka_unit_test(tables_have_every_part),
        cmocka_unit_test(peaks_may_be_left_out),
        cmocka_unit_test(files_of_one_name_are_told_apart),
        cmocka_unit_test(compare_fails_slower_runs_only),
        cmocka_unit_test(two_files_are_compared),
        cmocka_unit_test(bad_bases_end_before_measuring),
        cmocka_unit_test(startup_times_are_in_the_json),
        cmocka_unit_test(training_steps_take_turns_in_one_json),
        cmocka_unit_test(a_recipe_says_how_to_train),
        cmocka_unit_test(wrong_flags_are_usage_errors),
    };
    return cmocka_run_group_tests(tests, setup, clq_test_teardown_temp_dir);
}
