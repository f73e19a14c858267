/* Random data, comparators and guarded buffers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/clq_test.h"

/* ---- random data ---- */

bool clq_test_all(void) {
    const char *all = getenv("CLQ_TEST_ALL");
    return all && strcmp(all, "1") == 0;
}

bool clq_test_takes(int i, int of) {
    return clq_test_all() || i % of == 0;
}

uint64_t clq_test_seed(void) {
    const char *text = getenv("CLQ_TEST_SEED");
    return text ? strtoull(text, NULL, 0) : 20240607;
}

/* low + 0 .. high - low */
static int64_t draw(clq_rng *rng, int64_t low, int64_t high) {
    uint64_t span = (uint64_t)(high - low) + 1;
    return low + (int64_t)((clq_rng_next(rng) * span) >> 32);
}

void clq_test_fill_f32(float *data, size_t count, float low, float high, uint64_t stream) {
    clq_rng rng = clq_rng_start(clq_test_seed(), stream);
    for (size_t i = 0; i < count; i++) {
        data[i] = low + (high - low) * clq_uniform(clq_rng_next(&rng));
    }
}

void clq_test_fill_normal(float *data, size_t count, float deviation, uint64_t stream) {
    clq_rng rng = clq_rng_start(clq_test_seed(), stream);
    float pair[2] = {0, 0};
    for (size_t i = 0; i < count; i++) {
        if (i % 2 == 0) {
            uint32_t bits[2];
            bits[0] = clq_rng_next(&rng);
            bits[1] = clq_rng_next(&rng);
            clq_normal2(bits, pair);
        }
        data[i] = deviation * pair[i % 2];
    }
}

void clq_test_fill_u8(uint8_t *data, size_t count, uint8_t low, uint8_t high, uint64_t stream) {
    clq_rng rng = clq_rng_start(clq_test_seed(), stream);
    for (size_t i = 0; i < count; i++) {
        data[i] = (uint8_t)draw(&rng, low, high);
    }
}

void clq_test_fill_s8(int8_t *data, size_t count, int8_t low, int8_t high, uint64_t stream) {
    clq_rng rng = clq_rng_start(clq_test_seed(), stream);
    for (size_t i = 0; i < count; i++) {
        data[i] = (int8_t)draw(&rng, low, high);
    }
}

void clq_test_fill_s32(int32_t *data, size_t count, int32_t low, int32_t high, uint64_t stream) {
    clq_rng rng = clq_rng_start(clq_test_seed(), stream);
    for (size_t i = 0; i < count; i++) {
        data[i] = (int32_t)draw(&rng, low, high);
    }
}

/* ---- comparators ---- */

size_t clq_test_shape_count(clq_test_shape shape) {
    size_t count = 1;
    for (int d = 0; d < shape.rank; d++) {
        count *= shape.dims[d];
    }
    return count;
}

/* "[1, 2, 3]": the place of element `index`. */
static void format_place(clq_test_shape shape, size_t index, char *out, size_t out_size) {
    size_t place[CLQ_TEST_MAX_RANK];
    for (int d = shape.rank - 1; d >= 0; d--) {
        place[d] = index % shape.dims[d];
        index /= shape.dims[d];
    }
    snprintf(out, out_size, "[");
    for (int d = 0; d < shape.rank; d++) {
        size_t used = strlen(out);
        snprintf(out + used, out_size - used, "%s%zu", d ? ", " : "", place[d]);
    }
    size_t used = strlen(out);
    snprintf(out + used, out_size - used, "]");
}

bool clq_test_close_f32(const float *actual, const float *expected, clq_test_shape shape,
                        double absolute, double relative, char *out, size_t out_size) {
    size_t count = clq_test_shape_count(shape);
    size_t wrong = 0, first = 0;
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        double a = actual[i], e = expected[i];
        double difference = fabs(a - e);
        bool close = isnan(e)               ? isnan(a)
                     : isinf(e) || isinf(a) ? a == e
                                            : difference <= absolute + relative * fabs(e);
        if (!close) {
            first = wrong++ ? first : i;
            largest = difference > largest ? difference : largest;
        }
    }
    if (wrong) {
        char place[128];
        format_place(shape, first, place, sizeof place);
        snprintf(out, out_size,
                 "%zu of %zu differ, first at %s: %.9g, expected %.9g; largest difference %.3g "
                 "(seed %llu)",
                 wrong, count, place, (double)actual[first], (double)expected[first], largest,
                 (unsigned long long)clq_test_seed());
    }
    return wrong == 0;
}

