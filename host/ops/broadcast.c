#include "ops/broadcast.h"

#include "graph/node.h"

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

unsigned clq_broadcast_axes(const clq_tensor *out, const clq_tensor *operand) {
    const int rank = out->shape.rank;
    unsigned axes = 0;
    for (int at = 0; at < rank; at++) {
        const int64_t own = clq_broadcast_dim(&operand->shape, is_constant(operand), rank, at);
        axes |= own != out->shape.dim[at] ? 1u << at : 0;
    }
    return axes;
}
