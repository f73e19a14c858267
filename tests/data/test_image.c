/* Decoding JPEG and PNG, whole and broken, and fitting to a size. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "data/image.h"
#include "support/clq_test.h"
#include "support/image_files.h"
#include "support/ref_resize.h"

/* ---- whole files ---- */

static void jpeg_keeps_a_smooth_picture(void **state) {
    (void)state;
    const int sizes[][2] = {{1, 1}, {7, 5}, {32, 32}, {33, 64}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int channels = 1; channels <= 3; channels += 2) {
            const int h = sizes[i][0], w = sizes[i][1];
            uint8_t pixels[64 * 64 * 3];
            test_smooth_pixels(pixels, h, w, channels);
            test_file file = test_jpeg(pixels, h, w, channels, 98);
            clq_image image;
            assert_ok(clq_image_decode("a.jpg", file.data, file.size, channels, &image));
            assert_int_equal(image.height, h);
            assert_int_equal(image.width, w);
            assert_int_equal(image.channels, channels);
            for (int k = 0; k < h * w * channels; k++) {
                assert_in_range(image.data[k] + 8 - pixels[k], 0, 16);
            }
            clq_image_free(&image);
            test_file_free(&file);
        }
    }
}

/* Expected value of output channel c of pixel p[stored]. */
static int expected_png(const uint8_t *p, int stored, int c, int channels) {
    if (stored < 3) {
        return p[0];
    }
    return channels == 3 ? p[c] : (int)(0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2] + 0.5);
}

static void png_is_exact(void **state) {
    (void)state;
    enum { H = 13, W = 11 };
    for (int stored = 1; stored <= 4; stored++) {
        uint8_t pixels[H * W * 4];
        clq_test_fill_u8(pixels, sizeof pixels, 0, 255, (uint64_t)stored);
        test_file file = test_png(pixels, H, W, stored);
        for (int channels = 1; channels <= 3; channels += 2) {
            clq_image image;
            assert_ok(clq_image_decode("a.png", file.data, file.size, channels, &image));
            assert_int_equal(image.height, H);
            assert_int_equal(image.width, W);
            for (int k = 0; k < H * W * channels; k++) {
                const uint8_t *p = pixels + k / channels * stored;
                const int expected = expected_png(p, stored, k % channels, channels);
                const int off = stored >= 3 && channels == 1 ? 1 : 0; /* rounding of the luma */
                assert_in_range(image.data[k] + off - expected, 0, 2 * off);
            }
            clq_image_free(&image);
        }
        test_file_free(&file);
    }
}

/* 2 x 2, 16-bit grey 0x0000, 0x8000, 0xffff, 0x1234; written by hand because of its depth. */
static void png_of_16_bits_is_scaled(void **state) {
    (void)state;
    static const uint8_t file[] = {
        0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49,
        0x48, 0x44, 0x52, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02, 0x10, 0x00,
        0x00, 0x00, 0x00, 0x07, 0x4d, 0x8e, 0xbb, 0x00, 0x00, 0x00, 0x15, 0x49, 0x44,
        0x41, 0x54, 0x78, 0x01, 0x01, 0x0a, 0x00, 0xf5, 0xff, 0x00, 0x00, 0x00, 0x80,
        0x00, 0x00, 0xff, 0xff, 0x12, 0x34, 0x0a, 0xdb, 0x02, 0xc5, 0x93, 0xcd, 0x36,
        0x83, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};
    clq_image image;
    assert_ok(clq_image_decode("16.png", file, sizeof file, 1, &image));
    const uint8_t expected[] = {0, 128, 255, 18};
    assert_memory_equal(image.data, expected, 4);
    clq_image_free(&image);
}

/* ---- broken files ---- */

static void assert_bad(const char *name, const uint8_t *data, size_t size) {
    clq_image image;
    assert_status(clq_image_decode(name, data, size, 3, &image), CLQ_BAD_DATA);
    assert_error_has(name);
    assert_null(image.data);
}

/* Every truncation, in a block of exactly that size so that a sanitizer sees a read past it. */
static void assert_truncations_fail(const char *name, const test_file *file) {
    for (size_t size = 0; size < file->size; size++) {
        uint8_t *part = malloc(size + !size);
        assert_non_null(part);
        memcpy(part, file->data, size);
        assert_bad(name, part, size);
        free(part);
    }
}

