/* batch_norm: y = (x - mean) / sqrt(var + epsilon) * gamma + beta over all but the last axis, with
 * the batch's statistics in training and the running ones in inference; an addition and a relu or
 * relu6 behind it run in the same pass. kernels/f32/batch_norm.cl defines the tables and parts used
 * here.
 */
#include <limits.h>
#include <math.h>

#include "base/ranks.h"
#include "graph/node.h"
#include "ops/elementwise.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

enum { X, GAMMA, BETA, RUNNING_MEAN, RUNNING_VAR }; /* inputs */
enum { TABLES = 5 };                                /* of `cols` floats, and one of `channels` */
enum { CELL_GRAIN = 4096, PART_GRAIN = 16384 };     /* floats an item handles at least */
enum { MAX_PARTS_CPU = 64, MAX_PARTS_GPU = 512 };

typedef struct batch_norm {
    int rows, cols, channels; /* x as (rows, cols), a multiple of channels columns */
    int parts, part_rows; /* rows are summed in parts; from the shape alone, as they decide bits */
    size_t row_items, channel_items;
    clq_buffer *tables, *partial;
    clq_buffer *merged; /* (ranks, 2, cols), when several ranks share statistics */
    float *host;        /* (1 + ranks, 2, cols): this rank's, and all */
} batch_norm;

/* Sums over rows, in parts of part_rows each. */
typedef struct row_sums {
    clq_buffer *partial; /* (parts, 2, cols) */
    int rows, part_rows, parts;
} row_sums;

/* ---- how the work is laid out ---- */

/* Places rows side by side until they fill vectors of 16, then up to 64 columns. */
static int fold_rows(int64_t rows, int64_t channels) {
    int64_t fold = 1;
    while (fold < 16 && fold * channels % 16 != 0) {
        fold *= 2;
    }
    if (rows % fold != 0) {
        return 1;
    }
    while (fold * channels < 64 && rows % (2 * fold) == 0) {
        fold *= 2;
    }
    return (int)fold;
}

static void lay_out(batch_norm *bn, const clq_op_run *run) {
    const clq_shape *shape = &run->in[X].shape;
    const bool gpu = clq_device_get_info(run->device)->schedule == CLQ_SCHEDULE_GPU;
    const int64_t channels = shape->dim[shape->rank - 1];
    const int64_t rows = clq_shape_count(shape) / channels;
    const int fold = fold_rows(rows, channels);
    const int most = gpu ? MAX_PARTS_GPU : MAX_PARTS_CPU;
    int64_t parts = gpu ? rows / fold / 64 : rows * channels / PART_GRAIN;
    bn->channels = (int)channels;
    bn->rows = (int)(rows / fold);
    bn->cols = (int)(channels * fold);
    parts = parts < 1 ? 1 : parts > most ? most : parts;
    parts = parts > bn->rows ? bn->rows : parts;
    bn->part_rows = (int)((bn->rows + parts - 1) / parts);
    bn->parts = (bn->rows + bn->part_rows - 1) / bn->part_rows;
    bn->row_items = gpu ? (size_t)(rows * channels)
                        : clq_work_items(run->device, bn->rows, 1 + (CELL_GRAIN - 1) / bn->cols);
    bn->channel_items = clq_work_items(run->device, channels, 16);
}

/* Whether the batch's own statistics count. */
static bool uses_batch(const clq_op_run *run) {
    return run->mode == CLQ_EXEC_TRAIN && !run->frozen;
}

static clq_status prepare_ranks(const clq_op_run *run, batch_norm *bn) {
    const size_t ranks = (size_t)clq_ranks_size(run->ranks), sums = 2 * (size_t)bn->cols;
    if ((int64_t)bn->rows > INT_MAX / (int64_t)ranks) {
        return clq_fail(CLQ_USAGE, "batch statistics over %zu ranks: too many values a channel",
                        ranks);
    }
    bn->host = clq_calloc((1 + ranks) * sums, sizeof *bn->host);
    return bn->host ? clq_buffer_create(run->device, ranks * sums * sizeof(float), &bn->merged)
                    : CLQ_NO_MEMORY;
}

static clq_status batch_norm_prepare(clq_op_run *run) {
    batch_norm *bn = clq_calloc(1, sizeof *bn);
    if (bn == NULL) {
        return CLQ_NO_MEMORY;
    }
    run->state = bn;
    lay_out(bn, run);
    if (uses_batch(run) && (int64_t)bn->rows * bn->cols == bn->channels) {
        return clq_fail(CLQ_USAGE, "batch statistics need more than one value a channel");
    }
    const size_t tables = (size_t)TABLES * (size_t)bn->cols + (size_t)bn->channels;
    CLQ_TRY(clq_buffer_create(run->device, tables * sizeof(float), &bn->tables));
    if (run->mode == CLQ_EXEC_TRAIN) {
        const size_t sums = 2 * (size_t)bn->parts * (size_t)bn->cols;
        CLQ_TRY(clq_buffer_create(run->device, sums * sizeof(float), &bn->partial));
    }
    if (uses_batch(run) && run->ranks) {
        CLQ_TRY(prepare_ranks(run, bn));
    }
    /* Frozen, the backward tables stay zero: dx = A * g. */
    return clq_buffer_fill(bn->tables, 0, tables * sizeof(float), 0);
}