#define DEFINE_EQUAL(suffix, type)                                                                 \
    bool clq_test_equal_##suffix(const type *actual, const type *expected, clq_test_shape shape,   \
                                 char *out, size_t out_size) {                                     \
        size_t count = clq_test_shape_count(shape);                                                \
        size_t wrong = 0, first = 0;                                                               \
        for (size_t i = 0; i < count; i++) {                                                       \
            if (actual[i] != expected[i]) {                                                        \
                first = wrong++ ? first : i;                                                       \
            }                                                                                      \
        }                                                                                          \
        if (wrong) {                                                                               \
            char place[128];                                                                       \
            format_place(shape, first, place, sizeof place);                                       \
            snprintf(out, out_size,                                                                \
                     "%zu of %zu differ, first at %s: %lld, expected %lld (seed %llu)", wrong,     \
                     count, place, (long long)actual[first], (long long)expected[first],           \
                     (unsigned long long)clq_test_seed());                                         \
        }                                                                                          \
        return wrong == 0;                                                                         \
    }

DEFINE_EQUAL(u8, uint8_t)
DEFINE_EQUAL(s8, int8_t)
DEFINE_EQUAL(s32, int32_t)

bool clq_test_equal_bits(const void *actual, const void *expected, size_t size, char *out,
                         size_t out_size) {
    const unsigned char *a = actual, *e = expected;
    for (size_t i = 0; i < size; i++) {
        if (a[i] != e[i]) {
            snprintf(out, out_size, "byte %zu of %zu is 0x%02x, expected 0x%02x (seed %llu)", i,
                     size, a[i], e[i], (unsigned long long)clq_test_seed());
            return false;
        }
    }
    return true;
}

/* ---- guarded buffers ---- */

enum { GUARD = 64, GUARD_BYTE = 0x5C, FILL_BYTE = 0xA5 };

/* Layout: size_t in a block of 64, guard, the buffer, guard. */
void *clq_test_guarded(size_t size) {
    size_t whole = (3 * GUARD + size + GUARD - 1) / GUARD * GUARD;
    unsigned char *block = aligned_alloc(GUARD, whole);
    if (!block) {
        fail_msg("out of memory for a guarded buffer of %zu bytes", size);
        return NULL;
    }
    memcpy(block, &size, sizeof size);
    memset(block + GUARD, GUARD_BYTE, GUARD);
    memset(block + 2 * GUARD, FILL_BYTE, size);
    memset(block + 2 * GUARD + size, GUARD_BYTE, GUARD);
    return block + 2 * GUARD;
}

bool clq_test_guards_whole(const void *buffer, char *out, size_t out_size) {
    const unsigned char *data = buffer;
    size_t size;
    memcpy(&size, data - 2 * GUARD, sizeof size);
    for (size_t i = 1; i <= GUARD; i++) {
        if (data[-(ptrdiff_t)i] != GUARD_BYTE) {
            snprintf(out, out_size, "written %zu bytes before a buffer of %zu", i, size);
            return false;
        }
        if (data[size + i - 1] != GUARD_BYTE) {
            snprintf(out, out_size, "written %zu bytes behind a buffer of %zu", i, size);
            return false;
        }
    }
    return true;
}

void clq_test_guarded_free(void *buffer) {
    char message[128];
    if (!buffer) {
        return;
    }
    bool whole = clq_test_guards_whole(buffer, message, sizeof message);
    free((unsigned char *)buffer - 2 * GUARD);
    if (!whole) {
        fail_msg("%s", message);
    }
}
