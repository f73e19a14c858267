/* The integer convolution equals its reference exactly, on every dot path and schedule that works
 * here. CLQUANT_SCHEDULE chooses the schedule; both are run. */
#include "device/tuning.h"
#include "ops/conv/int8_case.h"

/* On the present dot path, as if `clquant tune` had chosen `choice` (NULL: nothing). */
static void run_bits(const conv_case *c, conv_data *d, const char *choice) {
    char key[CLQ_CONV_KEY];
    clq_conv_key(device, CLQ_CONV_INT8, &d->g, key);
    assert_ok(clq_tuning_set(device, key, choice));
    memset(d->actual, 0xee, d->y_bytes);
    run_conv(d);
    compare(c, d, clq_dot_name(device->info.dot));
    assert_ok(clq_tuning_set(device, key, NULL));
}

static void check_paths(const conv_case *c, conv_data *d, uint32_t paths) {
    const clq_dot first = clq_device_get_info(device)->dot;
    ref_conv2d_int8(&d->g, &d->params, d->x, d->residual, d->expected);
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        if (paths & (1u << dot)) {
            device->info.dot = (clq_dot)dot; /* clq_device_set_dot refuses what stands in */
            run_bits(c, d, c->four_bits ? "default bits=4" : NULL);
        }
    }
    device->info.dot = first;
}

static void check(conv_case c) {
    conv_data d;
    make_data(&c, &d);
    check_paths(&c, &d, paths_of_next_case(clq_device_get_info(device), 5, 11));
    free_data(&d);
}

/* Not one of several cases: what the kernel decides as it runs costs no program. */
static void check_all(conv_case c) {
    conv_data d;
    make_data(&c, &d);
    check_paths(&c, &d, paths_of_case(clq_device_get_info(device), 0));
    free_data(&d);
}

/* ---- tests ---- */

static void test_channels(void **state) {
    static const int channels[] = {1, 3, 4, 5, 15, 16, 17, 31, 33, 63, 64, 65};
    enum { COUNT = sizeof channels / sizeof channels[0] };
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        conv_case c = plain;
        c.ic = channels[i];
        c.oc = channels[(i * 5 + 3) % COUNT];
        check(c);
        c.k = 3;
        c.pad = 1;
        c.oc = channels[(i * 7 + 1) % COUNT];
        check(c);
        c.residual = true;
        c.relu = i % 2;
        check(c);
    }
}

static void test_pixels_and_windows(void **state) {
    (void)state;
    for (int size = 1; size <= 13; size += 2) {
        for (int stride = 1; stride <= 3; stride++) {
            conv_case c = plain;
            c.n = 1 + size % 3;
            c.h = size;
            c.w = size + stride;
            c.k = 3;
            c.pad = 1;
            c.stride = stride;
            c.oc = 20;
            check(c);
            if (size >= 5) {
                c.dilation = 2;
                c.ic = 5;
                check(c);
                c.pad = 0;
                c.k = 2;
                check(c);
            }
        }
    }
    conv_case stem = plain;
    stem.h = 23;
    stem.w = 19;
    stem.ic = 3;
    stem.oc = 64;
    stem.k = 7;
    stem.pad = 3;
    stem.stride = 2;
    check(stem);
    stem.pad = 6; /* whole windows outside the image */
    check(stem);
    stem.n = 2;
    stem.w = 61; /* tiles whose taps are all in their lines, lines of many pixels */
    check_all(stem);
    stem.ic = 1;
    stem.k = 5;
    stem.residual = true;
    check(stem);
    stem.ic = 2;
    stem.w = 2000; /* more than a work-item's lines have room for */
    stem.h = stem.n = 1;
    check(stem);
}

/* Enough pixels and channels for the largest tiles, which few work-items would not be given. */
static void test_large_tiles(void **state) {
    (void)state;
    conv_case c = plain;
    c.n = 2;
    c.h = 25;
    c.w = 27;
    c.ic = 12;
    c.oc = 70;
    c.k = 3;
    c.pad = 1;
    check(c);
    c.residual = c.relu = true;
    c.oc = 148;
    c.k = 1;
    c.pad = 0;
    check(c);
    c.stride = 2;
    c.n = 9;
    check(c);
}

static void test_depths(void **state) {
    static const int depths[] = {128, 252, 512, 516, 1024, 1620, 2048, 4872, 5000};
    (void)state;
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        conv_case c = plain;
        c.ic = depths[i];
        c.h = c.w = 2;
        c.oc = 70;
        check(c);
        if (depths[i] < 1700) {
            c.k = 3;
            c.pad = 1;
            c.oc = 33;
            check(c);
        }
    }
}