static void batch_norm_release(clq_op_run *run) {
    batch_norm *bn = run->state;
    if (bn != NULL) {
        clq_buffer_release(bn->tables);
        clq_buffer_release(bn->partial);
        clq_buffer_release(bn->merged);
        clq_free(bn->host);
        clq_free(bn);
    }
}

/* Where the activation behind the normalization clamps. */
static float act_top(const clq_op_run *run) {
    return run->fused_act != NULL && run->fused_act->op->as_act == CLQ_ACT_RELU6 ? 6.0f : INFINITY;
}

/* ---- forward ---- */

static clq_status batch_norm_load_parameters(clq_op_run *run) {
    const clq_batch_norm_attrs *attrs = run->node->attrs;
    const batch_norm *bn = run->state;
    if (uses_batch(run)) {
        return CLQ_OK; /* every forward makes its own tables */
    }
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "batch_norm_running_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, CLQ_RANGE1(bn->channel_items),
                      CLQ_BUF(run->in[GAMMA].buffer), CLQ_BUF(run->in[BETA].buffer),
                      CLQ_BUF(run->in[RUNNING_MEAN].buffer), CLQ_BUF(run->in[RUNNING_VAR].buffer),
                      CLQ_BUF(bn->tables), CLQ_I32(bn->cols), CLQ_I32(bn->channels),
                      CLQ_F32(attrs->epsilon));
}

/* The index space of the kernels that sum over rows. */
static clq_range sum_range(const clq_op_run *run, const batch_norm *bn) {
    return clq_device_get_info(run->device)->schedule == CLQ_SCHEDULE_GPU
               ? CLQ_RANGE2((size_t)bn->cols, (size_t)bn->parts)
               : CLQ_RANGE1((size_t)bn->parts);
}

/* What to finish: this rank's sums, or those of all ranks. The kernel `merge` makes one part of
 * this rank's. */
static clq_status gather_sums(clq_op_run *run, const char *merge, row_sums *sums) {
    const batch_norm *bn = run->state;
    const int ranks = clq_ranks_size(run->ranks);
    const size_t size = 2 * (size_t)bn->cols * sizeof(float);
    float *all = bn->host + 2 * bn->cols;
    clq_kernel *kernel = NULL;
    *sums = (row_sums){bn->partial, bn->rows, bn->part_rows, bn->parts};
    if (!run->ranks) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, merge, NULL, &kernel));
    CLQ_TRY(CLQ_LAUNCH(run->device, kernel, CLQ_RANGE1(bn->channel_items), CLQ_BUF(bn->partial),
                       CLQ_BUF(bn->merged), CLQ_I32(bn->rows), CLQ_I32(bn->cols),
                       CLQ_I32(bn->part_rows), CLQ_I32(bn->parts)));
    CLQ_TRY(clq_buffer_read(bn->merged, 0, size, bn->host));
    CLQ_TRY(clq_ranks_gather(run->ranks, bn->host, size, all));
    CLQ_TRY(clq_buffer_write(bn->merged, 0, (size_t)ranks * size, all));
    *sums = (row_sums){bn->merged, ranks * bn->rows, bn->rows, ranks};
    return CLQ_OK;
}

static clq_status batch_statistics(clq_op_run *run) {
    const clq_batch_norm_attrs *attrs = run->node->attrs;
    const batch_norm *bn = run->state;
    clq_kernel *stats = NULL, *finish = NULL;
    row_sums sums;
    CLQ_TRY(clq_kernel_get(run->device, "batch_norm_stats_f32", NULL, &stats));
    CLQ_TRY(clq_kernel_get(run->device, "batch_norm_finish_f32", NULL, &finish));
    CLQ_TRY(CLQ_LAUNCH(run->device, stats, sum_range(run, bn), CLQ_BUF(run->in[X].buffer),
                       CLQ_BUF(bn->partial), CLQ_I32(bn->rows), CLQ_I32(bn->cols),
                       CLQ_I32(bn->part_rows)));
    CLQ_TRY(gather_sums(run, "batch_norm_merge_f32", &sums));
    return CLQ_LAUNCH(run->device, finish, CLQ_RANGE1(bn->channel_items), CLQ_BUF(sums.partial),
                      CLQ_BUF(run->in[GAMMA].buffer), CLQ_BUF(run->in[BETA].buffer),
                      CLQ_BUF(run->in[RUNNING_MEAN].buffer), CLQ_BUF(run->in[RUNNING_VAR].buffer),
                      CLQ_BUF(bn->tables), CLQ_I32(sums.rows), CLQ_I32(bn->cols),
                      CLQ_I32(sums.part_rows), CLQ_I32(sums.parts), CLQ_I32(bn->channels),
                      CLQ_F32(attrs->epsilon), CLQ_F32(attrs->momentum));
}