static void truncated_files_fail(void **state) {
    (void)state;
    uint8_t pixels[16 * 16 * 3];
    clq_test_fill_u8(pixels, sizeof pixels, 0, 255, 1);
    test_file jpeg = test_jpeg(pixels, 16, 16, 3, 90), png = test_png(pixels, 16, 16, 3);
    assert_truncations_fail("cut.jpg", &jpeg);
    assert_truncations_fail("cut.png", &png);
    test_file_free(&jpeg);
    test_file_free(&png);
}

static void unknown_bytes_fail(void **state) {
    (void)state;
    static const uint8_t gif[] = "GIF89a and so on";
    assert_bad("a.gif", gif, sizeof gif);
    assert_error_has("neither a JPEG nor a PNG");
}

/* Offset of the height in the frame header of a baseline JPEG. */
static size_t jpeg_height_offset(const test_file *file) {
    for (size_t i = 0; i + 9 < file->size; i++) {
        if (file->data[i] == 0xff && file->data[i + 1] == 0xc0) {
            return i + 5;
        }
    }
    fail_msg("no frame header");
    return 0;
}

static void hostile_sizes_are_refused(void **state) {
    (void)state;
    uint8_t pixels[8 * 8 * 3] = {0};
    test_file jpeg = test_jpeg(pixels, 8, 8, 3, 90), png = test_png(pixels, 8, 8, 3);
    memset(jpeg.data + jpeg_height_offset(&jpeg), 0xff, 4);
    assert_bad("huge.jpg", jpeg.data, jpeg.size);
    /* Big, yet each side is allowed. */
    memset(jpeg.data + jpeg_height_offset(&jpeg), 0xfa, 4);
    assert_bad("big.jpg", jpeg.data, jpeg.size);
    assert_error_has("64250 x 64250");
    memset(png.data + 16, 0x7f, 8); /* its checksum is wrong then, too */
    assert_bad("huge.png", png.data, png.size);
    test_file_free(&jpeg);
    test_file_free(&png);
}

/* Damaged anywhere: decoded or refused, never worse. */
static void damaged_files_do_no_harm(void **state) {
    (void)state;
    uint8_t pixels[16 * 16 * 3];
    clq_test_fill_u8(pixels, sizeof pixels, 0, 255, 2);
    test_file files[] = {test_jpeg(pixels, 16, 16, 3, 70), test_png(pixels, 16, 16, 3)};
    clq_rng rng = clq_rng_start(clq_test_seed(), 99);
    for (int round = 0; round < 3000; round++) {
        const test_file *file = &files[round % 2];
        uint8_t *copy = malloc(file->size);
        assert_non_null(copy);
        memcpy(copy, file->data, file->size);
        for (int k = 0; k < 1 + round % 4; k++) {
            copy[clq_bounded(clq_rng_next(&rng), (uint32_t)file->size)] ^=
                (uint8_t)(1u << (clq_rng_next(&rng) >> 29));
        }
        clq_image image;
        const clq_status status = clq_image_decode("damaged", copy, file->size, 3, &image);
        assert_true(status == CLQ_OK || status == CLQ_BAD_DATA);
        clq_image_free(&image);
        free(copy);
    }
    test_file_free(&files[0]);
    test_file_free(&files[1]);
}

static void png_out_of_memory_is_told(void **state) {
    (void)state;
    uint8_t pixels[8 * 8 * 3] = {0};
    test_file png = test_png(pixels, 8, 8, 3);
    clq_status status = CLQ_NO_MEMORY;
    for (long n = 1; n < 100 && status != CLQ_OK; n++) {
        clq_image image;
        clq_test_fail_allocation(n);
        status = clq_image_decode("a.png", png.data, png.size, 3, &image);
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
        clq_image_free(&image);
        assert_int_equal(clq_test_live_allocations(), 0);
    }
    clq_test_restore_allocator();
    assert_int_equal(status, CLQ_OK);
    test_file_free(&png);
}

/* ---- fitting ---- */

