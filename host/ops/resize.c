/* resize: x (N,H,W,C) -> (N,H',W',C), each output pixel a weighted sum of input pixels of some rows
 * and columns. The weights are made on the host; one kernel does the sums of all modes, and with
 * the weights the other way round their gradient. run->state is a clq_resize_state. */
#include "ops/resize.h"

#include <limits.h>
#include <math.h>

#include "ops/elementwise.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

/* ---- shape rule ---- */

static clq_status check_attrs(const clq_node *node, const clq_resize_attrs *attrs) {
    if ((unsigned)attrs->mode > CLQ_RESIZE_CUBIC ||
        (unsigned)attrs->coordinates > CLQ_RESIZE_TF_CROP_AND_RESIZE ||
        (unsigned)attrs->rounding > CLQ_RESIZE_CEIL) {
        return clq_op_broken(node, "mode %d, coordinates %d or rounding %d is unknown",
                             (int)attrs->mode, (int)attrs->coordinates, (int)attrs->rounding);
    }
    if (!(fabsf(attrs->cubic) <= 4)) {
        return clq_op_broken(node, "a cubic coefficient of %g must be in -4 .. 4",
                             (double)attrs->cubic);
    }
    if (!isfinite(attrs->outside)) {
        return clq_op_broken(node, "the value outside must be finite");
    }
    return CLQ_OK;
}

/* Of sizes that are given; scales, as which files have them, are floats. */
enum { MOST_PIXELS = 1 << 24, MOST_TIMES = 1 << 19 };

/* The rounding of the product is that of ONNX's own shape inference. */
static clq_status axis_size(const clq_node *node, const clq_resize_attrs *attrs, int axis,
                            int64_t in, int64_t *out) {
    static const char *const names[2] = {"height", "width"};
    const float scale = attrs->scale[axis], begin = attrs->box_begin[axis],
                end = attrs->box_end[axis];
    const bool boxed = attrs->coordinates == CLQ_RESIZE_TF_CROP_AND_RESIZE;
    if (attrs->size[axis] < 0 || !(scale >= 0 && scale <= 0x1p20f) ||
        (scale > 0 && scale < 0x1p-20f) || (attrs->size[axis] == 0 && scale == 0)) {
        return clq_op_broken(node, "%s: size %d must be positive, or scale %g in 2^-20 .. 2^20",
                             names[axis], attrs->size[axis], (double)scale);
    }
    const int64_t size = attrs->size[axis];
    if (size > MOST_PIXELS || size > in * MOST_TIMES || in > (size ? size : in) * MOST_TIMES) {
        return clq_op_broken(node,
                             "%s: size %lld must be at most 2^24, and within 2^-19 .. 2^19 of %lld",
                             names[axis], (long long)size, (long long)in);
    }
    if (boxed && !(fabsf(begin) <= 1024 && fabsf(end) <= 1024)) {
        return clq_op_broken(node, "%s: the box from %g to %g must be within +-1024 images",
                             names[axis], (double)begin, (double)end);
    }
    *out = attrs->size[axis];
    if (*out == 0) {
        const float size = (float)in * (boxed ? end - begin : 1) * scale;
        if (!(size >= 1 && size < 0x1p31f)) {
            return clq_op_broken(node, "%s %lld times %g is %g, must be 1 or more and below 2^31",
                                 names[axis], (long long)in, (double)scale, (double)size);
        }
        *out = (int64_t)floorf(size);
    }
    return CLQ_OK;
}

static clq_status infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_resize_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 4, 4));
    CLQ_TRY(check_attrs(node, attrs));
    *output = graph->values[node->inputs[0]].shape;
    for (int axis = 0; axis < 2; axis++) {
        int64_t *size = &output->dim[1 + axis];
        CLQ_TRY(axis_size(node, attrs, axis, *size, size));
    }
    return CLQ_OK;
}

/* ---- weights on the device ---- */

static clq_status upload(clq_device *device, const clq_resize_taps *taps, const void *weights,
                         clq_resize_axis *axis) {
    const size_t first = ((size_t)taps->out + 1) * sizeof *taps->first;
    const size_t count = (size_t)taps->count, most = count > 0 ? count : 1;
    CLQ_TRY(clq_buffer_create(device, first, &axis->first));
    CLQ_TRY(clq_buffer_create(device, most * sizeof *taps->from, &axis->from));
    CLQ_TRY(clq_buffer_create(device, most * sizeof(float), &axis->weight));
    CLQ_TRY(clq_buffer_write(axis->first, 0, first, taps->first));
    if (count == 0) { /* all outputs lie beyond the image */
        return CLQ_OK;
    }
    CLQ_TRY(clq_buffer_write(axis->from, 0, count * sizeof *taps->from, taps->from));
    return clq_buffer_write(axis->weight, 0, count * sizeof(float), weights);
}

