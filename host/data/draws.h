/* The random numbers of training data, all functions of (seed, epoch, position). */
#ifndef CLQ_DATA_DRAWS_H
#define CLQ_DATA_DRAWS_H

#include <clquant/data.h>

/* What a Philox stream is for: the top byte of its number. */
typedef enum clq_draw {
    CLQ_DRAW_ORDER = 1,   /* the order of an epoch; counter: step of the shuffle */
    CLQ_DRAW_AUGMENT = 2, /* augmentation; counter: position * 16 + block */
    CLQ_DRAW_SPLIT = 3,   /* which rows of a table are tests */
    CLQ_DRAW_MIX = 4,     /* mixup and cutmix: keys of a batch's draws; counter: its position */
} clq_draw;

static inline uint64_t clq_draw_stream(clq_draw draw, int64_t epoch) {
    return (uint64_t)draw << 56 | (uint64_t)epoch;
}

#endif
