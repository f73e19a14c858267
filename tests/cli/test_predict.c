/* `clquant predict`, and ptq and verify on arrays: files in, files out, and what is refused. */
#include <math.h>

#include "base/files.h"
#include "base/json.h"
#include "cli/predict_case.h"

/* One input of images, two outputs of classes. */
static const char *two_heads(void) {
    const char *path = path_of("heads.onnx");
    clq_graph *graph = NULL;
    int image, flat;
    float weights[CLASSES * SIZE * SIZE];
    clq_test_fill_f32(weights, CLASSES * SIZE * SIZE, -1, 1, 4);
    assert_ok(clq_graph_create("heads", &graph));
    assert_ok(clq_graph_add_input(graph, "image", (clq_shape){4, {1, SIZE, SIZE, 1}}, &image));
    assert_ok(clq_graph_add_node(graph, "flatten", "flat", NULL, &image, 1, &flat));
    for (int i = 0; i < 2; i++) {
        const char *const names[2][2] = {{"a", "a.weight"}, {"b", "b.weight"}};
        int w, head;
        assert_ok(clq_graph_add_parameter(graph, names[i][1], CLQ_VALUE_PARAMETER, CLQ_F32,
                                          (clq_shape){2, {CLASSES, SIZE * SIZE}}, weights, &w));
        assert_ok(
            clq_graph_add_node(graph, "linear", names[i][0], NULL, (int[]){flat, w}, 2, &head));
        assert_ok(clq_graph_add_output(graph, names[i][0], head));
    }
    assert_ok(clq_onnx_save(graph, path));
    clq_graph_destroy(graph);
    return path;
}

/* ---- images ---- */

static void images_are_prepared_as_eval_prepares_them(void **state) {
    (void)state;
    const char *list, *folder = photos(&list), *fp32 = classifier(), *int8 = path_of("int8.onnx");
    assert_exit(0, "ptq %s --data %s -o %s", fp32, folder, int8);
    for (int k = 0; k < 2; k++) {
        const char *model = k ? int8 : fp32, *out = path_of("out.npz");
        clq_npy logits, one;
        float values[IMAGES * CLASSES];
        assert_exit(0, "eval %s --data %s --labels %s --resize 9 --logits %s", model, folder, list,
                    path_of("logits.npy"));
        assert_ok(clq_npy_read(path_of("logits.npy"), &logits));
        assert_int_equal(logits.count, IMAGES * CLASSES);
        assert_exit(0, "predict %s --inputs %s --resize 9 -o %s", model, folder,
                    path_of("one.npy"));
        assert_printed("5 images through the");
        assert_printed("logits: 5x3");
        assert_printed("preprocessing: shorter side 9, centre crop 8 x 8");
        assert_ok(clq_npy_read(path_of("one.npy"), &one));
        assert_memory_equal(one.values, logits.values, sizeof values); /* the same bits */
        clq_npy_free(&one);
        assert_exit(0, "predict %s -i %s --resize 9 --batch 2 -o %s --json", model, folder, out);
        assert_printed("\"count\": 5");
        assert_exit(CLQ_BAD_DATA, "predict %s -i %s -o %s", model, out, path_of("again.npz"));
        assert_printed("array \"file\": holds text");
        assert_exit(0, "predict %s -i %s/c,2.png --resize 9 -o %s", model, folder,
                    path_of("single.npy"));
        assert_printed("1 image through the");
        assert_ok(clq_npy_read(path_of("single.npy"), &one));
        assert_memory_equal(one.values, logits.values + 2 * CLASSES, CLASSES * sizeof *values);
        clq_npy_free(&one);
        clq_npy_free(&logits);
    }
}

/* Not even by labels that would fit neither output; and ptq, which needs none, is done then. */
static void accuracy_is_not_measured_on_two_outputs(void **state) {
    (void)state;
    static const char why[] = "the network has 1 input (image) and 2 outputs (a, b); accuracy is "
                              "measured on networks with one of each";
    const char *model = two_heads();
    assert_exit(CLQ_BAD_DATA, "eval %s --data synthetic:size=8,test=4", model);
    assert_printed(why);
    assert_exit(0, "ptq %s --data synthetic:size=8,train=4,test=4 -o %s", model, path_of("h.onnx"));
    assert_printed("accuracy was not measured: ");
    assert_printed(why);
}

/* Images in folders of folders, whatever these are; where labels are needed they are not guessed.
 */
