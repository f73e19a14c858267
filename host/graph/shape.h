/* Checks on shapes that come from files or options. */
#ifndef CLQ_GRAPH_SHAPE_H
#define CLQ_GRAPH_SHAPE_H

#include <clquant/graph.h>

/* The largest element count of one tensor (for one image), so that kernels may index with int. */
#define CLQ_MAX_ELEMENTS INT64_C(2147483647)

enum { CLQ_SHAPE_TEXT_SIZE = 96 };

/* CLQ_BAD_DATA unless rank is 1..CLQ_MAX_RANK, every dimension is >= 1 and the product is at most
 * CLQ_MAX_ELEMENTS. */
clq_status clq_shape_check(const clq_shape *shape);

#endif
