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

/* The part of the convolution that one tap contributes to one output pixel. */
typedef struct contribution {
    size_t x_pixel, y_pixel;
    size_t tap; /* kh * KW + kw */
} contribution;

typedef void visit_function(void *context, contribution c);

/* Calls visit for every output pixel and tap whose source pixel lies inside the image. */
static void for_each_contribution(const clq_conv_geometry *g, visit_function *visit,
                                  void *context) {
    for (int n = 0; n < g->n; n++)
        for (int oy = 0; oy < g->oh; oy++)
            for (int ox = 0; ox < g->ow; ox++)
                for (int kh = 0; kh < g->kh; kh++)
                    for (int kw = 0; kw < g->kw; kw++) {
                        int iy = oy * g->stride_h - g->pad_top + kh * g->dilation_h;
                        int ix = ox * g->stride_w - g->pad_left + kw * g->dilation_w;
                        if (g->transposed) { /* output iy * stride - pad + kh * dilation */
                            const int y = oy + g->pad_top - kh * g->dilation_h;
                            const int x = ox + g->pad_left - kw * g->dilation_w;
                            iy = y % g->stride_h == 0 ? y / g->stride_h : -1;
                            ix = x % g->stride_w == 0 ? x / g->stride_w : -1;
                        }
                        if (iy < 0 || iy >= g->ih || ix < 0 || ix >= g->iw) {
                            continue;
                        }
                        visit(context,
                              (contribution){.x_pixel = ((size_t)n * g->ih + iy) * g->iw + ix,
                                             .y_pixel = ((size_t)n * g->oh + oy) * g->ow + ox,
                                             .tap = (size_t)kh * g->kw + kw});
                    }
}

/* Input channels of a group; the first one that output channel oc reads; where its weights of the
 * tap begin. */
static int group_channels(const clq_conv_geometry *g) {
    return g->ic / g->groups;
}

static int first_channel(const clq_conv_geometry *g, int oc) {
    return oc / (g->oc / g->groups) * group_channels(g);
}

static size_t weights_at(const clq_conv_geometry *g, int oc, size_t tap) {
    return ((size_t)oc * (size_t)(g->kh * g->kw) + tap) * (size_t)group_channels(g);
}

typedef struct float_context {
    const clq_conv_geometry *g;
    const float *x, *dy, *w;
    double *sums;
} float_context;

static void add_to_y(void *context, contribution c) {
    const float_context *f = context;
    const float *x = f->x + c.x_pixel * (size_t)f->g->ic;
    double *y = f->sums + c.y_pixel * (size_t)f->g->oc;
    for (int oc = 0; oc < f->g->oc; oc++) {
        const int first = first_channel(f->g, oc);
        const size_t at = weights_at(f->g, oc, c.tap);
        for (int i = 0; i < group_channels(f->g); i++) {
            y[oc] += (double)x[first + i] * f->w[at + (size_t)i];
        }
    }
}

static void add_to_dx(void *context, contribution c) {
    const float_context *f = context;
    const float *dy = f->dy + c.y_pixel * (size_t)f->g->oc;
    double *dx = f->sums + c.x_pixel * (size_t)f->g->ic;
    for (int oc = 0; oc < f->g->oc; oc++) {
        const int first = first_channel(f->g, oc);
        const size_t at = weights_at(f->g, oc, c.tap);
        for (int i = 0; i < group_channels(f->g); i++) {
            dx[first + i] += (double)dy[oc] * f->w[at + (size_t)i];
        }
    }
}

static void add_to_dw(void *context, contribution c) {
    const float_context *f = context;
    const float *x = f->x + c.x_pixel * (size_t)f->g->ic;
    const float *dy = f->dy + c.y_pixel * (size_t)f->g->oc;
    for (int oc = 0; oc < f->g->oc; oc++) {
        const int first = first_channel(f->g, oc);
        const size_t at = weights_at(f->g, oc, c.tap);
        for (int i = 0; i < group_channels(f->g); i++) {
            f->sums[at + (size_t)i] += (double)dy[oc] * x[first + i];
        }
    }
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
    float_context context = {g, x, NULL, w, calloc(count, sizeof(double))};
    for_each_contribution(g, add_to_y, &context);
    for (size_t i = 0; i < count; i++) {
        const double biased = context.sums[i] + (bias ? bias[i % (size_t)g->oc] : 0);
        y[i] = (float)activate(act, biased + (residual ? residual[i] : 0));
    }
    free(context.sums);
}

void ref_conv2d_f32_backward_data(const clq_conv_geometry *g, const float *dy, const float *w,
                                  bool accumulate, float *dx) {
    const size_t count = ref_conv2d_x_count(g);
    float_context context = {g, NULL, dy, w, calloc(count, sizeof(double))};
    for_each_contribution(g, add_to_dx, &context);
    for (size_t i = 0; i < count; i++) {
        dx[i] = (float)(context.sums[i] + (accumulate ? dx[i] : 0));
    }
    free(context.sums);
}

void ref_conv2d_f32_backward_weights(const clq_conv_geometry *g, const float *x, const float *dy,
                                     float *dw, float *db) {
    const size_t count = ref_conv2d_w_count(g);
    float_context context = {g, x, dy, NULL, calloc(count, sizeof(double))};
    for_each_contribution(g, add_to_dw, &context);
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
    const clq_conv_geometry *g;
    size_t pitch;
    int32_t zero_point;
    const uint8_t *x;
    const int8_t *w;
    int32_t *sums;
} int8_context;

static void add_codes(void *context, contribution c) {
    const int8_context *f = context;
    const uint8_t *x = f->x + c.x_pixel * f->pitch;
    int32_t *y = f->sums + c.y_pixel * (size_t)f->g->oc;
    for (int oc = 0; oc < f->g->oc; oc++) {
        const int first = first_channel(f->g, oc);
        const size_t at = weights_at(f->g, oc, c.tap);
        for (int i = 0; i < group_channels(f->g); i++) {
            y[oc] += (x[first + i] - f->zero_point) * f->w[at + (size_t)i];
        }
    }
}

void ref_conv2d_int8_sums(const clq_conv_geometry *g, const uint8_t *x, int pitch,
                          int32_t x_zero_point, const int8_t *w, const int32_t *bias,
                          int32_t *sums) {
    int8_context context = {g, (size_t)pitch, x_zero_point, x, w, sums};
    for (size_t i = 0; i < ref_conv2d_y_count(g); i++) {
        sums[i] = bias ? bias[i % (size_t)g->oc] : 0;
    }
    for_each_contribution(g, add_codes, &context);
}