static void images_below_folders(void **state) {
    (void)state;
    const char *model = classifier();
    void *text = NULL;
    size_t size = 0;
    test_put_image(clq_test_temp_path("deep/b/x/1.png"), 9, 9, 3);
    test_put_image(clq_test_temp_path("deep/a/2.png"), 9, 9, 3);
    test_put_image(clq_test_temp_path("deep/b/0.png"), 9, 9, 3);
    assert_exit(0, "predict %s -i %s --resize 9 -o %s", model, path_of("deep"),
                path_of("deep.csv"));
    assert_printed("3 images through the");
    assert_ok(clq_file_read(path_of("deep.csv"), SIZE_MAX, &text, &size));
    const char *first = strstr(text, "deep/a/2.png"), *second = strstr(text, "deep/b/0.png"),
               *third = strstr(text, "deep/b/x/1.png");
    assert_true(first && second && third && first < second && second < third);
    clq_free(text);
    assert_exit(CLQ_NO_INPUT, "eval %s --data %s --resize 9", model, path_of("deep"));
}

/* A line each, in the files' order, with what is largest. */
static void csv_has_files_and_classes(void **state) {
    (void)state;
    const char *list, *folder = photos(&list), *model = classifier(), *out = path_of("out.csv");
    clq_graph *graph = NULL;
    clq_npy logits;
    void *text = NULL;
    size_t size = 0;
    assert_exit(0, "predict %s -i %s --resize 9 -o %s -q", model, folder, path_of("y.npy"));
    assert_ok(clq_npy_read(path_of("y.npy"), &logits));
    for (int named = 0; named < 2; named++) {
        if (named) {
            assert_ok(clq_onnx_load(model, &graph));
            assert_ok(clq_graph_set_metadata(graph, "clquant.classes", "cat\ndog, big\n\"ship\""));
            model = path_of("named.onnx");
            assert_ok(clq_onnx_save(graph, model));
            clq_graph_destroy(graph);
        }
        assert_exit(0, "predict %s -i %s --resize 9 -o %s", model, folder, out);
        assert_ok(clq_file_read(out, SIZE_MAX, &text, &size));
        char *line = strtok(text, "\n");
        assert_string_equal(line, named ? "file,top1,class,logits[0],logits[1],logits[2]"
                                        : "file,top1,logits[0],logits[1],logits[2]");
        for (int i = 0; i < IMAGES; i++) {
            const float *y = logits.values + (size_t)i * CLASSES;
            const int top = y[0] >= y[1] && y[0] >= y[2] ? 0 : y[1] >= y[2] ? 1 : 2;
            static const char *const names[] = {"cat,", "\"dog, big\",", "\"\"\"ship\"\"\","};
            char expected[1024];
            snprintf(expected, sizeof expected, "\"%s/%c,%d.png\",%d,%s%.9g,%.9g,%.9g", folder,
                     'a' + i, i, top, named ? names[top] : "", (double)y[0], (double)y[1],
                     (double)y[2]);
            line = strtok(NULL, "\n");
            assert_string_equal(line, expected);
        }
        assert_null(strtok(NULL, "\n"));
        clq_free(text);
    }
    clq_npy_free(&logits);
    /* A list says which images, in its order, and keeps its labels beside the outputs. */
    list = path_of("some.txt");
    text_file("some.txt", "c,2.png 1\na,0.png 2\n");
    assert_exit(0, "predict %s -i %s --labels %s --resize 9 -o %s", model, folder, list, out);
    assert_printed("some.txt: 2 images, not split");
    assert_ok(clq_file_read(out, SIZE_MAX, &text, &size));
    assert_int_equal(strncmp(text, "file,label,top1,class,", 22), 0);
    assert_non_null(strstr(text, "c,2.png\",1,"));
    assert_non_null(strstr(text, "a,0.png\",2,"));
    clq_free(text);
}

/* ---- arrays ---- */

