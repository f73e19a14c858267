/* Losses against the plain reference in double; totals over batches. */
#include <math.h>
#include <string.h>

#include "ops/loss.h"
#include "support/op_run.h"
#include "support/ref_ops.h"

/* exp and log within a few units in the last place, sums of K terms. */
static const double ABSOLUTE = 1e-6, RELATIVE = 1e-5;

typedef struct loss_case {
    int n, k;
    double smoothing;
    float spread; /* logits lie in [-spread, spread] */
} loss_case;

static const loss_case cases[] = {
    {1, 1, 0, 1},   {1, 2, 0, 3},      {7, 10, 0, 5},       {128, 10, 0.1, 5},
    {3, 17, 0, 90}, {5, 1000, 0.1, 8}, {33, 100, 0.999, 2},
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct loss_data {
    size_t count;
    float *logits, *targets, *loss, *gradient;
    int32_t *labels;
} loss_data;

/* Labels, and targets that are their one-hot vectors or, soft, distributions. */
static loss_data make_data(const loss_case *c, bool soft) {
    const size_t count = (size_t)(c->n * c->k);
    loss_data d = {.count = count,
                   .logits = random_floats(count, -c->spread, c->spread, 1),
                   .targets = random_floats(count, 0, 1, 2),
                   .loss = malloc((size_t)c->n * 4),
                   .gradient = malloc(count * 4),
                   .labels = malloc((size_t)c->n * 4)};
    clq_test_fill_s32(d.labels, (size_t)c->n, 0, c->k - 1, 3);
    for (int i = 0; i < c->n; i++) {
        float *row = d.targets + i * c->k, sum = 0;
        for (int j = 0; j < c->k; j++) {
            row[j] = soft ? row[j] : (float)(j == d.labels[i]);
            sum += row[j];
        }
        for (int j = 0; j < c->k; j++) {
            row[j] /= sum;
        }
    }
    return d;
}

static void free_data(loss_data *d) {
    free(d->logits), free(d->targets), free(d->loss), free(d->gradient), free(d->labels);
}

static clq_loss *make_loss(clq_loss_kind kind, const loss_case *c) {
    clq_loss *loss = NULL;
    assert_ok(
        clq_loss_create(test_device, kind, &(clq_shape){2, {c->n, c->k}}, c->smoothing, &loss));
    return loss;
}

static void check_loss(clq_loss_kind kind, const loss_case *c, bool soft) {
    loss_data d = make_data(c, soft);
    clq_loss *loss = make_loss(kind, c);
    clq_buffer *logits = make_buffer(d.logits, d.count * 4);
    clq_buffer *gradient = make_buffer(NULL, d.count * 4);
    clq_buffer *targets =
        soft ? make_buffer(d.targets, d.count * 4) : make_buffer(d.labels, (size_t)c->n * 4);
    clq_loss_totals totals, batch;
    double sum = 0;
    (kind == CLQ_LOSS_MSE ? ref_mean_squared_error : ref_softmax_cross_entropy)(
        c->n, c->k, d.logits, d.targets, c->smoothing, d.loss, d.gradient);
    for (int i = 0; i < c->n; i++) {
        sum += d.loss[i];
    }
    assert_ok((soft ? clq_loss_run_soft : clq_loss_run)(loss, logits, targets, gradient));
    assert_buffer_close(clq_loss_samples(loss), d.loss, (size_t)c->n, ABSOLUTE * 10, RELATIVE);
    assert_buffer_close(gradient, d.gradient, d.count, ABSOLUTE, RELATIVE);
    assert_ok(clq_loss_read(loss, &totals));
    assert_true(fabs(totals.loss - sum) <= 1e-5 * (1 + sum));
    assert_true(totals.samples == c->n);
    assert_ok(clq_loss_read_batch(loss, &batch)); /* the only batch so far */
    assert_true(fabs(batch.loss - totals.loss) <= 1e-5 * (1 + sum));
    assert_true(batch.top1 == totals.top1 && batch.top5 == totals.top5 && batch.samples == c->n);
    clq_buffer_release(logits);
    clq_buffer_release(gradient);
    clq_buffer_release(targets);
    clq_loss_destroy(loss);
    free_data(&d);
}

static void test_cross_entropy(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_loss(CLQ_LOSS_CROSS_ENTROPY, &cases[i], false);
        check_loss(CLQ_LOSS_CROSS_ENTROPY, &cases[i], true);
    }
}

