#include "ops/conv/conv_node.h"

#include "graph/node.h"
#include "ops/conv/conv2d_f32.h"
#include "ops/elementwise.h"
#include "ops/layer.h"

/* From the shapes of input, weights and output; x and y may have another batch in front. What is no
 * image is one row of pixels: (N, C) a single one. */
static clq_conv_geometry make_geometry(const clq_node *node, int batch, const clq_shape *x,
                                       const clq_shape *w, const clq_shape *y) {
    clq_conv_geometry g = {.n = batch,
                           .ih = 1,
                           .iw = 1,
                           .ic = (int)x->dim[x->rank - 1],
                           .oc = (int)w->dim[0],
                           .kh = 1,
                           .kw = 1,
                           .oh = 1,
                           .ow = 1,
                           .stride_h = 1,
                           .stride_w = 1,
                           .dilation_h = 1,
                           .dilation_w = 1,
                           .groups = 1};
    if (x->rank == 4) {
        g.ih = (int)x->dim[1];
        g.iw = (int)x->dim[2];
        g.oh = (int)y->dim[1];
        g.ow = (int)y->dim[2];
    } else {
        g.iw = g.ow = (int)(clq_shape_count(x) / x->dim[0] / x->dim[x->rank - 1]);
    }
    const clq_conv2d_attrs *attrs = clq_layer_conv(node);
    if (attrs != NULL) {
        g.kh = attrs->kernel[0];
        g.kw = attrs->kernel[1];
        g.stride_h = attrs->stride[0];
        g.stride_w = attrs->stride[1];
        g.pad_top = attrs->pad[0];
        g.pad_left = attrs->pad[1];
        g.dilation_h = attrs->dilation[0];
        g.dilation_w = attrs->dilation[1];
        g.groups = attrs->groups;
        g.transposed = node->op == &clq_op_conv_transpose;
    }
    return g;
}

clq_conv_geometry clq_conv_node_geometry(const clq_op_run *run) {
    return make_geometry(run->node, (int)run->in[CLQ_LAYER_X].shape.dim[0],
                         &run->in[CLQ_LAYER_X].shape, &run->in[CLQ_LAYER_W].shape, &run->out.shape);
}

bool clq_conv_graph_geometry(const clq_graph *graph, const clq_node *node, int batch,
                             clq_conv_geometry *geometry) {
    if (!clq_is_layer(node)) {
        return false;
    }
    const clq_value *values = graph->values;
    *geometry =
        make_geometry(node, batch, &values[node->inputs[CLQ_LAYER_X]].shape,
                      &values[node->inputs[CLQ_LAYER_W]].shape, &values[node->output].shape);
    return true;
}

/* What the epilogue does last: its own activation, or that of the nodes fused behind it. */
static clq_act epilogue_act(const clq_op_run *run) {
    if (run->fused_act != NULL) {
        return run->fused_act->op->as_act;
    }
    return clq_node_act(run->fused_add != NULL ? run->fused_add : run->node);
}

clq_status clq_conv_node_prepare(clq_op_run *run) {
    for (int i = CLQ_LAYER_W; i < run->node->input_count; i++) {
        if (run->in[i].value != NULL && run->in[i].dtype != CLQ_F32) {
            return clq_fail(CLQ_USAGE, "parameter \"%s\" is integer, and its layer on reals",
                            run->in[i].value->name);
        }
    }
    const clq_conv_geometry geometry = clq_conv_node_geometry(run);
    int directions = CLQ_CONV_FORWARD;
    directions |= run->fixed_sums ? 0 : CLQ_CONV_WINOGRAD | CLQ_CONV_WINOGRAD_WEIGHTS;
    if (run->mode == CLQ_EXEC_TRAIN) {
        directions |= CLQ_CONV_REPACK;
        directions |= run->grad_in[CLQ_LAYER_X].buffer != NULL ? CLQ_CONV_BACKWARD_DATA : 0;
        directions |= run->grad_in[CLQ_LAYER_W].buffer != NULL ? CLQ_CONV_BACKWARD_WEIGHTS : 0;
    } else if (!run->fixed_sums) {
        directions |= CLQ_CONV_TUNE;
    }
    clq_conv2d_f32 *conv = NULL;
    CLQ_TRY(clq_conv2d_f32_create(run->device, &geometry, directions, &conv));
    run->state = conv;
    return CLQ_OK;
}

clq_status clq_conv_node_load_parameters(clq_op_run *run) {
    return clq_conv2d_f32_load_weights(run->state, run->in[CLQ_LAYER_W].buffer);
}

clq_status clq_conv_node_forward(clq_op_run *run) {
    return clq_conv2d_f32_forward(run->state, run->in[CLQ_LAYER_X].buffer,
                                  run->in[CLQ_LAYER_BIAS].buffer, run->residual.buffer,
                                  epilogue_act(run), run->out.buffer);
}

clq_status clq_conv_node_backward(clq_op_run *run) {
    const clq_op *op = run->node->op;
    const double work = 2.0 * (double)op->macs(run->graph, run->node) * run->batch;
    CLQ_TRY(clq_act_gradient(run->device, clq_node_act(run->node), run->out.buffer,
                             run->grad_out.buffer, clq_shape_count(&run->out.shape)));
    if (run->grad_in[CLQ_LAYER_W].buffer != NULL) {
        clq_device_set_work(run->device, work);
        CLQ_TRY(clq_conv2d_f32_backward_weights(
            run->state, run->in[CLQ_LAYER_X].buffer, run->grad_out.buffer,
            run->grad_in[CLQ_LAYER_W].buffer, run->grad_in[CLQ_LAYER_BIAS].buffer));
    }
    if (run->grad_in[CLQ_LAYER_X].buffer != NULL) {
        clq_device_set_work(run->device, work);
        CLQ_TRY(clq_conv2d_f32_backward_data(run->state, run->grad_out.buffer,
                                             run->grad_in[CLQ_LAYER_X].buffer,
                                             run->accumulate[CLQ_LAYER_X]));
    }
    return CLQ_OK;
}

void clq_conv_node_release(clq_op_run *run) {
    clq_conv2d_f32_destroy(run->state);
}

/* FLOAT: act(conv + bias + residual) has room for one activation, at the end. INT8: the sum is
 * taken on output codes, after the convolution's own clamp. The other modes keep the sum apart. */
bool clq_conv_node_can_fuse_add(const clq_op_run *run) {
    const clq_act add_act = clq_node_act(run->fused_add);
    if (run->mode == CLQ_EXEC_INT8) {
        return run->fused_act == NULL && run->graph->values[run->node->output].q.count > 0 &&
               run->graph->values[run->fused_add->output].q.count > 0 &&
               run->residual.value->q.count > 0;
    }
    return run->mode == CLQ_EXEC_FLOAT && clq_node_act(run->node) == CLQ_ACT_NONE &&
           (run->fused_act == NULL || add_act == CLQ_ACT_NONE);
}

bool clq_conv_node_can_fuse_act(const clq_op_run *run) {
    return run->mode == CLQ_EXEC_FLOAT && clq_node_act(run->node) == CLQ_ACT_NONE;
}
