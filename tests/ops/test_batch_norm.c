/* Batch normalization, with and without what is fused behind it, against the plain reference. */
#include <math.h>
#include <string.h>

#include "ops/registry.h"
#include "support/op_run.h"
#include "support/ranks_run.h"
#include "support/ref_ops.h"

/* Sums over up to 3000 rows in float against double. */
static const double ABSOLUTE = 2e-5, RELATIVE = 2e-5;

static clq_ranks *ranks; /* each runs its part of the n images */

typedef struct bn_case {
    int n, h, w, c;
    float shift; /* the data's mean, in standard deviations */
} bn_case;

/* Rows and channels around the vectors (16), the folding of rows (64 columns) and the chunks. */
static const bn_case cases[] = {
    {5, 1, 1, 1, 0},    {3, 5, 7, 1, 0},    {2, 8, 8, 3, 0},    {4, 4, 4, 8, 0},
    {4, 8, 8, 16, 0},   {3, 3, 3, 16, 0},   {1, 7, 7, 15, 0},   {2, 4, 6, 17, 0},
    {2, 4, 8, 24, 0},   {1, 5, 5, 24, 0},   {2, 4, 4, 32, 0},   {1, 3, 5, 33, 0},
    {2, 3, 3, 64, 0},   {1, 3, 3, 65, 0},   {2, 2, 2, 96, 0},   {1, 2, 2, 131, 0},
    {5, 1, 1, 257, 0},  {5, 1, 1, 1030, 0}, {3, 31, 32, 16, 0}, {6, 20, 25, 40, 0},
    {4, 9, 9, 16, 100}, {2, 4, 4, 8, 1000},
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct bn_data {
    ref_batch_norm ref;
    size_t count;
    float *x, *gamma, *beta, *mean, *var, *residual, *dy;
} bn_data;

static bn_data make_data(const bn_case *c, bool residual, double top) {
    bn_data d = {.count = (size_t)(c->n * c->h * c->w * c->c)};
    const size_t channels = (size_t)c->c;
    d.x = malloc(d.count * sizeof(float));
    assert_non_null(d.x);
    clq_test_fill_normal(d.x, d.count, 1.5f, 1);
    for (size_t i = 0; i < d.count; i++) {
        d.x[i] += 1.5f * c->shift;
    }
    d.gamma = random_floats(channels, 0.5f, 2, 2);
    d.beta = random_floats(channels, -1, 1, 3);
    d.mean = random_floats(channels, -1, 1, 4);
    d.var = random_floats(channels, 0.5f, 3, 5);
    d.residual = residual ? random_floats(d.count, -2, 2, 6) : NULL;
    d.dy = random_floats(d.count, -1, 1, 7);
    d.ref = (ref_batch_norm){.rows = c->n * c->h * c->w,
                             .channels = c->c,
                             .epsilon = 1e-5f,
                             .momentum = 0.1f,
                             .top = top,
                             .x = d.x,
                             .gamma = d.gamma,
                             .beta = d.beta,
                             .residual = d.residual};
    return d;
}

static void free_data(bn_data *d) {
    float *all[] = {d->x, d->gamma, d->beta, d->mean, d->var, d->residual, d->dy};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
}

static const clq_batch_norm_attrs attrs = {.epsilon = 1e-5f, .momentum = 0.1f};
static const clq_add_attrs add_attrs = {CLQ_ACT_NONE};
static clq_node add_node = {.name = "add", .attrs = (void *)&add_attrs};
static clq_node act_node = {.name = "act"};

/* Where this rank's part begins, of d->count / ranks floats. */
static size_t part_of(const bn_data *d) {
    return (size_t)clq_ranks_rank(ranks) * (d->count / (size_t)clq_ranks_size(ranks));
}

static void begin(op_test *t, const bn_case *c, const bn_data *d, clq_exec_mode mode) {
    const clq_shape x = {4, {c->n / clq_ranks_size(ranks), c->h, c->w, c->c}};
    const clq_shape vector = {1, {c->c}};
    op_begin(t, "batch_norm", &attrs, mode);
    t->run.ranks = ranks;
    op_input(t, 0, x, d->x + part_of(d));
    op_input(t, 1, vector, d->gamma);
    op_input(t, 2, vector, d->beta);
    op_input(t, 3, vector, d->mean);
    op_input(t, 4, vector, d->var);
    op_output(t, x);
    if (d->residual) {
        t->run.fused_add = &add_node;
        t->run.residual = op_tensor(x, d->residual + part_of(d));
    }
    if (d->ref.top > 0) {
        act_node.op = d->ref.top == 6 ? &clq_op_relu6 : &clq_op_relu;
        t->run.fused_act = &act_node;
    }
}

/* ---- forward ---- */

static void check_inference(const bn_case *c, bool residual, double top) {
    bn_data d = make_data(c, residual, top);
    float *y = malloc(d.count * sizeof *y);
    op_test t;
    ref_batch_norm_infer(&d.ref, d.mean, d.var, y);
    begin(&t, c, &d, CLQ_EXEC_FLOAT);
    op_forward(&t);
    assert_buffer_close(t.run.out.buffer, y, d.count, ABSOLUTE * (1 + c->shift), RELATIVE);
    op_end(&t);
    free(y);
    free_data(&d);
}

static void test_inference(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_inference(&cases[i], false, 0);
        check_inference(&cases[i], i % 2, i % 3 == 0 ? 6 : INFINITY);
    }
}