static void test_mean_squared_error(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_loss(CLQ_LOSS_MSE, &cases[i], false);
        check_loss(CLQ_LOSS_MSE, &cases[i], true);
    }
}

/* ---- distillation ---- */

typedef struct teacher_case {
    double weight, temperature;
} teacher_case;
static const teacher_case teachers[] = {{0.5, 1}, {0.9, 4}, {1, 2}, {0.25, 0.5}};

/* loss = (1 - weight) loss + weight * mean (x - said)^2, and its gradient. */
static void add_squared_error(const loss_case *c, const float *x, const float *said, double weight,
                              float *loss, float *gradient) {
    for (int n = 0; n < c->n; n++) {
        double sum = 0;
        for (int k = n * c->k; k < (n + 1) * c->k; k++) {
            const double d = (double)x[k] - (double)said[k];
            sum += d * d;
            gradient[k] =
                (float)((1 - weight) * gradient[k] + weight * 2 * d / ((double)c->k * c->n));
        }
        loss[n] = (float)((1 - weight) * loss[n] + weight * sum / c->k);
    }
}

static void check_distillation(clq_loss_kind kind, const loss_case *c, const teacher_case *t,
                               bool soft) {
    loss_data d = make_data(c, soft);
    float *said = random_floats(d.count, -c->spread, c->spread, 4);
    clq_loss *loss = make_loss(kind, c);
    clq_buffer *logits = make_buffer(d.logits, d.count * 4);
    clq_buffer *teacher = make_buffer(said, d.count * 4);
    clq_buffer *gradient = make_buffer(NULL, d.count * 4);
    clq_buffer *targets =
        soft ? make_buffer(d.targets, d.count * 4) : make_buffer(d.labels, (size_t)c->n * 4);
    if (kind == CLQ_LOSS_MSE) {
        ref_mean_squared_error(c->n, c->k, d.logits, d.targets, c->smoothing, d.loss, d.gradient);
        add_squared_error(c, d.logits, said, t->weight, d.loss, d.gradient);
    } else {
        ref_softmax_cross_entropy(c->n, c->k, d.logits, d.targets, c->smoothing, d.loss,
                                  d.gradient);
        ref_distill(c->n, c->k, d.logits, said, t->weight, t->temperature, d.loss, d.gradient);
    }
    clq_loss_set_teacher(loss, teacher, t->weight, t->temperature);
    assert_ok((soft ? clq_loss_run_soft : clq_loss_run)(loss, logits, targets, gradient));
    const double absolute = ABSOLUTE * 10 * (1 + c->spread * t->temperature);
    assert_buffer_close(clq_loss_samples(loss), d.loss, (size_t)c->n, absolute, RELATIVE * 10);
    assert_buffer_close(gradient, d.gradient, d.count, ABSOLUTE * 4, RELATIVE * 4);
    clq_buffer_release(logits);
    clq_buffer_release(teacher);
    clq_buffer_release(gradient);
    clq_buffer_release(targets);
    clq_loss_destroy(loss);
    free(said);
    free_data(&d);
}

static void test_distillation(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        for (size_t t = 0; t < sizeof teachers / sizeof *teachers; t++) {
            check_distillation(CLQ_LOSS_CROSS_ENTROPY, &cases[i], &teachers[t], false);
            check_distillation(CLQ_LOSS_MSE, &cases[i], &teachers[t], false);
        }
        check_distillation(CLQ_LOSS_CROSS_ENTROPY, &cases[i], &teachers[1], true);
        check_distillation(CLQ_LOSS_MSE, &cases[i], &teachers[1], true);
    }
}

