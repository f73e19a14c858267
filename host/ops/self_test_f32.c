/* Self-test of the FP32 convolutions. The data are small whole numbers, whose sums are exact in any
 * order, so that every result must equal that of a plain loop; but for Winograd's algorithm, whose
 * transforms round. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops/conv/conv2d_f32_gemm.h"
#include "ops/conv/conv2d_f32_sum.h"
#include "ops/conv/conv2d_f32_weights.h"
#include "ops/conv/conv2d_f32_winograd_weights.h"
#include "ops/self_test.h"

typedef enum f32_method { BY_SUM, BY_GEMM, BY_WINOGRAD, WEIGHTS, WEIGHTS_BY_WINOGRAD } f32_method;

/* What is tested: by which method, on which shape, and how. */
typedef struct f32_variant {
    f32_method method;
    clq_conv_geometry g;
    const clq_conv_choice *choice;     /* BY_SUM */
    const clq_winograd_plan *winograd; /* BY_WINOGRAD */
} f32_variant;

/* x, w and dy, or what stands for them in another direction, and the results. */
typedef struct f32_data {
    clq_conv_geometry g;
    size_t x_count, w_count, y_count;
    float *x, *w, *y, *bias, *expected, *got;
    clq_buffer *x_buffer, *w_buffer, *y_buffer, *bias_buffer;
    bool adds; /* forward: dy as the residual, and ReLU6; or ReLU alone */
} f32_data;

enum { LARGEST = 4 }; /* of x, w and dy */

static const clq_conv_geometry base_geometry = {.n = 1,
                                                .ih = 11,
                                                .iw = 13,
                                                .ic = 12,
                                                .oc = 140,
                                                .kh = 3,
                                                .kw = 3,
                                                .oh = 11,
                                                .ow = 13,
                                                .stride_h = 1,
                                                .stride_w = 1,
                                                .pad_top = 1,
                                                .pad_left = 1,
                                                .dilation_h = 1,
                                                .dilation_w = 1,
                                                .groups = 1};

/* ---- data ---- */

static void free_data(f32_data *d) {
    clq_free(d->x);
    clq_free(d->w);
    clq_free(d->y);
    clq_free(d->bias);
    clq_free(d->expected);
    clq_free(d->got);
    clq_buffer_release(d->x_buffer);
    clq_buffer_release(d->w_buffer);
    clq_buffer_release(d->y_buffer);
    clq_buffer_release(d->bias_buffer);
}

static void fill(float *data, size_t count, uint32_t *state) {
    for (size_t i = 0; i < count; i++) {
        data[i] = (float)((int)(clq_self_test_draw(state) % (2 * LARGEST + 1)) - LARGEST);
    }
}

static clq_status make_data(clq_device *device, const clq_conv_geometry *g, f32_data *d) {
    uint32_t state = 1;
    d->g = *g;
    d->x_count = (size_t)g->n * (size_t)g->ih * (size_t)g->iw * (size_t)g->ic;
    d->y_count = (size_t)g->n * (size_t)g->oh * (size_t)g->ow * (size_t)g->oc;
    d->w_count = (size_t)g->oc * (size_t)(g->kh * g->kw * (g->ic / g->groups));
    const size_t most = d->x_count + d->y_count + d->w_count;
    d->x = clq_calloc(d->x_count, sizeof *d->x);
    d->w = clq_calloc(d->w_count, sizeof *d->w);
    d->y = clq_calloc(d->y_count, sizeof *d->y);
    d->bias = clq_calloc((size_t)g->oc, sizeof *d->bias);
    d->expected = clq_calloc(most, sizeof *d->expected);
    d->got = clq_calloc(most, sizeof *d->got);
    if (!d->x || !d->w || !d->y || !d->bias || !d->expected || !d->got) {
        return CLQ_NO_MEMORY;
    }
    fill(d->x, d->x_count, &state);
    fill(d->w, d->w_count, &state);
    fill(d->y, d->y_count, &state);
    fill(d->bias, (size_t)g->oc, &state);
    const size_t size = sizeof(float);
    CLQ_TRY(clq_self_test_buffer(device, d->x_count * size, d->x, &d->x_buffer));
    CLQ_TRY(clq_self_test_buffer(device, d->w_count * size, d->w, &d->w_buffer));
    CLQ_TRY(clq_self_test_buffer(device, d->y_count * size, d->y, &d->y_buffer));
    return clq_self_test_buffer(device, (size_t)g->oc * size, d->bias, &d->bias_buffer);
}