static void test_linear(void **state) {
    (void)state;
    for (int n = 1; n <= 7; n += 2) {
        conv_case c = plain;
        c.n = n;
        c.h = c.w = 1;
        c.ic = 130;
        c.oc = n == 1 ? 10 : 1000 / n;
        check(c);
        c.float_output = true;
        check(c);
        c.relu = true;
        check(c);
        c.relu6 = true;
        check(c);
    }
}

static void test_groups(void **state) {
    static const int shapes[][3] = {/* groups, inputs and outputs of each */
                                    {2, 3, 5},   {4, 4, 4},   {32, 4, 4}, {8, 1, 2}, {3, 5, 7},
                                    {2, 64, 80}, {4, 16, 20}, {12, 2, 1}, {5, 4, 3}, {16, 8, 8}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        conv_case c = plain;
        c.groups = shapes[i][0];
        c.ic = shapes[i][0] * shapes[i][1];
        c.oc = shapes[i][0] * shapes[i][2];
        c.k = 3;
        c.pad = 1;
        check(c);
        c.stride = 2;
        c.residual = true;
        check(c);
    }
}

static void test_depthwise(void **state) {
    static const int channels[] = {1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 64, 65, 100};
    (void)state;
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++) {
        conv_case c = plain;
        c.groups = c.ic = c.oc = channels[i];
        c.n = 2;
        c.k = i % 3 == 2 ? 5 : 3;
        c.pad = c.k / 2;
        check(c);
        c.stride = 2;
        c.relu = true;
        check(c);
        c.residual = true;
        check(c);
        c.residual = c.relu = false;
        c.dilation = 2;
        c.stride = 1;
        c.pad = 2 * (c.k / 2);
        c.float_output = true;
        check(c);
    }
}

/* Chunks of every width of a pixel, rows that take several panels, windows that reach beyond both
 * edges, and what few outputs leave of a vector. */
static void test_depthwise_chunks(void **state) {
    static const int channels[] = {16, 24, 48, 64, 96, 112, 116, 144, 192, 250};
    static const int widths[] = {1, 2, 5, 31, 70, 131};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof channels / sizeof channels[0]; i++) {
        conv_case c = plain;
        c.groups = c.ic = c.oc = channels[i / 2];
        c.h = i % 3 == 0 ? 1 : 6;
        c.w = widths[i % 6];
        c.n = 1 + i % 2;
        c.k = i % 5 == 4 ? 5 : i % 7 == 6 ? 1 : i % 9 == 8 ? 2 : 3;
        c.pad = c.k / 2;
        c.x_zero = i % 4 == 3 ? 255 : 13;
        c.relu = i % 2;
        for (c.stride = 1; c.stride <= 1 + c.k / 2; c.stride++) {
            check_all(c);
        }
        c.residual = true;
        c.stride = 1 + c.k / 2;
        check_all(c);
        c.residual = false;
        c.stride = 1;
        c.pad += 2;
        c.float_output = i % 4 == 0;
        check_all(c);
        c.float_output = false;
        c.far = true; /* sums times their factor leave int32 */
        check_all(c);
    }
}

static void test_requantizers(void **state) {
    (void)state;
    for (int r = CLQ_REQUANT_FLOAT; r <= CLQ_REQUANT_SHIFT; r++) {
        conv_case c = plain;
        c.requantizer = (clq_requantizer)r;
        c.ic = 40;
        c.oc = 37;
        c.k = 3;
        c.pad = 1;
        check(c);
        c.residual = true;
        check(c);
        c.groups = c.ic = c.oc = 37;
        check(c);
        c.float_output = true;
        c.residual = false;
        check(c);
    }
}

static void test_extremes(void **state) {
    static const int zeros[] = {0, 7, 128, 255};
    (void)state;
    for (int i = 0; i < 16; i++) {
        conv_case c = plain;
        c.x_zero = zeros[i / 4];
        c.y_zero = zeros[i % 4];
        c.k = 3;
        c.pad = 2;
        c.ic = 68;
        c.oc = 19;
        check(c);
        c.extreme = true;
        check(c);
        c.groups = c.ic = c.oc = 21;
        check(c);
    }
}

/* Whole tiles, whose codes are made by vectors: sums that lie on ties, bounds that cut codes on
 * both sides, and multipliers with which a sum leaves what an int can hold. */
