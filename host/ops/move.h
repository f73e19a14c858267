/* Moving elements without arithmetic: what reshape, transpose, slice, concat, pad and their like
 * have in common, on floats and on codes, and the way back for gradients (kernels/move/move.cl). */
#ifndef CLQUANT_OPS_MOVE_H
#define CLQUANT_OPS_MOVE_H

#include <clquant/ops.h>

enum { CLQ_MOVE_AXES = 6 };

/* Along an axis y has elements 0 .. count-1, `to` apart, and x elements 0 .. from_count-1, `from`
 * apart. Element i of y is x's element start + i * step, or table[i]; where there is no such one,
 * it gets the fill. */
typedef struct clq_move_axis {
    int64_t count, to, from_count, from, start, step;
    const int32_t *table; /* NULL: by start and step */
} clq_move_axis;

/* Axes in any order; at most five with more than one element that cannot be taken together. All
 * distances are elements of the tensors as they are stored. */
typedef struct clq_move_map {
    int axis_count;
    clq_move_axis axis[CLQ_MOVE_AXES];
    int64_t from, to;   /* where all axes begin in x and y */
    int64_t row, pitch; /* y's channels and its pitch where they differ: bytes between rows become
                           0; else both 0 */
    bool same_rows;     /* x has rows of as many channels, with as many bytes of 0 behind them */
} clq_move_map;

/* Distances along the stored axes. */
void clq_move_strides(const clq_tensor *tensor, int64_t strides[CLQ_MAX_RANK]);
/* Axis a is stored axis a of y, and of x when its shape is aligned with y's at the end: element i
 * is x's element i. */
clq_move_map clq_move_between(const clq_tensor *x, const clq_tensor *y);

/* What elements are: codes are bytes, which a table may change on their way. */
typedef enum clq_move_kind { CLQ_MOVE_FLOATS, CLQ_MOVE_CODES, CLQ_MOVE_BY_TABLE } clq_move_kind;

typedef struct clq_move clq_move;
clq_status clq_move_create(clq_device *device, const clq_move_map *map, clq_move_kind kind,
                           clq_move **move);
/* The way back, from dy to dx, of floats: where several elements of y come from one of x, their
 * sum in a fixed order. */
clq_status clq_move_create_back(clq_device *device, const clq_move_map *map, clq_move **move);
void clq_move_destroy(clq_move *move); /* NULL ok */

/* Queued. fill: a float, or four bytes alike; NULL: 0. table: U8 (256), what codes become; of
 * other kinds NULL. accumulate: y += x (floats, without a fill). */
clq_status clq_move_run(const clq_move *move, clq_buffer *x, clq_buffer *y, clq_buffer *fill,
                        clq_buffer *table, bool accumulate);
/* FAKE_QUANT and QAT: from x to run->out, whose scale is another: (2) of the reals that x's codes
 * stand for. */
clq_status clq_move_requantize(const clq_move *move, const clq_op_run *run, const clq_tensor *x);

#endif
