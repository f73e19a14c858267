#include "ops/conv/conv2d_int8_transposed.h"

#include "base/checked.h"
#include "ops/elementwise.h"

struct clq_int8_phases {
    clq_device *device;
    clq_conv_geometry geometry; /* of the transposed convolution */
    int grid_h, grid_w;         /* pixels of a phase */
    int from_bytes, to_bytes;   /* of a pixel before and after */
    bool reals;
    /* Of the expanded convolution, until dropped. */
    int8_t *w;
    int32_t *bias;
    float *w_scale;
};

/* One axis: output pixel g * stride + phase is the sum over kernel's taps k of input pixel g +
 * offset(phase, k), where stride divides phase + pad - k * dilation. */
typedef struct axis {
    int stride, pad, dilation, kernel;
    int first, taps; /* offsets first .. first + taps - 1 */
} axis;

static bool reaches(const axis *a, int phase, int k, int *offset) {
    const int place = phase + a->pad - k * a->dilation;
    *offset = place / a->stride;
    return place % a->stride == 0;
}

static axis make_axis(int stride, int pad, int dilation, int kernel) {
    axis a = {stride, pad, dilation, kernel, 0, 0};
    int last = 0;
    for (int phase = 0; phase < stride; phase++) {
        for (int k = 0; k < kernel; k++) {
            int offset;
            if (reaches(&a, phase, k, &offset)) {
                a.first = offset < a.first ? offset : a.first;
                last = offset > last ? offset : last;
            }
        }
    }
    a.taps = last - a.first + 1;
    return a;
}

/* Channel o of a group's phase p is channel (group * phases + p) * (OC / G) + o. */
static void expand_weights(const clq_conv_geometry *g, const axis *h, const axis *w,
                           const int8_t *from, int8_t *to) {
    const int depth = g->ic / g->groups, cols = g->oc / g->groups;
    const int phases = g->stride_h * g->stride_w;
    for (int oc = 0; oc < g->oc; oc++) {
        for (int p = 0; p < phases; p++) {
            const size_t channel =
                ((size_t)(oc / cols) * (size_t)phases + (size_t)p) * (size_t)cols +
                (size_t)(oc % cols);
            for (int k = 0; k < g->kh * g->kw; k++) {
                int y, x;
                if (!reaches(h, p / g->stride_w, k / g->kw, &y) ||
                    !reaches(w, p % g->stride_w, k % g->kw, &x)) {
                    continue;
                }
                const size_t tap = (size_t)((y - h->first) * w->taps + x - w->first);
                const size_t row = channel * (size_t)(h->taps * w->taps) + tap;
                for (int c = 0; c < depth; c++) {
                    to[row * (size_t)depth + (size_t)c] =
                        from[((size_t)oc * (size_t)(g->kh * g->kw) + (size_t)k) * (size_t)depth +
                             (size_t)c];
                }
            }
        }
    }
}

static clq_status expand(clq_int8_phases *p, const clq_conv2d_int8_params *params,
                         clq_conv_geometry *e) {
    const clq_conv_geometry *g = &p->geometry;
    const axis h = make_axis(g->stride_h, g->pad_top, g->dilation_h, g->kh);
    const axis w = make_axis(g->stride_w, g->pad_left, g->dilation_w, g->kw);
    const int64_t phases = (int64_t)g->stride_h * g->stride_w, limit = 1 << 28;
    const int64_t taps = (int64_t)h.taps * w.taps, channels = phases * g->oc;
    if (phases > limit || channels > limit || taps > limit ||
        (double)channels * (double)taps * (g->ic / g->groups) > (double)limit) {
        return clq_fail(CLQ_NO_MEMORY,
                        "a transposed convolution of %lld phases with %lld taps and %d x %d "
                        "channels is too large for integers",
                        (long long)phases, (long long)taps, g->ic, g->oc);
    }
    *e = (clq_conv_geometry){.n = g->n,
                             .ih = g->ih,
                             .iw = g->iw,
                             .ic = g->ic,
                             .oc = (int)channels,
                             .kh = h.taps,
                             .kw = w.taps,
                             .oh = p->grid_h,
                             .ow = p->grid_w,
                             .stride_h = 1,
                             .stride_w = 1,
                             .pad_top = -h.first,
                             .pad_left = -w.first,
                             .dilation_h = 1,
                             .dilation_w = 1,
                             .groups = g->groups};
    const size_t weights = (size_t)channels * (size_t)taps * (size_t)(g->ic / g->groups);
    p->w = clq_calloc(weights, 1);
    p->w_scale = clq_calloc((size_t)channels, sizeof *p->w_scale);
    p->bias = clq_calloc((size_t)channels, sizeof *p->bias);
    if (!p->w || !p->w_scale || !p->bias) {
        return CLQ_NO_MEMORY;
    }
    expand_weights(g, &h, &w, params->w, p->w);
    const int cols = g->oc / g->groups;
    for (int i = 0; i < e->oc; i++) {
        const int oc = i / cols / (int)phases * cols + i % cols;
        p->w_scale[i] = params->w_scale[oc];
        p->bias[i] = params->bias ? params->bias[oc] : 0;
    }
    return CLQ_OK;
}