static void test_rounding(void **state) {
    static const float multipliers[] = {0.25f, 0.49f, 0.5f, 1e-7f, 3e5f, 3e30f};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof multipliers / sizeof *multipliers; i++) {
        conv_case c = plain;
        c.ic = 4 + 8 * (int)(i % 3);
        c.oc = 64;
        c.residual = i % 2;
        conv_data d;
        make_data(&c, &d);
        for (int k = 0; k < c.oc * c.ic; k++) {
            d.w[k] = (int8_t)(i < 4 ? k % 3 - 1 : d.w[k]);
        }
        for (int oc = 0; oc < c.oc; oc++) {
            d.bias[oc] = i < 4 ? oc : d.bias[oc] * 400000;
            d.w_scale[oc] = multipliers[i / 2];
        }
        d.params.x_scale = d.params.y_scale = d.params.r_scale = 1;
        d.params.out_scale = i % 4 == 1 ? 1e-30f : 2;
        d.params.y_lo = d.params.out_lo = 29;
        d.params.y_hi = d.params.out_hi = 230;
        ref_conv2d_int8(&d.g, &d.params, d.x, d.residual, d.expected);
        for (int way = 0; way < 3; way++) {
            static const char *const tiles[] = {NULL, "default tile=12x2", "default tile=8x3"};
            if (way == 0 || device->info.dot == CLQ_DOT_AVX512VNNI) {
                run_bits(&c, &d, tiles[way]);
            }
        }
        free_data(&d);
    }
}

/* Split activations (kernels/include/dot4.h) at the edges of their 16-bit sums: four weights of one
 * sign that add up to 254..261, and activations around 127 and 128. */
static void test_pair_limit(void **state) {
    static const uint8_t codes[] = {126, 127, 128, 129, 255};
    const clq_device_info *info = clq_device_get_info(device);
    uint32_t paths = 0;
    (void)state;
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        paths |= can_check(info, (clq_dot)dot) ? 1u << dot : 0u;
    }
    for (size_t i = 0; i < sizeof codes; i++) {
        conv_case c = plain;
        c.x_zero = 0;
        c.ic = 16;
        c.oc = 12;
        conv_data d;
        make_data(&c, &d);
        memset(d.x, codes[i], d.x_bytes);
        for (int oc = 0; oc < c.oc; oc++) {
            int8_t *w = d.w + oc * c.ic;
            const int8_t sign = oc < 6 ? 1 : -1;
            memset(w, 0, (size_t)c.ic);
            /* either half of a lane */
            w[oc % 2 * 2] = w[oc % 2 * 2 + 1] = oc < 6 ? 127 : -128;
            w[oc % 2 * 2 + 5] = (int8_t)(sign * (oc % 6));
        }
        check_paths(&c, &d, paths);
        free_data(&d);
    }
}

/* Weights of 4 bits, two a byte where the kernel has that: the same codes. */
static void test_four_bits(void **state) {
    static const int channels[] = {1, 3, 4, 5, 8, 12, 15, 17, 31, 33, 64, 68};
    static const int depths[] = {252, 516, 1024, 4872, 5004};
    enum { COUNT = sizeof channels / sizeof *channels };
    (void)state;
    conv_case four = plain;
    four.four_bits = true;
    for (int i = 0; i < COUNT; i++) {
        conv_case c = four;
        c.ic = channels[i];
        c.oc = channels[(i * 5 + 3) % COUNT];
        c.n = 1 + i % 2;
        check(c);
        c.k = 3;
        c.pad = 1;
        c.x_zero = i % 3 * 100;
        c.oc = channels[(i * 7 + 1) % COUNT];
        c.extreme = i % 2;
        check(c);
        c.residual = true;
        c.relu = i % 2;
        check(c);
        c.groups = c.ic;
        c.oc = c.ic * 2;
        check(c);
    }
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        conv_case c = four;
        c.ic = depths[i];
        c.h = c.w = 2;
        c.oc = 70;
        check(c);
        c.h = c.w = 1;
        c.n = 1;
        c.float_output = c.extreme = true;
        check(c);
        if (depths[i] < 600) {
            c.h = c.w = 4;
            c.k = 3;
            c.pad = 1;
            check(c);
        }
    }
    for (int r = CLQ_REQUANT_FIXED; r <= CLQ_REQUANT_SHIFT; r++) {
        conv_case c = four;
        c.requantizer = (clq_requantizer)r;
        c.ic = c.oc = 37;
        check(c);
    }
}

/* A linear layer on one row keeps half as many bytes of them without being told, but where sums of
 * 16 times the weights could leave int32; one on many rows does not. */
static void test_four_bits_take_half(void **state) {
    (void)state;
    conv_case c = plain;
    c.h = c.w = 1;
    c.ic = 256;
    c.oc = 128;
    conv_data d;
    for (int i = 0; i < 3; i++) {
        const bool deep = i == 1, many = i == 2;
        size_t bytes[2];
        c.n = many ? 5 : 1;
        c.oc = deep ? 4 : 128;
        c.ic = deep ? 65796 : 256; /* 16 * 8 * 255 * 65794 is above 2^31 */
        for (int four = 0; four < 2; four++) {
            c.four_bits = four;
            make_data(&c, &d);
            ref_conv2d_int8(&d.g, &d.params, d.x, d.residual, d.expected);
            run_conv(&d);
            compare(&c, &d, "deep");
            bytes[four] = weight_bytes;
            free_data(&d);
        }
        assert_true(deep || many ? bytes[1] == bytes[0] : 2 * bytes[1] <= bytes[0]);
    }
}