/* ---- training ---- */

/* Everything the reference says about a training step. */
typedef struct bn_step {
    float *y, *mean, *var, *dx, *dgamma, *dbeta, *dresidual;
} bn_step;

static bn_step make_step(const bn_data *d) {
    const size_t channels = (size_t)d->ref.channels;
    bn_step s = {.y = malloc(d->count * sizeof(float)),
                 .mean = malloc(channels * sizeof(float)),
                 .var = malloc(channels * sizeof(float)),
                 .dx = malloc(d->count * sizeof(float)),
                 .dgamma = malloc(channels * sizeof(float)),
                 .dbeta = malloc(channels * sizeof(float)),
                 .dresidual = malloc(d->count * sizeof(float))};
    memcpy(s.mean, d->mean, channels * sizeof(float));
    memcpy(s.var, d->var, channels * sizeof(float));
    ref_batch_norm_train(&d->ref, s.mean, s.var, s.y);
    ref_batch_norm_grad(&d->ref, s.y, d->dy, s.dx, s.dgamma, s.dbeta, s.dresidual);
    return s;
}

static void free_step(bn_step *s) {
    float *all[] = {s->y, s->mean, s->var, s->dx, s->dgamma, s->dbeta, s->dresidual};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
}

/* Where rounding might push a value over a clamp, device and reference could differ in a whole
 * gradient: there dy becomes 0. */
static void avoid_edges(bn_data *d, const bn_step *s) {
    for (size_t i = 0; i < d->count && d->ref.top > 0; i++) {
        const bool inside = s->y[i] > 1e-3 && s->y[i] < d->ref.top - 1e-3;
        const bool outside = s->y[i] == 0 || s->y[i] == d->ref.top;
        d->dy[i] = inside || outside ? d->dy[i] : 0;
    }
}

static void add_to(float *data, const float *start, size_t count) {
    for (size_t i = 0; i < count; i++) {
        data[i] += start[i];
    }
}

