/* How the commands prepare images and match classes: flags, models, lists of labels. */
#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "cli/command.h"
#include "data/image.h"
#include "data/npy.h"
#include "models/builder.h"
#include "support/image_files.h"

#include <clquant/formats.h>

enum { SIZE = 8 };

/* A path in the scratch folder that stays valid. */
static const char *path_of(const char *name) {
    static char ring[64][512];
    static unsigned next;
    char *path = ring[next++ % 64];
    snprintf(path, sizeof ring[0], "%s", clq_test_temp_path(name));
    return path;
}

/* NAME/train and NAME/test with two images a class, no two of one size. */
static const char *folders(const char *name, const char *const *classes, int count) {
    for (int i = 0; i < 4 * count; i++) {
        char file[128];
        snprintf(file, sizeof file, "%s/%s/%s/%d.png", name, i % 2 ? "train" : "test",
                 classes[i / 4], i);
        test_put_image(clq_test_temp_path(file), 9 + i, 14 + 2 * i, 3);
    }
    return path_of(name);
}

static const char *animals(void) {
    static const char *const classes[] = {"cat", "dog", "ship"};
    return folders("animals", classes, 3);
}

static const char *list_file(const char *name, const char *text) {
    text_file(name, text);
    return path_of(name);
}

/* A network of another exporter: nothing in it about images or classes. */
static const char *foreign(int outputs) {
    const char *path = path_of("foreign.onnx");
    assert_exit(0, "convert --network mlp --size %d --input-channels 3 --classes %d --seed 3 -o %s",
                SIZE, outputs, path);
    return path;
}

/* What eval's JSON says. */
static json_t *report(void) {
    json_t *json = NULL;
    const char *start = strchr(command_output, '{');
    assert_non_null(start);
    assert_ok(clq_json_parse("eval", start, strlen(start), &json));
    return json;
}

static const char *hash(void) {
    static char text[65];
    json_t *json = report();
    snprintf(text, sizeof text, "%s", json_string_value(json_object_get(json, "logits_sha256")));
    json_decref(json);
    return text;
}

static void assert_not_printed(const char *part) {
    if (strstr(command_output, part)) {
        fail_msg("\"%s\" is in: %s", part, command_output);
    }
}

/* ---- where the numbers come from ---- */

/* The names of the folders decide what is usual, and that is said; with flags they decide nothing.
 */
static void names_of_folders_decide_nothing_in_silence(void **state) {
    (void)state;
    static const char *const cifar[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                        "dog",      "frog",       "horse", "ship", "truck"};
    static const char *const others[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    const char *model = foreign(10), *named = folders("named", cifar, 10),
               *plain = folders("plain", others, 10);
    char first[65];
    assert_exit(0, "eval %s --data %s --json", model, named);
    assert_printed("warning: the model does not say how its images are prepared; assumed: "
                   "the mean and std of CIFAR-10 (by the folders' names), a shorter side of ");
    assert_printed("(else give --mean, --std, --resize)");
    assert_exit(0, "eval %s --data %s --json", model, plain);
    assert_printed("the mean and std of ImageNet");
    assert_exit(0, "eval %s --data %s --mean 0.5 --std 0.25 --resize 9 --json", model, named);
    assert_not_printed("does not say");
    snprintf(first, sizeof first, "%s", hash());
    assert_exit(0, "eval %s --data %s --mean 0.5 --std 0.25 --resize 9 --json", model, plain);
    assert_string_equal(hash(), first);
}

static void flags_come_before_the_model(void **state) {
    (void)state;
    const char *model = foreign(3), *data = animals(), *int8 = path_of("int8.onnx");
    char first[65];
    assert_exit(0,
                "ptq %s --data %s --mean 127 --std 128 --range 255 --channels bgr --resize 12x10 "
                "--interpolation bicubic -o %s",
                model, data, int8);
    assert_printed("preprocessing: resized to 12 x 10, centre crop 8 x 8, bicubic, bgr, 0..255, "
                   "mean 127, std 128 (flag: mean, std, channels, resize, interpolation; usual: "
                   "crop)");
    assert_exit(0, "eval %s --data %s --json", int8, data);
    assert_printed("mean 127, std 128 (model: mean, std, channels, resize, crop, interpolation)");
    assert_not_printed("does not say how");
    snprintf(first, sizeof first, "%s", hash());
    json_t *json = report(), *p = json_object_get(json, "preprocessing");
    assert_string_equal(json_string_value(json_object_get(p, "channels")), "bgr");
    assert_string_equal(json_string_value(json_object_get(p, "interpolation")), "bicubic");
    assert_int_equal(json_integer_value(json_object_get(p, "range")), 255);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(p, "resize"), 0)), 12);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(p, "crop"), 1)), 8);
    assert_true(json_real_value(json_array_get(json_object_get(p, "std"), 2)) == 128);
    json_decref(json);
    assert_exit(0, "eval %s --data %s --interpolation nearest --json", int8, data);
    assert_printed("(model: mean, std, channels, resize, crop; flag: interpolation)");
    assert_string_not_equal(hash(), first);
    assert_exit(0, "verify %s --data %s --json", int8, data);
    assert_printed("\"preprocessing\": {");
    assert_printed("\"mismatched_codes\": 0");
}

