/* The windows of max_pool, avg_pool and the global ones: x (N,IH,IW,C) -> y (N,OH,OW,C). */
#ifndef CLQUANT_OPS_POOL_GEOMETRY_H
#define CLQUANT_OPS_POOL_GEOMETRY_H

#include <clquant/ops.h>

typedef struct clq_pool_geometry {
    int n, ih, iw, c, oh, ow, kh, kw, sh, sw, pad[4]; /* top, left, bottom, right */
    int dh, dw;                                       /* dilation */
    bool count_include_pad;
} clq_pool_geometry;

/* From the run's attributes and shapes. The global ones have a window as large as the image. */
clq_pool_geometry clq_pool_node_geometry(const clq_op_run *run);

/* The kernels' arguments POOL_SHAPE (kernels/include/pool_window.h). */
#define CLQ_POOL_SHAPE(g)                                                                          \
    CLQ_I32((g).n), CLQ_I32((g).ih), CLQ_I32((g).iw), CLQ_I32((g).c), CLQ_I32((g).oh),             \
        CLQ_I32((g).ow), CLQ_I32((g).kh), CLQ_I32((g).kw), CLQ_I32((g).sh), CLQ_I32((g).sw),       \
        CLQ_I32((g).pad[0]), CLQ_I32((g).pad[1]), CLQ_I32((g).dh), CLQ_I32((g).dw)

/* Work-items for `rows` rows of `row` floats (N * height of them), of which each costs `reads`. */
clq_range clq_pool_range(const clq_op_run *run, int64_t rows, int64_t row, int64_t reads);
/* One item makes pixels of y. */
clq_range clq_pool_forward_range(const clq_op_run *run, const clq_pool_geometry *geometry);

#endif