/* ---- reference ---- */

/* Calls back with the indices of x, w and y of every product. */
typedef void product_at(f32_data *d, size_t x, size_t w, size_t y);

static void each_product(f32_data *d, product_at *at) {
    const clq_conv_geometry *g = &d->g;
    const int inputs = g->ic / g->groups;
    for (int i = 0; i < g->oh * g->ow * g->kh * g->kw; i++) { /* n is 1 */
        const int tap = i % (g->kh * g->kw), pixel = i / (g->kh * g->kw);
        const int row = pixel / g->ow * g->stride_h - g->pad_top + tap / g->kw * g->dilation_h;
        const int column = pixel % g->ow * g->stride_w - g->pad_left + tap % g->kw * g->dilation_w;
        if (row < 0 || row >= g->ih || column < 0 || column >= g->iw) {
            continue;
        }
        for (int oc = 0; oc < g->oc; oc++) {
            const int first = oc / (g->oc / g->groups) * inputs;
            for (int c = 0; c < inputs; c++) {
                at(d, (size_t)((row * g->iw + column) * g->ic + first + c),
                   (size_t)((oc * g->kh * g->kw + tap) * inputs + c), (size_t)(pixel * g->oc + oc));
            }
        }
    }
}

static void add_forward(f32_data *d, size_t x, size_t w, size_t y) {
    d->expected[y] += d->x[x] * d->w[w];
}

static void add_backward(f32_data *d, size_t x, size_t w, size_t y) {
    d->expected[x] += d->y[y] * d->w[w];
}

static void add_weights(f32_data *d, size_t x, size_t w, size_t y) {
    d->expected[w] += d->y[y] * d->x[x];
}

/* relu(conv(x, w) + bias), or relu6 of that and dy */
static void compute_forward(f32_data *d) {
    for (size_t i = 0; i < d->y_count; i++) {
        d->expected[i] = d->bias[i % (size_t)d->g.oc] + (d->adds ? d->y[i] : 0);
    }
    each_product(d, add_forward);
    for (size_t i = 0; i < d->y_count; i++) {
        d->expected[i] = fminf(fmaxf(d->expected[i], 0), d->adds ? 6 : INFINITY);
    }
}

static void compute_backward(f32_data *d) {
    memset(d->expected, 0, d->x_count * sizeof(float));
    each_product(d, add_backward);
}

/* dw, and behind it db. */
static void compute_weights(f32_data *d) {
    memset(d->expected, 0, (d->w_count + (size_t)d->g.oc) * sizeof(float));
    each_product(d, add_weights);
    for (size_t i = 0; i < d->y_count; i++) {
        d->expected[d->w_count + i % (size_t)d->g.oc] += d->y[i];
    }
}

/* *right: whether `count` results are those expected. Winograd's transforms of 4x4 tiles multiply
 * by up to 8 and back, in about 30 roundings of 2^-24: within 1e-4 of the largest value is right.
 */
static void compare(const f32_data *d, size_t count, bool winograd, bool *right,
                    char wrong[CLQ_WRONG_TEXT]) {
    double largest = 0;
    size_t different = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)d->expected[i]));
    }
    const double tolerance = winograd ? 1e-4 * largest : 0;
    for (size_t i = 0; i < count; i++) {
        different += !(fabs((double)d->got[i] - (double)d->expected[i]) <= tolerance);
    }
    *right = different == 0;
    if (!*right) {
        snprintf(wrong, CLQ_WRONG_TEXT, "%zu of %zu values are wrong", different, count);
    }
}

/* ---- on the device ---- */

static clq_buffer *residual_of(const f32_data *d, bool backward) {
    return d->adds && !backward ? d->y_buffer : NULL;
}

static clq_act act_of(const f32_data *d, bool backward) {
    return backward ? CLQ_ACT_NONE : d->adds ? CLQ_ACT_RELU6 : CLQ_ACT_RELU;
}

static clq_status run_sum(clq_device *device, const f32_variant *v, const f32_data *d,
                          bool backward, clq_buffer *from, clq_buffer *to) {
    clq_status status = CLQ_OK;
    clq_conv_sum sum = {0};
    CLQ_GOTO(status, cleanup, clq_conv_sum_init_as(&sum, device, &d->g, backward, v->choice));
    CLQ_GOTO(status, cleanup, clq_conv_packed_take(&sum.packed, device, false));
    CLQ_GOTO(status, cleanup, clq_conv_sum_load_weights(&sum, d->w_buffer));
    CLQ_GOTO(status, cleanup,
             clq_conv_sum_run(&sum, from, backward ? NULL : d->bias_buffer,
                              residual_of(d, backward), act_of(d, backward), to));
cleanup:
    clq_conv_sum_free(&sum);
    return status;
}

