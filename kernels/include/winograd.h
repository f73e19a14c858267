/* Winograd's minimal filtering F(OUT x OUT, 3 x 3): an OUT x OUT tile of a 3x3 convolution's output
 * from an EDGE x EDGE tile of its input with one product a position instead of nine an output.
 *
 *   y = A' [ (G g G') . (B' d B) ] A        d, g, y: tiles of input, kernel and output
 *
 * The kernel's gradient is a correlation too, of the input with the output's gradient: F(3 x 3, OUT
 * x OUT), with the same points and so the same B'. Its products are summed over all tiles.
 *
 *   dg = A3' [ sum over tiles of (G3 dy G3') . (B' d B) ] A3
 *
 * The 1-D transforms below are B', G, A', G3 and A3'; applied to columns, then to rows, they are
 * the 2-D ones. */
#ifndef CLQ_WINOGRAD_H
#define CLQ_WINOGRAD_H

/* What the host tells the kernels about one convolution of src (N, src_h, src_w, depth) to dst
 * (N, dst_h, dst_w, cols); both sides include it. Output tiles are numbered through all images and
 * cut into blocks. */
typedef struct winograd_shape {
    int n;
    int src_h, src_w, depth;
    int dst_h, dst_w, cols;
    int first_y, first_x; /* the source pixel under the first tap of dst pixel (0, 0) */
    int tiles_h, tiles_w; /* output tiles of an image */
    int block;            /* output tiles of a block, a multiple of the register tile's rows */
    int pitch, position;  /* transformed: floats from one tile, and position, to the next */
    int col_tiles;        /* of NR columns */
    int zeros;            /* where the packed weights' tail of zeros begins, in floats */
    /* w[j, ky, kx, c] is at j * w_col + c * w_depth + w_first + (3 * ky + kx) * w_tap */
    int w_col, w_depth, w_first, w_tap;
} winograd_shape;

/* Room of a work-item's sums in floats: positions x block x columns. */
#define WINOGRAD_SUMS (48 * 1024)
/* Floats of a position of transformed input, or gradient, that a work-item keeps to itself: `block`
 * tiles of whole vectors. No power of two either. */
#define WINOGRAD_OWN_POSITION (24 * 64 + 16)
/* Floats from one position of a block to the next. Neither this nor the pitch of tiles read one
 * below the other should be a power of two, which would crowd them into a few cache sets. */
#define WINOGRAD_POSITION(block, pitch) ((block) * (pitch) + 16)
#define WINOGRAD_PITCH(channels) ((channels) % 64 == 0 ? (channels) + 16 : (channels))

#ifdef __OPENCL_C_VERSION__
#include "tile.h"

#ifndef OUT /* output tile's edge: 2, 4 */
#define OUT 4
#endif
#define EDGE (OUT + 2)
#define POSITIONS (EDGE * EDGE)

#if OUT == 2

static inline void winograd_input(const fvec *d, fvec *v) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[1] - d[3];
}

static inline void winograd_weights(const fvec *g, fvec *u) {
    u[0] = g[0];
    u[1] = ((g[0] + g[2]) + g[1]) * 0.5f;
    u[2] = ((g[0] + g[2]) - g[1]) * 0.5f;
    u[3] = g[2];
}

static inline void winograd_output(const fvec *m, fvec *y) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = (m[1] - m[2]) - m[3];
}

static inline void winograd_grad(const fvec *dy, fvec *u) {
    u[0] = dy[0];
    u[1] = (dy[0] + dy[1]) * 0.5f;
    u[2] = (dy[0] - dy[1]) * 0.5f;
    u[3] = dy[1];
}

static inline void winograd_taps(const fvec *m, fvec *g) {
    g[0] = m[0] + (m[1] + m[2]);
    g[1] = m[1] - m[2];
    g[2] = (m[1] + m[2]) - m[3];
}

#else

/* The points are 0, +-sqrt(1/2), +-sqrt(2) and infinity. Of all that were tried they round least:
 * half as much as the usual 0, +-1, +-2, about twice as much as the plain sum. */