static void check_fit(int h, int w, int channels, clq_resize resize, int out_h, int out_w) {
    const size_t count = (size_t)out_h * (size_t)out_w * (size_t)channels;
    clq_image image;
    assert_ok(clq_image_create("x", h, w, channels, &image));
    clq_test_fill_u8(image.data, (size_t)h * (size_t)w * (size_t)channels, 0, 255, 7);
    uint8_t *out = clq_test_guarded(count);
    double *expected = malloc(count * sizeof *expected);
    assert_non_null(expected);
    assert_ok(clq_image_fit(&image, &resize, out_h, out_w, out));
    ref_resize(image.data, h, w, channels, &resize, out_h, out_w, expected);
    /* Two roundings to a byte. A cubic may leave 0..255 after its first pass, where it is cut. */
    const double allowed = resize.interpolation == CLQ_BICUBIC ? 26 : 1.01;
    double off = 0;
    for (size_t i = 0; i < count; i++) {
        off += fabs(out[i] - expected[i]);
        if (fabs(out[i] - expected[i]) > allowed) {
            fail_msg("%d x %d x %d to %d or %d x %d, crop %d x %d: element %zu is %d, not %.3f", h,
                     w, channels, resize.shorter, resize.height, resize.width, out_h, out_w, i,
                     out[i], expected[i]);
        }
    }
    assert_true(off / (double)count < 1);
    free(expected);
    clq_test_guarded_free(out);
    clq_image_free(&image);
}

static void fit_equals_the_reference(void **state) {
    (void)state;
    const int cases[][4] = {/* height, width, resize, size */
                            {32, 32, 16, 16}, {32, 32, 64, 64}, {31, 17, 8, 8},   {17, 31, 8, 7},
                            {1, 1, 5, 5},     {1, 40, 3, 3},    {40, 1, 3, 3},    {13, 29, 37, 31},
                            {50, 70, 23, 1},  {64, 48, 13, 12}, {33, 32, 32, 32}, {9, 9, 11, 9}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int *c = cases[i];
        for (clq_interpolation kind = 0; kind < CLQ_INTERPOLATIONS; kind++) {
            check_fit(c[0], c[1], 1, (clq_resize){c[2], 0, 0, kind}, c[3], c[3]);
            check_fit(c[0], c[1], 3, (clq_resize){c[2], 0, 0, kind}, c[3], c[3]);
            check_fit(c[0], c[1], 3, (clq_resize){0, c[2], c[2] + 3, kind}, c[3], c[3] + 2);
        }
    }
}

/* What PIL makes of four pixels, and OpenCV for CLQ_LINEAR. */
static void fit_is_what_others_do(void **state) {
    (void)state;
    static const uint8_t wide[CLQ_INTERPOLATIONS][8] = {
        [CLQ_BILINEAR] = {0, 50, 150, 175, 125, 139, 216, 255},
        [CLQ_BICUBIC] = {0, 40, 163, 190, 114, 127, 223, 255},
        [CLQ_LINEAR] = {0, 50, 150, 175, 125, 139, 216, 255},
        [CLQ_NEAREST] = {0, 0, 200, 200, 100, 100, 255, 255}};
    static const uint8_t narrow[CLQ_INTERPOLATIONS][3] = {[CLQ_BILINEAR] = {60, 150, 209},
                                                          [CLQ_BICUBIC] = {55, 152, 211},
                                                          [CLQ_LINEAR] = {33, 150, 229},
                                                          [CLQ_NEAREST] = {0, 100, 255}};
    uint8_t from[4] = {0, 200, 100, 255}, out[8];
    const clq_image image = {1, 4, 1, from};
    for (int kind = 0; kind < CLQ_INTERPOLATIONS; kind++) {
        const clq_resize to[] = {{0, 1, 8, (clq_interpolation)kind},
                                 {0, 1, 3, (clq_interpolation)kind}};
        assert_ok(clq_image_fit(&image, &to[0], 1, 8, out));
        assert_memory_equal(out, wide[kind], 8);
        assert_ok(clq_image_fit(&image, &to[1], 1, 3, out));
        assert_memory_equal(out, narrow[kind], 3);
    }
}

static void fit_needs_enough_to_cut_out(void **state) {
    (void)state;
    clq_image image;
    uint8_t out[9 * 9 * 3];
    assert_ok(clq_image_create("x", 9, 9, 3, &image));
    assert_status(clq_image_fit(&image, &(clq_resize){.shorter = 8}, 9, 9, out), CLQ_USAGE);
    assert_status(clq_image_fit(&image, &(clq_resize){.height = 9, .width = 8}, 9, 9, out),
                  CLQ_USAGE);
    clq_image_free(&image);
}

/* Nothing to scale and nothing to cut. */
static void fit_keeps_what_fits(void **state) {
    (void)state;
    for (clq_interpolation kind = 0; kind < CLQ_INTERPOLATIONS; kind++) {
        clq_image image;
        uint8_t out[9 * 9 * 3], cut[9 * 7 * 3];
        assert_ok(clq_image_create("x", 9, 9, 3, &image));
        clq_test_fill_u8(image.data, sizeof out, 0, 255, 8);
        const clq_resize resize = {.shorter = 9, .interpolation = kind};
        assert_ok(clq_image_fit(&image, &resize, 9, 9, out));
        assert_memory_equal(out, image.data, sizeof out);
        assert_ok(clq_image_fit(&image, &resize, 9, 7, cut));
        for (int y = 0; y < 9; y++) {
            assert_memory_equal(cut + y * 21, out + y * 27 + 3, 21);
        }
        clq_image_free(&image);
    }
}

