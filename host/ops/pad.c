/* pad: elements before and after x along each axis, of one value or by x's own. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "kernels/include/scales.h"
#include "ops/move_node.h"
#include "ops/quantized_run.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_status infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_pad_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    if ((unsigned)attrs->mode > CLQ_PAD_WRAP || !isfinite(attrs->value)) {
        return clq_op_broken(node, "mode %d is unknown, or value %g not finite", (int)attrs->mode,
                             (double)attrs->value);
    }
    *output = *x;
    for (int a = 0; a < x->rank; a++) {
        const int64_t before = attrs->before[a], after = attrs->after[a];
        /* As far as there is something to reflect, or a whole turn. */
        const int64_t most = attrs->mode == CLQ_PAD_REFLECT ? x->dim[a] - 1
                             : attrs->mode == CLQ_PAD_WRAP  ? x->dim[a]
                                                            : INT_MAX;
        if (before < 0 || after < 0 || before > most || after > most) {
            return clq_op_broken(node, "%lld and %lld elements around axis %d must be 0 to %lld",
                                 (long long)before, (long long)after, a, (long long)most);
        }
        output->dim[a] = before + x->dim[a] + after;
    }
    return CLQ_OK;
}

/* x's element that y's element i, counted from x's first one, repeats. */
static int64_t repeated(clq_pad_mode mode, int64_t i, int64_t size) {
    switch (mode) {
    case CLQ_PAD_EDGE:
        return i < 0 ? 0 : i < size ? i : size - 1;
    case CLQ_PAD_REFLECT:
        return i < 0 ? -i : i < size ? i : 2 * (size - 1) - i;
    default:
        return (i + size) % size;
    }
}

static clq_status fill_tables(const clq_pad_attrs *attrs, clq_move_map *map,
                              int32_t *tables[CLQ_MAX_RANK]) {
    for (int a = 0; a < map->axis_count; a++) {
        clq_move_axis *axis = &map->axis[a];
        if (axis->count == axis->from_count || attrs->mode == CLQ_PAD_CONSTANT) {
            axis->start = -attrs->before[a];
            continue;
        }
        tables[a] = clq_calloc((size_t)axis->count, sizeof **tables);
        if (tables[a] == NULL) {
            return CLQ_NO_MEMORY;
        }
        for (int64_t i = 0; i < axis->count; i++) {
            tables[a][i] = (int32_t)repeated(attrs->mode, i - attrs->before[a], axis->from_count);
        }
        axis->table = tables[a];
    }
    return CLQ_OK;
}

static clq_status make_fill(clq_op_run *run, clq_move_node *node) {
    const float value = ((const clq_pad_attrs *)run->node->attrs)->value;
    const bool codes = run->out.dtype == CLQ_U8;
    uint8_t bytes[4] = {0};
    if (!codes && value == 0) {
        return CLQ_OK; /* as a code less its zero point, too */
    }
    if (codes) {
        const clq_int8_range range = clq_int8_range_of(run->out.value, CLQ_ACT_NONE);
        const float code = clq_quantize_code(value, range.scale, (float)range.zero_point,
                                             (float)range.lo, (float)range.hi);
        memset(bytes, (int)code, sizeof bytes);
    }
    CLQ_TRY(clq_buffer_create(run->device, sizeof bytes, &node->fill));
    CLQ_TRY(clq_buffer_write(node->fill, 0, sizeof bytes, codes ? (const void *)bytes : &value));
    if (codes || !clq_is_code_mode(run)) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_buffer_create(run->device, sizeof value, &node->real));
    return clq_buffer_write(node->real, 0, sizeof value, &value);
}

static clq_status prepare(clq_op_run *run) {
    clq_move_map map = clq_move_between(&run->in[0], &run->out);
    int32_t *tables[CLQ_MAX_RANK] = {NULL};
    clq_status status = fill_tables(run->node->attrs, &map, tables);
    if (status == CLQ_OK) {
        status = clq_move_node_prepare(run, &map);
    }
    for (int a = 0; a < CLQ_MAX_RANK; a++) {
        clq_free(tables[a]);
    }
    return status == CLQ_OK ? make_fill(run, run->state) : status;
}

/* The value as a code of y's, whose scale may have changed; observed where the others are. */
static clq_status quantize_fill(const clq_op_run *run, const clq_move_node *node) {
    const clq_shape one = {1, {1}};
    const clq_tensor real = {.buffer = node->real, .shape = one, .dtype = CLQ_F32, .pitch = 1};
    clq_tensor code = real;
    code.buffer = node->fill;
    code.value = run->out.value;
    return clq_quantize_activation(run->device, run->graph, run->qstate, &real, &code);
}

static clq_status forward(clq_op_run *run) {
    const clq_move_node *node = run->state;
    if (node->real != NULL) {
        CLQ_TRY(quantize_fill(run, node));
    }
    return clq_move_node_forward(run);
}

static const clq_quantized_op quantized = {
    prepare, NULL, forward, clq_move_node_backward, clq_move_node_release, 0};

const clq_op clq_op_pad = {
    .name = "pad",
    .attrs_size = sizeof(clq_pad_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer,
    .prepare = prepare,
    .forward = forward,
    .backward = clq_move_node_backward,
    .release = clq_move_node_release,
    .quantized = &quantized,
    .output_shares_qparams = true,
};
