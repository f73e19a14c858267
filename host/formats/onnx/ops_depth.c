/* Pixels to channels and back. */
#include <string.h>

#include "formats/onnx/operators.h"

/* SpaceToDepth has a mode since opset 28. */
static clq_status read_depth(onnx_loader *load, onnx_node *node) {
    static const int places[4] = {0, 2, 3, 1};
    const bool to_space = strcmp(node->op, "DepthToSpace") == 0;
    const char *mode = "DCR";
    onnx_operand x;
    int64_t block = 0;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_attribute_text(node, "mode", &mode));
    if (strcmp(mode, "DCR") != 0 && strcmp(mode, "CRD") != 0) {
        return onnx_fail(node, "mode is \"%.20s\", must be DCR or CRD", mode);
    }
    CLQ_TRY(onnx_want_image(load, node, 0, &x, NULL, false));
    CLQ_TRY(onnx_settle(load, node, &x, false));
    if (x.rank != 4) {
        return onnx_fail(node, "input has %d dimensions, must be (N, C, H, W)", x.rank);
    }
    CLQ_TRY(onnx_arrange(load, node, &x, 4, places));
    CLQ_TRY(onnx_attribute_int(node, "blocksize", 1, 1 << 15, &block));
    const clq_space_depth_attrs attrs = {(int)block,
                                         mode[0] == 'D' ? CLQ_DEPTH_DCR : CLQ_DEPTH_CRD};
    return onnx_add_node(load, node, to_space ? "depth_to_space" : "space_to_depth", NULL, &attrs,
                         &x.value, 1, NULL);
}

/* (N, block block, C, H, W) to (N, C block block, H, W): SpaceToDepth's only mode before opset 28
 * to the other. */
static clq_status write_turned(onnx_chain *chain, const clq_node *graph_node, int block) {
    static const int perm[5] = {0, 2, 1, 3, 4};
    onnx_saver *save = chain->save;
    const clq_shape *y = &save->graph->values[graph_node->output].shape;
    const int64_t blocks = (int64_t)block * block, channels = y->dim[3];
    const int64_t apart[5] = {0, blocks, channels / blocks, y->dim[1], y->dim[2]};
    const int64_t joined[4] = {0, channels, y->dim[1], y->dim[2]};
    const char *inputs[2] = {chain->current}, *turned;
    Onnx__NodeProto *node;
    char *path;
    CLQ_TRY(clq_arena_format(&save->arena, &path, "%s/apart", chain->base));
    CLQ_TRY(onnx_save_longs(save, "block_shape", apart, 5, &inputs[1]));
    CLQ_TRY(onnx_save_name(save, &save->values, path, &turned));
    CLQ_TRY(onnx_save_node(save, "Reshape", path, inputs, 2, turned, &node));
    chain->current = turned;
    CLQ_TRY(onnx_save_step(chain, "Transpose", &chain->current, 1, &node));
    CLQ_TRY(onnx_save_ints(save, node, "perm", perm, 5));
    inputs[0] = chain->current;
    CLQ_TRY(onnx_save_longs(save, "block_back", joined, 4, &inputs[1]));
    return onnx_save_step(chain, "Reshape", inputs, 2, &node);
}

static clq_status write_depth(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                              size_t count) {
    const clq_space_depth_attrs *attrs = graph_node->attrs;
    const bool to_space = strcmp(chain->onnx, "DepthToSpace") == 0;
    const bool turns = !to_space && attrs->mode == CLQ_DEPTH_CRD;
    Onnx__NodeProto *node;
    onnx_save_plan(chain, turns ? "Reshape" : chain->onnx, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, chain->onnx, inputs, count, &node));
    CLQ_TRY(onnx_save_int(chain->save, node, "blocksize", attrs->block));
    if (to_space) {
        CLQ_TRY(onnx_save_text(chain->save, node, "mode",
                               attrs->mode == CLQ_DEPTH_CRD ? "CRD" : "DCR"));
    }
    if (turns) {
        CLQ_TRY(write_turned(chain, graph_node, attrs->block));
    }
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

const onnx_operator onnx_depth_operators[] = {
    {"DepthToSpace", .read = read_depth, .op = "depth_to_space", .write = write_depth},
    {"SpaceToDepth", .read = read_depth, .op = "space_to_depth", .write = write_depth},
    {0},
};
