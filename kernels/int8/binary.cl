/* Operators of two operands on bytes: (11), (24) to (26) of docs/quantization.md; the operation is
 * -DCLQ_BINARY. a, b and y are words of 4 codes; PAIR_SHAPE (broadcast.h) counts words. A run of the
 * result has `channels` codes, and its last word may end in padding. An operand with one code for a
 * whole run has it in the first byte of its word. */
#include "broadcast.h"
#include "int8_codes.h"

/* 4 W codes of an operand. */
#define WORDS16(p, step) ((step) ? codes_load16(p) : (int16)(*(p)))
#define WORDS4(p, step) ((step) ? codes_load4(p) : (int4)(*(p)))

#if CLQ_BINARY == BINARY_ADD
#define PAIR_INTS(W, a, b) ADD_INTS(W, a, fa, b, fb, shift, zero, lo, hi)
#elif CLQ_BINARY == BINARY_SUB
#define PAIR_INTS(W, a, b) ADD_INTS(W, a, fa, -(b), fb, shift, zero, lo, hi)
#elif CLQ_BINARY == BINARY_MUL
#define PAIR_INTS(W, a, b) SUM_INTS(W, (a) * (b), fa, shift, zero, lo, hi)
#elif CLQ_BINARY == BINARY_MIN
#define PAIR_INTS(W, a, b)                                                                         \
    min(SUM_INTS(W, a, fa, shift, zero, lo, hi), SUM_INTS(W, b, fb, shift_b, zero, lo, hi))
#else
#define PAIR_INTS(W, a, b)                                                                         \
    max(SUM_INTS(W, a, fa, shift, zero, lo, hi), SUM_INTS(W, b, fb, shift_b, zero, lo, hi))
#endif

#define PAIR_CODES(W)                                                                              \
    PAIR_INTS(W, WORDS##W(at_a, a4) - (int##W)(a_zero), WORDS##W(at_b, b4) - (int##W)(b_zero))

/* fa, fb, shift and shift_b: an addition's factors; M of (8), as clq_multiplier_sum has it, in fa
 * and shift, of b in fb and shift_b. */
__kernel void int8_binary(__global const uchar *a, __global const uchar *b, __global uchar *y,
                          int a_zero, int b_zero, int fa, int fb, int shift, int shift_b, int zero,
                          int lo, int hi, int channels, PAIR_SHAPE) {
#ifdef CLQ_SCHEDULE_CPU
    long w, end;
    const int rest = channels % 4 != 0; /* words that are not full */
    clq_share(count, 4, &w, &end);
    PAIR_FIND_ROW((int)(w / d4));
    int column = (int)(w % d4);
    while (w < end) {
        __global const uchar *at_a = a + 4 * (PAIR_ROW(a) + (long)column * a4);
        __global const uchar *at_b = b + 4 * (PAIR_ROW(b) + (long)column * b4);
        const long row_end = w + d4 - column, stop = min(end, row_end);
        for (; w + 4 <= min(end, row_end - rest); w += 4) {
            codes_store16(PAIR_CODES(16), y + w * 4);
            at_a += 16 * a4;
            at_b += 16 * b4;
        }
        for (; w < stop; w++) {
            codes_store4(PAIR_CODES(4), channels - (d4 - (int)(row_end - w)) * 4, y + w * 4);
            at_a += 4 * a4;
            at_b += 4 * b4;
        }
        column = 0;
        PAIR_NEXT_ROW
    }
#else
    for (long w = get_global_id(0); w < count; w += get_global_size(0)) {
        PAIR_FIND_ROW((int)w / d4);
        const int column = (int)w % d4;
        __global const uchar *at_a = a + 4 * (PAIR_ROW(a) + (long)column * a4);
        __global const uchar *at_b = b + 4 * (PAIR_ROW(b) + (long)column * b4);
        codes_store4(PAIR_CODES(4), channels - column * 4, y + w * 4);
    }
#endif
}
