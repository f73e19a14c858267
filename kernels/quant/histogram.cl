/* Histograms of a value's reals in a batch (include/histogram.h), zeros left out: of the magnitudes
 * of negative reals, then of positive ones. Counts are whole numbers, so their order does not
 * matter. */
#include "codes.h"
#include "histogram.h"

#define COUNTS (2 * CLQ_BINS)

/* CPU schedule: a work-item counts into a row of its own, and zeros and other lanes' leftovers into
 * a column for each lane behind it, so that neighbouring zeros do not wait for one another. */
#define LANES 16
#define ROW (COUNTS + LANES)

/* range (values, 2): the largest -x and x of the value, of this batch or more. */
#define BINS_BODY(ARG, W)                                                                          \
    {                                                                                              \
        const int##W bits = AS_INT##W(LOAD##W(x + i));                                             \
        const int##W magnitude = bits & 0x7fffffff;                                                \
        const int##W negative = bits < 0 ? (int##W)(-1) : (int##W)(0);                             \
        int##W bin = (magnitude >> CLQ_BIN_SHIFT) - (negative & below) - (~negative & above);      \
        bin = min(max(bin, (int##W)(0)), (int##W)(CLQ_BINS - 1)) + (~negative & CLQ_BINS);         \
        ARG(W, magnitude != 0 ? bin : ZERO_BIN##W)                                                 \
    }
#define AS_INT16(v) as_int16(v)
#define AS_INT1(v) as_int(v)

#ifdef CLQ_SCHEDULE_CPU
#define ZERO_BIN16 ((int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) + COUNTS)
#define ZERO_BIN1 COUNTS
#define COUNT1(at) row[at]++;
/* Four bins of 16 bits at a time, as taking lanes out of a vector is what costs most. */
#define COUNT4(four)                                                                               \
    {                                                                                              \
        const ulong four_ = (four);                                                                \
        row[(ushort)four_]++;                                                                      \
        row[(ushort)(four_ >> 16)]++;                                                              \
        row[(ushort)(four_ >> 32)]++;                                                              \
        row[four_ >> 48]++;                                                                        \
    }
#define COUNT16(at)                                                                                \
    const ulong4 bins_ = as_ulong4(convert_ushort16(at));                                          \
    COUNT4(bins_.s0)                                                                               \
    COUNT4(bins_.s1)                                                                               \
    COUNT4(bins_.s2)                                                                               \
    COUNT4(bins_.s3)
#define COUNT(W, at) COUNT##W(at)

/* rows (work-items, ROW), zeros: histogram_join takes them and leaves zeros. */
__kernel void histogram_count(__global const float *x, __global const float *range,
                              __global uint *rows, int value, int count) {
    __global uint *row = rows + (long)get_global_id(0) * ROW;
    const int below = clq_first_bin(range[2 * value]), above = clq_first_bin(range[2 * value + 1]);
    FOR_EACH_CODE(count, BINS_BODY, COUNT);
}
#else
#define ZERO_BIN1 (-1)
#define COUNT(W, at)                                                                               \
    const int at_ = (at);                                                                          \
    if (at_ >= 0) {                                                                                \
        atomic_inc(&group_[at_]);                                                                  \
    }

/* rows (1, ROW), zeros */
__kernel void histogram_count(__global const float *x, __global const float *range,
                              __global uint *rows, int value, int count) {
    __local uint group_[COUNTS];
    const int below = clq_first_bin(range[2 * value]), above = clq_first_bin(range[2 * value + 1]);
    for (int bin = get_local_id(0); bin < COUNTS; bin += get_local_size(0)) {
        group_[bin] = 0;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    FOR_EACH_CODE(count, BINS_BODY, COUNT);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int bin = get_local_id(0); bin < COUNTS; bin += get_local_size(0)) {
        if (group_[bin] != 0) {
            atomic_add(rows + bin, group_[bin]);
        }
    }
}
#endif

typedef uint uint1;
#define JOIN_BODY(ARG, W)                                                                          \
    {                                                                                              \
        uint##W sum = 0;                                                                           \
        for (long row = 0; row < row_count; row++) {                                               \
            sum += LOAD##W(rows + row * ROW + i);                                                  \
            STORE##W((uint##W)(0), rows + row * ROW + i);                                          \
        }                                                                                          \
        STORE##W(sum, counts + i);                                                                 \
    }

/* counts (slots, COUNTS) of a slot become the sums over the rows. */
__kernel void histogram_join(__global uint *rows, __global uint *counts, int slot, int row_count) {
    counts += (long)slot * COUNTS;
    FOR_EACH_CODE(COUNTS, JOIN_BODY, 0);
}