/* The network sees (pixel - 127) / 128, blue first. */
static void the_network_sees_what_was_said(void **state) {
    (void)state;
    const char *model = foreign(3), *inputs = path_of("x.npy");
    clq_npy x;
    clq_image image;
    test_put_image(path_of("one/a.png"), SIZE, SIZE, 3);
    assert_ok(clq_image_read(path_of("one/a.png"), 3, &image));
    const char *list = list_file("one.txt", "a.png 1\n");
    assert_exit(0,
                "eval %s --data %s --labels %s --mean 127 --std 128 --range 255 --channels bgr "
                "--save-inputs %s",
                model, path_of("one"), list, inputs);
    assert_ok(clq_npy_read(inputs, &x));
    assert_int_equal(x.rank, 4);
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < SIZE * SIZE; i++) {
            const float expected = ((float)image.data[3 * i + 2 - c] - 127.0f) / 128.0f;
            assert_true(x.values[c * SIZE * SIZE + i] == expected);
        }
    }
    clq_npy_free(&x);
    clq_image_free(&image);
}

/* What a recipe trained with is what every later command uses. */
static void training_is_kept_in_the_model(void **state) {
    (void)state;
    const char *data = animals(), *out = path_of("trained");
    const char *recipe = list_file("recipe.json", "{\"network\": {\"name\": \"mlp\"}, \"data\": "
                                                  "{\"size\": 8}, \"train\": {\"batch\": 2}}");
    const char *model = path_of("trained/model.onnx");
    clq_graph *graph = NULL;
    char first[65];
    assert_exit(0,
                "train %s --data %s --out %s --mean 0.4,0.5,0.6 --std 0.25 --resize 11 "
                "--interpolation linear",
                recipe, data, out);
    assert_exit(0, "train %s --data %s --out %s_ --mean 0.4,0.5,0.6 --std 0.25,0.25,0.25", recipe,
                data, out);
    assert_printed("(flag: mean, std; usual: channels, resize, interpolation; recipe: crop)");
    assert_exit(0,
                "train %s --data %s --out %s.. --mean 127 --std 128 --range 255 --channels bgr "
                "--resize 10 --crop 8 --interpolation bicubic --set data.mean=0.5",
                recipe, data, out);
    assert_printed("mean 127, std 128 (flag: mean, std, channels, resize, crop, interpolation)");
    assert_exit(0,
                "train %s --data %s --out %s... --set data.mean=0.5 --set data.std=[0.1,0.2,0.3]",
                recipe, data, out);
    assert_printed("mean 0.5, std 0.1 0.2 0.3 (recipe: mean, std, crop; ");
    static const struct {
        const char *flags, *text;
    } bad[] = {{"--mean 0.5,0.5 --std 1", "--mean, --std: numbers for 2 channels"},
               {"--mean 0.5 --std 1e-7", "--std"},
               {"--channels grey", "--channels: "},
               {"--resize 7", "--resize: resizing to 7 x 7"},
               {"--channels bgr --set data.mean=[0.1,0.2,0.3] --set data.std=1",
                "--channels: the recipe's mean and std are in the order of its own"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_exit(CLQ_USAGE, "train %s --data %s --out %s_bad %s", recipe, data, out,
                    bad[i].flags);
        assert_printed(bad[i].text);
        assert_not_printed("the recipe's data");
    }
    const char *wrong = list_file("wrong.json", "{\"network\": {\"name\": \"mlp\"}, \"data\": "
                                                "{\"size\": 8, \"resize\": 7}}");
    assert_exit(CLQ_BAD_DATA, "train %s --data %s --out %s_bad", wrong, data, out);
    assert_printed("the recipe's data: resizing to 7 x 7");
    assert_ok(clq_onnx_load(model, &graph));
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.resize"), "11");
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.crop"), "8x8");
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.interpolation"), "linear");
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.channels"), "rgb");
    clq_graph_destroy(graph);
    assert_exit(0, "eval %s --data %s --json", model, data);
    snprintf(first, sizeof first, "%s", hash());
    assert_exit(0, "eval %s --data %s --resize 11 --interpolation linear --json", model, data);
    assert_string_equal(hash(), first);
    assert_exit(0, "eval %s --data %s --resize 8 --json", model, data);
    assert_string_not_equal(hash(), first);
}

/* Without a size to cut out, that of the images is. */
static void images_of_one_size_need_no_crop(void **state) {
    (void)state;
    const char *recipe = list_file("plain.json", "{\"network\": {\"name\": \"mlp\"}, "
                                                 "\"train\": {\"batch\": 4}}");
    assert_exit(0, "train %s --data synthetic:train=8,test=4,size=16 --out %s --resize 20", recipe,
                path_of("cut"));
    assert_printed("shorter side 20, centre crop 16 x 16");
    assert_exit(CLQ_USAGE, "train %s --data synthetic:train=8,test=4,size=16 --out %s --resize 12",
                recipe, path_of("cut2"));
    assert_exit(CLQ_USAGE, "train %s --data %s --out %s --resize 12", recipe, animals(),
                path_of("cut3"));
    assert_printed("images of several sizes");
}

/* A model's numbers belong to the order of channels that it was given them in. */
static void numbers_keep_to_their_channels(void **state) {
    (void)state;
    const char *model = path_of("rgb.onnx"), *swapped = path_of("bgr.onnx"), *data = animals();
    char first[65];
    clq_graph *graph = NULL;
    assert_exit(0, "convert %s --mean 0.1,0.2,0.3 --std 0.4,0.5,0.6 -o %s", foreign(3), model);
    assert_exit(0, "eval %s --data %s --channels bgr --resize 9 --json", model, data);
    assert_printed(
        "mean and std come from the model, in the order rgb: they are taken in the order "
        "bgr");
    assert_printed("mean 0.3 0.2 0.1, std 0.6 0.5 0.4");
    assert_printed("\"mean\": \"model\"");
    assert_printed("\"channels\": \"flag\"");
    assert_printed("\"crop\": \"usual\"");
    snprintf(first, sizeof first, "%s", hash());
    assert_exit(0, "convert %s --channels bgr -o %s", model, swapped);
    assert_ok(clq_onnx_load(swapped, &graph));
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.mean"),
                        "0.300000012,0.200000003,0.100000001");
    clq_graph_destroy(graph);
    assert_exit(0, "eval %s --data %s --resize 9 --json", swapped, data);
    assert_not_printed("they are taken in the order");
    assert_string_equal(hash(), first);
    assert_exit(0,
                "eval %s --data %s --channels bgr --resize 9 --mean 0.3,0.2,0.1 "
                "--std 0.6,0.5,0.4 --json",
                model, data);
    assert_not_printed("they are taken in the order");
    assert_string_equal(hash(), first);
}

