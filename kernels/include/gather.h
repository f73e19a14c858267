/* The rows of a convolution's implicit matrix product, for the GPU schedule. A row is an output
 * pixel; its steps are the words of its source pixels: taps_h x taps_w taps, `depth` words each. A
 * word is a float, or four neighbouring codes. */
#ifndef CLQ_GATHER_H
#define CLQ_GATHER_H

#define GATHER_NOWHERE (-(1 << 30)) /* the y of a row that has no pixel */

typedef struct gather {
    int src_h, src_w, pitch; /* pitch: words from pixel to pixel */
    int taps_h, taps_w, depth;
    int step_y, step_x; /* pixels from tap to tap */
} gather;

/* The source pixel of the first tap, which may lie outside the image, and its first word. */
typedef struct gather_row {
    int y, x;
    long at;
} gather_row;

/* A step: word c of a tap. */
typedef struct gather_step {
    int ty, tx, c;
} gather_step;

static inline void gather_advance(gather_step *step, int words, const gather *g) {
    step->c += words;
    while (step->c >= g->depth) {
        step->c -= g->depth;
        if (++step->tx == g->taps_w) {
            step->tx = 0;
            step->ty++;
        }
    }
}

static inline gather_step gather_first(int k, const gather *g) {
    gather_step step = {0, 0, 0};
    gather_advance(&step, k, g);
    return step;
}

/* Whether the row has this step inside the image. */
static inline bool gather_inside(gather_row row, gather_step step, const gather *g) {
    return step.ty < g->taps_h && (uint)(row.y + step.ty * g->step_y) < (uint)g->src_h &&
           (uint)(row.x + step.tx * g->step_x) < (uint)g->src_w;
}

/* Where the step's word lies, counted from the row's. */
static inline long gather_offset(gather_step step, const gather *g) {
    return ((long)(step.ty * g->step_y) * g->src_w + step.tx * g->step_x) * g->pitch + step.c;
}

#endif
