/* Windows and launches of pooling, the same for floats and codes. */
#include "ops/pool_geometry.h"

#include "ops/elementwise.h"
#include "ops/registry.h"

enum { PIXEL_GRAIN = 4096 }; /* floats that an item reads at least */

clq_pool_geometry clq_pool_node_geometry(const clq_op_run *run) {
    const int64_t *x = run->in[0].shape.dim, *y = run->out.shape.dim;
    clq_pool_geometry g = {.n = (int)x[0], .ih = (int)x[1], .iw = (int)x[2], .c = (int)x[3]};
    g.dh = g.dw = 1;
    if (run->node->op == &clq_op_global_avg_pool || run->node->op == &clq_op_global_max_pool) {
        g.oh = g.ow = g.sh = g.sw = 1;
        g.kh = g.ih;
        g.kw = g.iw;
        return g;
    }
    const clq_pool_attrs *attrs = run->node->attrs;
    g.oh = (int)y[1];
    g.ow = (int)y[2];
    g.kh = attrs->kernel[0];
    g.kw = attrs->kernel[1];
    g.sh = attrs->stride[0];
    g.sw = attrs->stride[1];
    g.dh = attrs->dilation[0] > 1 ? attrs->dilation[0] : 1;
    g.dw = attrs->dilation[1] > 1 ? attrs->dilation[1] : 1;
    for (int i = 0; i < 4; i++) {
        g.pad[i] = attrs->pad[i];
    }
    g.count_include_pad = attrs->count_include_pad;
    return g;
}

clq_range clq_pool_range(const clq_op_run *run, int64_t rows, int64_t row, int64_t reads) {
    if (clq_device_get_info(run->device)->schedule == CLQ_SCHEDULE_GPU) {
        return CLQ_RANGE1((size_t)(rows * row));
    }
    return CLQ_RANGE1(clq_work_items(run->device, rows, 1 + (PIXEL_GRAIN - 1) / (row * reads)));
}

clq_range clq_pool_forward_range(const clq_op_run *run, const clq_pool_geometry *g) {
    return clq_pool_range(run, (int64_t)g->n * g->oh, (int64_t)g->ow * g->c,
                          (int64_t)g->kh * g->kw);
}
