/* Kernels on a layer's weights (OC, K): one work-item (GPU schedule: one work-group) does one output
 * channel.
 *
 *   FOR_EACH_IN_ROW(k, BODY)
 *
 * runs BODY(W) for every `j` in 0 .. k-1 of this channel; W as in codes.h. */
#ifndef CLQ_ROWS_H
#define CLQ_ROWS_H

#ifdef CLQ_SCHEDULE_CPU
#define CHANNEL get_global_id(0)
#define IS_FIRST 1
#define FOR_EACH_IN_ROW(k, BODY)                                                                   \
    do {                                                                                           \
        int j = 0;                                                                                 \
        for (; j + 16 <= (k); j += 16) {                                                           \
            BODY(16)                                                                               \
        }                                                                                          \
        for (; j < (k); j++) {                                                                     \
            BODY(1)                                                                                \
        }                                                                                          \
    } while (0)
#else
#define CHANNEL get_group_id(0)
#define IS_FIRST (get_local_id(0) == 0)
#define FOR_EACH_IN_ROW(k, BODY)                                                                   \
    for (int j = get_local_id(0); j < (k); j += get_local_size(0)) {                               \
        BODY(1)                                                                                    \
    }
#endif

#endif
