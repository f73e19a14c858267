/* reshape and flatten on codes: floats are copied as they lie; rows of bytes have a pitch, so what
 * lies between them goes and comes. */
#include "ops/move.h"
#include "ops/quantized_run.h"

/* run->state of INT8 */
typedef struct reshaping {
    clq_move *first, *second; /* second: from codes without gaps, where rows of x and y do not fit
                                 into each other; else NULL */
} reshaping;

static clq_status make_move(clq_op_run *run, const clq_move_axis axes[3], int64_t row,
                            int64_t pitch, clq_move **move) {
    clq_move_map map = {.axis_count = 3, .axis = {axes[0], axes[1], axes[2]}};
    if (row != pitch) {
        map.row = row;
        map.pitch = pitch;
        map.same_rows = axes[1].count == 1;
    }
    return clq_move_create(run->device, &map, CLQ_MOVE_CODES, move);
}

/* From rows of `wide` codes, `pitch` apart, to `parts` times as many of `wide` / `parts`. */
static clq_status split_rows(clq_op_run *run, int64_t rows, int64_t wide, int64_t pitch,
                             int64_t parts, int64_t part_pitch, clq_move **move) {
    const int64_t narrow = wide / parts;
    const clq_move_axis axes[3] = {{rows, parts * part_pitch, rows, pitch, 0, 1, NULL},
                                   {parts, part_pitch, parts, narrow, 0, 1, NULL},
                                   {narrow, 1, narrow, 1, 0, 1, NULL}};
    return make_move(run, axes, narrow, part_pitch, move);
}

/* The other way. */
static clq_status join_rows(clq_op_run *run, int64_t rows, int64_t wide, int64_t pitch,
                            int64_t parts, int64_t part_pitch, clq_move **move) {
    const int64_t narrow = wide / parts;
    const clq_move_axis axes[3] = {{rows, pitch, rows, parts * part_pitch, 0, 1, NULL},
                                   {parts, narrow, parts, part_pitch, 0, 1, NULL},
                                   {narrow, 1, narrow, 1, 0, 1, NULL}};
    return make_move(run, axes, wide, pitch, move);
}

static clq_status prepare_codes(clq_op_run *run, reshaping *r) {
    const int64_t from = clq_channels(&run->in[0]), to = clq_channels(&run->out);
    const int64_t x_pitch = run->in[0].pitch, y_pitch = run->out.pitch;
    const int64_t x_rows = clq_pixels(&run->in[0]), y_rows = clq_pixels(&run->out);
    if (from % to == 0) {
        return split_rows(run, x_rows, from, x_pitch, from / to, y_pitch, &r->first);
    }
    if (to % from == 0) {
        return join_rows(run, y_rows, to, y_pitch, to / from, x_pitch, &r->first);
    }
    CLQ_TRY(clq_scratch_reserve(run->device, (size_t)clq_shape_count(&run->out.shape)));
    CLQ_TRY(join_rows(run, 1, x_rows * from, x_rows * from, x_rows, x_pitch, &r->first));
    return split_rows(run, 1, y_rows * to, y_rows * to, y_rows, y_pitch, &r->second);
}

static clq_status prepare(clq_op_run *run) {
    CLQ_TRY(clq_check_codes(run, true));
    CLQ_TRY(clq_check_shared(run));
    if (run->mode != CLQ_EXEC_INT8) {
        return CLQ_OK;
    }
    reshaping *r = clq_calloc(1, sizeof *r);
    run->state = r;
    return r != NULL ? prepare_codes(run, r) : CLQ_NO_MEMORY;
}

static clq_status forward(clq_op_run *run) {
    const reshaping *r = run->state;
    void *none = NULL;
    clq_buffer *dense = NULL;
    if (run->mode != CLQ_EXEC_INT8) {
        return clq_call_real(run, run->node->op->forward, &none);
    }
    if (r->second == NULL) {
        return clq_move_run(r->first, run->in[0].buffer, run->out.buffer, NULL, NULL, false);
    }
    CLQ_TRY(clq_scratch_take(run->device, (size_t)clq_shape_count(&run->out.shape), &dense));
    clq_status status = clq_move_run(r->first, run->in[0].buffer, dense, NULL, NULL, false);
    if (status == CLQ_OK) {
        status = clq_move_run(r->second, dense, run->out.buffer, NULL, NULL, false);
    }
    clq_buffer_release(dense);
    return status;
}

static clq_status backward(clq_op_run *run) {
    void *none = NULL;
    return clq_call_real(run, run->node->op->backward, &none);
}

static void release(clq_op_run *run) {
    reshaping *r = run->state;
    if (r != NULL) {
        clq_move_destroy(r->first);
        clq_move_destroy(r->second);
        clq_free(r);
    }
}

const clq_quantized_op clq_reshape_quantized = {prepare, NULL, forward, backward, release, 0};
