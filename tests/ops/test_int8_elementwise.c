/* The integer network's kernels besides convolution equal their references exactly. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/device.h"
#include "support/ref_int8.h"
#include "support/ref_requantize.h"

static clq_device *device;

static const int channel_counts[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 64, 65, 150};
enum { CHANNEL_COUNTS = sizeof channel_counts / sizeof channel_counts[0] };

/* A device buffer with `data`, or of 0xa5 bytes; sizes are rounded up to words. */
static clq_buffer *buffer_of(const void *data, size_t size) {
    clq_buffer *buffer = NULL;
    size_t whole = (size + 3) / 4 * 4 + 64;
    assert_ok(clq_buffer_create(device, whole, &buffer));
    assert_ok(clq_buffer_fill(buffer, 0, whole, 0xa5a5a5a5));
    if (data) {
        assert_ok(clq_buffer_write(buffer, 0, size, data));
    }
    return buffer;
}

/* The bytes of `buffer` are `expected` and what follows is untouched. */
static void expect_bytes(clq_buffer *buffer, const void *expected, size_t size) {
    size_t whole = clq_buffer_size(buffer);
    uint8_t *actual = malloc(whole);
    assert_ok(clq_buffer_read(buffer, 0, whole, actual));
    assert_equal_u8(actual, expected, clq_test_shape_of(size));
    for (size_t i = size; i < whole; i++) {
        assert_int_equal(actual[i], 0xa5);
    }
    free(actual);
}

static void test_quantize(void **state) {
    (void)state;
    for (int i = 0; i < CHANNEL_COUNTS; i++) {
        int channels = channel_counts[i], pixels = 23 + i, pitch = ref_int8_pitch(channels);
        size_t count = (size_t)pixels * channels, bytes = (size_t)pixels * pitch;
        float *real = malloc(count * sizeof *real), *back = malloc(count * sizeof *back);
        uint8_t *codes = malloc(bytes);
        clq_int8_range range = {0.0173f, 3 + 17 * i, i % 2 ? 5 : 0, i % 3 ? 255 : 200};
        clq_test_fill_f32(real, count, -3.0f, 5.0f, (uint64_t)i);
        for (size_t k = 0; k < count; k += 3) { /* ties, to both sides */
            real[k] = ((float)(k % 256) - 100.5f) * 0.0173f;
        }
        real[0] = INFINITY;
        if (count > 4) {
            real[1] = -INFINITY;
            real[2] = NAN;
            real[3] = -3.0e38f;
            real[4] = 0.0f;
        }
        ref_int8_quantize(real, codes, pixels, channels, range);
        clq_buffer *x = buffer_of(real, count * sizeof *real), *q = buffer_of(NULL, bytes);
        assert_ok(clq_int8_quantize(device, x, q, pixels, channels, range));
        expect_bytes(q, codes, bytes);

        clq_buffer *r = buffer_of(NULL, count * sizeof *real);
        ref_int8_dequantize(codes, back, pixels, channels, range.scale, range.zero_point);
        assert_ok(
            clq_int8_dequantize(device, q, r, pixels, channels, range.scale, range.zero_point));
        expect_bytes(r, back, count * sizeof *back);
        clq_buffer_release(x);
        clq_buffer_release(q);
        clq_buffer_release(r);
        free(real);
        free(back);
        free(codes);
    }
}

/* Every float near every tie must round as the reference's division says. */
static void test_quantize_near_ties(void **state) {
    (void)state;
    enum { CODES = 256, NEAR = 9, COUNT = CODES * NEAR };
    static const float scales[] = {0.1f, 0.0039215689f, 3.0f, 1.0f / 3.0f, 7.7e-5f};
    for (size_t s = 0; s < sizeof scales / sizeof scales[0]; s++) {
        float real[COUNT];
        uint8_t expected[COUNT];
        for (int q = 0; q < CODES; q++) {
            float x = ((float)q - 0.5f) * scales[s];
            for (int k = 0; k < NEAR / 2; k++) {
                x = nextafterf(x, -INFINITY);
            }
            for (int k = 0; k < NEAR; k++, x = nextafterf(x, INFINITY)) {
                real[q * NEAR + k] = x;
            }
        }
        clq_int8_range range = {scales[s], 0, 0, 255};
        ref_int8_quantize(real, expected, COUNT / 4, 4, range);
        clq_buffer *x = buffer_of(real, sizeof real), *q = buffer_of(NULL, COUNT);
        assert_ok(clq_int8_quantize(device, x, q, COUNT / 4, 4, range));
        expect_bytes(q, expected, COUNT);
        clq_buffer_release(x);
        clq_buffer_release(q);
    }
}