static void bad_flags_are_usage_errors(void **state) {
    (void)state;
    static const struct {
        const char *flags, *text;
    } cases[] = {{"--std 0,0,0 --mean 0,0,0", "std must be a number in 1e-06..510, is 0"},
                 {"--mean 0 --std 1e-30", "std must be a number in 1e-06..510, is 1e-30"},
                 {"--mean 128 --std 1", "give the range, 255"},
                 {"--mean 0.485 --std 58", "0..1"},
                 {"--mean 0.485 --std 0.229 --range 255", "leave the range 255 out"},
                 {"--mean 300 --std 1 --range 255", "0..255"},
                 {"--mean=-0.5 --std 1", "mean must be a number in 0..255, is -0.5"},
                 {"--mean nan --std 1", "--mean"},
                 {"--mean 0.5 --std inf", "--std"},
                 {"--mean 0.5", "go together"},
                 {"--range 255", "go together"},
                 {"--mean 0.5,0.5 --std 0.5,0.5", "3 channels"},
                 {"--mean 0.5,0.5,0.5 --std 0.5,0.5", "--mean has 3 numbers, --std 2"},
                 {"--mean 0.5 --std 0.5 --range 2", "--range"},
                 {"--channels grey", "grey"},
                 {"--channels RGB", "must be one of"},
                 {"--interpolation cubic", "must be one of"},
                 {"--resize 4", "less than the 8 x 8"},
                 {"--resize 0", "--resize"},
                 {"--resize 4097", "--resize"},
                 {"--resize 8x", "--resize"},
                 {"--crop 9", "reads images of 8 x 8"}};
    const char *model = foreign(3), *data = animals();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_exit(CLQ_USAGE, "eval %s --data %s %s", model, data, cases[i].flags);
        assert_printed(cases[i].text);
        assert_exit(CLQ_USAGE, "convert %s -o %s %s", model, path_of("c.onnx"), cases[i].flags);
    }
    assert_exit(0, "convert --network mlp --size 4 --input-channels 1 -o %s", path_of("grey.onnx"));
    assert_exit(CLQ_USAGE, "eval %s --data %s --channels bgr", path_of("grey.onnx"), data);
    const char *table = list_file("t.csv", "1,2,0\n3,4,1\n");
    assert_exit(CLQ_BAD_DATA, "eval %s --data %s", model, table);
}

