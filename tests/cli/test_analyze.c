/* `clquant analyze`: what it prints, as text and JSON, what it leaves in a folder, what it refuses.
 */
#include <jansson.h>
#include <unistd.h>

#include "base/files.h"
#include "cli/command.h"
#include "support/image_files.h"
#include "support/npy_file.h"

#define DATA "synthetic:train=24,test=16,size=8"

static char fp32[512], int8[512];

static int setup(void **state) {
    if (clq_test_setup_temp_dir(state) != 0) {
        return -1;
    }
    snprintf(fp32, sizeof fp32, "%s", clq_test_temp_path("m.onnx"));
    snprintf(int8, sizeof int8, "%s", clq_test_temp_path("q.onnx"));
    return command("convert --network mlp --size 8 --input-channels 3 --seed 3 -o %s", fp32) ||
           command("ptq %s -D " DATA " --test-images 0 -o %s", fp32, int8);
}

/* ---- JSON ---- */

static const char *const layer_keys[] = {"name",   "op",      "type",      "sqnr_db",
                                         "cosine", "clipped", "top1_only", "top1_without",
                                         "bytes",  "fp32_ms", "int8_ms"};

static json_t *parsed(void) {
    json_error_t error;
    json_t *json = json_loads(command_output, JSON_REJECT_DUPLICATES, &error);
    if (!json) {
        fail_msg("line %d: %s: %s", error.line, error.text, command_output);
    }
    return json;
}

static void json_has_its_shape(void **state) {
    static const char *const stages[] = {"fp32", "folded", "weights", "simulated", "integer"};
    (void)state;
    assert_exit(0, "analyze %s %s -D " DATA " --json 2>/dev/null && true", fp32, int8);
    json_t *json = parsed(), *ladder = json_object_get(json, "ladder");
    json_t *layers = json_object_get(json, "layers");
    assert_int_equal(json_integer_value(json_object_get(json, "schema")), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "images")), 16);
    assert_int_equal(json_array_size(ladder), 5);
    for (size_t i = 0; i < 5; i++) {
        json_t *rung = json_array_get(ladder, i), *interval = json_object_get(rung, "interval");
        const double top1 = json_real_value(json_object_get(rung, "top1"));
        assert_string_equal(json_string_value(json_object_get(rung, "stage")), stages[i]);
        assert_true(json_is_integer(json_object_get(rung, "flips")));
        assert_int_equal(json_array_size(interval), 2);
        assert_true(json_real_value(json_array_get(interval, 0)) <= top1);
        assert_true(json_real_value(json_array_get(interval, 1)) >= top1);
    }
    assert_int_equal(json_array_size(layers), 3); /* the input, and two layers */
    for (size_t i = 0; i < 3; i++) {
        json_t *layer = json_array_get(layers, i);
        for (size_t k = 0; k < sizeof layer_keys / sizeof *layer_keys; k++) {
            assert_non_null(json_object_get(layer, layer_keys[k]));
        }
        if (strcmp(json_string_value(json_object_get(layer, "op")), "linear") == 0) {
            assert_string_equal(json_string_value(json_object_get(layer, "type")), "u8 x s8");
            assert_true(json_real_value(json_object_get(layer, "sqnr_db")) > 20);
            assert_true(json_real_value(json_object_get(layer, "fp32_ms")) > 0);
            assert_true(json_real_value(json_object_get(layer, "int8_ms")) > 0);
        }
    }
    json_decref(json);
}

/* Without a quantized model it is quantized, by ptq's flags, and weights of 4 bits cost most. */
static void flags_quantize(void **state) {
    (void)state;
    assert_exit(0, "analyze %s -D " DATA " -n 9 --weight-bits fc2=4 --json 2>/dev/null && true",
                fp32);
    json_t *json = parsed(), *worst = json_array_get(json_object_get(json, "layers"), 0);
    assert_int_equal(json_integer_value(json_object_get(json, "images")), 9);
    assert_true(json_is_null(json_object_get(json, "quantized_model")));
    assert_string_equal(json_string_value(json_object_get(worst, "name")), "fc2");
    assert_string_equal(json_string_value(json_object_get(worst, "type")), "u8 x s4");
    assert_non_null(
        strstr(json_string_value(json_object_get(json, "advice")), "--weight-bits fc2=8"));
    json_decref(json);
    assert_exit(CLQ_USAGE, "analyze %s %s -D " DATA " --weight-bits fc2=4", fp32, int8);
    assert_printed("is quantized already");
}

/* ---- text ---- */

static void text_fits(void **state) {
    (void)state;
    setenv("COLUMNS", "72", 1);
    assert_exit(0, "analyze %s %s -D " DATA " 2>/dev/null && true", fp32, int8);
    unsetenv("COLUMNS");
    assert_printed("and activations (simulated)");
    assert_printed(" costs most: ");
    assert_printed("--keep-float fc");
    assert_printed("sign test");
    for (const char *line = command_output; *line; line += strcspn(line, "\n") + 1) {
        if (strcspn(line, "\n") > 72) {
            fail_msg("a line is too long: %.*s", (int)strcspn(line, "\n"), line);
        }
        if (!strchr(line, '\n')) {
            break;
        }
    }
}