/* The range with a scale that the requantizer takes. */
static clq_int8_range range_for(clq_requantizer requantizer, clq_int8_range range) {
    range.scale = ref_scale_for(requantizer, range.scale);
    return range;
}

static void check_add(clq_requantizer r) {
    for (int i = 0; i < CHANNEL_COUNTS; i++) {
        int channels = channel_counts[i], pixels = 301 - 11 * i, pitch = ref_int8_pitch(channels);
        size_t bytes = (size_t)pixels * pitch;
        uint8_t *a = malloc(bytes), *b = malloc(bytes), *y = malloc(bytes);
        clq_int8_range ra = {0.02f, 0, 0, 255}, rb = {0.031f * (i + 1), 128, 0, 255};
        clq_int8_range ry = {0.05f, i % 2 ? 0 : 77, i % 4 ? 0 : 77, 255};
        ra = range_for(r, ra), rb = range_for(r, rb), ry = range_for(r, ry);
        clq_test_fill_u8(a, bytes, 0, 255, 1);
        clq_test_fill_u8(b, bytes, 0, 255, 2);
        ref_int8_add(r, a, ra, b, rb, y, ry, pixels, channels);
        clq_buffer *da = buffer_of(a, bytes), *db = buffer_of(b, bytes);
        clq_buffer *out = i % 3 == 0 ? da : i % 3 == 1 ? db : buffer_of(NULL, bytes);
        assert_ok(clq_int8_add(device, r, da, ra, db, rb, out, ry, pixels, channels));
        expect_bytes(out, y, bytes);
        if (out != da && out != db) {
            clq_buffer_release(out);
        }
        clq_buffer_release(da);
        clq_buffer_release(db);
        free(a);
        free(b);
        free(y);
    }
}

static void test_add(void **state) {
    (void)state;
    for (int r = 0; r < CLQ_REQUANT_COUNT; r++) {
        if (ref_takes((clq_requantizer)r, device)) {
            check_add((clq_requantizer)r);
        }
    }
}

/* Every pair of codes: all ties and both ends of the clamp, at factors above and below 1. */
static void test_add_of_all_codes(void **state) {
    enum { COUNT = 256 * 256 };
    static const float scales[][3] = {
        {0.5f, 0.5f, 1}, {0.25f, 2, 1}, {0.015625f, 0.5f, 0.25f}, {3, 0.7f, 0.9f}};
    (void)state;
    uint8_t *a = malloc(COUNT), *b = malloc(COUNT), *y = malloc(COUNT);
    for (int i = 0; i < COUNT; i++) {
        a[i] = (uint8_t)(i / 256), b[i] = (uint8_t)i;
    }
    clq_buffer *da = buffer_of(a, COUNT), *db = buffer_of(b, COUNT), *out = buffer_of(NULL, COUNT);
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        for (int r = 0; r < CLQ_REQUANT_COUNT; r++) {
            const clq_requantizer kind = (clq_requantizer)r;
            if (!ref_takes(kind, device)) {
                continue;
            }
            clq_int8_range ra = range_for(kind, (clq_int8_range){scales[s][0], 128, 0, 255});
            clq_int8_range rb = range_for(kind, (clq_int8_range){scales[s][1], 131, 0, 255});
            clq_int8_range ry = range_for(kind, (clq_int8_range){scales[s][2], 99, 3, 254});
            ref_int8_add(kind, a, ra, b, rb, y, ry, COUNT / 4, 4);
            assert_ok(clq_int8_add(device, kind, da, ra, db, rb, out, ry, COUNT / 4, 4));
            expect_bytes(out, y, COUNT);
        }
    }
    clq_buffer_release(da);
    clq_buffer_release(db);
    clq_buffer_release(out);
    free(a);
    free(b);
    free(y);
}