static void convert_keeps_what_is_said(void **state) {
    (void)state;
    const char *model = foreign(3), *out = path_of("said.onnx");
    clq_graph *graph = NULL;
    assert_exit(0, "convert %s --mean 127 --std 128 --range 255 --resize 10 -o %s", model, out);
    assert_ok(clq_onnx_load(out, &graph));
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.mean"), "127,127,127");
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.range"), "255");
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.resize"), "10");
    assert_null(clq_graph_get_metadata(graph, "clquant.channels"));
    clq_graph_destroy(graph);
    /* The range belongs to mean and std. */
    const char *again = path_of("again.onnx");
    assert_exit(0, "convert %s --mean 0.5 --std 0.25 -o %s", out, again);
    assert_ok(clq_onnx_load(again, &graph));
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.range"), "1");
    clq_graph_destroy(graph);
}

/* A network that reads images that are not square. */
static void images_need_not_be_square(void **state) {
    (void)state;
    const clq_network_options options = {.network = "wide"};
    clq_builder b = {.options = &options};
    const char *model = path_of("wide.onnx"), *inputs = path_of("wide.npy"), *data = animals();
    clq_npy x;
    assert_ok(clq_graph_create("wide", &b.graph));
    const int input = clq_build_input(&b, (clq_shape){4, {1, 6, 10, 3}});
    const int flat = clq_build_op(&b, "flatten", "flatten", input);
    clq_graph_set_output(b.graph, clq_build_linear(&b, "fc", flat, 3, CLQ_LINEAR_UNIFORM));
    assert_ok(b.status);
    assert_ok(clq_onnx_save(b.graph, model));
    clq_graph_destroy(b.graph);
    assert_exit(0, "eval %s --data %s --mean 0.5 --std 0.5 --save-inputs %s", model, data, inputs);
    assert_printed("resized to 10 x 6, centre crop 10 x 6");
    assert_ok(clq_npy_read(inputs, &x));
    assert_int_equal(x.dims[2], 6);
    assert_int_equal(x.dims[3], 10);
    clq_npy_free(&x);
    assert_exit(0, "eval %s --data %s --mean 0.5 --std 0.5 --resize 10 --crop 10x6", model, data);
    assert_exit(CLQ_USAGE, "eval %s --data %s --resize 6", model, data);
}

/* ---- classes ---- */