/* ---- folders ---- */

static void folders_are_respected(void **state) {
    char out[512], html[600];
    (void)state;
    snprintf(out, sizeof out, "%s", clq_test_temp_path("out"));
    snprintf(html, sizeof html, "%s/report/index.html", out);
    assert_exit(0, "analyze %s %s -D " DATA " -o %s", fp32, int8, out);
    assert_printed("out/report/index.html");
    assert_true(clq_file_exists(html));
    assert_exit(CLQ_CANNOT_CREATE, "analyze %s %s -D " DATA " -O %s", fp32, int8, out);
    assert_printed("holds an earlier run (analysis.json): --overwrite replaces it");
    assert_exit(0, "analyze %s %s -D " DATA " -O %s --overwrite", fp32, int8, out);
    snprintf(html, sizeof html, "%s/fp32.onnx", out);
    assert_ok(clq_file_write_atomic(html, "x", 1));
    assert_exit(CLQ_CANNOT_CREATE, "analyze %s %s -D " DATA " -O %s --overwrite", fp32, int8, out);
    assert_printed("another kind of run");
}

/* ---- what is given ---- */

static void wrong_models_are_refused(void **state) {
    (void)state;
    const char *other = clq_test_temp_path("other.onnx");
    const char *q = clq_test_temp_path("other_q.onnx");
    assert_exit(CLQ_USAGE, "analyze %s %s -D " DATA, fp32, fp32);
    assert_printed("is not a quantized model");
    assert_exit(CLQ_USAGE, "analyze %s %s -D " DATA, int8, fp32);
    assert_printed("is already quantized; give the FP32 model");
    assert_exit(CLQ_USAGE, "analyze %s", fp32);
    assert_exit(CLQ_USAGE, "analyze %s -D " DATA " -i x.npz", fp32);
    if ((double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) < 400e9) {
        assert_exit(CLQ_NO_MEMORY,
                    "analyze %s %s -D synthetic:train=24,test=268435456,size=8 -n 268435456", fp32,
                    int8);
        assert_printed("more than half of the memory here; --limit takes fewer");
    }
    assert_exit(CLQ_NO_INPUT, "analyze %s %s.none -D " DATA, fp32, int8);
    assert_exit(0, "convert --network resnet20 --size 8 -o %s", other);
    assert_exit(0, "ptq %s -D " DATA " --test-images 0 -o %s", other, q);
    assert_exit(CLQ_BAD_DATA, "analyze %s %s -D " DATA, fp32, q);
    assert_printed("is not made of");
    assert_printed("the networks are not the same: ");
}

/* Photographs without labels, arrays, and a table. */
static void any_data_does(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "photos/%d.png", i);
        test_put_image(clq_test_temp_path(name), 8, 8, 3);
    }
    assert_exit(0, "analyze %s %s -D %s", fp32, int8, clq_test_temp_path("photos"));
    assert_printed("accuracy was not measured: ");
    assert_printed("other predictions");
    static float rows[3 * 8 * 8];
    clq_test_fill_f32(rows, sizeof rows / sizeof *rows, -1, 1, 7);
    const char *npy =
        test_put_npy("x.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 8, 8), }\n",
                     rows, sizeof rows);
    assert_exit(0, "analyze %s %s -i %s --json 2>/dev/null && true", fp32, int8, npy);
    json_t *json = parsed(), *rung = json_array_get(json_object_get(json, "ladder"), 4);
    assert_int_equal(json_integer_value(json_object_get(json, "images")), 1);
    assert_true(json_is_null(json_object_get(rung, "top1")));
    assert_true(json_is_null(json_object_get(rung, "interval")));
    assert_true(json_is_integer(json_object_get(rung, "flips")));
    assert_true(json_real_value(json_object_get(rung, "error")) > 0);
    json_decref(json);
    const char *table = text_file("t.csv", "a,b,y\n0.1,0.5,1.5\n0.4,0.2,0.7\n0.9,0.3,2.5\n"
                                           "0.2,0.8,1.1\n0.6,0.7,0.4\n0.3,0.1,2.0\n");
    const char *mlp = text_file(
        "mlp.json", "{\"network\": {\"name\": \"mlp\"}, \"train\": "
                    "{\"epochs\": 1, \"batch\": 2, \"loss\": \"mse\", \"label_smoothing\": 0}}");
    const char *out = clq_test_temp_path("table");
    assert_exit(0, "train %s -D %s -O %s", mlp, table, out);
    char model[600];
    snprintf(model, sizeof model, "%s/model.onnx", out);
    assert_exit(0, "analyze %s -D %s", model, table);
    assert_printed("error %");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_its_shape),
        cmocka_unit_test(flags_quantize),
        cmocka_unit_test(text_fits),
        cmocka_unit_test(folders_are_respected),
        cmocka_unit_test(wrong_models_are_refused),
        cmocka_unit_test(any_data_does),
    };
    return cmocka_run_group_tests_name("cli/analyze", tests, setup, clq_test_teardown_temp_dir);
}
