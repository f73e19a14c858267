/* Training of any network: without labels, and with a class for each pixel. */
#include "base/files.h"
#include "base/json.h"
#include "cli/predict_case.h"

/* ---- learning without labels ---- */

/* Two outputs or one, arrays or photographs: learnt from the FP32 network, and exact. */
static void any_network_learns_without_labels(void **state) {
    (void)state;
    const char *model = two_inputs(), *x = two_arrays(9), *q = path_of("q.onnx"), *list;
    const char *images = photos(&list), *out = path_of("out");
    assert_exit(0, "qat %s -i %s --epochs 3 --set qat.schedule.lr=1e-3 --out %s -o %s", model, x,
                out, q);
    assert_printed("compared on the rows that it learns from");
    assert_printed("a step takes 9 of the 9 inputs");
    assert_printed("on 9 rows of the calibration data");
    assert_printed("(before QAT");
    assert_exit(0, "verify %s -i %s --json", q, x);
    assert_printed("\"mismatched_codes\": 0");
    assert_exit(0, "qat %s -i %s --epochs 3 --set qat.schedule.lr=1e-3 --out %s --resume -o %s",
                model, x, out, path_of("again.onnx"));
    assert_printed("was done, all 3 steps");
    char *origin = clq_path_join(out, "origin.json");
    json_t *json = NULL;
    assert_ok(clq_json_load(origin, &json));
    const json_t *qat = json_object_get(json_object_get(json, "recipe"), "qat");
    assert_string_equal(json_string_value(json_object_get(qat, "loss")), "output_error");
    assert_int_equal(json_integer_value(json_object_get(qat, "batch")), 9);
    json_decref(json);
    clq_free(origin);

    assert_exit(0, "qat %s -i %s -o %s --json", classifier(), images, path_of("images.onnx"));
    assert_printed("without labels");
    assert_printed("\"before_qat\"");

    /* Images are images to every command that takes --inputs, whatever classes they have. */
    assert_exit(0, "ptq %s -i %s -o %s", classifier(), images, path_of("images.onnx"));
    assert_printed("its images have no labels");
    assert_printed("int8 outputs differ from FP32's on ");
    assert_exit(0, "verify %s -i %s --json", path_of("images.onnx"), images);
    assert_printed("\"mismatched_codes\": 0");
    assert_printed("\"preprocessing\": {");
    assert_exit(0, "analyze %s %s -i %s", classifier(), path_of("images.onnx"), images);
    assert_printed("accuracy was not measured");
    assert_exit(CLQ_NO_INPUT, "ptq %s -i %s -o %s", model, path_of("nope"), path_of("no.onnx"));
    assert_printed("nope: no such array, table, image or folder of images");

    assert_exit(CLQ_USAGE, "qat %s -i %s -D synthetic -o %s", model, x, q);
    assert_printed("either --data or --inputs");
    assert_exit(CLQ_USAGE, "qat %s -i %s --mean 0.5 --std 0.5 -o %s", model, x, path_of("no.onnx"));
    assert_printed("of no use to arrays");
    assert_exit(CLQ_USAGE, "qat %s -i %s -o %s", model, x, x);
    assert_exit(CLQ_BAD_DATA, "qat %s -i %s --set qat.loss=mse -o %s", model, x,
                path_of("no.onnx"));
    assert_printed("without the loss output_error, training takes one of each");
}

/* ---- a class for each pixel ---- */

enum { PIXELS = 8, SHAPES = 12 };

/* Images (1, 8, 8) of noise with a bright square, and which pixels are of it; the first
 * `bare` rows of pixels have no class. */