static void classes_are_matched_by_name(void **state) {
    (void)state;
    static const char *const ten[] = {"ant", "bee", "ship", "cow", "dog", "cat"};
    static const char *const zoo[] = {"cat", "zebra"};
    const char *recipe = list_file("recipe.json", "{\"network\": {\"name\": \"mlp\"}, \"data\": "
                                                  "{\"size\": 8}, \"train\": {\"batch\": 2}}");
    const char *out = path_of("ten-out"), *model = path_of("ten-out/model.onnx");
    assert_exit(0, "train %s --data %s --out %s", recipe, folders("ten", ten, 6), out);
    assert_exit(0, "eval %s --data %s --json", model, animals());
    assert_printed("classes by name: 3 of the model's 6");
    json_t *json = report(), *rows = json_object_get(json, "confusion");
    static const int images[6] = {0, 0, 2, 0, 2, 2}; /* of ant, bee, cat, cow, dog, ship */
    for (size_t r = 0; r < 6; r++) {
        int64_t sum = 0;
        for (size_t c = 0; c < 6; c++) {
            sum += json_integer_value(json_array_get(json_array_get(rows, r), c));
        }
        assert_int_equal(sum, images[r]);
    }
    assert_string_equal(json_string_value(json_array_get(json_object_get(json, "classes"), 2)),
                        "cat");
    json_decref(json);
    /* What both splits have to say is said once. */
    assert_exit(0, "qat %s --data %s -o %s --set qat.batch=2", model, animals(),
                path_of("once.onnx"));
    const char *line = strstr(command_output, "classes by name");
    assert_non_null(line);
    assert_null(strstr(line + 1, "classes by name"));
    assert_exit(CLQ_BAD_DATA, "eval %s --data %s", model, folders("zoo", zoo, 2));
    assert_printed("images of \"zebra\"");
    assert_printed("\"ant\", \"bee\"");
    /* Where labels do not matter, their names do not either. */
    assert_exit(0, "ptq %s --data %s -o %s", model, path_of("zoo"), path_of("zoo.onnx"));
    assert_exit(0, "verify %s --data %s", path_of("zoo.onnx"), path_of("zoo"));
    assert_not_printed("synthetic");
    assert_exit(0, "verify %s --limit 2", path_of("zoo.onnx"));
    assert_printed("without --data: the images were synthetic");
    assert_exit(0, "verify %s --limit 2 --json", path_of("zoo.onnx"));
    assert_printed("\"data\": \"synthetic\"");
    assert_exit(CLQ_BAD_DATA, "qat %s --data %s -o %s --set qat.batch=2", model, path_of("zoo"),
                path_of("zoo.onnx"));
}

/* Once a network of others has names, nothing is assumed of it any more. */
static void a_network_of_others_learns_its_names(void **state) {
    (void)state;
    const char *model = foreign(3), *named = path_of("named.onnx"), *data = animals();
    const char *names = list_file("names.txt", "cat\nship\ndog\n");
    const char *flags = "--mean 0.5 --std 0.25 --resize 9";
    assert_exit(0, "eval %s --data %s %s -q", model, data, flags);
    assert_printed("the model does not name its classes");
    assert_printed("--class-names FILE");
    assert_exit(0, "convert %s %s --class-names %s -o %s", model, flags, names, named);
    assert_exit(0, "eval %s --data %s -q", named, data);
    assert_not_printed("warning: ");
    assert_exit(0, "ptq %s --data %s %s --class-names %s -o %s", model, data, flags, names, named);
    assert_not_printed("does not name its classes");
    assert_exit(0, "eval %s --data %s -q", named, data);
    assert_not_printed("does not name its classes");
    assert_exit(0, "qat %s --data %s %s --class-names %s -o %s --set qat.batch=2", model, data,
                flags, names, named);
    assert_not_printed("does not name its classes");
    assert_exit(0, "predict %s -i %s -o %s", named, data, path_of("named.csv"));
    assert_exit(CLQ_BAD_DATA, "convert %s --class-names %s -o %s", model,
                list_file("two.txt", "cat\nship\n"), named);
    assert_printed("--class-names: ");
    assert_printed("names 2 classes, a line each, and the network has 3 outputs");
    assert_exit(0, "convert %s --class-names %s -o %s", named,
                list_file("others.txt", "dog\nship\ncat\n"), path_of("others.onnx"));
    assert_printed("its names take the place of others that the model had");
}

