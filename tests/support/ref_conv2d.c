#include "support/ref_conv2d.h"

#include <stdlib.h>

size_t ref_conv2d_x_count(const clq_conv_geometry *g) {
    return (size_t)g->n * (size_t)g->ih * (size_t)g->iw * (size_t)g->ic;
}

size_t ref_conv2d_w_count(const clq_conv_geometry *g) {
    return (size_t)g->oc * (size_t)g->kh * (size_t)g->kw * (size_t)(g->ic / g->groups);
}

size_t ref_conv2d_y_count(const clq_conv_geometry *g) {
    return (size_t)g->n * (size_t)g->oh * (size_t)g->ow * (size_t)g->oc;
}

/* One product of the convolution: indices into y, x (in pixels and channels) and w. */
typedef struct product {
    size_t y, x_pixel, w;
    int x_channel, oc;
} product;

typedef void visit_function(void *context, product p);

/* Calls visit for every product whose source pixel lies inside the image. */
static void for_each_product(const clq_conv_geometry *g, visit_function *visit, void *context) {
    const int in = g->ic / g->groups, out = g->oc / g->groups;
    for (int n = 0; n < g->n; n++)
        for (int oy = 0; oy < g->oh; oy++)
            for (int ox = 0; ox < g->ow; ox++)
                for (int oc = 0; oc < g->oc; oc++)
                    for (int kh = 0; kh < g->kh; kh++)
                        for (int kw = 0; kw < g->kw; kw++) {
                            const int iy = oy * g->stride_h - g->pad_top + kh * g->dilation_h;
                            const int ix = ox * g->stride_w - g->pad_left + kw * g->dilation_w;
                            if (iy < 0 || iy >= g->ih || ix < 0 || ix >= g->iw) {
                                continue;
                            }
                            for (int c = 0; c < in; c++) {
                                visit(context,
                                      (product){
                                          .y = (((size_t)n * g->oh + oy) * g->ow + ox) * g->oc + oc,
                                          .x_pixel = ((size_t)n * g->ih + iy) * g->iw + ix,
                                          .w = (((size_t)oc * g->kh + kh) * g->kw + kw) * in + c,
                                          .x_channel = oc / out * in + c,
                                          .oc = oc});
                            }
                        }
}

typedef struct float_context {
    int ic;
    const float *x, *dy, *w;
    double *sums;
} float_context;

static void add_to_y(void *context, product p) {
    const float_context *c = context;
    c->sums[p.y] += (double)c->x[p.x_pixel * c->ic + p.x_channel] * c->w[p.w];
}

static void add_to_dx(void *context, product p) {
    const float_context *c = context;
    c->sums[p.x_pixel * c->ic + p.x_channel] += (double)c->dy[p.y] * c->w[p.w];
}

static void add_to_dw(void *context, product p) {
    const float_context *c = context;
    c->sums[p.w] += (double)c->dy[p.y] * c->x[p.x_pixel * c->ic + p.x_channel];
}

static double activate(clq_act act, double y) {
    if (act != CLQ_ACT_NONE && y < 0) {
        return 0;
    }
    return act == CLQ_ACT_RELU6 && y > 6 ? 6 : y;
}

void ref_conv2d_f32(const clq_conv_geometry *g, const float *x, const float *w, const float *bias,
                    const float *residual, clq_act act, float *y) {
    const size_t count = ref_conv2d_y_count(g);
    float_context context = {g->ic, x, NULL, w, calloc(count, sizeof(double))};
    for_each_product(g, add_to_y, &context);
    for (size_t i = 0; i < count; i++) {
        const double biased = context.sums[i] + (bias ? bias[i % (size_t)g->oc] : 0);
        y[i] = (float)activate(act, biased + (residual ? residual[i] : 0));
    }
    free(context.sums);
}

void ref_conv2d_f32_backward_data(const clq_conv_geometry *g, const float *dy, const float *w,
                                  bool accumulate, float *dx) {
    const size_t count = ref_conv2d_x_count(g);
    float_context context = {g->ic, NULL, dy, w, calloc(count, sizeof(double))};
    for_each_product(g, add_to_dx, &context);
    for (size_t i = 0; i < count; i++) {
        dx[i] = (float)(context.sums[i] + (accumulate ? dx[i] : 0));
    }
    free(context.sums);
}

void ref_conv2d_f32_backward_weights(const clq_conv_geometry *g, const float *x, const float *dy,
                                     float *dw, float *db) {
    const size_t count = ref_conv2d_w_count(g);
    float_context context = {g->ic, x, dy, NULL, calloc(count, sizeof(double))};
    for_each_product(g, add_to_dw, &context);
    for (size_t i = 0; i < count; i++) {
        dw[i] = (float)context.sums[i];
    }
    free(context.sums);
    for (int oc = 0; db && oc < g->oc; oc++) {
        double sum = 0;
        for (size_t i = (size_t)oc; i < ref_conv2d_y_count(g); i += (size_t)g->oc) {
            sum += dy[i];
        }
        db[oc] = (float)sum;
    }
}

typedef struct int8_context {
    int pitch;
    int32_t zero_point;
    const uint8_t *x;
    const int8_t *w;
    int32_t *sums;
} int8_context;

static void add_codes(void *context, product p) {
    const int8_context *c = context;
    c->sums[p.y] +=
        (c->x[p.x_pixel * (size_t)c->pitch + (size_t)p.x_channel] - c->zero_point) * c->w[p.w];
}

void ref_conv2d_int8_sums(const clq_conv_geometry *g, const uint8_t *x, int pitch,
                          int32_t x_zero_point, const int8_t *w, const int32_t *bias,
                          int32_t *sums) {
    int8_context context = {pitch, x_zero_point, x, w, sums};
    for (size_t i = 0; i < ref_conv2d_y_count(g); i++) {
        sums[i] = bias ? bias[i % (size_t)g->oc] : 0;
    }
    for_each_product(g, add_codes, &context);
}