#define ROOT_HALF 0.70710678f

static inline void winograd_input(const fvec *d, fvec *v) {
    const fvec even_a = FVEC_FMA((fvec)-2.0f, d[2], d[4]);
    const fvec odd_a = FVEC_FMA((fvec)-2.0f, d[1], d[3]);
    const fvec even_b = FVEC_FMA((fvec)-0.5f, d[2], d[4]);
    const fvec odd_b = FVEC_FMA((fvec)-0.5f, d[1], d[3]);
    v[0] = FVEC_FMA((fvec)-2.5f, d[2], d[0] + d[4]);
    v[1] = FVEC_FMA((fvec)ROOT_HALF, odd_a, even_a);
    v[2] = FVEC_FMA((fvec)-ROOT_HALF, odd_a, even_a);
    v[3] = FVEC_FMA((fvec)(2 * ROOT_HALF), odd_b, even_b);
    v[4] = FVEC_FMA((fvec)(-2 * ROOT_HALF), odd_b, even_b);
    v[5] = FVEC_FMA((fvec)-2.5f, d[3], d[1] + d[5]);
}

static inline void winograd_weights(const fvec *g, fvec *u) {
    const fvec even_a = g[0] + 0.5f * g[2], odd_a = ROOT_HALF * g[1];
    const fvec even_b = g[0] + 2.0f * g[2], odd_b = 2 * ROOT_HALF * g[1];
    u[0] = g[0];
    u[1] = (even_a + odd_a) * (-2.0f / 3);
    u[2] = (even_a - odd_a) * (-2.0f / 3);
    u[3] = (even_b + odd_b) * (1.0f / 6);
    u[4] = (even_b - odd_b) * (1.0f / 6);
    u[5] = g[2];
}

static inline void winograd_output(const fvec *m, fvec *y) {
    const fvec sum_a = m[1] + m[2], less_a = m[1] - m[2];
    const fvec sum_b = m[3] + m[4], less_b = m[3] - m[4];
    y[0] = m[0] + (sum_a + sum_b);
    y[1] = ROOT_HALF * FVEC_FMA((fvec)2.0f, less_b, less_a);
    y[2] = FVEC_FMA((fvec)2.0f, sum_b, 0.5f * sum_a);
    y[3] = FVEC_FMA((fvec)ROOT_HALF, FVEC_FMA((fvec)4.0f, less_b, 0.5f * less_a), m[5]);
}

static inline void winograd_grad(const fvec *dy, fvec *u) {
    const fvec even_a = FVEC_FMA((fvec)0.5f, dy[2], dy[0]);
    const fvec odd_a = FVEC_FMA((fvec)0.5f, dy[3], dy[1]) * ROOT_HALF;
    const fvec even_b = FVEC_FMA((fvec)2.0f, dy[2], dy[0]);
    const fvec odd_b = FVEC_FMA((fvec)2.0f, dy[3], dy[1]) * (2 * ROOT_HALF);
    u[0] = dy[0];
    u[1] = (even_a + odd_a) * (-2.0f / 3);
    u[2] = (even_a - odd_a) * (-2.0f / 3);
    u[3] = (even_b + odd_b) * (1.0f / 6);
    u[4] = (even_b - odd_b) * (1.0f / 6);
    u[5] = dy[3];
}

static inline void winograd_taps(const fvec *m, fvec *g) {
    const fvec sum_a = m[1] + m[2], less_a = m[1] - m[2];
    const fvec sum_b = m[3] + m[4], less_b = m[3] - m[4];
    g[0] = m[0] + (sum_a + sum_b);
    g[1] = ROOT_HALF * FVEC_FMA((fvec)2.0f, less_b, less_a);
    g[2] = FVEC_FMA((fvec)2.0f, sum_b, FVEC_FMA((fvec)0.5f, sum_a, m[5]));
}

#endif
#endif
#endif