static clq_status run_winograd(clq_device *device, const f32_variant *v, const f32_data *d,
                               bool backward, clq_buffer *from, clq_buffer *to) {
    clq_status status = CLQ_OK;
    clq_conv_winograd conv = {0};
    CLQ_GOTO(status, cleanup, clq_conv_winograd_init(&conv, device, &d->g, backward, v->winograd));
    CLQ_GOTO(status, cleanup, clq_scratch_reserve(device, conv.scratch_bytes));
    CLQ_GOTO(status, cleanup, clq_conv_packed_take(&conv.packed, device, false));
    CLQ_GOTO(status, cleanup, clq_conv_winograd_load_weights(&conv, d->w_buffer));
    CLQ_GOTO(status, cleanup,
             clq_conv_winograd_run(&conv, from, backward ? NULL : d->bias_buffer,
                                   residual_of(d, backward), act_of(d, backward), to));
cleanup:
    clq_conv_winograd_free(&conv);
    return status;
}

static clq_status run_gemm(clq_device *device, const f32_data *d, clq_buffer *to) {
    clq_status status = CLQ_OK;
    clq_conv_gemm gemm = {0};
    CLQ_GOTO(status, cleanup, clq_conv_gemm_init(&gemm, device, &d->g));
    CLQ_GOTO(status, cleanup, clq_conv_gemm_load_weights(&gemm, d->w_buffer));
    CLQ_GOTO(status, cleanup,
             clq_conv_gemm_run(&gemm, d->x_buffer, d->bias_buffer, residual_of(d, false),
                               act_of(d, false), to));
cleanup:
    clq_conv_gemm_free(&gemm);
    return status;
}

static clq_status run_weights(clq_device *device, const f32_data *d, bool winograd, clq_buffer *dw,
                              clq_buffer *db) {
    clq_status status = CLQ_OK;
    clq_conv_weights weights = {0};
    clq_conv_winograd_weights conv = {0};
    if (winograd) {
        CLQ_GOTO(status, cleanup, clq_conv_winograd_weights_init(&conv, device, &d->g));
        CLQ_GOTO(status, cleanup,
                 clq_conv_winograd_weights_run(&conv, d->x_buffer, d->y_buffer, dw, db));
    } else {
        CLQ_GOTO(status, cleanup, clq_conv_weights_init(&weights, device, &d->g));
        CLQ_GOTO(status, cleanup, clq_conv_weights_run(&weights, d->x_buffer, d->y_buffer, dw, db));
    }
cleanup:
    clq_conv_weights_free(&weights);
    clq_conv_winograd_weights_free(&conv);
    return status;
}

/* ---- the tests ---- */

static clq_status test_forward(clq_device *device, const f32_variant *v, f32_data *d, bool *right,
                               char wrong[CLQ_WRONG_TEXT]) {
    clq_status status = CLQ_OK;
    clq_buffer *to = NULL;
    const size_t bytes = d->y_count * sizeof(float);
    compute_forward(d);
    CLQ_TRY(clq_self_test_buffer(device, bytes, NULL, &to));
    CLQ_GOTO(status, cleanup,
             v->method == BY_GEMM  ? run_gemm(device, d, to)
             : v->method == BY_SUM ? run_sum(device, v, d, false, d->x_buffer, to)
                                   : run_winograd(device, v, d, false, d->x_buffer, to));
    CLQ_GOTO(status, cleanup, clq_buffer_read(to, 0, bytes, d->got));
    compare(d, d->y_count, v->method == BY_WINOGRAD, right, wrong);
cleanup:
    clq_buffer_release(to);
    return status;
}

static clq_status test_backward(clq_device *device, const f32_variant *v, f32_data *d, bool *right,
                                char wrong[CLQ_WRONG_TEXT]) {
    clq_status status = CLQ_OK;
    clq_buffer *to = NULL;
    const size_t bytes = d->x_count * sizeof(float);
    compute_backward(d);
    CLQ_TRY(clq_self_test_buffer(device, bytes, NULL, &to));
    CLQ_GOTO(status, cleanup,
             v->method == BY_SUM ? run_sum(device, v, d, true, d->y_buffer, to)
                                 : run_winograd(device, v, d, true, d->y_buffer, to));
    CLQ_GOTO(status, cleanup, clq_buffer_read(to, 0, bytes, d->got));
    compare(d, d->x_count, v->method == BY_WINOGRAD, right, wrong);
cleanup:
    clq_buffer_release(to);
    return status;
}

