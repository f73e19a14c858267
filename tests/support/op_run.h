/* One operator by itself: a clq_op_run around device buffers, without graph or executor. Include in
 * test programs of ops/ and later folders. */
#ifndef CLQ_TEST_OP_RUN_H
#define CLQ_TEST_OP_RUN_H

#include <stdlib.h>

#include "clquant/ops.h"
#include "support/device.h"

/* ---- a device for a group of tests, under each schedule ---- */

static clq_device *test_device;

static inline int open_cpu_schedule(void **state) {
    (void)state;
    return clq_test_open("cpu", &test_device) == CLQ_OK ? 0 : -1;
}

static inline int open_gpu_schedule(void **state) {
    (void)state;
    return clq_test_open("gpu", &test_device) == CLQ_OK ? 0 : -1;
}

static inline int open_own_schedule(void **state) {
    (void)state;
    return clq_test_open(NULL, &test_device) == CLQ_OK ? 0 : -1;
}

/* Ends the program, as cmocka does not count what a tear-down finds. */
static inline int close_device(void **state) {
    (void)state;
    if (test_device && test_device->declares_builtins != clq_is_pocl(test_device)) {
        print_error("a kernel uses what kernels/include/builtins.h does not declare\n");
        exit(EXIT_FAILURE);
    }
    clq_device_close(test_device);
    test_device = NULL;
    return 0;
}

/* ---- buffers ---- */

static inline clq_buffer *make_buffer(const void *data, size_t bytes) {
    clq_buffer *buffer = NULL;
    assert_ok(clq_buffer_create(test_device, bytes, &buffer));
    if (data) {
        assert_ok(clq_buffer_write(buffer, 0, bytes, data));
    } else {
        assert_ok(clq_buffer_fill(buffer, 0, bytes, 0x7fc00000)); /* NaN */
    }
    return buffer;
}

static inline float *read_floats(clq_buffer *buffer) {
    float *data = malloc(clq_buffer_size(buffer));
    assert_non_null(data);
    assert_ok(clq_buffer_read(buffer, 0, clq_buffer_size(buffer), data));
    return data;
}

/* ---- the run ---- */

typedef struct op_test {
    clq_node node;
    clq_op_run run;
} op_test;

static inline void op_begin(op_test *t, const char *op, const void *attrs, clq_exec_mode mode) {
    *t = (op_test){.node = {.name = "test", .op = clq_op_find(op), .attrs = (void *)attrs}};
    assert_non_null(t->node.op);
    t->run = (clq_op_run){.device = test_device, .node = &t->node, .mode = mode};
}

static inline clq_tensor op_tensor(clq_shape shape, const float *data) {
    const size_t bytes = (size_t)clq_shape_count(&shape) * sizeof(float);
    return (clq_tensor){.buffer = make_buffer(data, bytes),
                        .shape = shape,
                        .dtype = CLQ_F32,
                        .pitch = (int)shape.dim[shape.rank - 1]};
}

static inline void op_input(op_test *t, int i, clq_shape shape, const float *data) {
    t->run.in[i] = op_tensor(shape, data);
    t->node.input_count = i + 1 > t->node.input_count ? i + 1 : t->node.input_count;
}

static inline void op_output(op_test *t, clq_shape shape) {
    t->run.out = op_tensor(shape, NULL);
    t->run.batch = (int)shape.dim[0];
}

/* Wants in[i]'s gradient, added to `start` unless that is NULL. */
static inline void op_want_gradient(op_test *t, int i, const float *start) {
    t->run.grad_in[i] = op_tensor(t->run.in[i].shape, start);
    t->run.accumulate[i] = start != NULL;
}

static inline void op_forward(op_test *t) {
    const clq_op *op = t->node.op;
    assert_ok(op->prepare ? op->prepare(&t->run) : CLQ_OK);
    assert_ok(op->load_parameters ? op->load_parameters(&t->run) : CLQ_OK);
    assert_ok(op->forward(&t->run));
}

/* After op_forward. */
static inline void op_backward(op_test *t, const float *dy) {
    t->run.grad_out = op_tensor(t->run.out.shape, dy);
    assert_ok(t->node.op->backward(&t->run));
}

static inline void op_end(op_test *t) {
    if (t->node.op->release) {
        t->node.op->release(&t->run);
    }
    clq_buffer *buffers[2 * CLQ_MAX_INPUTS + 4] = {t->run.out.buffer, t->run.residual.buffer,
                                                   t->run.grad_out.buffer,
                                                   t->run.grad_residual.buffer};
    for (int i = 0; i < CLQ_MAX_INPUTS; i++) {
        buffers[4 + 2 * i] = t->run.in[i].buffer;
        buffers[5 + 2 * i] = t->run.grad_in[i].buffer;
    }
    /* A gradient may share grad_out's buffer. */
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        for (size_t j = i + 1; j < sizeof buffers / sizeof *buffers; j++) {
            buffers[j] = buffers[j] == buffers[i] ? NULL : buffers[j];
        }
        clq_buffer_release(buffers[i]);
    }
}

static inline float *random_floats(size_t count, float low, float high, uint64_t stream) {
    float *data = malloc((count ? count : 1) * sizeof *data);
    assert_non_null(data);
    clq_test_fill_f32(data, count, low, high, stream);
    return data;
}

/* Compares a device buffer with what is expected. */
static inline void assert_buffer_close(clq_buffer *buffer, const float *expected, size_t count,
                                       double absolute, double relative) {
    float *actual = read_floats(buffer);
    assert_close_f32(actual, expected, clq_test_shape_of(count), absolute, relative);
    free(actual);
}

/* Runs the test array under the CPU schedule, then under the GPU's. */
#define RUN_ON_BOTH_SCHEDULES(tests)                                                               \
    (cmocka_run_group_tests_name("cpu schedule", tests, open_cpu_schedule, close_device) +         \
     cmocka_run_group_tests_name("gpu schedule", tests, open_gpu_schedule, close_device))

#endif
