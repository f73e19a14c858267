/* Sessions: any number of samples in both orders, and what they refuse. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/clquant.h>

#include "session/session.h"
#include "support/two_ends.h"

enum { PIXELS = ENDS_H * ENDS_W, MOST = 150 };

/* ---- a float network of two inputs and three outputs ---- */

static const int channels_in[2] = {ENDS_LEFT, ENDS_RIGHT};
static const size_t sizes_out[3] = {ENDS_MAP * PIXELS, ENDS_SCORES, ENDS_SCORES};

static void to_first(const float *x, int channels, float *y) {
    for (int i = 0; i < channels * PIXELS; i++) {
        y[i % channels * PIXELS + i / channels] = x[i];
    }
}

typedef struct arrays {
    float *x[2], *y[3], *expected[3]; /* of MOST samples, all channels last */
} arrays;

static arrays make_arrays(const clq_graph *graph) {
    arrays a;
    for (int i = 0; i < 2; i++) {
        a.x[i] = random_floats(MOST * (size_t)channels_in[i] * PIXELS, -1, 1, 7 + (uint64_t)i);
    }
    for (int i = 0; i < 3; i++) {
        a.y[i] = calloc(MOST * sizes_out[i], sizeof(float));
        a.expected[i] = calloc(MOST * sizes_out[i], sizeof(float));
    }
    for (int s = 0; s < MOST; s++) {
        ref_two_ends(graph, a.x[0] + s * ENDS_LEFT * PIXELS, a.x[1] + s * ENDS_RIGHT * PIXELS,
                     a.expected[0] + s * ENDS_MAP * PIXELS, a.expected[1] + s * ENDS_SCORES);
    }
    memcpy(a.expected[2], a.expected[1], MOST * sizes_out[1] * sizeof(float));
    return a;
}

static void free_arrays(arrays *a) {
    for (int i = 0; i < 3; i++) {
        free(a->y[i]), free(a->expected[i]);
        if (i < 2) {
            free(a->x[i]);
        }
    }
}

static void check(const arrays *a, int output, int count, bool first) {
    float turned[ENDS_MAP * PIXELS];
    for (int s = 0; s < count; s++) {
        const float *expected = a->expected[output] + (size_t)s * sizes_out[output];
        if (first && output == 0) {
            to_first(expected, ENDS_MAP, turned);
            expected = turned;
        }
        for (size_t i = 0; i < sizes_out[output]; i++) {
            const float y = a->y[output][(size_t)s * sizes_out[output] + i];
            assert_true(fabsf(y - expected[i]) < 2e-5f);
        }
    }
}

static void any_number_in_both_orders(void **state) {
    (void)state;
    static const int counts[] = {3, 1, 64, 65, 130, MOST, 3};
    clq_graph *graph = two_ends();
    clq_session *session = NULL;
    assert_ok(clq_session_create(test_device, graph, &session));
    arrays a = make_arrays(graph);
    float *first[2];
    for (int i = 0; i < 2; i++) {
        const size_t size = (size_t)channels_in[i] * PIXELS;
        first[i] = calloc(MOST * size, sizeof(float));
        for (size_t s = 0; s < MOST; s++) {
            to_first(a.x[i] + s * size, channels_in[i], first[i] + s * size);
        }
    }
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        for (int order = 0; order < CLQ_ORDER_COUNT; order++) {
            const bool as_model = order == CLQ_ORDER_MODEL;
            for (int i = 0; i < 3; i++) {
                memset(a.y[i], 0xff, MOST * sizes_out[i] * sizeof(float));
            }
            assert_ok(clq_session_run(session, (clq_order)order, counts[c],
                                      (const float *const *)(as_model ? first : a.x), a.y));
            for (int i = 0; i < 3; i++) {
                check(&a, i, counts[c], as_model);
                for (size_t k = (size_t)counts[c] * sizes_out[i]; k < MOST * sizes_out[i]; k++) {
                    assert_true(isnan(a.y[i][k])); /* nothing behind the last sample */
                }
            }
        }
    }
    free(first[0]), free(first[1]);
    free_arrays(&a);
    clq_session_destroy(session);
    clq_graph_destroy(graph);
}