static void fit_keeps_a_constant(void **state) {
    (void)state;
    for (int value = 0; value < 256; value += 51) {
        clq_image image;
        uint8_t out[10 * 10];
        assert_ok(clq_image_create("x", 23, 37, 1, &image));
        memset(image.data, value, 23 * 37);
        assert_ok(clq_image_fit(&image, &(clq_resize){.shorter = 12}, 10, 10, out));
        for (int i = 0; i < 100; i++) {
            assert_int_equal(out[i], value);
        }
        clq_image_free(&image);
    }
}

static void convert_makes_luma_and_copies(void **state) {
    (void)state;
    const uint8_t rgb[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 7, 7, 7};
    const uint8_t expected[] = {76, 150, 29, 255, 7};
    uint8_t grey[5], back[15];
    clq_image_convert(rgb, 3, grey, 1, 5);
    assert_memory_equal(grey, expected, 5);
    clq_image_convert(grey, 1, back, 3, 5);
    assert_int_equal(back[3], 150);
    assert_int_equal(back[5], 150);
    assert_int_equal(back[14], 7);
}

/* The very bytes of cv2.resize with INTER_LINEAR, 5.0. */
static void linear_is_opencvs(void **state) {
    (void)state;
    enum { H = 7, W = 9 };
    static const struct {
        int height, width;
        uint8_t values[110];
    } wanted[] = {
        {5, 6, {40,  152, 80, 52,  107, 99,  84, 61,  147, 101, 84,  128, 174, 128, 48,
                194, 83,  60, 114, 144, 115, 92, 176, 130, 124, 134, 178, 136, 90,  197}},
        {10, 11, {0,   70,  150, 136, 52,  132, 27,  66,  145, 154, 39,  75,  55,  101, 138, 119,
                  83,  80,  62,  96,  144, 131, 114, 61,  64,  118, 162, 85,  112, 72,  64,  113,
                  184, 51,  114, 73,  55,  133, 202, 82,  110, 88,  51,  121, 155, 105, 96,  86,
                  73,  152, 158, 115, 98,  95,  59,  183, 132, 117, 103, 75,  90,  169, 143, 121,
                  111, 75,  121, 191, 138, 102, 134, 39,  109, 186, 155, 98,  159, 58,  129, 173,
                  154, 100, 134, 75,  124, 174, 166, 97,  97,  94,  146, 174, 143, 128, 106, 98,
                  141, 182, 150, 172, 79,  97,  176, 209, 79,  158, 94,  92,  171, 242}}};
    uint8_t pixels[H * W], out[110];
    for (int i = 0; i < H * W; i++) {
        pixels[i] = (uint8_t)(i * 97 + i / 5 * 31);
    }
    const clq_image image = {.height = H, .width = W, .channels = 1, .data = pixels};
    for (size_t i = 0; i < 2; i++) {
        const int h = wanted[i].height, w = wanted[i].width;
        const clq_resize resize = {.height = h, .width = w, .interpolation = CLQ_LINEAR};
        assert_ok(clq_image_fit(&image, &resize, h, w, out));
        assert_memory_equal(out, wanted[i].values, (size_t)h * (size_t)w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_is_opencvs),
        cmocka_unit_test(jpeg_keeps_a_smooth_picture),
        cmocka_unit_test(png_is_exact),
        cmocka_unit_test(png_of_16_bits_is_scaled),
        cmocka_unit_test(truncated_files_fail),
        cmocka_unit_test(unknown_bytes_fail),
        cmocka_unit_test(hostile_sizes_are_refused),
        cmocka_unit_test(damaged_files_do_no_harm),
        cmocka_unit_test(png_out_of_memory_is_told),
        cmocka_unit_test(fit_equals_the_reference),
        cmocka_unit_test(fit_is_what_others_do),
        cmocka_unit_test(fit_needs_enough_to_cut_out),
        cmocka_unit_test(fit_keeps_what_fits),
        cmocka_unit_test(fit_keeps_a_constant),
        cmocka_unit_test(convert_makes_luma_and_copies),
    };
    return cmocka_run_group_tests_name("data/image", tests, NULL, NULL);
}
