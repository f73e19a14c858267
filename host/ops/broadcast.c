#include "ops/broadcast.h"

#include "graph/node.h"
#include "ops/elementwise.h"

enum { LAST = CLQ_BROADCAST_AXES - 1, CODES_A_WORD = 4 };

int64_t clq_broadcast_dim(const clq_shape *operand, bool constant, int rank, int axis) {
    const int own = axis - (rank - operand->rank);
    if (!constant && axis == 0) {
        return operand->dim[0];
    }
    return own < (constant ? 0 : 1) ? 1 : operand->dim[own];
}

/* ---- axes ---- */

typedef struct axis {
    int dim, a, b;
} axis;

static bool is_constant(const clq_tensor *operand) {
    return operand->value != NULL && clq_is_constant(operand->value);
}

static int words_of(int64_t channels) {
    return (int)((channels + CODES_A_WORD - 1) / CODES_A_WORD);
}

/* A step along an axis of the result's `dim`, `step` where the operand has as many. *step becomes
 * that of the axis before. */
static int take_step(const clq_tensor *operand, int rank, int at, int64_t dim, bool words,
                     int *step) {
    const int64_t own = clq_broadcast_dim(&operand->shape, is_constant(operand), rank, at);
    const int taken = own == dim ? *step : 0;
    *step *= words ? words_of(own) : (int)own;
    return taken;
}

/* Whether a step along `outer` is a whole `inner` in both operands, so that both are one axis. */
static bool joins(const axis *outer, const axis *inner) {
    return outer->a == inner->a * inner->dim && outer->b == inner->b * inner->dim;
}

void clq_broadcast_make(const clq_tensor *out, const clq_tensor *a, const clq_tensor *b,
                        clq_broadcast *broadcast) {
    const bool bytes = out->dtype == CLQ_U8;
    const int rank = out->shape.rank;
    const int64_t channels = out->shape.dim[rank - 1];
    const bool padded = bytes && channels % CODES_A_WORD != 0;
    axis axes[CLQ_BROADCAST_AXES] = {{1, 1, 1}}; /* innermost first */
    int count = 0, step_a = 1, step_b = 1;
    for (int at = rank - 1; at >= 0; at--) {
        const int64_t dim = out->shape.dim[at];
        const bool words = bytes && at == rank - 1;
        const axis next = {words ? words_of(dim) : (int)dim,
                           take_step(a, rank, at, dim, words, &step_a),
                           take_step(b, rank, at, dim, words, &step_b)};
        axis *inner = &axes[count > 0 ? count - 1 : 0];
        if (count > 0 && dim == 1) {
            continue;
        }
        if (count > 0 && joins(&next, inner) && !(padded && count == 1)) {
            inner->dim *= next.dim;
        } else if (count == 1 && !bytes && inner->dim == 1) {
            *inner = next;
        } else {
            axes[count++] = next;
        }
    }
    *broadcast = (clq_broadcast){.count = 1};
    for (int i = 0; i < CLQ_BROADCAST_AXES; i++) {
        const axis own = i < count ? axes[i] : (axis){1, 0, 0};
        broadcast->dim[LAST - i] = own.dim;
        broadcast->a[LAST - i] = own.a;
        broadcast->b[LAST - i] = own.b;
        broadcast->count *= own.dim;
    }
    broadcast->channels = padded ? (int)channels : broadcast->dim[LAST] * CODES_A_WORD;
}

/* ---- sums ---- */

enum { PIECE = 512, MOST_PIECES = 256, SUM_GRAIN = 4096 };

/* The operand's elements (kept) and, for each of them, those to add up (summed): axes and how far a
 * step along them is, innermost last. */
typedef struct sum_shape {
    int kept[3], kept_step[3], summed[3], summed_step[3];
    int outputs, terms; /* elements of the operand; numbers that each is the sum of */
} sum_shape;

static void put_axis(int dim, int step, int *at, int dims[3], int steps[3]) {
    dims[*at] = dim;
    steps[*at] = step;
    --*at;
}