static void shapes(void **state) {
    (void)state;
    clq_graph *graph = two_ends();
    clq_session *session = NULL;
    clq_shape shape;
    char text[64];
    assert_ok(clq_session_create(test_device, graph, &session));
    clq_graph_destroy(graph); /* the session has a copy */
    static const struct {
        bool input;
        int index;
        clq_order order;
        const char *shape;
    } cases[] = {{true, 0, CLQ_ORDER_MODEL, "1x3x6x5"},  {true, 1, CLQ_ORDER_NHWC, "1x6x5x2"},
                 {false, 0, CLQ_ORDER_MODEL, "1x4x6x5"}, {false, 0, CLQ_ORDER_NHWC, "1x6x5x4"},
                 {false, 2, CLQ_ORDER_MODEL, "1x3"},     {false, 2, CLQ_ORDER_NHWC, "1x3"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(cases[i].input
                      ? clq_session_input_shape(session, cases[i].index, cases[i].order, &shape)
                      : clq_session_output_shape(session, cases[i].index, cases[i].order, &shape));
        clq_shape_text(&shape, text, sizeof text);
        assert_string_equal(text, cases[i].shape);
    }
    assert_string_equal(clq_graph_output_name(clq_session_graph(session), 0), "map");
    clq_session_destroy(session);
}

/* ---- integer networks ---- */

enum { INPUTS = 8 * 8 * 3, CLASSES = 5 };

/* A quantized network, and a table to calibrate it with. */
static clq_graph *integer_network(void) {
    net n = net_begin((clq_shape){4, {1, 8, 8, 3}});
    net_conv(&n, "conv", n.at, 8, 3, 1, true);
    net_unary(&n, "relu", "act", n.at);
    net_unary(&n, "global_avg_pool", "pool", n.at);
    clq_graph_set_output(n.graph, net_linear(&n, "fc", n.at, CLASSES));
    clq_graph *folded = NULL, *integer = NULL;
    clq_dataset *data = NULL;
    clq_feed *feed = NULL;
    clq_quant_config config;
    const clq_feed_options options = {.batch = 8, .normalization = {.std = {1, 1, 1}}};
    clq_quant_config_init(&config);
    assert_ok(clq_graph_fold(n.graph, &folded));
    assert_ok(clq_dataset_open("synthetic:train=16,test=16,size=8", NULL, &data));
    assert_ok(clq_feed_create(test_device, data, &options, &feed));
    assert_ok(clq_calibrate(test_device, folded, feed, 8, &config, NULL));
    assert_ok(clq_convert(folded, &integer));
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_graph_destroy(folded);
    clq_graph_destroy(n.graph);
    return integer;
}

static void integers_do_not_depend_on_the_number(void **state) {
    (void)state;
    clq_graph *graph = integer_network();
    clq_session *session = NULL;
    float *x = random_floats(70 * INPUTS, 0, 1, 3), *all = calloc(70 * CLASSES, sizeof *all);
    float one[CLASSES], *to = one;
    assert_ok(clq_session_create(test_device, graph, &session));
    assert_ok(clq_session_run(session, CLQ_ORDER_NHWC, 70, (const float *const[]){x}, &all));
    for (int s = 0; s < 70; s += 23) {
        assert_ok(clq_session_run(session, CLQ_ORDER_NHWC, 1,
                                  (const float *const[]){x + (size_t)s * INPUTS}, &to));
        assert_memory_equal(one, all + s * CLASSES, sizeof one);
    }
    x[69 * INPUTS + 5] = NAN;
    assert_status(clq_session_run(session, CLQ_ORDER_NHWC, 70, (const float *const[]){x}, &all),
                  CLQ_BAD_DATA);
    assert_error_has("sample 69 has a number that is not finite");
    free(x), free(all);
    clq_session_destroy(session);
    clq_graph_destroy(graph);
}

/* Executors that are new are made for so many runs, whose results are the same. */
static void many_runs(void **state) {
    (void)state;
    clq_graph *graph = integer_network();
    clq_session *session = NULL;
    float *x = random_floats(2 * INPUTS, 0, 1, 3), seldom[CLASSES], often[2 * CLASSES];
    const float *const inputs[] = {x};
    assert_ok(clq_session_create(test_device, graph, &session));
    assert_ok(clq_session_run(session, CLQ_ORDER_NHWC, 1, inputs, (float *[]){seldom}));
    assert_ok(clq_session_expect(session, 100000000));
    assert_ok(clq_session_run(session, CLQ_ORDER_NHWC, 2, inputs, (float *[]){often}));
    assert_memory_equal(seldom, often, sizeof seldom);
    for (int i = 0; i < CLQ_SESSION_EXECS; i++) {
        if (session->execs[i].exec) {
            const clq_exec_options *options = clq_exec_get_options(session->execs[i].exec);
            assert_int_equal(options->expected_runs, options->batch == 1 ? 0 : 100000000);
        }
    }
    free(x);
    clq_session_destroy(session);
    clq_graph_destroy(graph);
}

/* ---- life ---- */

static void a_device_outlives_its_sessions(void **state) {
    (void)state;
    clq_device *own = NULL;
    clq_session *session = NULL;
    clq_graph *graph = integer_network();
    float x[INPUTS] = {0}, y[CLASSES], *to = y;
    assert_ok(clq_test_open(NULL, &own));
    assert_ok(clq_session_create(own, graph, &session));
    clq_device_close(own);
    assert_ptr_equal(clq_session_device(session), own);
    assert_ok(clq_session_run(session, CLQ_ORDER_MODEL, 1, (const float *const[]){x}, &to));
    clq_session_destroy(session);
    clq_graph_destroy(graph);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    clq_graph *graph = integer_network();
    float x[2 * INPUTS] = {0}, y[2 * CLASSES], *to = y;
    bool ended = false;
    for (long n = 1; !ended; n += n < 40 ? 1 : 37) {
        clq_session *session = NULL;
        clq_test_fail_allocation(n);
        clq_status status = clq_session_create(test_device, graph, &session);
        if (status == CLQ_OK) {
            status = clq_session_run(session, CLQ_ORDER_MODEL, 2, (const float *const[]){x}, &to);
        }
        ended = clq_test_allocations() < n;
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
        clq_test_fail_allocation(0);
        if (session) { /* whole all the same */
            assert_ok(clq_session_run(session, CLQ_ORDER_MODEL, 2, (const float *const[]){x}, &to));
        }
        clq_session_destroy(session);
    }
    clq_test_restore_allocator();
    clq_graph_destroy(graph);
}

static void arguments(void **state) {
    (void)state;
    clq_graph *graph = two_ends(), empty = {0};
    clq_session *session = NULL;
    clq_shape shape;
    float x[1] = {0}, *y[3] = {x, x, NULL};
    assert_status(clq_session_create(NULL, graph, &session), CLQ_USAGE);
    assert_status(clq_session_create(test_device, NULL, &session), CLQ_USAGE);
    assert_status(clq_session_create(test_device, &empty, &session), CLQ_USAGE);
    assert_status(clq_session_create(test_device, graph, NULL), CLQ_USAGE);
    assert_status(clq_session_load(test_device, NULL, &session), CLQ_USAGE);
    assert_status(clq_session_load(test_device, "no such file.onnx", &session), CLQ_NO_INPUT);
    assert_null(session);
    clq_session_destroy(NULL);
    clq_device_share(NULL);
    assert_null(clq_session_graph(NULL));
    assert_null(clq_session_device(NULL));
    assert_status(clq_session_expect(NULL, 1), CLQ_USAGE);
    assert_ok(clq_session_create(test_device, graph, &session));
    assert_status(clq_session_input_shape(NULL, 0, CLQ_ORDER_NHWC, &shape), CLQ_USAGE);
    assert_status(clq_session_input_shape(session, 2, CLQ_ORDER_NHWC, &shape), CLQ_USAGE);
    assert_status(clq_session_input_shape(session, -1, CLQ_ORDER_NHWC, &shape), CLQ_USAGE);
    assert_status(clq_session_output_shape(session, 3, CLQ_ORDER_NHWC, &shape), CLQ_USAGE);
    assert_status(clq_session_output_shape(session, 0, (clq_order)7, &shape), CLQ_USAGE);
    const float *const inputs[] = {x, x}, *const none[] = {x, NULL};
    assert_status(clq_session_run(NULL, CLQ_ORDER_NHWC, 1, inputs, y), CLQ_USAGE);
    assert_status(clq_session_run(session, (clq_order)2, 1, inputs, y), CLQ_USAGE);
    assert_status(clq_session_run(session, CLQ_ORDER_NHWC, -1, inputs, y), CLQ_USAGE);
    assert_status(clq_session_run(session, CLQ_ORDER_NHWC, 1, none, y), CLQ_USAGE);
    assert_error_has("an input is NULL");
    assert_status(clq_session_run(session, CLQ_ORDER_NHWC, 1, inputs, y), CLQ_USAGE);
    assert_error_has("an output is NULL");
    clq_session_destroy(session);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_in_both_orders),
        cmocka_unit_test(shapes),
        cmocka_unit_test(integers_do_not_depend_on_the_number),
        cmocka_unit_test(many_runs),
        cmocka_unit_test(a_device_outlives_its_sessions),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(arguments),
    };
    return cmocka_run_group_tests(tests, open_own_schedule, close_device);
}