static clq_status test_weights(clq_device *device, const f32_variant *v, f32_data *d, bool *right,
                               char wrong[CLQ_WRONG_TEXT]) {
    clq_status status = CLQ_OK;
    clq_buffer *dw = NULL, *db = NULL;
    const size_t w_bytes = d->w_count * sizeof(float), b_bytes = (size_t)d->g.oc * sizeof(float);
    compute_weights(d);
    CLQ_GOTO(status, cleanup, clq_self_test_buffer(device, w_bytes, NULL, &dw));
    CLQ_GOTO(status, cleanup, clq_self_test_buffer(device, b_bytes, NULL, &db));
    CLQ_GOTO(status, cleanup, run_weights(device, d, v->method == WEIGHTS_BY_WINOGRAD, dw, db));
    CLQ_GOTO(status, cleanup, clq_buffer_read(dw, 0, w_bytes, d->got));
    CLQ_GOTO(status, cleanup, clq_buffer_read(db, 0, b_bytes, d->got + d->w_count));
    compare(d, d->w_count + (size_t)d->g.oc, v->method == WEIGHTS_BY_WINOGRAD, right, wrong);
cleanup:
    clq_buffer_release(dw);
    clq_buffer_release(db);
    return status;
}

static clq_status test_directions(clq_device *device, const f32_variant *v, f32_data *d,
                                  bool *right, char wrong[CLQ_WRONG_TEXT]) {
    clq_conv_geometry mirrored = v->g;
    if (v->method == WEIGHTS || v->method == WEIGHTS_BY_WINOGRAD) {
        return test_weights(device, v, d, right, wrong);
    }
    for (int i = 0; i < 2 && *right; i++) {
        d->adds = i;
        CLQ_TRY(test_forward(device, v, d, right, wrong));
    }
    if (!*right || v->method == BY_GEMM) {
        return CLQ_OK;
    }
    if (v->method == BY_SUM) { /* strides may leave a program one direction */
        bool suits;
        CLQ_TRY(clq_conv_sum_suits(device, &d->g, true, v->choice, &suits));
        if (!suits) {
            return CLQ_OK;
        }
    }
    if (v->method == BY_WINOGRAD) { /* the plan is for as many results as forward has */
        mirrored.ic = v->g.oc;
        mirrored.oc = v->g.ic;
        free_data(d);
        *d = (f32_data){0};
        CLQ_TRY(make_data(device, &mirrored, d));
    }
    return test_backward(device, v, d, right, wrong);
}

static clq_status run_test(clq_device *device, const void *context, bool *right,
                           char wrong[CLQ_WRONG_TEXT]) {
    const f32_variant *v = context;
    f32_data d = {0};
    *right = true;
    clq_status status = make_data(device, &v->g, &d);
    if (status == CLQ_OK) {
        status = test_directions(device, v, &d, right, wrong);
    }
    free_data(&d);
    return status;
}

/* ---- the interface ---- */

/* A few rows of a depthwise convolution, as its width and channels decide on its build options. */
static clq_conv_geometry few_rows(const clq_conv_geometry *g) {
    enum { ROWS = 5 };
    clq_conv_geometry few = *g;
    few.n = 1;
    if (few.oh > ROWS) {
        const int reach = (ROWS - 1) * g->stride_h + (g->kh - 1) * g->dilation_h + 1;
        few.oh = ROWS;
        few.ih = reach - g->pad_top < g->ih ? reach - g->pad_top : g->ih;
    }
    return few;
}

clq_status clq_f32_plan_works(clq_device *device, const clq_f32_plan *plan,
                              const clq_conv_geometry *geometry, bool *works) {
    const clq_conv_choice *of = &plan->choice;
    const bool depthwise = clq_conv_is_depthwise(geometry);
    const clq_conv_choice choice = {
        .kernel = of->kernel, .tile = {of->tile[0], of->tile[1]}, .group = of->group};
    f32_variant v = {BY_SUM, depthwise ? few_rows(geometry) : base_geometry, &choice, NULL};
    if (of->kernel == CLQ_CONV_GROUP && strstr(plan->options, "-DVEC=1")) {
        v.g.ic--; /* 4 of them at a time where they are a multiple of 4 */
        v.g.oc++;
    }
    if (of->kernel == CLQ_CONV_PATCH) {
        v.g.oc = 40; /* a patch of all of them must fit */
    }
    return clq_self_test(device, plan->kernel_name, plan->options, run_test, &v, works);
}