static void arrays_of_one_input(void **state) {
    (void)state;
    const char *model = classifier(), *x = path_of("x.npy"), *y = path_of("y.csv");
    void *text = NULL;
    size_t size = 0;
    write_array(x, (int64_t[]){70, 3, SIZE, SIZE}, 4);
    assert_exit(0, "predict %s -i %s -o %s --limit 66", model, x, y);
    assert_printed("66 rows through the");
    assert_ok(clq_file_read(y, SIZE_MAX, &text, &size));
    assert_non_null(strstr(text, "index,top1,logits[0]"));
    assert_non_null(strstr(text, "\n65,"));
    assert_null(strstr(text, "\n66,"));
    clq_free(text);
    assert_exit(CLQ_USAGE, "predict %s -i %s -o %s --resize 9", model, x, y);
    assert_printed("of no use to arrays");
    write_array(x, (int64_t[]){2, SIZE, SIZE, 3}, 4);
    assert_exit(CLQ_BAD_DATA, "predict %s -i %s -o %s", model, x, y);
    assert_printed("x.npy: shapes must fit: the file has (2, 8, 8, 3); the network takes input (N, "
                   "3, 8, 8)");
    assert_exit(CLQ_NO_INPUT, "predict %s -i %s -o %s", model, path_of("nope"), y);
    assert_printed("nope: no such array, table, image or folder of images");
    /* Beside the input there are labels: all rows are fed, and what is left is named. */
    clq_npz_writer *writer = NULL;
    int index;
    float row[3 * SIZE * SIZE] = {0};
    assert_ok(clq_npz_open(path_of("xy.npz"), &writer));
    assert_ok(clq_npz_add(writer, "aside", (int64_t[]){1}, 0, &index));
    assert_ok(clq_npz_add(writer, "input", (int64_t[]){3, SIZE, SIZE}, 3, &index));
    assert_ok(clq_npz_append(writer, 0, row, 1));
    assert_ok(clq_npz_append(writer, 1, row, 1));
    assert_ok(clq_npz_append(writer, 1, row, 1));
    assert_ok(clq_npz_commit(&writer));
    assert_exit(0, "predict %s -i %s -o %s", model, path_of("xy.npz"), y);
    assert_printed("left out, for no input has the name: aside (1,)");
    assert_printed("2 rows through the");
}

static void several_inputs_through_every_command(void **state) {
    (void)state;
    const char *model = two_inputs(), *x = two_arrays(9), *q = path_of("q.onnx");
    clq_arrays *arrays = NULL;
    float mean[2 * 9];
    assert_exit(0, "predict %s -i %s -o %s", model, x, path_of("y.npz"));
    assert_printed("map: 9x2x4x4");
    assert_printed("mean: 9x2");
    assert_ok(clq_arrays_open(path_of("y.npz"), &arrays));
    assert_int_equal(clq_arrays_count(arrays), 2);
    assert_string_equal(clq_arrays_at(arrays, 0)->name, "map");
    assert_int_equal(clq_arrays_at(arrays, 0)->dims[1], 2);
    assert_ok(clq_arrays_read(arrays, 1, 0, 9, mean));
    clq_arrays_close(arrays);

    assert_exit(0, "ptq %s -i %s -o %s", model, x, q);
    assert_printed("calibrated on 9 rows");
    assert_printed("accuracy was not measured: arrays have no labels\n"
                   "int8 outputs differ from FP32's on 9 rows of the calibration data");
    assert_printed("%, mean ");
    assert_exit(0, "ptq %s -i %s -o %s --images 4 --test-images 0 --json", model, x,
                path_of("few.onnx"));
    assert_printed("\"images\": 4");
    assert_printed("\"accuracy\": null");
    assert_exit(0, "verify %s -i %s --json", q, x);
    assert_printed("\"mismatched_codes\": 0");
    assert_printed("\"images\": 9");
    assert_exit(0, "predict %s -i %s -o %s", q, x, path_of("z.npz"));
    assert_ok(clq_arrays_open(path_of("z.npz"), &arrays));
    float other[2 * 9];
    assert_ok(clq_arrays_read(arrays, 1, 0, 9, other));
    for (int i = 0; i < 18; i++) {
        assert_true(other[i] - mean[i] < 0.05f && mean[i] - other[i] < 0.05f);
    }
    clq_arrays_close(arrays);

    assert_exit(CLQ_BAD_DATA, "eval %s --data synthetic", model);
    assert_printed("the network has 2 inputs (left, right); images or rows of a data set feed one");
    assert_exit(CLQ_BAD_DATA, "verify %s", q);
    assert_printed("2 inputs (left, right)");
    assert_exit(CLQ_BAD_DATA, "predict %s -i %s -o %s", model, path_of("z.npz"), path_of("a.npz"));
    assert_printed("the file has map (9, 2, 4, 4), mean (9, 2); the network takes left (N, 3, 4, "
                   "4), right (N, 2, 4, 4)");
}

/* ---- what is not finite ---- */

