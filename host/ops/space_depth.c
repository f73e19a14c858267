/* depth_to_space: a pixel's channels become a block of pixels; space_to_depth: back. In mode DCR a
 * pixel's channels are (block, block, C), in CRD (C, block, block). */
#include "ops/move_node.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

static clq_status check(const clq_graph *graph, const clq_node *node) {
    const clq_space_depth_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 4, 4));
    if (attrs->block < 1 || attrs->block > 1 << 15) {
        return clq_op_broken(node, "block %d must be 1 to 32768", attrs->block);
    }
    if ((unsigned)attrs->mode > CLQ_DEPTH_CRD) {
        return clq_op_broken(node, "mode %d is unknown", (int)attrs->mode);
    }
    return CLQ_OK;
}

static clq_status infer_depth_to_space(const clq_graph *graph, const clq_node *node,
                                       clq_shape *output) {
    CLQ_TRY(check(graph, node));
    const int64_t block = ((const clq_space_depth_attrs *)node->attrs)->block;
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    if (x->dim[3] % (block * block) != 0) {
        return clq_op_broken(node, "%lld channels must be a multiple of %lld x %lld",
                             (long long)x->dim[3], (long long)block, (long long)block);
    }
    *output = (clq_shape){
        4, {x->dim[0], x->dim[1] * block, x->dim[2] * block, x->dim[3] / (block * block)}};
    return CLQ_OK;
}

static clq_status infer_space_to_depth(const clq_graph *graph, const clq_node *node,
                                       clq_shape *output) {
    CLQ_TRY(check(graph, node));
    const int64_t block = ((const clq_space_depth_attrs *)node->attrs)->block;
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    if (x->dim[1] % block != 0 || x->dim[2] % block != 0) {
        return clq_op_broken(node, "%lld x %lld pixels must be multiples of %lld",
                             (long long)x->dim[1], (long long)x->dim[2], (long long)block);
    }
    *output = (clq_shape){
        4, {x->dim[0], x->dim[1] / block, x->dim[2] / block, x->dim[3] * block * block}};
    return CLQ_OK;
}

/* (N, H, block, W, block, C) of pixels, and the same of `depth`, which has them as channels. */
static void find_strides(const clq_space_depth_attrs *attrs, const clq_tensor *pixels,
                         const clq_tensor *depth, int64_t pixel[6], int64_t deep[6]) {
    const int64_t block = attrs->block, channels = pixels->shape.dim[3];
    const bool last = attrs->mode == CLQ_DEPTH_CRD;
    int64_t wide[CLQ_MAX_RANK], narrow[CLQ_MAX_RANK];
    clq_move_strides(pixels, wide);
    clq_move_strides(depth, narrow);
    const int64_t of_pixels[6] = {wide[0], wide[1] * block, wide[1], wide[2] * block, wide[2], 1};
    const int64_t of_depth[6] = {narrow[0], narrow[1],           last ? block : block * channels,
                                 narrow[2], last ? 1 : channels, last ? block * block : 1};
    for (int a = 0; a < 6; a++) {
        pixel[a] = of_pixels[a];
        deep[a] = of_depth[a];
    }
}

static clq_status prepare(clq_op_run *run) {
    const clq_space_depth_attrs *attrs = run->node->attrs;
    const bool to_space = run->node->op == &clq_op_depth_to_space;
    const clq_tensor *pixels = to_space ? &run->out : &run->in[0];
    const clq_tensor *depth = to_space ? &run->in[0] : &run->out;
    const int64_t *shape = depth->shape.dim;
    const int64_t counts[6] = {shape[0], shape[1],     attrs->block,
                               shape[2], attrs->block, pixels->shape.dim[3]};
    int64_t pixel[6], deep[6];
    find_strides(attrs, pixels, depth, pixel, deep);
    clq_move_map map = clq_move_between(&run->in[0], &run->out); /* for its rows */
    map.axis_count = 6;
    map.same_rows = false;
    for (int a = 0; a < 6; a++) {
        map.axis[a] = (clq_move_axis){.count = counts[a],
                                      .to = to_space ? pixel[a] : deep[a],
                                      .from_count = counts[a],
                                      .from = to_space ? deep[a] : pixel[a],
                                      .step = 1};
    }
    return clq_move_node_prepare(run, &map);
}

static const clq_quantized_op quantized = {
    prepare, NULL, clq_move_node_forward, clq_move_node_backward, clq_move_node_release, 0};

#define SPACE_DEPTH(NAME)                                                                          \
    const clq_op clq_op_##NAME = {                                                                 \
        .name = #NAME,                                                                             \
        .attrs_size = sizeof(clq_space_depth_attrs),                                               \
        .min_inputs = 1,                                                                           \
        .max_inputs = 1,                                                                           \
        .infer = infer_##NAME,                                                                     \
        .prepare = prepare,                                                                        \
        .forward = clq_move_node_forward,                                                          \
        .backward = clq_move_node_backward,                                                        \
        .release = clq_move_node_release,                                                          \
        .quantized = &quantized,                                                                   \
        .output_shares_qparams = true,                                                             \
    }

SPACE_DEPTH(depth_to_space);
SPACE_DEPTH(space_to_depth);
