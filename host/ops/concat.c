/* concat: the inputs one after the other along an axis. On codes those whose scale is not the
 * output's are requantized on their way: (2) of the reals that they stand for. */
#include "graph/shape.h"
#include "kernels/include/scales.h"
#include "ops/move.h"
#include "ops/quantized_run.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_status infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const int axis = ((const clq_concat_attrs *)node->attrs)->axis;
    for (int i = 0; i < node->input_count; i++) {
        CLQ_TRY(clq_want_activation(graph, node, i, 2, CLQ_MAX_RANK));
    }
    *output = graph->values[node->inputs[0]].shape;
    if (axis < 0 || axis >= output->rank) {
        return clq_op_broken(node, "there is no axis %d of %d", axis, output->rank);
    }
    for (int i = 1; i < node->input_count; i++) {
        const clq_shape *x = &graph->values[node->inputs[i]].shape;
        bool fits = x->rank == output->rank;
        for (int a = 0; fits && a < x->rank; a++) {
            fits = a == axis || x->dim[a] == output->dim[a];
        }
        if (!fits) {
            char first[CLQ_SHAPE_TEXT_SIZE], text[CLQ_SHAPE_TEXT_SIZE];
            clq_shape_text(&graph->values[node->inputs[0]].shape, first, sizeof first);
            clq_shape_text(x, text, sizeof text);
            return clq_op_broken(node, "inputs of shape %s and %s must be equal but for axis %d",
                                 first, text, axis);
        }
        output->dim[axis] += x->dim[axis]; /* 32 of them fit */
    }
    return CLQ_OK;
}

/* ---- an input's way ---- */

typedef struct part {
    clq_move *forward, *back;
    bool requantized;
    clq_buffer *table; /* INT8, of one that is requantized: U8 (256) */
    clq_buffer *reals; /* QAT, of one that is requantized: what its codes stand for, F32 */
} part;

static void release(clq_op_run *run) {
    part *parts = run->state;
    for (int i = 0; parts != NULL && i < run->node->input_count; i++) {
        clq_move_destroy(parts[i].forward);
        clq_move_destroy(parts[i].back);
        clq_buffer_release(parts[i].table);
        clq_buffer_release(parts[i].reals);
    }
    clq_free(parts);
}

static clq_status make_table(clq_op_run *run, const clq_tensor *in, clq_buffer **buffer) {
    const clq_int8_range x = clq_int8_range_of(in->value, CLQ_ACT_NONE);
    const clq_int8_range y = clq_int8_range_of(run->out.value, CLQ_ACT_NONE);
    uint8_t table[256];
    for (int q = 0; q < 256; q++) {
        const float real = x.scale * (float)(q - x.zero_point);
        table[q] = (uint8_t)clq_quantize_code(real, y.scale, (float)y.zero_point, (float)y.lo,
                                              (float)y.hi);
    }
    CLQ_TRY(clq_buffer_create(run->device, sizeof table, buffer));
    return clq_buffer_write(*buffer, 0, sizeof table, table);
}

/* Whether codes of `in` are others in the output. In training scales move, of one type together. */
static bool is_requantized(const clq_op_run *run, const clq_tensor *in) {
    return clq_is_code_mode(run) && !clq_same_codes(in->value, run->out.value);
}

static clq_status prepare_part(clq_op_run *run, int i, int64_t before, part *p) {
    const int axis = ((const clq_concat_attrs *)run->node->attrs)->axis;
    const clq_tensor *x = &run->in[i];
    const bool codes = run->out.dtype == CLQ_U8;
    clq_move_map map = clq_move_between(x, &run->out);
    map.axis[axis].count = x->shape.dim[axis];
    map.to = before * map.axis[axis].to;
    p->requantized = is_requantized(run, x);
    CLQ_TRY(clq_move_create(run->device, &map,
                            !codes           ? CLQ_MOVE_FLOATS
                            : p->requantized ? CLQ_MOVE_BY_TABLE
                                             : CLQ_MOVE_CODES,
                            &p->forward));
    if (codes && p->requantized) {
        CLQ_TRY(make_table(run, x, &p->table));
    }
    if (p->requantized && run->mode == CLQ_EXEC_QAT) {
        const size_t bytes = (size_t)clq_shape_count(&x->shape) * sizeof(float);
        CLQ_TRY(clq_buffer_create(run->device, bytes, &p->reals));
    }
    return run->mode == CLQ_EXEC_TRAIN || run->mode == CLQ_EXEC_QAT
               ? clq_move_create_back(run->device, &map, &p->back)
               : CLQ_OK;
}

