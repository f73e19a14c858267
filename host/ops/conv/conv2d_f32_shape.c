/* The tables of a sum over taps: kernels/include/conv_shape.h. */
#include "ops/conv/conv2d_f32_shape.h"

double clq_conv_operations(const clq_conv_geometry *g) {
    return 2.0 * g->n * g->oh * g->ow * g->oc * g->kh * g->kw * (g->ic / g->groups);
}

conv_shape clq_f32_shape(const clq_conv_geometry *g, bool backward) {
    const int taps = g->kh * g->kw, in = g->ic / g->groups, out = g->oc / g->groups;
    conv_shape s = {.n = g->n, .groups = g->groups, .phases = 1};
    if (backward) {
        s.src_h = g->oh, s.src_w = g->ow, s.src_c = g->oc;
        s.dst_h = g->ih, s.dst_w = g->iw, s.dst_c = g->ic;
        s.depth = out, s.cols = in;
        s.step_h = s.step_w = 1;
        s.dst_step_h = g->stride_h, s.dst_step_w = g->stride_w;
        s.phases = g->stride_h * g->stride_w;
        s.w_col = 1, s.w_depth = taps * in;
    } else {
        s.src_h = g->ih, s.src_w = g->iw, s.src_c = g->ic;
        s.dst_h = g->oh, s.dst_w = g->ow, s.dst_c = g->oc;
        s.depth = in, s.cols = out;
        s.step_h = g->stride_h, s.step_w = g->stride_w;
        s.dst_step_h = s.dst_step_w = 1;
        s.w_col = taps * in, s.w_depth = 1;
    }
    s.w_group = out * taps * in;
    s.w_tap = in;
    if (clq_conv_is_depthwise(g)) { /* the channels are the columns of one group */
        s.groups = s.depth = 1;
        s.cols = g->ic;
        s.w_col = taps;
        s.w_tap = 1;
    }
    return s;
}

/* The taps of one axis that reach residue `phase` of the input, offsets ascending. */
typedef struct axis {
    int grid, first, step, count;
    int kernel_first, kernel_step; /* kernel index of the first tap, and from tap to tap */
} axis;

static axis forward_axis(int out, int kernel, int pad, int dilation) {
    return (axis){out, -pad, dilation, kernel, 0, 1};
}

static axis backward_axis(int in, int kernel, int stride, int pad, int dilation, int phase) {
    axis a = {.grid = in > phase ? (in - phase + stride - 1) / stride : 0};
    for (int k = kernel - 1; k >= 0; k--) {
        const int reach = phase + pad - k * dilation;
        if (reach % stride != 0) {
            continue;
        }
        const int offset = reach / stride;
        if (a.count == 0) {
            a.first = offset;
            a.kernel_first = k;
        } else if (a.count == 1) {
            a.step = offset - a.first;
            a.kernel_step = k - a.kernel_first;
        }
        a.count++;
    }
    return a;
}

/* Fills the phase and its taps; returns how many taps. */
static int add_phase(const clq_conv_geometry *g, int index, axis h, axis w, int first_tap,
                     conv_phase *phase, conv_tap *taps) {
    *phase = (conv_phase){.grid_h = h.grid,
                          .grid_w = w.grid,
                          .first_tap = first_tap,
                          .taps = h.count * w.count,
                          .taps_h = h.count,
                          .taps_w = w.count,
                          .tap_dy = h.first,
                          .tap_step_dy = h.step,
                          .tap_dx = w.first,
                          .tap_step_dx = w.step};
    for (int y = 0; taps && y < h.count; y++) {
        for (int x = 0; x < w.count; x++) {
            const int kh = h.kernel_first + y * h.kernel_step;
            const int kw = w.kernel_first + x * w.kernel_step;
            taps[first_tap + y * w.count + x] =
                (conv_tap){h.first + y * h.step, w.first + x * w.step, kh * g->kw + kw, index};
        }
    }
    return phase->taps;
}

int clq_f32_phases(const clq_conv_geometry *g, bool backward, conv_phase *phases, conv_tap *taps) {
    int count = 0;
    if (!backward) {
        return add_phase(g, 0, forward_axis(g->oh, g->kh, g->pad_top, g->dilation_h),
                         forward_axis(g->ow, g->kw, g->pad_left, g->dilation_w), 0, phases, taps);
    }
    for (int y = 0; y < g->stride_h; y++) {
        const axis h = backward_axis(g->ih, g->kh, g->stride_h, g->pad_top, g->dilation_h, y);
        for (int x = 0; x < g->stride_w; x++) {
            const axis w = backward_axis(g->iw, g->kw, g->stride_w, g->pad_left, g->dilation_w, x);
            conv_phase *phase = &phases[y * g->stride_w + x];
            count += add_phase(g, y * g->stride_w + x, h, w, count, phase, taps);
            phase->out_y = y;
            phase->out_x = x;
        }
    }
    return count;
}