/* y written by the convolution alone, then added by the stand-alone kernel. */
static void check_fused_residual(clq_requantizer requantizer) {
    conv_case c = plain;
    c.k = 3;
    c.pad = 1;
    c.ic = 12;
    c.oc = 45;
    c.residual = true;
    c.requantizer = requantizer;
    conv_data d;
    make_data(&c, &d);
    run_conv(&d);
    uint8_t *fused = malloc(d.y_bytes);
    memcpy(fused, d.actual, d.y_bytes);
    const clq_conv2d_int8_params *p = &d.params;
    clq_int8_range a = {p->y_scale, p->y_zero_point, 0, 255};
    clq_int8_range b = {p->r_scale, p->r_zero_point, 0, 255};
    clq_int8_range out = {p->out_scale, p->out_zero_point, p->out_lo, p->out_hi};
    d.params.has_residual = false;
    run_conv(&d);
    clq_buffer *y = NULL, *r = NULL;
    int pixels = d.g.n * d.g.oh * d.g.ow;
    assert_ok(clq_buffer_create(device, d.y_bytes, &y));
    assert_ok(clq_buffer_create(device, d.y_bytes, &r));
    assert_ok(clq_buffer_write(y, 0, d.y_bytes, d.actual));
    assert_ok(clq_buffer_write(r, 0, d.y_bytes, d.residual));
    assert_ok(clq_int8_add(device, requantizer, y, a, r, b, y, out, pixels, d.g.oc));
    assert_ok(clq_buffer_read(y, 0, d.y_bytes, d.actual));
    assert_equal_bits(d.actual, fused, d.y_bytes);
    clq_buffer_release(y);
    clq_buffer_release(r);
    free(fused);
    free_data(&d);
}

static void test_fused_residual_equals_unfused(void **state) {
    (void)state;
    for (int r = 0; r < CLQ_REQUANT_COUNT; r++) {
        check_fused_residual((clq_requantizer)r);
    }
}

static void test_bad_parameters(void **state) {
    (void)state;
    conv_case c = plain;
    conv_data d;
    clq_conv2d_int8 *conv;
    make_data(&c, &d);
    d.bias[2] = INT32_MAX;
    assert_status(clq_conv2d_int8_create(device, &d.g, &d.params, &conv), CLQ_BAD_DATA);
    assert_error_has("channel 2");
    assert_error_has("int32");
    d.bias[2] = 0;
    d.w_scale[3] = NAN;
    assert_status(clq_conv2d_int8_create(device, &d.g, &d.params, &conv), CLQ_BAD_DATA);
    d.w_scale[3] = 0.37f;
    d.params.requantizer = CLQ_REQUANT_SHIFT;
    assert_status(clq_conv2d_int8_create(device, &d.g, &d.params, &conv), CLQ_BAD_DATA);
    assert_error_has("shift");
    d.params.requantizer = CLQ_REQUANT_FLOAT;
    d.params.y_zero_point = 256;
    assert_status(clq_conv2d_int8_create(device, &d.g, &d.params, &conv), CLQ_BAD_DATA);
    assert_null(conv);
    free_data(&d);
}

static void test_out_of_memory(void **state) {
    (void)state;
    conv_case c = plain;
    conv_data d;
    clq_conv2d_int8 *conv = NULL;
    make_data(&c, &d);
    for (long nth = 1;; nth++) {
        clq_test_fail_allocation(nth);
        clq_status status = clq_conv2d_int8_create(device, &d.g, &d.params, &conv);
        bool failed = clq_test_allocations() >= nth;
        clq_test_restore_allocator();
        if (!failed) {
            assert_ok(status);
            break;
        }
        assert_int_equal(status, CLQ_NO_MEMORY);
        assert_null(conv);
    }
    clq_conv2d_int8_destroy(conv);
    free_data(&d);
}

/* An argument runs one schedule only. */
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_pixels_and_windows),
        cmocka_unit_test(test_large_tiles),
        cmocka_unit_test(test_depths),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_depthwise_chunks),
        cmocka_unit_test(test_requantizers),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_pair_limit),
        cmocka_unit_test(test_four_bits),
        cmocka_unit_test(test_four_bits_take_half),
        cmocka_unit_test(test_fused_residual_equals_unfused),
        cmocka_unit_test(test_bad_parameters),
        cmocka_unit_test(test_out_of_memory),
    };
    int failures = 0;
    static const char *const schedules[] = {"cpu", "gpu"};
    for (size_t i = 0; i < 2; i++) {
        setenv("CLQUANT_SCHEDULE", schedules[i], 1);
        failures += cmocka_run_group_tests_name(schedules[i], tests, open_device, close_device);
    }
    return failures;
}