static clq_status prepare(clq_op_run *run) {
    const int axis = ((const clq_concat_attrs *)run->node->attrs)->axis;
    int64_t before = 0;
    if (clq_is_code_mode(run)) {
        CLQ_TRY(clq_check_codes(run, true));
    }
    part *parts = clq_calloc((size_t)run->node->input_count, sizeof *parts);
    run->state = parts;
    if (parts == NULL) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < run->node->input_count; i++) {
        CLQ_TRY(prepare_part(run, i, before, &parts[i]));
        before += run->in[i].shape.dim[axis];
    }
    return CLQ_OK;
}

static clq_status keep_reals(const clq_op_run *run, const clq_tensor *x, const part *p) {
    const int64_t count = clq_shape_count(&x->shape);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "dequantize_codes", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count), CLQ_BUF(x->buffer),
                      CLQ_BUF(p->reals), CLQ_BUF(run->qstate->scale),
                      CLQ_I32(clq_table_index(run->graph, x)), CLQ_I32(count));
}

static clq_status forward(clq_op_run *run) {
    const part *parts = run->state;
    for (int i = 0; i < run->node->input_count; i++) {
        const part *p = &parts[i];
        if (p->requantized && p->table == NULL) {
            CLQ_TRY(clq_move_requantize(p->forward, run, &run->in[i]));
            CLQ_TRY(p->reals ? keep_reals(run, &run->in[i], p) : CLQ_OK);
        } else {
            CLQ_TRY(clq_move_run(p->forward, run->in[i].buffer, run->out.buffer, NULL, p->table,
                                 false));
        }
    }
    return CLQ_OK;
}

/* Straight through what was rounded anew, where its code was not clamped. */
static clq_status backward_requantized(const clq_op_run *run, int i, const part *p) {
    const int64_t count = clq_shape_count(&run->in[i].shape);
    clq_buffer *dx = run->grad_in[i].buffer, *dy = NULL;
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "quantize_codes_gradient", NULL, &kernel));
    CLQ_TRY(clq_scratch_take(run->device, (size_t)count * sizeof(float), &dy));
    clq_status status = clq_move_run(p->back, run->grad_out.buffer, dy, NULL, NULL, false);
    if (status == CLQ_OK) {
        status = CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                            CLQ_BUF(p->reals), CLQ_BUF(dy), CLQ_BUF(dx), CLQ_TABLES(run),
                            CLQ_INDEX(run, out), CLQ_I32(run->accumulate[i]), CLQ_I32(count));
    }
    clq_buffer_release(dy);
    return status;
}

static clq_status backward(clq_op_run *run) {
    const part *parts = run->state;
    for (int i = 0; i < run->node->input_count; i++) {
        if (run->grad_in[i].buffer != NULL && parts[i].reals != NULL) {
            CLQ_TRY(backward_requantized(run, i, &parts[i]));
        } else if (run->grad_in[i].buffer != NULL) {
            CLQ_TRY(clq_move_run(parts[i].back, run->grad_out.buffer, run->grad_in[i].buffer, NULL,
                                 NULL, run->accumulate[i]));
        }
    }
    return CLQ_OK;
}

static const clq_quantized_op quantized = {prepare, NULL, forward, backward, release, 0};

const clq_op clq_op_concat = {
    .name = "concat",
    .attrs_size = sizeof(clq_concat_attrs),
    .min_inputs = 1,
    .max_inputs = CLQ_MAX_INPUTS,
    .infer = infer,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .release = release,
    .quantized = &quantized,
    .joins_qparams = true,
};
