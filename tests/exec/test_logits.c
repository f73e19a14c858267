/* Losses take logits: an executor for them stops before the softmax at a network's end. */
#include <math.h>

#include "clquant/exec.h"
#include "support/device.h"

enum { IN = 6, CLASSES = 4, BATCH = 3 };

static clq_device *device;

static int open_device(void **state) {
    (void)state;
    return clq_test_open(NULL, &device) == CLQ_OK ? 0 : -1;
}

static int close_device(void **state) {
    (void)state;
    clq_device_close(device);
    return 0;
}

/* x -> linear -> softmax or log_softmax; NULL: without */
static clq_graph *classifier(const char *end) {
    const clq_softmax_attrs attrs = {1};
    float w[CLASSES * IN];
    clq_graph *g = NULL;
    int in[2], y;
    clq_test_fill_f32(w, CLASSES * IN, -1, 1, 1);
    assert_ok(clq_graph_create("classifier", &g));
    assert_ok(clq_graph_add_input(g, "x", (clq_shape){2, {1, IN}}, &in[0]));
    assert_ok(clq_graph_add_parameter(g, "fc.weight", CLQ_VALUE_PARAMETER, CLQ_F32,
                                      (clq_shape){2, {CLASSES, IN}}, w, &in[1]));
    assert_ok(clq_graph_add_node(g, "linear", "fc", NULL, in, 2, &y));
    if (end) {
        assert_ok(clq_graph_add_node(g, end, "end", &attrs, &y, 1, &y));
    }
    clq_graph_set_output(g, y);
    return g;
}

/* The outputs (BATCH, CLASSES), and of training the gradient of the weights for dy = x's first. */
static void run(clq_graph *g, clq_exec_mode mode, bool logits, float *y, float *dw) {
    const clq_exec_options options = {.mode = mode, .batch = BATCH, .logits = logits};
    clq_exec *exec = NULL;
    clq_params *params = NULL;
    float x[BATCH * IN];
    clq_exec_options with = options;
    clq_test_fill_f32(x, BATCH * IN, -2, 2, 2);
    assert_ok(clq_params_create(device, g, dw != NULL, &params));
    with.params = params;
    assert_ok(clq_exec_create(device, g, &with, &exec));
    assert_ok(clq_buffer_write(clq_exec_input(exec)->buffer, 0, sizeof x, x));
    assert_ok(clq_exec_forward(exec));
    assert_ok(clq_buffer_read(clq_exec_output(exec)->buffer, 0, BATCH * CLASSES * 4, y));
    if (dw) {
        assert_ok(
            clq_buffer_write(clq_exec_output_gradient(exec)->buffer, 0, BATCH * CLASSES * 4, x));
        assert_ok(clq_exec_backward(exec));
        assert_ok(clq_buffer_read(clq_params_gradient(params, clq_graph_find_value(g, "fc.weight")),
                                  0, CLASSES * IN * 4, dw));
    }
    clq_exec_destroy(exec);
    clq_params_destroy(params);
}

static void stops_before_the_softmax(void **state) {
    (void)state;
    static const char *const ends[] = {"softmax", "log_softmax"};
    clq_graph *plain = classifier(NULL);
    float logits[BATCH * CLASSES], dw[CLASSES * IN];
    run(plain, CLQ_EXEC_TRAIN, false, logits, dw);
    assert_int_equal(clq_graph_logits(plain), clq_graph_output(plain));
    for (int e = 0; e < 2; e++) {
        clq_graph *g = classifier(ends[e]);
        float got[BATCH * CLASSES], got_dw[CLASSES * IN];
        assert_int_equal(clq_graph_logits(g), clq_graph_find_value(g, "fc"));
        run(g, CLQ_EXEC_TRAIN, true, got, got_dw);
        assert_equal_bits(got, logits, sizeof logits);
        assert_equal_bits(got_dw, dw, sizeof dw);
        run(g, CLQ_EXEC_FLOAT, true, got, NULL);
        assert_equal_bits(got, logits, sizeof logits);
        run(g, CLQ_EXEC_FLOAT, false, got, NULL);
        for (int n = 0; n < BATCH; n++) {
            double sum = 0;
            for (int c = 0; c < CLASSES; c++) {
                const float v = got[n * CLASSES + c];
                sum += e ? exp((double)v) : (double)v;
            }
            assert_true(fabs(sum - 1) < 1e-6);
        }
        clq_graph_destroy(g);
    }
    clq_graph_destroy(plain);
}

/* A softmax over something else, or in the middle, is none of a classifier. */
static void other_ends_stay(void **state) {
    (void)state;
    const clq_softmax_attrs attrs = {3};
    clq_graph *g = NULL;
    int x, y;
    assert_ok(clq_graph_create("segmenter", &g));
    assert_ok(clq_graph_add_input(g, "x", (clq_shape){4, {1, 2, 2, 3}}, &x));
    assert_ok(clq_graph_add_node(g, "softmax", "end", &attrs, &x, 1, &y));
    clq_graph_set_output(g, y);
    assert_int_equal(clq_graph_logits(g), y);
    clq_graph_set_output(g, x);
    assert_int_equal(clq_graph_logits(g), x);
    clq_graph_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_before_the_softmax),
        cmocka_unit_test(other_ends_stay),
    };
    return cmocka_run_group_tests_name("logits", tests, open_device, close_device);
}