static void test_lookup(void **state) {
    (void)state;
    for (int i = 0; i < 2 * CHANNEL_COUNTS; i++) { /* one table, or one for each channel */
        const bool each = i >= CHANNEL_COUNTS;
        const size_t columns = each ? (size_t)channel_counts[i % CHANNEL_COUNTS] : 1;
        uint8_t *table = malloc(256 * columns);
        clq_test_fill_u8(table, 256 * columns, 1, 255, 3);
        clq_buffer *t = buffer_of(table, 256 * columns);
        int channels = channel_counts[i % CHANNEL_COUNTS], pixels = 97;
        const size_t pitch = (size_t)ref_int8_pitch(channels), bytes = (size_t)pixels * pitch;
        uint8_t *x = malloc(bytes), *y = malloc(bytes);
        clq_test_fill_u8(x, bytes, 0, 255, 1);
        for (size_t k = 0; k < bytes; k++) {
            const size_t c = k % pitch;
            y[k] = (int)c < channels ? table[x[k] * columns + (each ? c : 0)] : 0;
        }
        clq_buffer *dx = buffer_of(x, bytes);
        assert_ok(each ? clq_int8_lookup_channels(device, dx, t, dx, pixels, channels)
                       : clq_int8_lookup(device, dx, t, dx, pixels, channels));
        expect_bytes(dx, y, bytes);
        clq_buffer_release(dx);
        clq_buffer_release(t);
        free(table);
        free(x);
        free(y);
    }
}

static void check_pools(const clq_int8_pool *p, int pad_bottom, int pad_right) {
    int pitch = ref_int8_pitch(p->channels);
    size_t x_bytes = (size_t)p->n * p->ih * p->iw * pitch;
    size_t y_bytes = (size_t)p->n * p->oh * p->ow * pitch;
    uint8_t *x = malloc(x_bytes), *y = malloc(y_bytes);
    clq_test_fill_u8(x, x_bytes, 0, 255, 1);
    for (size_t i = 0; i < x_bytes; i++) { /* padding channels hold zeros */
        x[i] = (int)(i % (size_t)pitch) < p->channels ? x[i] : 0;
    }
    clq_buffer *dx = buffer_of(x, x_bytes), *dy = buffer_of(NULL, y_bytes);
    ref_int8_max_pool(x, y, p);
    assert_ok(clq_int8_max_pool(device, dx, dy, p));
    expect_bytes(dy, y, y_bytes);
    for (int i = 0; i < 2 * CLQ_REQUANT_COUNT; i++) {
        const clq_requantizer r = (clq_requantizer)(i / 2);
        const bool include = i % 2;
        if (!ref_takes(r, device)) {
            continue;
        }
        clq_int8_avg_pool *pool = NULL;
        clq_int8_range rx = {0.021f, 9, 0, 255}, ry = {include ? 0.021f : 0.017f, 30, 2, 250};
        rx = range_for(r, rx), ry = range_for(r, ry);
        ref_int8_avg_pool(r, x, y, p, pad_bottom, pad_right, include, rx, ry);
        assert_ok(
            clq_int8_avg_pool_create(device, r, p, pad_bottom, pad_right, include, rx, ry, &pool));
        assert_ok(clq_int8_avg_pool_forward(pool, dx, dy));
        expect_bytes(dy, y, y_bytes);
        clq_int8_avg_pool_destroy(pool);
    }
    clq_buffer_release(dx);
    clq_buffer_release(dy);
    free(x);
    free(y);
}

static void test_pools(void **state) {
    (void)state;
    for (int i = 0; i < CHANNEL_COUNTS; i++) {
        int c = channel_counts[i];
        check_pools(&(clq_int8_pool){2, 9, 7, c, 5, 4, 3, 3, 2, 2, 1, 1, 1, 1}, 1, 1);
        check_pools(&(clq_int8_pool){1, 7, 7, c, 1, 1, 7, 7, 1, 1, 0, 0, 1, 1}, 0, 0); /* global */
        check_pools(&(clq_int8_pool){1, 8, 6, c, 4, 3, 2, 2, 2, 2, 0, 0, 1, 1}, 0, 0);
        check_pools(&(clq_int8_pool){3, 5, 5, c, 3, 3, 2, 3, 2, 2, 0, 1, 1, 1}, 0,
                    1); /* ceil mode */
    }
}

