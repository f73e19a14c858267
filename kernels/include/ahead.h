/* Asking for memory before it is needed, a little at a time between other work, where the
 * processor's own prefetching would not see the pattern (short pieces far apart). CPU schedule. */
#ifndef CLQ_AHEAD_H
#define CLQ_AHEAD_H

#include "prefetch.h"

/* `rows` rows of `pieces` pieces of `lines` cache lines each; the position of the next line. */
typedef struct ahead {
    __global const float *row, *at; /* at: the piece */
    long row_step, piece_step;      /* floats */
    int rows, pieces, lines;
    int piece, line;
    int share; /* lines to ask for at a time */
} ahead;

/* Rows of pieces of `floats` floats, to be asked for in `times` times. */
static inline ahead plan_ahead(__global const float *row, int rows, long row_step, int pieces,
                               long piece_step, int floats, int times) {
    ahead a;
    a.row = a.at = row;
    a.row_step = row_step;
    a.piece_step = piece_step;
    a.rows = rows;
    a.pieces = pieces;
    a.lines = (floats + LINE_FLOATS - 1) / LINE_FLOATS;
    if (floats == piece_step) { /* the pieces are one run */
        a.lines = (floats * pieces + LINE_FLOATS - 1) / LINE_FLOATS;
        a.pieces = 1;
    }
    a.piece = a.line = 0;
    a.share = rows * a.pieces * a.lines / times + 1;
    return a;
}

static inline void ask_ahead(ahead *a) {
    for (int i = 0; i < a->share && a->rows > 0; i++) {
        PREFETCH(a->at + a->line * LINE_FLOATS);
        if (++a->line == a->lines) {
            a->line = 0;
            a->at += a->piece_step;
            if (++a->piece == a->pieces) {
                a->piece = 0;
                a->rows--;
                a->row += a->row_step;
                a->at = a->row;
            }
        }
    }
}

#endif