/* ---- a class for each pixel ---- */

/* As many samples as pixels, of which one has no class, give the same sums. */
static void test_pixels(void **state) {
    (void)state;
    enum { N = 3, H = 5, W = 7, K = 6, ROWS = N * H * W };
    const loss_case c = {ROWS, K, 0.1, 4};
    for (int taught = 0; taught < 2; taught++) {
        loss_data d = make_data(&c, false);
        float *said = random_floats(d.count, -3, 3, 5);
        float slopes[ROWS * K];
        clq_loss *rows = make_loss(CLQ_LOSS_CROSS_ENTROPY, &c), *pixels = NULL;
        clq_buffer *logits = make_buffer(d.logits, d.count * 4);
        clq_buffer *teacher = make_buffer(said, d.count * 4);
        clq_buffer *gradient = make_buffer(NULL, d.count * 4);
        d.labels[11] = 255;
        clq_buffer *labels = make_buffer(d.labels, ROWS * 4);
        clq_loss_totals one, other, batch;
        assert_ok(clq_loss_create(test_device, CLQ_LOSS_CROSS_ENTROPY,
                                  &(clq_shape){4, {N, H, W, K}}, c.smoothing, &pixels));
        if (taught) {
            clq_loss_set_teacher(rows, teacher, 0.4, 2);
            clq_loss_set_teacher(pixels, teacher, 0.4, 2);
        }
        assert_ok(clq_loss_run(rows, logits, labels, gradient));
        assert_ok(clq_buffer_read(gradient, 0, sizeof slopes, slopes));
        assert_ok(clq_loss_run(pixels, logits, labels, gradient));
        assert_buffer_close(gradient, slopes, ROWS * K, 0, 0);
        assert_true(taught || (slopes[11 * K] == 0 && slopes[11 * K + 5] == 0));
        assert_ok(clq_loss_read(rows, &one));
        assert_ok(clq_loss_read(pixels, &other));
        assert_ok(clq_loss_read_batch(pixels, &batch));
        assert_true(other.samples == N && batch.samples == N);
        const double each = ROWS / N;
        assert_true(fabs(one.loss - other.loss * each) < 1e-5 * one.loss);
        assert_true(fabs(one.top1 - other.top1 * each) < 1e-3 && one.top1 > 0);
        assert_true(fabs(one.top5 - other.top5 * each) < 1e-3 && one.top5 < ROWS);
        assert_true(fabs(batch.loss - other.loss) < 1e-5 * other.loss &&
                    fabs(batch.top1 - other.top1) < 1e-6);
        clq_loss_destroy(rows);
        clq_loss_destroy(pixels);
        clq_buffer_release(logits);
        clq_buffer_release(teacher);
        clq_buffer_release(gradient);
        clq_buffer_release(labels);
        free(said);
        free_data(&d);
    }
}

/* ---- how far outputs are from a teacher's ---- */

/* Of images and rows, of more and of fewer numbers than one part of the sum; the second takes no
 * part, and the third's teacher says nothing but zeros. */