clq_status clq_f32_gemm_works(clq_device *device, bool *works) {
    f32_variant v = {BY_GEMM, base_geometry, NULL, NULL};
    v.g.kh = v.g.kw = 1;
    v.g.pad_top = v.g.pad_left = 0;
    return clq_self_test(device, "CLBlast's matrix product", NULL, run_test, &v, works);
}

/* With blocks as large as the plan's, one whole and one not, and with as many tiles of columns at
 * once, as far as MOST columns go, of which the last is not whole: how much of a work-item's sums
 * is used may matter. The depth is more than a work-item packs (Mesa 22.3.6), or that which the
 * fused kernel is built for. */
clq_status clq_f32_winograd_works(clq_device *device, const clq_winograd_plan *plan, bool *works) {
    enum { WIDTH = 30, DEPTH = 49, MOST = 192 };
    const int vector = clq_winograd_vector(device), tile_cols = plan->vectors * vector;
    const int across = (WIDTH + plan->out - 1) / plan->out, down = plan->block / across + 1;
    const int most = MOST / tile_cols;
    clq_winograd_plan small = *plan;
    f32_variant v = {BY_WINOGRAD, base_geometry, NULL, &small};
    char variant[96];
    small.item_cols = plan->item_cols < most ? plan->item_cols : most;
    small.cols = plan->cols < small.item_cols ? plan->cols : small.item_cols;
    v.g.ih = v.g.oh = down * plan->out - 1;
    v.g.iw = v.g.ow = WIDTH;
    v.g.ic = plan->fused ? plan->depth : DEPTH;
    v.g.oc = plan->fused ? plan->depth : small.item_cols * tile_cols + 1;
    snprintf(variant, sizeof variant, "-DOUT=%d -DMR=%d -DNV=%d%s of %d block=%d cols=%d of %d",
             plan->out, plan->rows, plan->vectors, plan->fused ? " fused" : "", v.g.ic, small.block,
             small.cols, small.item_cols);
    return clq_self_test(device, "conv2d_f32_winograd", variant, run_test, &v, works);
}

/* With the kernel, stride and dilation of the shape, on images of several parts. */
clq_status clq_f32_weights_work(clq_device *device, const clq_conv_geometry *geometry,
                                bool winograd, bool *works) {
    enum { SIDE = 20, IC = 33, OC = 35 };
    const bool gpu = clq_device_get_info(device)->schedule == CLQ_SCHEDULE_GPU;
    f32_variant v = {winograd ? WEIGHTS_BY_WINOGRAD : WEIGHTS, *geometry, NULL, NULL};
    char variant[64];
    v.g.n = 1;
    v.g.oh = geometry->oh < SIDE ? geometry->oh : SIDE;
    v.g.ow = geometry->ow < SIDE ? geometry->ow : SIDE;
    v.g.ih = (v.g.oh - 1) * v.g.stride_h + (v.g.kh - 1) * v.g.dilation_h + 1 - v.g.pad_top;
    v.g.iw = (v.g.ow - 1) * v.g.stride_w + (v.g.kw - 1) * v.g.dilation_w + 1 - v.g.pad_left;
    v.g.ic = IC;
    v.g.oc = OC;
    v.g.groups = 1;
    if (clq_conv_is_depthwise(geometry)) {
        v.g.ic = v.g.oc = v.g.groups = 40;
    }
    if (winograd && clq_winograd_weights_own(device, geometry)) { /* built for its depth */
        v.g.ic = geometry->ic;
        v.g.oc = geometry->oc;
    }
    snprintf(variant, sizeof variant, "%dx%dx%d of %dx%dx%d by %dx%d+%d+%d", v.g.kh, v.g.kw, v.g.ic,
             v.g.oh, v.g.ow, v.g.oc, v.g.stride_h, v.g.stride_w, v.g.dilation_h, v.g.dilation_w);
    const char *family = winograd         ? "conv2d_f32_winograd_weights"
                         : v.g.groups > 1 ? "conv2d_f32_depthwise_weights"
                         : gpu            ? "conv2d_f32_block_weights"
                                          : "conv2d_f32_weights";
    return clq_self_test(device, family, variant, run_test, &v, works);
}