static void lists_of_labels_serve_every_command(void **state) {
    (void)state;
    const char *model = foreign(3), *int8 = path_of("list.onnx");
    char list[256] = "# image class\r\n", data[1024];
    for (int i = 0; i < 4; i++) {
        char file[64];
        snprintf(file, sizeof file, "flat/%d.png", i);
        test_put_image(clq_test_temp_path(file), 10 + i, 20 - i, 3);
        snprintf(list + strlen(list), sizeof list - strlen(list), "%d.png %d\r\n", i, i % 3);
    }
    snprintf(data, sizeof data, "--data %s --labels %s --mean 0.5 --std 0.25 --resize 9",
             path_of("flat"), list_file("map.txt", list));
    assert_exit(0, "eval %s %s --save-labels %s", model, data, path_of("y.npy"));
    assert_printed("map.txt: 4 images, not split");
    assert_printed("on 4 images");
    assert_exit(0, "eval %s %s --limit 1", model, data);
    assert_printed("map.txt: 1 of 4 images, not split");
    assert_printed("on 1 image\n");
    assert_exit(CLQ_BAD_DATA, "eval %s --data %s", model, path_of("flat"));
    assert_printed("--labels");
    clq_npy labels;
    assert_ok(clq_npy_read(path_of("y.npy"), &labels));
    assert_true(labels.values[2] == 2 && labels.values[3] == 0);
    clq_npy_free(&labels);
    assert_exit(0, "ptq %s %s -o %s", model, data, int8);
    assert_exit(0, "verify %s %s", int8, data);
    assert_exit(0, "qat %s %s -o %s --set qat.batch=2", model, data, int8);
    assert_printed("tested on the images that it learns from");
    assert_exit(0, "eval %s %s", int8, data);
    snprintf(data, sizeof data, "--data %s --labels %s", path_of("flat"),
             list_file("map.txt", "0.png 0\n1.png 3\n"));
    assert_exit(CLQ_BAD_DATA, "eval %s %s", model, data);
    assert_printed("map.txt:2: the label 3 is not in 0..2");
    assert_exit(CLQ_NO_INPUT, "eval %s --data %s --labels %s", model, path_of("flat"),
                path_of("none.txt"));
}

/* Class folders that are in neither train/ nor test/ serve every command, and it says as what. */
static void class_folders_are_a_set_of_their_own(void **state) {
    (void)state;
    static const char *const classes[] = {"cat", "dog", "ship"};
    const char *model = foreign(3), *int8 = path_of("root.onnx");
    char data[1024];
    folders("rooted", classes, 3);
    snprintf(data, sizeof data, "--data %s --mean 0.5 --std 0.25 --resize 9",
             path_of("rooted/test"));
    static const char said[] = "rooted/test: 6 images in folders for classes, \"cat\", \"dog\", "
                               "\"ship\", not split: training and test part are both all of them";
    assert_exit(0, "eval %s %s", model, data);
    assert_printed(said);
    assert_printed("on 6 images");
    assert_exit(0, "eval %s %s --split train -n 3", model, data);
    assert_printed("rooted/test: 3 of 6 images in folders");
    assert_exit(0, "ptq %s %s -o %s", model, data, int8);
    assert_printed(said);
    assert_printed("on 6 images");
    assert_exit(0, "qat %s %s -o %s --set qat.batch=2", model, data, int8);
    assert_printed("rooted/test has no split: the network is tested on the images that it learns");
    assert_exit(0, "train %s --data %s --out %s",
                list_file("u.json", "{\"network\": {\"name\": \"mlp\"}, \"data\": {\"size\": 8}, "
                                    "\"train\": {\"batch\": 2, \"epochs\": 1}}"),
                path_of("rooted/test"), path_of("unsplit"));
    assert_printed(said);
    assert_printed("rooted/test has no split: the network is tested on the images that it learns");
    assert_exit(0, "predict %s -i %s --mean 0.5 --std 0.25 -o %s", model, path_of("rooted/test"),
                path_of("rooted.csv"));
    assert_printed("rooted/test: 6 images without labels");
}