static void test_shortcut(void **state) {
    (void)state;
    for (int i = 0; i < CHANNEL_COUNTS; i++) {
        int c = channel_counts[i];
        clq_int8_shortcut s = {2, 7, 5, c, 4, 3, 2 * c, 2, i % 2 ? c / 2 : 0, 19};
        size_t x_bytes = (size_t)s.n * s.ih * s.iw * ref_int8_pitch(c);
        size_t y_bytes = (size_t)s.n * s.oh * s.ow * ref_int8_pitch(s.oc);
        uint8_t *x = malloc(x_bytes), *y = malloc(y_bytes);
        clq_test_fill_u8(x, x_bytes, 0, 255, 1);
        ref_int8_shortcut_a(x, y, &s);
        clq_buffer *dx = buffer_of(x, x_bytes), *dy = buffer_of(NULL, y_bytes);
        assert_ok(clq_int8_shortcut_a(device, dx, dy, &s));
        expect_bytes(dy, y, y_bytes);
        clq_buffer_release(dx);
        clq_buffer_release(dy);
        free(x);
        free(y);
    }
}

static void test_bad_scales(void **state) {
    (void)state;
    clq_int8_avg_pool *pool;
    clq_int8_range good = {0.1f, 0, 0, 255}, bad = {-0.1f, 0, 0, 255};
    clq_int8_pool p = {1, 2, 2, 4, 1, 1, 2, 2, 1, 1, 0, 0, 1, 1};
    assert_status(
        clq_int8_avg_pool_create(device, CLQ_REQUANT_FLOAT, &p, 0, 0, false, bad, good, &pool),
        CLQ_BAD_DATA);
    assert_null(pool);
    clq_buffer *x = buffer_of(NULL, 16);
    assert_status(clq_int8_quantize(device, x, x, 1, 1, bad), CLQ_BAD_DATA);
    for (int r = 0; r < CLQ_REQUANT_COUNT; r++) {
        assert_status(clq_int8_add(device, (clq_requantizer)r, x, good, x, bad, x, good, 1, 1),
                      CLQ_BAD_DATA);
    }
    const clq_int8_range pow2 = {0.5f, 0, 0, 255}, tiny = {0x1p-24f, 0, 0, 255};
    assert_status(clq_int8_add(device, CLQ_REQUANT_SHIFT, x, good, x, pow2, x, pow2, 1, 1),
                  CLQ_BAD_DATA);
    assert_error_has("powers of two");
    assert_status(clq_int8_add(device, CLQ_REQUANT_SHIFT, x, pow2, x, tiny, x, pow2, 1, 1),
                  CLQ_BAD_DATA);
    assert_error_has("2^22");
    assert_status(clq_int8_add(device, CLQ_REQUANT_FIXED, x, pow2, x, pow2, x, tiny, 1, 1),
                  CLQ_BAD_DATA);
    assert_error_has("2^20");
    assert_status(
        clq_int8_avg_pool_create(device, CLQ_REQUANT_SHIFT, &p, 0, 0, false, good, pow2, &pool),
        CLQ_BAD_DATA);
    assert_error_has("powers of two");
    bad.scale = NAN;
    assert_status(clq_int8_dequantize(device, x, x, 1, 1, bad.scale, 0), CLQ_BAD_DATA);
    clq_buffer_release(x);
}

static int open_device(void **state) {
    (void)state;
    return clq_test_open(NULL, &device) == CLQ_OK ? 0 : -1;
}

static int close_device(void **state) {
    (void)state;
    clq_device_close(device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantize), cmocka_unit_test(test_quantize_near_ties),
        cmocka_unit_test(test_add),      cmocka_unit_test(test_add_of_all_codes),
        cmocka_unit_test(test_lookup),   cmocka_unit_test(test_pools),
        cmocka_unit_test(test_shortcut), cmocka_unit_test(test_bad_scales),
    };
    int failures = 0;
    static const char *const schedules[] = {"cpu", "gpu"};
    for (size_t i = 0; i < 2; i++) {
        setenv("CLQUANT_SCHEDULE", schedules[i], 1);
        failures += cmocka_run_group_tests_name(schedules[i], tests, open_device, close_device);
    }
    return failures;
}