static void test_output_error(void **state) {
    (void)state;
    enum { OUTPUTS = 4, N = 3 };
    const clq_shape shapes[OUTPUTS] = {
        {4, {N, 13, 9, 19}}, {2, {N, 7}}, {2, {N, 5}}, {3, {N, 2, 11}}};
    const float sizes[OUTPUTS] = {100, 1, 1, 0.01f};
    clq_buffer *x[OUTPUTS], *said[OUTPUTS], *gradient[OUTPUTS];
    double expected[N] = {0};
    float losses[N], *slopes[OUTPUTS];
    clq_loss *loss = NULL;
    clq_loss_totals totals;
    for (int o = 0; o < OUTPUTS; o++) {
        const size_t count = (size_t)clq_shape_count(&shapes[o]);
        float *a = random_floats(count, -sizes[o], sizes[o], 30 + (uint64_t)o);
        float *b = random_floats(count, -sizes[o], sizes[o], 40 + (uint64_t)o);
        double power = 0;
        slopes[o] = calloc(count, sizeof **slopes);
        for (size_t i = 0; i < count; i++) {
            b[i] = o == 2 ? 0 : b[i];
            power += (double)b[i] * b[i];
        }
        power = power > 0 ? power : 1;
        for (size_t i = 0; o != 1 && i < count; i++) {
            const double d = (double)a[i] - b[i];
            expected[i / (count / N)] += N * d * d / power;
            slopes[o][i] = (float)(2 * d / power);
        }
        x[o] = o == 1 ? NULL : make_buffer(a, count * 4);
        said[o] = make_buffer(b, count * 4);
        gradient[o] = make_buffer(NULL, count * 4);
        free(a), free(b);
    }
    assert_ok(clq_loss_create_outputs(test_device, shapes, OUTPUTS, &loss));
    assert_ok(clq_loss_run_outputs(loss, x, said, gradient));
    for (int n = 0; n < N; n++) {
        losses[n] = (float)expected[n];
    }
    assert_buffer_close(clq_loss_samples(loss), losses, N, 0, RELATIVE * 10);
    for (int o = 0; o < OUTPUTS; o++) {
        if (x[o]) {
            const size_t count = (size_t)clq_shape_count(&shapes[o]);
            assert_buffer_close(gradient[o], slopes[o], count, 0, RELATIVE * 10);
        }
        clq_buffer_release(x[o]);
        clq_buffer_release(said[o]);
        clq_buffer_release(gradient[o]);
        free(slopes[o]);
    }
    assert_ok(clq_loss_read(loss, &totals));
    assert_true(totals.samples == N && isnan(totals.top1));
    assert_true(fabs(totals.loss - expected[0] - expected[1] - expected[2]) < 1e-4 * totals.loss);
    clq_loss_destroy(loss);
}

/* Mean loss of a batch of two with one logit moved. */
static double loss_at(clq_loss *loss, float *rows, size_t count, size_t i, float move,
                      clq_buffer *labels, clq_buffer *gradient) {
    clq_loss_totals batch;
    rows[i] += move;
    clq_buffer *logits = make_buffer(rows, count * 4);
    rows[i] -= move;
    assert_ok(clq_loss_run(loss, logits, labels, gradient));
    assert_ok(clq_loss_read_batch(loss, &batch));
    clq_buffer_release(logits);
    return batch.loss / batch.samples;
}

static void test_distillation_by_finite_differences(void **state) {
    (void)state;
    const loss_case c = {2, 5, 0.1, 2};
    const float step = 1.0f / 64;
    loss_data d = make_data(&c, false);
    float *said = random_floats(d.count, -3, 3, 5);
    clq_loss *loss = make_loss(CLQ_LOSS_CROSS_ENTROPY, &c);
    clq_buffer *teacher = make_buffer(said, d.count * 4);
    clq_buffer *labels = make_buffer(d.labels, 2 * 4);
    clq_buffer *gradient = make_buffer(NULL, d.count * 4);
    clq_loss_set_teacher(loss, teacher, 0.7, 3);
    (void)loss_at(loss, d.logits, d.count, 0, 0, labels, gradient);
    assert_ok(clq_buffer_read(gradient, 0, d.count * 4, d.gradient));
    for (size_t i = 0; i < d.count; i++) {
        const double up = loss_at(loss, d.logits, d.count, i, step, labels, NULL);
        const double down = loss_at(loss, d.logits, d.count, i, -step, labels, NULL);
        assert_true(fabs((up - down) / (2 * step) - d.gradient[i]) < 1e-4);
    }
    clq_buffer_release(teacher);
    clq_buffer_release(labels);
    clq_buffer_release(gradient);
    clq_loss_destroy(loss);
    free(said);
    free_data(&d);
}

/* ---- hits ---- */