static clq_status batch_norm_forward(clq_op_run *run) {
    static const char *const kernels[2][2] = {{"batch_norm_f32", "batch_norm_act_f32"},
                                              {"batch_norm_add_f32", "batch_norm_add_act_f32"}};
    const batch_norm *bn = run->state;
    if (uses_batch(run) && !run->recomputes) {
        CLQ_TRY(batch_statistics(run));
    }
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, kernels[run->fused_add != NULL][run->fused_act != NULL],
                           NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, CLQ_RANGE1(bn->row_items), CLQ_BUF(run->in[X].buffer),
                      CLQ_BUF(run->residual.buffer), CLQ_BUF(bn->tables), CLQ_BUF(run->out.buffer),
                      CLQ_I32(bn->rows), CLQ_I32(bn->cols), CLQ_F32(act_top(run)));
}

/* ---- backward ---- */

static clq_status parameter_gradients(clq_op_run *run) {
    const batch_norm *bn = run->state;
    const char *name = run->fused_act == NULL   ? "batch_norm_grad_sums_f32"
                       : run->fused_add == NULL ? "batch_norm_act_grad_sums_f32"
                                                : "batch_norm_add_act_grad_sums_f32";
    clq_kernel *kernel = NULL, *finish = NULL;
    row_sums sums;
    CLQ_TRY(clq_kernel_get(run->device, name, NULL, &kernel));
    CLQ_TRY(clq_kernel_get(run->device, "batch_norm_grad_finish_f32", NULL, &finish));
    CLQ_TRY(CLQ_LAUNCH(run->device, kernel, sum_range(run, bn), CLQ_BUF(run->in[X].buffer),
                       CLQ_BUF(run->grad_out.buffer), CLQ_BUF(run->out.buffer), CLQ_BUF(bn->tables),
                       CLQ_BUF(bn->partial), CLQ_I32(bn->rows), CLQ_I32(bn->cols),
                       CLQ_I32(bn->part_rows), CLQ_F32(act_top(run))));
    if (run->frozen) {
        return CLQ_OK;
    }
    CLQ_TRY(gather_sums(run, "batch_norm_grad_merge_f32", &sums));
    return CLQ_LAUNCH(run->device, finish, CLQ_RANGE1(bn->channel_items), CLQ_BUF(sums.partial),
                      CLQ_BUF(bn->tables), CLQ_BUF(run->grad_in[GAMMA].buffer),
                      CLQ_BUF(run->grad_in[BETA].buffer), CLQ_I32(sums.rows), CLQ_I32(bn->cols),
                      CLQ_I32(sums.parts), CLQ_I32(bn->channels),
                      CLQ_F32(1.0f / (float)clq_ranks_size(run->ranks)));
}

static clq_status batch_norm_backward(clq_op_run *run) {
    const batch_norm *bn = run->state;
    const bool masks = run->fused_add != NULL && run->fused_act != NULL;
    if (!run->frozen || masks) {
        CLQ_TRY(parameter_gradients(run));
    }
    /* Behind an addition, the sums have masked grad_out in place: it is the residual's gradient
     * too. */
    if (run->fused_add != NULL && run->grad_residual.buffer != NULL) {
        CLQ_TRY(clq_copy_or_add(run->device, run->grad_out.buffer, run->grad_residual.buffer,
                                clq_shape_count(&run->out.shape), run->accumulate_residual));
    }
    if (run->grad_in[X].buffer == NULL) {
        return CLQ_OK;
    }
    const bool mask = run->fused_act != NULL && run->fused_add == NULL;
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, mask ? "batch_norm_act_grad_f32" : "batch_norm_grad_f32",
                           NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, CLQ_RANGE1(bn->row_items), CLQ_BUF(run->in[X].buffer),
                      CLQ_BUF(run->grad_out.buffer), CLQ_BUF(bn->tables),
                      CLQ_BUF(run->grad_in[X].buffer), CLQ_I32(bn->rows), CLQ_I32(bn->cols),
                      CLQ_F32(act_top(run)), CLQ_I32(run->accumulate[X]));
}

static bool batch_norm_can_fuse_add(const clq_op_run *run) {
    return clq_node_act(run->fused_add) == CLQ_ACT_NONE;
}

static bool batch_norm_can_fuse_act(const clq_op_run *run) {
    (void)run;
    return true;
}

const clq_op clq_op_batch_norm = {
    .name = "batch_norm",
    .attrs_size = sizeof(clq_batch_norm_attrs),
    .min_inputs = 5,
    .max_inputs = 5,
    .infer = clq_infer_batch_norm,
    .prepare = batch_norm_prepare,
    .load_parameters = batch_norm_load_parameters,
    .forward = batch_norm_forward,
    .backward = batch_norm_backward,
    .release = batch_norm_release,
    .flags = CLQ_OP_IN_PLACE,
    .backward_reads = CLQ_READS_INPUT,
    .can_fuse_add = batch_norm_can_fuse_add,
    .can_fuse_act = batch_norm_can_fuse_act,
};