clq_status clq_int8_phases_create(clq_device *device, const clq_conv_geometry *g,
                                  const clq_conv2d_int8_params *params, clq_conv_geometry *e,
                                  clq_conv2d_int8_params *expanded, clq_int8_phases **result) {
    clq_status status = CLQ_OK;
    clq_int8_phases *p = clq_calloc(1, sizeof *p);
    *result = NULL;
    if (!p) {
        return CLQ_NO_MEMORY;
    }
    *p = (clq_int8_phases){.device = device,
                           .geometry = *g,
                           .grid_h = (int)clq_ceil_div((size_t)g->oh, (size_t)g->stride_h),
                           .grid_w = (int)clq_ceil_div((size_t)g->ow, (size_t)g->stride_w),
                           .reals = params->float_output};
    if (params->has_residual) {
        status = clq_fail(CLQ_INTERNAL, "a transposed integer convolution takes no residual");
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, expand(p, params, e));
    p->from_bytes = p->reals ? 4 * e->oc : (int)clq_round_up((size_t)e->oc, 4);
    p->to_bytes = p->reals ? 4 * g->oc : (int)clq_round_up((size_t)g->oc, 4);
    *expanded = *params;
    expanded->w = p->w;
    expanded->bias = p->bias;
    expanded->w_scale = p->w_scale;
    *result = p;
    p = NULL;
cleanup:
    clq_int8_phases_destroy(p);
    return status;
}

void clq_int8_phases_drop(clq_int8_phases *p) {
    clq_free(p->w);
    clq_free(p->bias);
    clq_free(p->w_scale);
    p->w = NULL;
    p->bias = NULL;
    p->w_scale = NULL;
}

void clq_int8_phases_destroy(clq_int8_phases *p) {
    if (p) {
        clq_int8_phases_drop(p);
        clq_free(p);
    }
}

static size_t made_bytes(const clq_int8_phases *p) {
    return (size_t)p->geometry.n * (size_t)p->grid_h * (size_t)p->grid_w * (size_t)p->from_bytes;
}

clq_status clq_int8_phases_take(clq_int8_phases *p, clq_buffer **made) {
    return clq_scratch_take(p->device, made_bytes(p), made);
}

clq_status clq_int8_phases_place(clq_int8_phases *p, clq_buffer *made, clq_buffer *y) {
    const clq_conv_geometry *g = &p->geometry;
    const int64_t words = (int64_t)g->n * g->oh * g->ow * (p->to_bytes / 4);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(p->device, "int8_place_phases", NULL, &kernel));
    return CLQ_LAUNCH(p->device, kernel, CLQ_RANGE1(clq_work_items(p->device, words, 1024)),
                      CLQ_BUF(made), CLQ_BUF(y), CLQ_I32(words), CLQ_I32(g->oh), CLQ_I32(g->ow),
                      CLQ_I32(g->oc), CLQ_I32(p->grid_h), CLQ_I32(p->grid_w), CLQ_I32(g->stride_h),
                      CLQ_I32(g->stride_w), CLQ_I32(g->groups), CLQ_I32(p->from_bytes),
                      CLQ_I32(p->to_bytes / 4), CLQ_I32(p->reals));
}
