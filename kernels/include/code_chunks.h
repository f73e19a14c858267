/* Channels of u8 codes in chunks of a pixel: 16 or 4 at once on the CPU schedule, 4 on the GPU's.
 */
#ifndef CLQ_CODE_CHUNKS_H
#define CLQ_CODE_CHUNKS_H

#include "int8_codes.h"

#ifdef CLQ_SCHEDULE_CPU
#define CHUNK 16
#else
#define CHUNK 4
#endif

/* Bytes of a pixel, and its chunks. */
#define CODE_PITCH(channels) (((channels) + 3) / 4 * 4)
#define CODE_CHUNKS(channels) ((CODE_PITCH(channels) + CHUNK - 1) / CHUNK)

/* BODY(W) for the channels of the chunk that begins at `first`: 16 at once, or 4 at `c` beyond its
 * first. codes_putW writes W codes, of which `left` exist. */
#if CHUNK == 16
#define FOR_CHUNK(first, channels, BODY)                                                           \
    int c = 0;                                                                                     \
    if ((first) + 16 <= (channels)) {                                                              \
        BODY(16)                                                                                   \
    } else                                                                                         \
        for (; (first) + c < (channels); c += 4) {                                                 \
            BODY(4)                                                                                \
        }
#define codes_put16(q, left, p) codes_store16(q, p)
#else
#define FOR_CHUNK(first, channels, BODY)                                                           \
    const int c = 0;                                                                               \
    BODY(4)
#endif
#define codes_put4(q, left, p) codes_store4(q, left, p)

#endif
