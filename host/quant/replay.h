/* Calibration's images through a network again and again, while its parameters change from layer to
 * layer: what a layer reads and makes, without running all that is before it each time. */
#ifndef CLQUANT_QUANT_REPLAY_H
#define CLQUANT_QUANT_REPLAY_H

#include <clquant/quant.h>

/* The most that a replay keeps on the host. Where a value of all images is larger than this, the
 * way to a layer is run from an earlier value, or from the images. */
#define CLQ_REPLAY_BYTES ((size_t)256 << 20)

typedef struct clq_replay {
    clq_device *device;
    const clq_graph *graph; /* float, or quantized, which is simulated */
    clq_feed *feed;
    int batch; /* the feed's */
    int64_t images;
    int from;      /* the value that is kept; CLQ_NO_VALUE: none so far */
    float *stored; /* (images, size of `from`): reals */
} clq_replay;

void clq_replay_init(clq_replay *replay, clq_device *device, const clq_graph *graph, clq_feed *feed,
                     int batch, int64_t images);
void clq_replay_clear(clq_replay *replay);

/* Says that what is before node `n` does not change any more, and that only nodes from it on will
 * be asked for. */
clq_status clq_replay_advance(clq_replay *replay, int n);

/* Gets y (count, size): reals of the value, of images first .. first + count - 1. */
typedef clq_status (*clq_replay_visit)(void *context, const float *y, int64_t first, int count);

/* What of a layer is asked for. SUMS: what it makes before its activation, and before that is
 * rounded to codes. */
typedef enum clq_replay_part {
    CLQ_REPLAY_INPUT,
    CLQ_REPLAY_OUTPUT,
    CLQ_REPLAY_SUMS,
} clq_replay_part;

/* Runs the first `images` as far as the layer, node `n`. */
clq_status clq_replay_run(clq_replay *replay, int n, clq_replay_part what, int64_t images,
                          clq_replay_visit visit, void *context);

#endif