/* They calibrate and verify; what needs classes says so before it reads the images. */
static void images_without_labels_serve_where_none_are_needed(void **state) {
    (void)state;
    const char *model = foreign(3), *int8 = path_of("flat.onnx");
    char data[1024];
    for (int i = 0; i < 4; i++) {
        char file[64];
        snprintf(file, sizeof file, "unlabelled/%d.png", i);
        test_put_image(clq_test_temp_path(file), 10 + i, 20 - i, 3);
    }
    snprintf(data, sizeof data, "--data %s --mean 0.5 --std 0.25 --resize 9",
             path_of("unlabelled"));
    assert_exit(0, "ptq %s %s -o %s", model, data, int8);
    assert_printed("unlabelled: 4 images without labels");
    assert_printed("calibrated on 4 images");
    assert_printed("accuracy was not measured: ");
    assert_printed("its images have no labels");
    assert_printed("int8 outputs differ from FP32's on 4 images of the calibration data");
    assert_exit(0, "ptq %s %s -o %s --json", model, data, int8);
    assert_printed("\"accuracy\": null");
    assert_printed("\"output_error\"");
    assert_exit(0, "verify %s %s", int8, data);
    assert_printed("4 images");
    assert_exit(0, "verify %s --data %s --resize 9", int8, path_of("unlabelled/2.png"));
    assert_printed("2.png: 1 image without labels");
    assert_exit(CLQ_BAD_DATA, "eval %s %s", int8, data);
    assert_printed("its images have no labels; they have where each class has a folder of its own");
    assert_exit(CLQ_BAD_DATA, "qat %s %s -o %s", model, data, path_of("no.onnx"));
    assert_printed("its images have no labels");
    assert_printed("qat --distill fp32 --no-labels needs none");
    assert_exit(0, "qat %s %s --distill fp32 --no-labels --set qat.batch=2 -O %s -o %s", model,
                data, path_of("taught"), int8);
    assert_printed("unlabelled: 4 images without labels");
    assert_printed("test output error ");
    assert_printed("int8 outputs differ from FP32's on 4 images");
    assert_printed("(before QAT ");
    assert_not_printed("top-1");
    assert_true(clq_file_exists(path_of("taught/history.csv")));
    assert_exit(0, "verify %s %s", int8, data);
    assert_exit(0,
                "qat %s %s --distill fp32 --no-labels --set qat.batch=2 --set qat.loss=mse -o %s "
                "--json",
                model, data, int8);
    assert_printed("\"before_qat\"");
    assert_exit(
        0, "qat %s %s --distill fp32 --no-labels --set qat.batch=2 --set qat.schedule.lr=0.5 -o %s",
        model, data, int8);
    assert_printed("QAT took the outputs further from FP32's than calibration had them");
    assert_exit(CLQ_USAGE, "qat %s %s --no-labels --set qat.batch=2 -o %s", model, data, int8);
    assert_printed("training without labels needs a teacher (distill.teacher)");
    assert_exit(CLQ_BAD_DATA, "train %s --data %s --out %s",
                list_file("r.json", "{\"network\": {\"name\": \"mlp\", \"size\": 8}}"),
                path_of("unlabelled"), path_of("no"));
    assert_printed("its images have no labels");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_folders_decide_nothing_in_silence),
        cmocka_unit_test(flags_come_before_the_model),
        cmocka_unit_test(the_network_sees_what_was_said),
        cmocka_unit_test(training_is_kept_in_the_model),
        cmocka_unit_test(images_of_one_size_need_no_crop),
        cmocka_unit_test(numbers_keep_to_their_channels),
        cmocka_unit_test(bad_flags_are_usage_errors),
        cmocka_unit_test(convert_keeps_what_is_said),
        cmocka_unit_test(images_need_not_be_square),
        cmocka_unit_test(classes_are_matched_by_name),
        cmocka_unit_test(a_network_of_others_learns_its_names),
        cmocka_unit_test(lists_of_labels_serve_every_command),
        cmocka_unit_test(class_folders_are_a_set_of_their_own),
        cmocka_unit_test(images_without_labels_serve_where_none_are_needed),
    };
    return cmocka_run_group_tests_name("cli/images", tests, clq_test_setup_temp_dir,
                                       clq_test_teardown_temp_dir);
}