/* y = exp(100 x) of four numbers. */
static const char *exploding(void) {
    const char *path = path_of("exploding.onnx");
    const float weights[16] = {[0] = 100, [5] = 100, [10] = 100, [15] = 100};
    const clq_linear_attrs none = {.act = CLQ_ACT_NONE};
    clq_graph *graph = NULL;
    int x, w;
    assert_ok(clq_graph_create("exploding", &graph));
    assert_ok(clq_graph_add_input(graph, "x", (clq_shape){2, {1, 4}}, &x));
    assert_ok(clq_graph_add_parameter(graph, "fc.weight", CLQ_VALUE_PARAMETER, CLQ_F32,
                                      (clq_shape){2, {4, 4}}, weights, &w));
    assert_ok(clq_graph_add_node(graph, "linear", "fc", &none, (int[]){x, w}, 2, &x));
    assert_ok(clq_graph_add_node(graph, "exp", "power", NULL, &x, 1, &x));
    assert_ok(clq_graph_add_output(graph, "y", x));
    assert_ok(clq_onnx_save(graph, path));
    clq_graph_destroy(graph);
    return path;
}

static void what_is_not_finite_is_named(void **state) {
    (void)state;
    const char *model = exploding(), *x = path_of("x.npy");
    assert_ok(clq_npy_write(x, (float[]){0, 0.1f, 0, 0, 0.5f, 0.9f, 1, 0}, (int64_t[]){2, 4}, 2));
    assert_exit(0, "predict %s -i %s -o %s", model, x, path_of("y.npz"));
    assert_printed("warning: output y: 2 of its 8 numbers are infinite or NaN, the first of row 1 "
                   "(from 0)");
    assert_exit(CLQ_BAD_DATA, "ptq %s -i %s -o %s", model, x, path_of("q.onnx"));
    assert_printed("node power (exp) makes infinities: 2 of its 8 numbers; --keep-float");
}

/* ---- what is written where ---- */

static void outputs_are_checked_first(void **state) {
    (void)state;
    const char *model = two_inputs(), *x = two_arrays(2);
    assert_exit(CLQ_USAGE, "predict %s -i %s -o %s", model, x, x);
    assert_printed("-o");
    assert_exit(CLQ_USAGE, "predict %s -i %s -o %s", model, x, path_of("out.txt"));
    assert_printed("must end in .npz, .npy or .csv");
    assert_exit(CLQ_USAGE, "predict %s -i %s -o %s", model, x, path_of("out.npy"));
    assert_printed("holds one array, and the network has 2 outputs");
    assert_false(clq_file_exists(path_of("out.npy")));
    assert_exit(CLQ_CANNOT_CREATE, "predict %s -i %s -o %s", model, x, path_of("no/out.npz"));
    assert_exit(CLQ_USAGE, "predict %s -o %s", model, path_of("y.npz"));
    assert_printed("predict: --inputs is missing");
    assert_exit(CLQ_NO_INPUT, "predict %s -i %s -o %s", model, path_of("none.npz"),
                path_of("y.npz"));
    assert_printed("none.npz");
    assert_exit(CLQ_USAGE, "ptq %s -i %s -D synthetic -o %s", model, x, path_of("q.onnx"));
    assert_printed("either --data or --inputs");
    assert_exit(CLQ_USAGE, "ptq %s -i %s -o %s", model, x, x);
    /* a damaged input leaves nothing behind */
    void *data = NULL;
    size_t size = 0;
    assert_ok(clq_file_read(x, SIZE_MAX, &data, &size));
    ((char *)data)[30 + 8 + 128 + 200] ^= 1;
    test_file_write(path_of("damaged.npz"), data, size);
    clq_free(data);
    assert_exit(CLQ_BAD_DATA, "predict %s -i %s -o %s", model, path_of("damaged.npz"),
                path_of("y.npz"));
    assert_printed("cannot be unpacked");
    assert_false(clq_file_exists(path_of("y.npz")));
}

/* Too many columns for people are arrays. */
/* A graph of one node that reads the input, written; `axes`: of both ends. */
static const char *one_node(const char *op, const void *attrs, clq_shape x, const clq_axes *in,
                            const clq_axes *out) {
    const char *path = path_of("node.onnx");
    clq_graph *graph = NULL;
    int value;
    assert_ok(clq_graph_create("node", &graph));
    assert_ok(clq_graph_add_input(graph, "x", x, &value));
    assert_ok(clq_graph_add_node(graph, op, "y", attrs, &value, 1, &value));
    assert_ok(clq_graph_add_output(graph, "out", value));
    graph->input_axes[0] = *in;
    graph->outputs[0].axes = *out;
    assert_ok(clq_onnx_save(graph, path));
    clq_graph_destroy(graph);
    return path;
}