static void check_training(const bn_case *c, bool residual, double top, bool accumulate) {
    bn_data d = make_data(c, residual, top);
    bn_step s = make_step(&d);
    const size_t channels = (size_t)c->c, part = part_of(&d);
    const size_t count = d.count / (size_t)clq_ranks_size(ranks);
    float *start = random_floats(d.count, -1, 1, 8);
    op_test t;
    avoid_edges(&d, &s);
    ref_batch_norm_grad(&d.ref, s.y, d.dy, s.dx, s.dgamma, s.dbeta, s.dresidual);
    begin(&t, c, &d, CLQ_EXEC_TRAIN);
    op_want_gradient(&t, 0, accumulate ? start : NULL);
    op_want_gradient(&t, 1, NULL);
    op_want_gradient(&t, 2, NULL);
    if (residual) {
        t.run.grad_residual = op_tensor(t.run.out.shape, accumulate ? start : NULL);
        t.run.accumulate_residual = accumulate;
    }
    op_forward(&t);
    op_backward(&t, d.dy + part_of(&d));

    /* Data far from zero was itself rounded before anybody normalized it. */
    const double absolute = ABSOLUTE * (1 + c->shift);
    const double wide = absolute * (1 + 0.05 * sqrt((double)d.ref.rows));
    if (accumulate) {
        add_to(s.dx + part, start, count);
        add_to(s.dresidual + part, start, count);
    }
    for (size_t i = 0; i < channels; i++) { /* a rank's own: the mean over ranks comes later */
        s.dgamma[i] /= (float)clq_ranks_size(ranks);
        s.dbeta[i] /= (float)clq_ranks_size(ranks);
    }
    assert_buffer_close(t.run.out.buffer, s.y + part, count, absolute, RELATIVE);
    assert_buffer_close(t.run.in[3].buffer, s.mean, channels, absolute, RELATIVE);
    assert_buffer_close(t.run.in[4].buffer, s.var, channels, absolute, RELATIVE);
    assert_buffer_close(t.run.grad_in[1].buffer, s.dgamma, channels, wide, RELATIVE);
    assert_buffer_close(t.run.grad_in[2].buffer, s.dbeta, channels, wide, RELATIVE);
    assert_buffer_close(t.run.grad_in[0].buffer, s.dx + part, count, 4 * absolute, 4 * RELATIVE);
    if (residual) {
        assert_buffer_close(t.run.grad_residual.buffer, s.dresidual + part, count, 1e-6, 1e-6);
    }
    op_end(&t);
    free(start);
    free_step(&s);
    free_data(&d);
}

static void test_training(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_training(&cases[i], false, 0, i % 2);
    }
}

static void test_training_with_activation(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_training(&cases[i], false, INFINITY, false);
        check_training(&cases[i], false, 6, i % 2);
    }
}

static void test_training_with_addition(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_training(&cases[i], true, 0, i % 2);
        check_training(&cases[i], true, INFINITY, i % 3 == 0);
    }
}

/* ---- frozen ---- */

/* y by the running statistics, which stay; dx = dy * gamma / sqrt(var + epsilon), masked. */
static void check_frozen(const bn_case *c, bool residual, double top) {
    bn_data d = make_data(c, residual, top);
    const size_t channels = (size_t)c->c;
    float *dx = malloc(d.count * sizeof *dx), *dr = malloc(d.count * sizeof *dr);
    bn_step s = {.y = malloc(d.count * sizeof(float))};
    op_test t;
    ref_batch_norm_infer(&d.ref, d.mean, d.var, s.y);
    avoid_edges(&d, &s);
    for (size_t i = 0; i < d.count; i++) {
        const double scale = d.gamma[i % channels] / sqrt(d.var[i % channels] + 1e-5);
        dr[i] = top == 0 || (s.y[i] > 0 && s.y[i] < top) ? d.dy[i] : 0;
        dx[i] = (float)(scale * dr[i]);
    }
    begin(&t, c, &d, CLQ_EXEC_TRAIN);
    t.run.frozen = true;
    op_want_gradient(&t, 0, NULL);
    if (residual) {
        t.run.grad_residual = op_tensor(t.run.out.shape, NULL);
    }
    op_forward(&t);
    op_backward(&t, d.dy);
    assert_buffer_close(t.run.out.buffer, s.y, d.count, ABSOLUTE * (1 + c->shift), RELATIVE);
    assert_buffer_close(t.run.grad_in[0].buffer, dx, d.count, 1e-6, 1e-6);
    assert_buffer_close(t.run.in[3].buffer, d.mean, channels, 0, 0);
    assert_buffer_close(t.run.in[4].buffer, d.var, channels, 0, 0);
    if (residual) {
        assert_buffer_close(t.run.grad_residual.buffer, dr, d.count, 0, 0);
    }
    op_end(&t);
    free(dx);
    free(dr);
    free(s.y);
    free_data(&d);
}