static clq_loss_totals count_hits(const float *row, int k, int32_t label) {
    const loss_case c = {1, k, 0, 0};
    clq_loss *loss = make_loss(CLQ_LOSS_CROSS_ENTROPY, &c);
    clq_buffer *logits = make_buffer(row, (size_t)k * 4), *labels = make_buffer(&label, 4);
    clq_loss_totals totals;
    assert_ok(clq_loss_run(loss, logits, labels, NULL));
    assert_ok(clq_loss_read(loss, &totals));
    clq_buffer_release(logits);
    clq_buffer_release(labels);
    clq_loss_destroy(loss);
    return totals;
}

static void test_hits(void **state) {
    (void)state;
    const float falling[] = {9, 8, 7, 6, 5, 4, 3}, equal[] = {1, 1, 1, 1, 1, 1, 1};
    const float broken[] = {9, NAN, 7, 6, 5, 4, 3};
    for (int label = 0; label < 7; label++) {
        assert_true(count_hits(falling, 7, label).top1 == (label == 0));
        assert_true(count_hits(falling, 7, label).top5 == (label < 5));
        assert_true(count_hits(equal, 7, label).top1 == (label == 0)); /* the lower index first */
        assert_true(count_hits(equal, 7, label).top5 == (label < 5));
        assert_true(count_hits(broken, 7, label).top1 == 0);
    }
    assert_true(count_hits(falling, 7, -1).top5 == 0);
    assert_true(count_hits(falling, 7, 7).top5 == 0);
    assert_true(isnan(count_hits(broken, 7, 0).loss));
}

/* ---- totals ---- */

static void test_totals_over_batches(void **state) {
    (void)state;
    const loss_case c = {64, 10, 0, 4};
    loss_data d = make_data(&c, false);
    clq_loss *loss = make_loss(CLQ_LOSS_CROSS_ENTROPY, &c);
    clq_buffer *logits = make_buffer(d.logits, d.count * 4);
    clq_buffer *labels = make_buffer(d.labels, 64 * 4);
    clq_loss_totals one, many;
    assert_ok(clq_loss_run(loss, logits, labels, NULL));
    assert_ok(clq_loss_read(loss, &one));
    assert_ok(clq_loss_reset(loss));
    for (int i = 0; i < 500; i++) {
        assert_ok(clq_loss_run(loss, logits, labels, NULL));
    }
    assert_ok(clq_loss_read(loss, &many));
    /* Compensated: 32,000 samples lose nothing that a float's last bit could not. */
    assert_true(fabs(many.loss / 500 - one.loss) <= 1e-6 * one.loss);
    assert_true(many.samples == 32000 && many.top1 == 500 * one.top1);
    assert_true(many.top5 == 500 * one.top5 && one.top5 > one.top1);
    clq_buffer_release(logits);
    clq_buffer_release(labels);
    clq_loss_destroy(loss);
    free_data(&d);
}

static void test_rules(void **state) {
    (void)state;
    clq_loss *loss = NULL;
    assert_status(
        clq_loss_create(test_device, CLQ_LOSS_CROSS_ENTROPY, &(clq_shape){3, {1, 2, 3}}, 0, &loss),
        CLQ_USAGE);
    assert_status(clq_loss_create(test_device, CLQ_LOSS_MSE, &(clq_shape){2, {1, 2}}, 1, &loss),
                  CLQ_USAGE);
    assert_null(loss);
    assert_ok(clq_loss_create(test_device, CLQ_LOSS_MSE, &(clq_shape){2, {1, 2}}, 0, &loss));
    clq_loss_destroy(loss);
    clq_loss_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_mean_squared_error),
        cmocka_unit_test(test_hits),
        cmocka_unit_test(test_totals_over_batches),
        cmocka_unit_test(test_distillation),
        cmocka_unit_test(test_output_error),
        cmocka_unit_test(test_pixels),
        cmocka_unit_test(test_distillation_by_finite_differences),
        cmocka_unit_test(test_rules),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}
