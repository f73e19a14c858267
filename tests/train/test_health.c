/* The reductions that check a step against plain loops, at sizes around their shares; every place
 * where a number can be not finite; and the way back. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "exec/small_net.h"
#include "kernels/include/step_check.h"
#include "train/health.h"

enum { PARTS = 128, SAMPLES = 7 };

/* ---- kernels ---- */

/* GROUP of kernels/optim/health.cl comes with the kernel on the GPU schedule. */
static clq_range parts_range(void) {
    const bool gpu = clq_device_get_info(test_device)->schedule == CLQ_SCHEDULE_GPU;
    return CLQ_RANGE1(gpu ? PARTS * 128 : PARTS);
}

static void reduce(const char *name, const float *x, size_t count, void *parts) {
    clq_kernel *kernel = NULL;
    clq_buffer *data = make_buffer(x, count * sizeof *x);
    clq_buffer *partial = make_buffer(NULL, PARTS * sizeof(float));
    assert_ok(clq_kernel_get(test_device, name, NULL, &kernel));
    assert_ok(CLQ_LAUNCH(test_device, kernel, parts_range(), CLQ_BUF(data), CLQ_U32(count),
                         CLQ_BUF(partial)));
    assert_ok(clq_buffer_read(partial, 0, PARTS * sizeof(float), parts));
    clq_buffer_release(data);
    clq_buffer_release(partial);
}

static double ref_health_squares(const float *x, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)x[i] * x[i];
    }
    return sum;
}

static float ref_health_largest(const float *x, size_t count) {
    float largest = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmaxf(largest, fabsf(x[i]));
    }
    return largest;
}

static void reductions(void **state) {
    static const size_t counts[] = {
        1, 15, 16, 17, 127, 2047, 2048, 2049, 4099, 16385, 128 * 1024, 128 * 1024 + 16, 1000003};
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        const size_t count = counts[c];
        float *x = random_floats(count, -3, 3, c), sums[PARTS], largest = 0;
        uint32_t maxima[PARTS], most = 0;
        double sum = 0;
        reduce("health_squares", x, count, sums);
        reduce("health_largest", x, count, maxima);
        for (int p = 0; p < PARTS; p++) {
            sum += sums[p];
            most = maxima[p] > most ? maxima[p] : most;
        }
        memcpy(&largest, &most, sizeof most);
        const double expected = ref_health_squares(x, count);
        if (fabs(sum - expected) > 1e-6 * expected || largest != ref_health_largest(x, count)) {
            fail_msg("count %zu: sum %.9g, not %.9g; largest %g", count, sum, expected,
                     (double)largest);
        }
        free(x);
    }
}

/* ---- results ---- */

typedef struct setup {
    clq_graph *graph;
    clq_params *params;
    clq_health *health;
    clq_loss *loss;
    clq_tensor input;
    clq_buffer *extra; /* protected */
} setup;

static setup open_setup(double clip_norm) {
    static const float ones[SAMPLES] = {1, 1, 1, 1, 1, 1, 1};
    const clq_shape output = {2, {SAMPLES, 5}};
    setup s = {.graph = residual_net('B', "relu")};
    assert_ok(clq_params_create(test_device, s.graph, true, &s.params));
    assert_ok(clq_health_create(test_device, s.params, clip_norm, &s.health));
    assert_ok(clq_loss_create(test_device, CLQ_LOSS_MSE, &output, 0, &s.loss));
    assert_ok(clq_buffer_write(clq_loss_samples(s.loss), 0, sizeof ones, ones));
    s.input = op_tensor((clq_shape){1, {SAMPLES}}, ones);
    s.extra = make_buffer(ones, sizeof ones);
    assert_ok(clq_health_protect(s.health, s.extra));
    return s;
}

static void close_setup(setup *s) {
    clq_buffer_release(s->extra);
    clq_buffer_release(s->input.buffer);
    clq_loss_destroy(s->loss);
    clq_health_destroy(s->health);
    clq_params_destroy(s->params);
    clq_graph_destroy(s->graph);
}

/* Puts `x` into float `at` of a buffer, checks, and takes it out again. */
static clq_step_outcome outcome_with(setup *s, clq_buffer *buffer, size_t at, float x) {
    clq_step_outcome outcome;
    float old;
    assert_ok(clq_buffer_read(buffer, at * sizeof old, sizeof old, &old));
    assert_ok(clq_buffer_write(buffer, at * sizeof x, sizeof x, &x));
    assert_ok(clq_health_begin(s->health, &s->input));
    assert_ok(clq_health_check(s->health, s->loss));
    assert_ok(clq_health_restore(s->health));
    assert_ok(clq_health_read(s->health, &outcome));
    assert_ok(clq_buffer_write(buffer, at * sizeof old, sizeof old, &old));
    return outcome;
}

