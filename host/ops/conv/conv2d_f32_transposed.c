#include "ops/conv/conv2d_f32_transposed.h"

#include "ops/elementwise.h"

struct clq_conv_transposed {
    clq_device *device;
    clq_conv_geometry geometry; /* of the transposed one */
    clq_conv2d_f32 *from_y;     /* the convolution from y to x */
    clq_buffer *w, *dw;         /* its weights (IC, KH, KW, OC/G), and their gradient */
    clq_buffer *partial;        /* (PARTS, OC): of the bias's gradient */
};

enum { PARTS = 64 }; /* that sums over pixels are made of */

static clq_conv_geometry from_y_to_x(const clq_conv_geometry *g) {
    clq_conv_geometry to = *g;
    to.transposed = false;
    to.ih = g->oh, to.iw = g->ow, to.ic = g->oc;
    to.oh = g->ih, to.ow = g->iw, to.oc = g->ic;
    return to;
}

/* Its directions; what the tuning table says is about others. */
static int directions_from_y(int directions) {
    const int both = CLQ_CONV_FORWARD | CLQ_CONV_BACKWARD_DATA;
    return (directions & ~(both | CLQ_CONV_TUNE)) |
           (directions & CLQ_CONV_FORWARD ? CLQ_CONV_BACKWARD_DATA : 0) |
           (directions & CLQ_CONV_BACKWARD_DATA ? CLQ_CONV_FORWARD : 0);
}

static size_t weight_bytes(const clq_conv_geometry *g) {
    return (size_t)g->oc * (size_t)g->kh * (size_t)g->kw * (size_t)(g->ic / g->groups) *
           sizeof(float);
}

clq_status clq_conv_transposed_create(clq_device *device, const clq_conv_geometry *g,
                                      int directions, clq_conv_transposed **conv) {
    const clq_conv_geometry from_y = from_y_to_x(g);
    clq_status status = CLQ_OK;
    clq_conv_transposed *made = clq_calloc(1, sizeof *made);
    *conv = NULL;
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    made->device = device;
    made->geometry = *g;
    CLQ_GOTO(status, failed,
             clq_conv2d_f32_create(device, &from_y, directions_from_y(directions), &made->from_y));
    CLQ_GOTO(status, failed, clq_buffer_create(device, weight_bytes(g), &made->w));
    if (directions & CLQ_CONV_BACKWARD_WEIGHTS) {
        CLQ_GOTO(status, failed, clq_buffer_create(device, weight_bytes(g), &made->dw));
        CLQ_GOTO(status, failed,
                 clq_buffer_create(device, PARTS * (size_t)g->oc * sizeof(float), &made->partial));
    }
    *conv = made;
    return CLQ_OK;
failed:
    clq_conv_transposed_destroy(made);
    return status;
}

void clq_conv_transposed_destroy(clq_conv_transposed *conv) {
    if (conv) {
        clq_conv2d_f32_destroy(conv->from_y);
        clq_buffer_release(conv->w);
        clq_buffer_release(conv->dw);
        clq_buffer_release(conv->partial);
        clq_free(conv);
    }
}

/* from (G, A, taps, B) -> to (G, B, taps, A) */
static clq_status exchange(const clq_conv_transposed *conv, clq_buffer *from, clq_buffer *to, int a,
                           int b) {
    const clq_conv_geometry *g = &conv->geometry;
    const int taps = g->kh * g->kw, count = g->groups * a * taps * b;
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(conv->device, "exchange_channels", NULL, &kernel));
    return CLQ_LAUNCH(conv->device, kernel, CLQ_RANGE1(clq_work_items(conv->device, count, 4096)),
                      CLQ_BUF(from), CLQ_BUF(to), CLQ_I32(a), CLQ_I32(taps), CLQ_I32(b),
                      CLQ_I32(count));
}

clq_status clq_conv_transposed_load_weights(clq_conv_transposed *conv, clq_buffer *w) {
    const clq_conv_geometry *g = &conv->geometry;
    CLQ_TRY(exchange(conv, w, conv->w, g->oc / g->groups, g->ic / g->groups));
    return clq_conv2d_f32_load_weights(conv->from_y, conv->w);
}

clq_status clq_conv_transposed_forward(clq_conv_transposed *conv, clq_buffer *x, clq_buffer *bias,
                                       clq_buffer *residual, clq_act act, clq_buffer *y) {
    return clq_conv2d_f32_turned(conv->from_y, x, bias, residual, act, y);
}

clq_status clq_conv_transposed_backward_data(clq_conv_transposed *conv, clq_buffer *dy,
                                             clq_buffer *dx, bool accumulate) {
    return clq_conv2d_f32_forward(conv->from_y, dy, NULL, accumulate ? dx : NULL, CLQ_ACT_NONE, dx);
}

/* db = sums of dy over all pixels: of parts, then of their sums. */
static clq_status bias_gradient(const clq_conv_transposed *conv, clq_buffer *dy, clq_buffer *db) {
    const clq_conv_geometry *g = &conv->geometry;
    const int rows = g->n * g->oh * g->ow, parts = rows < PARTS ? rows : PARTS;
    const size_t columns = (size_t)(g->oc + 15) / 16 * 16;
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(conv->device, "channel_sums", NULL, &kernel));
    CLQ_TRY(CLQ_LAUNCH(conv->device, kernel, CLQ_RANGE2(columns, (size_t)parts), CLQ_BUF(dy),
                       CLQ_BUF(conv->partial), CLQ_I32(rows), CLQ_I32(g->oc), CLQ_I32(parts)));
    return CLQ_LAUNCH(conv->device, kernel, CLQ_RANGE2(columns, 1), CLQ_BUF(conv->partial),
                      CLQ_BUF(db), CLQ_I32(parts), CLQ_I32(g->oc), CLQ_I32(1));
}

clq_status clq_conv_transposed_backward_weights(clq_conv_transposed *conv, clq_buffer *x,
                                                clq_buffer *dy, clq_buffer *dw, clq_buffer *db) {
    const clq_conv_geometry *g = &conv->geometry;
    CLQ_TRY(clq_conv2d_f32_backward_weights(conv->from_y, dy, x, conv->dw, NULL));
    CLQ_TRY(exchange(conv, conv->dw, dw, g->ic / g->groups, g->oc / g->groups));
    return db ? bias_gradient(conv, dy, db) : CLQ_OK;
}