static clq_status upload_whole(clq_device *device, const clq_resize_taps *taps, int bits,
                               clq_resize_axis *axis) {
    int32_t *codes = clq_calloc((size_t)taps->count + 1, sizeof *codes);
    if (!codes) {
        return CLQ_NO_MEMORY;
    }
    clq_resize_weight_codes(taps, bits, codes);
    const clq_status status = upload(device, taps, codes, axis);
    clq_free(codes);
    return status;
}

static clq_status upload_gradient(clq_device *device, const clq_resize_taps *taps,
                                  clq_resize_axis *axis) {
    clq_resize_taps back = {0};
    clq_status status = clq_resize_taps_transpose(taps, &back);
    if (status == CLQ_OK) {
        status = upload(device, &back, back.weight, axis);
    }
    clq_resize_taps_free(&back);
    return status;
}

clq_status clq_resize_prepare_as(clq_op_run *run, bool whole) {
    clq_status status = CLQ_OK;
    clq_resize_taps taps[2] = {{0}, {0}};
    clq_resize_state *state = clq_calloc(1, sizeof *state);
    if (!state) {
        return CLQ_NO_MEMORY;
    }
    run->state = state;
    for (int axis = 0; axis < 2; axis++) {
        CLQ_GOTO(status, cleanup,
                 clq_resize_taps_make(run->node->attrs, axis, (int)run->in[0].shape.dim[1 + axis],
                                      (int)run->out.shape.dim[1 + axis], &taps[axis]));
    }
    if (whole && !clq_resize_weight_bits(taps, &state->bits)) {
        status = clq_fail(CLQ_USAGE, "weights of its pixels are too large for sums of 32 bits: "
                                     "keep it float");
        goto cleanup;
    }
    for (int axis = 0; axis < 2; axis++) {
        CLQ_GOTO(status, cleanup,
                 whole
                     ? upload_whole(run->device, &taps[axis], state->bits, &state->forward[axis])
                     : upload(run->device, &taps[axis], taps[axis].weight, &state->forward[axis]));
        if (run->grad_in[0].buffer != NULL) {
            CLQ_GOTO(status, cleanup,
                     upload_gradient(run->device, &taps[axis], &state->backward[axis]));
        }
    }
cleanup:
    clq_resize_taps_free(&taps[0]);
    clq_resize_taps_free(&taps[1]);
    return status;
}

static clq_status prepare(clq_op_run *run) {
    return clq_resize_prepare_as(run, false);
}

void clq_resize_release(clq_op_run *run) {
    clq_resize_state *state = run->state;
    if (!state) {
        return;
    }
    for (int axis = 0; axis < 4; axis++) {
        clq_resize_axis *a = axis < 2 ? &state->forward[axis] : &state->backward[axis - 2];
        clq_buffer_release(a->first);
        clq_buffer_release(a->from);
        clq_buffer_release(a->weight);
    }
    clq_buffer_release(state->mask);
    clq_free(state);
}

/* ---- running ---- */

clq_range clq_resize_range(const clq_device *device, const clq_shape *dst) {
    enum { PIXEL_GRAIN = 1024 };
    const int64_t *d = dst->dim, rows = d[0] * d[1], row = d[2] * d[3];
    return CLQ_RANGE1(clq_device_get_info(device)->schedule == CLQ_SCHEDULE_GPU
                          ? (size_t)(rows * row)
                          : clq_work_items(device, rows, 1 + (PIXEL_GRAIN - 1) / row));
}

static clq_status gather(const clq_op_run *run, const clq_resize_axis axes[2], clq_buffer *src,
                         const clq_shape *src_shape, clq_buffer *dst, const clq_shape *dst_shape,
                         float outside, bool accumulate) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "resize_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_resize_range(run->device, dst_shape), CLQ_BUF(src),
                      CLQ_BUF(dst), CLQ_RESIZE_AXES(axes),
                      CLQ_RESIZE_SHAPE(src_shape->dim, dst_shape->dim), CLQ_F32(outside),
                      CLQ_I32(accumulate));
}

static clq_status forward(clq_op_run *run) {
    const clq_resize_attrs *attrs = run->node->attrs;
    const clq_resize_state *state = run->state;
    return gather(run, state->forward, run->in[0].buffer, &run->in[0].shape, run->out.buffer,
                  &run->out.shape, attrs->outside, false);
}

clq_status clq_resize_backward(clq_op_run *run) {
    const clq_resize_state *state = run->state;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    return gather(run, state->backward, run->grad_out.buffer, &run->out.shape,
                  run->grad_in[0].buffer, &run->in[0].shape, 0, run->accumulate[0]);
}

const clq_op clq_op_resize = {
    .name = "resize",
    .attrs_size = sizeof(clq_resize_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer,
    .prepare = prepare,
    .forward = forward,
    .backward = clq_resize_backward,
    .release = clq_resize_release,
    .quantized = &clq_resize_quantized,
    .output_shares_qparams = true,
};