static void any_number_that_is_not_finite_is_found(void **state) {
    (void)state;
    setup s = open_setup(0);
    clq_buffer *const watched[] = {clq_params_flat_gradient(s.params),
                                   clq_params_flat_states(s.params), clq_loss_samples(s.loss),
                                   s.input.buffer};
    for (size_t b = 0; b < sizeof watched / sizeof *watched; b++) {
        const size_t count = clq_buffer_size(watched[b]) / sizeof(float);
        const size_t places[] = {0, 1, count / 2, count - 1};
        for (size_t p = 0; p < 4; p++) {
            assert_int_equal(outcome_with(&s, watched[b], places[p], NAN), CLQ_STEP_UNDONE);
            assert_int_equal(outcome_with(&s, watched[b], places[p], -INFINITY), CLQ_STEP_UNDONE);
            assert_int_equal(outcome_with(&s, watched[b], places[p], 1e18f), CLQ_STEP_SOUND);
        }
    }
    /* Finite gradients whose squares are not. */
    assert_int_equal(outcome_with(&s, watched[0], 5, 1e20f), CLQ_STEP_UNDONE);
    assert_int_equal(outcome_with(&s, watched[1], 5, FLT_MAX), CLQ_STEP_SOUND);
    close_setup(&s);
}

static void the_scale_is_that_of_the_clipped_norm(void **state) {
    (void)state;
    setup s = open_setup(2);
    static const float gradients[] = {0, 1, 2, 3, 1e18f, 1e-30f};
    for (size_t i = 0; i < sizeof gradients / sizeof *gradients; i++) {
        float result[STEP_FIELDS];
        assert_int_equal(outcome_with(&s, clq_params_flat_gradient(s.params), 9, gradients[i]),
                         CLQ_STEP_SOUND);
        assert_ok(clq_buffer_read(clq_health_result(s.health), 0, sizeof result, result));
        const double expected = fmin(1, 2 / (gradients[i] + 1e-6));
        assert_true(fabs(result[STEP_SCALE] - expected) <= 1e-6 * expected);
    }
    close_setup(&s);
}

/* What changes between clq_health_begin and clq_health_restore stays or goes with the result. */
static void what_is_protected_comes_back(void **state) {
    (void)state;
    static const float changed[SAMPLES] = {2, 3, NAN, 5, 6, 7, 8};
    setup s = open_setup(0);
    for (int bad = 0; bad < 2; bad++) {
        const float gradient = bad ? NAN : 1, one = 1;
        float now[SAMPLES];
        clq_step_outcome outcome;
        assert_ok(clq_buffer_write(s.extra, 0, sizeof one, &one));
        assert_ok(clq_health_begin(s.health, &s.input));
        assert_ok(clq_buffer_write(s.extra, 0, sizeof changed, changed));
        assert_ok(
            clq_buffer_write(clq_params_flat_gradient(s.params), 0, sizeof gradient, &gradient));
        assert_ok(clq_health_check(s.health, s.loss));
        assert_ok(clq_health_restore(s.health));
        assert_ok(clq_health_read(s.health, &outcome));
        assert_int_equal(outcome, bad ? CLQ_STEP_UNDONE : CLQ_STEP_SOUND);
        assert_ok(clq_buffer_read(s.extra, 0, sizeof now, now));
        assert_true(now[0] == (bad ? 1 : 2));
        assert_equal_bits(now + 1, changed + 1, sizeof now - sizeof *now);
    }
    close_setup(&s);
}

static void out_of_memory(void **state) {
    (void)state;
    setup s = open_setup(0);
    clq_status status = CLQ_NO_MEMORY;
    for (long n = 1; status != CLQ_OK; n++) {
        clq_health *health = NULL;
        clq_test_fail_allocation(n);
        status = clq_health_create(test_device, s.params, 0, &health);
        clq_test_restore_allocator();
        assert_true((status == CLQ_OK) == (health != NULL));
        clq_health_destroy(health);
    }
    clq_health_destroy(NULL);
    close_setup(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reductions),
        cmocka_unit_test(any_number_that_is_not_finite_is_found),
        cmocka_unit_test(the_scale_is_that_of_the_clipped_norm),
        cmocka_unit_test(what_is_protected_comes_back),
        cmocka_unit_test(out_of_memory),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}
