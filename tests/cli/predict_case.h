/* Networks and data for the tests of commands that take any network. */
#ifndef CLQ_TEST_PREDICT_CASE_H
#define CLQ_TEST_PREDICT_CASE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "data/npy.h"
#include "data/npz.h"
#include "support/image_files.h"

#include <clquant/clquant.h>

#include <clquant/clquant.h>

enum { SIZE = 8, CLASSES = 3, IMAGES = 5 };

/* A path in the scratch folder that stays valid. */
static inline const char *path_of(const char *name) {
    static char ring[64][512];
    static unsigned next;
    char *path = ring[next++ % 64];
    snprintf(path, sizeof ring[0], "%s", clq_test_temp_path(name));
    return path;
}

/* A classifier of SIZE x SIZE images. */
static inline const char *classifier(void) {
    const char *path = path_of("classifier.onnx");
    assert_exit(0,
                "convert --network resnet20 --size %d --classes %d --seed 3 --mean 0.4 --std 0.3 "
                "-o %s",
                SIZE, CLASSES, path);
    return path;
}

/* PNG files of many sizes, without classes, and `list` with labels for them. */
static inline const char *photos(const char **list) {
    char text[512] = "";
    for (int i = 0; i < IMAGES; i++) {
        char file[64];
        snprintf(file, sizeof file, "photos/%c,%d.png", 'a' + i, i);
        test_put_image(clq_test_temp_path(file), 9 + i, 14 + 2 * i, 3);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%c,%d.png %d\n", 'a' + i, i,
                 i % CLASSES);
    }
    text_file("list.txt", text);
    *list = path_of("list.txt");
    return path_of("photos");
}

static inline void write_array(const char *path, const int64_t *dims, int rank) {
    int64_t count = 1;
    for (int d = 0; d < rank; d++) {
        count *= dims[d];
    }
    float *values = calloc((size_t)count, sizeof *values);
    clq_test_fill_f32(values, (size_t)count, -1, 1, 5);
    assert_ok(clq_npy_write(path, values, dims, rank));
    free(values);
}

/* Two inputs, two outputs: y = left * w + right * v and its relu's image. */
static inline const char *two_inputs(void) {
    const char *path = path_of("two.onnx");
    clq_graph *graph = NULL;
    int left, right, w, a, sum, act;
    float weights[2 * 3];
    clq_test_fill_f32(weights, 6, -1, 1, 9);
    const clq_conv2d_attrs conv = {
        .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1};
    assert_ok(clq_graph_create("two", &graph));
    assert_ok(clq_graph_add_input(graph, "left", (clq_shape){4, {1, 4, 4, 3}}, &left));
    assert_ok(clq_graph_add_input(graph, "right", (clq_shape){4, {1, 4, 4, 2}}, &right));
    assert_ok(clq_graph_add_parameter(graph, "a.weight", CLQ_VALUE_PARAMETER, CLQ_F32,
                                      (clq_shape){4, {2, 1, 1, 3}}, weights, &w));
    assert_ok(clq_graph_add_node(graph, "conv2d", "a", &conv, (int[]){left, w}, 2, &a));
    assert_ok(clq_graph_add_node(graph, "add", "sum", NULL, (int[]){a, right}, 2, &sum));
    assert_ok(clq_graph_add_node(graph, "global_avg_pool", "pool", NULL, &sum, 1, &act));
    assert_ok(clq_graph_add_output(graph, "map", sum));
    assert_ok(clq_graph_add_output(graph, "mean", act));
    assert_ok(clq_onnx_save(graph, path));
    clq_graph_destroy(graph);
    return path;
}

static inline const char *two_arrays(int rows) {
    const char *path = path_of("two.npz");
    clq_npz_writer *writer = NULL;
    int index;
    float values[3 * 16];
    assert_ok(clq_npz_open(path, &writer));
    assert_ok(clq_npz_add(writer, "left", (int64_t[]){3, 4, 4}, 3, &index));
    assert_ok(clq_npz_add(writer, "right", (int64_t[]){2, 4, 4}, 3, &index));
    for (int i = 0; i < rows; i++) {
        clq_test_fill_f32(values, 48, -1, 1, 20 + (uint64_t)i);
        assert_ok(clq_npz_append(writer, 0, values, 1));
        assert_ok(clq_npz_append(writer, 1, values, 1));
    }
    assert_ok(clq_npz_commit(&writer));
    return path;
}
#define FRESH(test)                                                                                \
    cmocka_unit_test_setup_teardown(test, clq_test_setup_temp_dir, clq_test_teardown_temp_dir)

#endif