static void test_frozen(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        check_frozen(&cases[i], false, 0);
        check_frozen(&cases[i], false, i % 2 ? INFINITY : 6);
        check_frozen(&cases[i], true, 0);
        check_frozen(&cases[i], true, INFINITY);
    }
}

/* ---- gradients in place ---- */

/* dx over dy; with a residual, the residual's gradient over dy. The same bits as apart. */
static void test_in_place_gradients(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        for (int residual = 0; residual < 2; residual++) {
            bn_data d = make_data(&cases[i], residual, INFINITY);
            float *apart[2], *shared[2];
            for (int in_place = 0; in_place < 2; in_place++) {
                op_test t;
                float **out = in_place ? shared : apart;
                begin(&t, &cases[i], &d, CLQ_EXEC_TRAIN);
                for (int k = 0; k < 3; k++) {
                    op_want_gradient(&t, k, NULL);
                }
                if (residual) {
                    t.run.grad_residual = op_tensor(t.run.out.shape, NULL);
                }
                op_forward(&t);
                clq_tensor *sharing = residual ? &t.run.grad_residual : &t.run.grad_in[0];
                t.run.grad_out = op_tensor(t.run.out.shape, d.dy);
                if (in_place) {
                    clq_buffer_release(sharing->buffer);
                    sharing->buffer = t.run.grad_out.buffer;
                }
                assert_ok(t.node.op->backward(&t.run));
                out[0] = read_floats(t.run.grad_in[0].buffer);
                out[1] = read_floats(sharing->buffer);
                op_end(&t);
            }
            for (int k = 0; k < 2; k++) {
                assert_equal_bits(shared[k], apart[k], d.count * sizeof(float));
                free(shared[k]);
                free(apart[k]);
            }
            free_data(&d);
        }
    }
}

/* ---- rules ---- */

static void test_one_value_a_channel(void **state) {
    (void)state;
    const bn_case one = {1, 1, 1, 16, 0};
    bn_data d = make_data(&one, false, 0);
    op_test t;
    begin(&t, &one, &d, CLQ_EXEC_TRAIN);
    assert_status(t.node.op->prepare(&t.run), CLQ_USAGE);
    assert_error_has("more than one value");
    op_end(&t);
    free_data(&d);
}

/* Divergence must show, not vanish in a relu. */
static void test_nan_passes(void **state) {
    (void)state;
    const bn_case c = {2, 2, 2, 17, 0};
    bn_data d = make_data(&c, false, INFINITY);
    op_test t;
    d.x[3] = NAN;
    begin(&t, &c, &d, CLQ_EXEC_TRAIN);
    op_forward(&t);
    float *y = read_floats(t.run.out.buffer);
    assert_true(isnan(y[3]) && isnan(y[3 + 17]));
    assert_false(isnan(y[4]));
    free(y);
    op_end(&t);
    free_data(&d);
}

/* ---- several ranks: statistics over all their batches ---- */

static void test_ranks_as_one(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        if (cases[i].n % clq_ranks_size(ranks) == 0 && cases[i].c < 100) {
            check_training(&cases[i], i % 2, i % 3 == 0 ? 0 : INFINITY, i % 4 == 0);
        }
    }
}

static int run_as_rank(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranks_as_one)};
    assert_ok(clq_ranks_open(&ranks));
    const int failed = RUN_ON_BOTH_SCHEDULES(tests);
    clq_ranks_close(ranks, failed ? CLQ_GATE_FAILED : CLQ_OK);
    return failed;
}

int main(int argc, char **argv) {
    (void)argc;
    if (clq_ranks_launched()) {
        return run_as_rank();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inference),
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_training_with_activation),
        cmocka_unit_test(test_training_with_addition),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_in_place_gradients),
        cmocka_unit_test(test_one_value_a_channel),
        cmocka_unit_test(test_nan_passes),
    };
    const int failed = RUN_ON_BOTH_SCHEDULES(tests);
    return failed || !ranks_can_run() ? failed : ranks_run(argv[0], 2);
}