/* The only array of a file has these dimensions; its numbers go to `values`. */
static void read_array(const char *path, const int64_t *dims, int rank, float *values) {
    clq_arrays *arrays = NULL;
    assert_ok(clq_arrays_open(path, &arrays));
    const clq_array *array = clq_arrays_at(arrays, 0);
    assert_int_equal(array->rank, rank);
    assert_memory_equal(array->dims, dims, (size_t)rank * sizeof *dims);
    assert_ok(clq_arrays_read(arrays, 0, 0, dims[0], values));
    clq_arrays_close(arrays);
}

/* Dynamic quantization: one range for all rows, as ONNX has it, or for each its own. */
static void rows_rounded_together(void **state) {
    const clq_axes axes = {0};
    const char *model = one_node("dynamic_quantize", NULL, (clq_shape){2, {1, 6}}, &axes, &axes);
    const char *x = path_of("x.npy"), *y = path_of("y.npy");
    float in[24], out[24], least = 0, most = 0;
    (void)state;
    write_array(x, (int64_t[]){4, 6}, 2);
    clq_test_fill_f32(in, 24, -1, 1, 5);
    for (int alone = 0; alone < 2; alone++) {
        assert_exit(0, "predict %s -i %s -o %s%s", model, x, y, alone ? " --batch 1" : "");
        read_array(y, (int64_t[]){4, 6}, 2, out);
        for (int i = 0; i < 24; i++) {
            if (!alone || i % 6 == 0) {
                const int first = alone ? i : 0, end = alone ? i + 6 : 24;
                least = most = 0;
                for (int k = first; k < end; k++) {
                    least = in[k] < least ? in[k] : least;
                    most = in[k] > most ? in[k] : most;
                }
            }
            const float scale = (most - least) / 255, zero = rintf(-least / scale);
            assert_true(out[i] == scale * (rintf(in[i] / scale) + zero - zero));
        }
    }
    assert_exit(CLQ_USAGE, "predict %s -i %s -o %s --batch 3", model, x, y);
    assert_printed("all 4 rows of");
    assert_exit(CLQ_USAGE, "predict %s -i %s -o %s --limit 2", model, x, y);
}

/* A network that takes the file's whole batch as one sample gives arrays of the file's shape; one
 * number for a sample has no axes. */
static void arrays_of_the_files_shape(void **state) {
    const clq_axes axes = {2, {1, 2}}, none = {CLQ_NO_AXES, {0}};
    const clq_shape shape = {3, {1, 4, 6}};
    const char *x = path_of("x.npy"), *y = path_of("y.npy");
    float out[48];
    (void)state;
    write_array(x, (int64_t[]){8, 6}, 2); /* two samples */
    const char *model = one_node("softmax", &(clq_softmax_attrs){1}, shape, &axes, &axes);
    assert_exit(0, "predict %s -i %s -o %s", model, x, y);
    read_array(y, (int64_t[]){8, 6}, 2, out);
    for (int k = 0; k < 12; k++) {
        float sum = 0;
        for (int i = 0; i < 4; i++) {
            sum += out[k / 6 * 24 + i * 6 + k % 6];
        }
        assert_float_equal(sum, 1, 1e-6);
    }
    model = one_node("reduce_sum", &(clq_reduce_attrs){6, true}, shape, &axes, &none);
    assert_exit(0, "predict %s -i %s -o %s", model, x, y);
    read_array(y, (int64_t[]){2}, 1, out);
}

static void csv_is_for_few_columns(void **state) {
    (void)state;
    const char *model = path_of("wide.onnx"), *x = path_of("wide.npy");
    assert_exit(0, "convert --network mlp --size %d --input-channels 3 --classes 5000 -o %s", SIZE,
                model);
    write_array(x, (int64_t[]){2, 3, SIZE, SIZE}, 4);
    assert_exit(CLQ_USAGE, "predict %s -i %s -o %s", model, x, path_of("wide.csv"));
    assert_printed("would have 5000 columns");
    assert_exit(0, "predict %s -i %s -o %s", model, x, path_of("wide.npz"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FRESH(images_are_prepared_as_eval_prepares_them),
        FRESH(accuracy_is_not_measured_on_two_outputs),
        FRESH(images_below_folders),
        FRESH(csv_has_files_and_classes),
        FRESH(arrays_of_one_input),
        FRESH(several_inputs_through_every_command),
        FRESH(what_is_not_finite_is_named),
        FRESH(outputs_are_checked_first),
        FRESH(rows_rounded_together),
        FRESH(arrays_of_the_files_shape),
        FRESH(csv_is_for_few_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
