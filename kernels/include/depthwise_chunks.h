/* How the int8 depthwise convolution cuts channels on the CPU schedule; host and kernel share it.
 *
 * A piece is 16 channels, the last one perhaps fewer. Chunks have `widest` pieces (4, 2 or 1), then
 * where whole pieces are left half of that and so on; a last piece that is not whole is a chunk of
 * its own. */
#ifndef CLQ_DEPTHWISE_CHUNKS_H
#define CLQ_DEPTHWISE_CHUNKS_H

#define DEPTHWISE_PIECE 16  /* channels */
#define DEPTHWISE_PANEL 256 /* pieces that the panel of a work-item holds */

/* The pieces of chunk `chunk`, from *first on; 0: there is none. */
static inline int depthwise_chunk(int channels, int widest, int chunk, int *first) {
    const int whole = channels / DEPTHWISE_PIECE;
    *first = 0;
    for (int pieces = widest; pieces > 0; pieces /= 2) {
        const int count = (whole - *first) / pieces;
        if (chunk < count) {
            *first += chunk * pieces;
            return pieces;
        }
        *first += count * pieces;
        chunk -= count;
    }
    return chunk == 0 && channels % DEPTHWISE_PIECE != 0;
}

/* Outputs of a row that a panel serves: its columns are kept by their remainder of the stride
 * (phases), so that the outputs' columns for a tap lie side by side, `groups` words for each. 0 or
 * less: the window does not fit. */
static inline int depthwise_outputs(int widest, int pieces, int groups, int stride, int reach) {
    const int beside = widest / pieces; /* columns in a vector */
    const int vectors = DEPTHWISE_PANEL / widest / (groups * stride) - 1;
    return vectors * beside - ((reach - 1) / stride + beside - 1) / beside * beside;
}

#endif