static sum_shape sum_shape_of(const clq_tensor *out, const clq_tensor *operand) {
    sum_shape s = {.kept = {1, 1, 1}, .summed = {1, 1, 1}, .outputs = 1, .terms = 1};
    clq_broadcast b;
    int kept = 2, summed = 2;
    clq_broadcast_make(out, operand, out, &b); /* axes of both kinds alternate: 3 at most of one */
    for (int i = LAST; i >= 0; i--) {
        if (b.dim[i] == 1) {
            continue;
        }
        if (b.a[i] != 0) {
            put_axis(b.dim[i], b.b[i], &kept, s.kept, s.kept_step);
            s.outputs *= b.dim[i];
        } else {
            put_axis(b.dim[i], b.b[i], &summed, s.summed, s.summed_step);
            s.terms *= b.dim[i];
        }
    }
    return s;
}

static int pieces_of(const sum_shape *s) {
    const int pieces = s->terms / PIECE;
    return pieces < 1 ? 1 : pieces < MOST_PIECES ? pieces : MOST_PIECES;
}

/* Sums of `length` terms each: pieces one after the other, in each all outputs. */
static clq_status launch_sum(clq_device *device, clq_buffer *from, const sum_shape *s, int length,
                             float factor, clq_buffer *to, bool accumulate) {
    clq_kernel *kernel = NULL;
    const size_t units = (size_t)s->outputs * (size_t)((s->terms + length - 1) / length);
    const size_t items = clq_work_items(device, (int64_t)s->outputs * s->terms, SUM_GRAIN);
    CLQ_TRY(clq_kernel_get(device, "sum_axes_f32", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, CLQ_RANGE1(items < units ? items : units), CLQ_BUF(from),
                      CLQ_BUF(to), CLQ_I32(s->kept[0]), CLQ_I32(s->kept[1]), CLQ_I32(s->kept[2]),
                      CLQ_I32(s->kept_step[0]), CLQ_I32(s->kept_step[1]), CLQ_I32(s->kept_step[2]),
                      CLQ_I32(s->summed[1]), CLQ_I32(s->summed[2]), CLQ_I32(s->summed_step[0]),
                      CLQ_I32(s->summed_step[1]), CLQ_I32(s->summed_step[2]), CLQ_I32(s->terms),
                      CLQ_I32(length), CLQ_F32(factor), CLQ_I32(accumulate));
}

static size_t partial_bytes(const sum_shape *s) {
    return (size_t)s->outputs * (size_t)pieces_of(s) * sizeof(float);
}

size_t clq_broadcast_sum_scratch(const clq_tensor *out, const clq_tensor *operand) {
    const sum_shape s = sum_shape_of(out, operand);
    return partial_bytes(&s);
}

clq_status clq_broadcast_sum(clq_device *device, clq_buffer *from, const clq_tensor *out,
                             const clq_tensor *operand, float factor, clq_buffer *to,
                             bool accumulate) {
    const sum_shape s = sum_shape_of(out, operand);
    const int length = (s.terms + pieces_of(&s) - 1) / pieces_of(&s);
    const int pieces = (s.terms + length - 1) / length;
    clq_buffer *partial = NULL;
    if (pieces == 1) {
        return launch_sum(device, from, &s, length, factor, to, accumulate);
    }
    const sum_shape rest = {.kept = {1, 1, s.outputs},
                            .kept_step = {0, 0, 1},
                            .summed = {1, 1, pieces},
                            .summed_step = {0, 0, s.outputs},
                            .outputs = s.outputs,
                            .terms = pieces};
    CLQ_TRY(clq_scratch_take(device, partial_bytes(&s), &partial));
    clq_status status = launch_sum(device, from, &s, length, 1, partial, false);
    if (status == CLQ_OK) {
        status = launch_sum(device, partial, &rest, pieces, factor, to, accumulate);
    }
    clq_buffer_release(partial);
    return status;
}