static void squares(const char *path, uint64_t seed, int bare) {
    clq_npz_writer *writer = NULL;
    int images, labels;
    float x[PIXELS * PIXELS], y[PIXELS * PIXELS];
    assert_ok(clq_npz_open(path, &writer));
    assert_ok(clq_npz_add(writer, "images", (int64_t[]){1, PIXELS, PIXELS}, 3, &images));
    assert_ok(clq_npz_add(writer, "labels", (int64_t[]){PIXELS, PIXELS}, 2, &labels));
    for (uint64_t n = 0; n < SHAPES; n++) {
        const int at = 1 + (int)((seed + 5 * n) % 4);
        clq_test_fill_f32(x, PIXELS * PIXELS, -0.5f, 0.5f, seed + n);
        for (int i = 0; i < PIXELS * PIXELS; i++) {
            const int row = i / PIXELS, col = i % PIXELS;
            const bool in = row >= at && row < at + 3 && col >= 5 - at && col < 8 - at;
            x[i] += in ? 1 : 0;
            y[i] = row < bare ? 255 : in;
        }
        assert_ok(clq_npz_append(writer, images, x, 1));
        assert_ok(clq_npz_append(writer, labels, y, 1));
    }
    assert_ok(clq_npz_commit(&writer));
}

static double json_of(const char *key) {
    json_t *json = NULL;
    const char *text = strchr(command_output, '{');
    assert_non_null(text);
    assert_ok(clq_json_parse("output", text, strlen(text), &json));
    const double value = json_number_value(json_object_get(json, key));
    json_decref(json);
    return value;
}

static void a_unet_through_every_command(void **state) {
    (void)state;
    const char *out = path_of("unet"), *q = path_of("q.onnx"), *model = path_of("unet/model.onnx");
    const char *data = path_of("pairs/train.npz");
    assert_ok(clq_make_dirs(path_of("pairs")));
    squares(data, 1, 1);
    squares(path_of("pairs/test.npz"), 40, 1);
    assert_exit(0, "train unet --data %s --out %s --set train.batch=4 --epochs 16",
                path_of("pairs"), out);
    assert_printed("test top-1");
    assert_exit(0, "eval %s --data %s --json", model, path_of("pairs"));
    assert_true(json_of("pixels") == SHAPES * PIXELS * (PIXELS - 1));
    assert_true(json_of("top1") > 0.9 && json_of("mean_iou") > 0.6 && json_of("mean_iou") < 1);
    assert_exit(0, "eval %s --data %s", model, path_of("pairs"));
    assert_printed("pixel accuracy ");
    assert_printed("pixels of 12 rows");
    assert_exit(0, "ptq %s --inputs %s -o %s", model, data, q);
    assert_exit(0, "eval %s --data %s --json", q, data);
    assert_true(json_of("top1") > 0.9);
    assert_exit(0, "qat %s --data %s --set qat.batch=4 -o %s", model, path_of("pairs"), q);
    assert_printed("test top-1");
    assert_exit(0, "verify %s --inputs %s --json", q, data);
    assert_printed("\"mismatched_codes\": 0");
    assert_exit(0, "qat %s --inputs %s -o %s", model, data, path_of("distilled.onnx"));
    assert_exit(0, "predict %s --inputs %s -o %s", q, data, path_of("y.npz"));
    assert_printed("12x2x8x8");

    assert_exit(CLQ_BAD_DATA, "eval %s --data %s", model, path_of("y.npz"));
    assert_printed("y.npz: has no array \"labels\"");
    assert_exit(CLQ_BAD_DATA, "train unet --data %s --out %s --set network.classes=1", data,
                path_of("one"));
    assert_printed(" is class 1, and the network has 1 class");
    const char *bare = path_of("bare.npz");
    squares(bare, 1, PIXELS);
    assert_exit(CLQ_BAD_DATA, "eval %s --data %s", model, bare);
    assert_printed("bare.npz: no pixel to evaluate: all labels are 255, none");
    assert_exit(CLQ_BAD_DATA, "train unet --data %s --out %s", bare, path_of("bare"));
    assert_printed("bare.npz: no pixel to learn from: all labels are 255, none");
    assert_exit(0, "qat %s --data %s --distill fp32 --no-labels --test-images 0 -o %s", model, bare,
                path_of("unneeded.onnx"));
    assert_exit(CLQ_BAD_DATA, "eval %s --data synthetic:train=8,test=8,size=8", model);
    assert_exit(CLQ_USAGE, "convert --network unet --size 12 -o %s", path_of("no.onnx"));
    assert_printed("unet: size 12 must be a multiple of 8");
}
int main(void) {
    const struct CMUnitTest tests[] = {
        FRESH(any_network_learns_without_labels),
        FRESH(a_unet_through_every_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
