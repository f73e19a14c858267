/* The integer convolution equals its reference exactly, on every dot path and schedule that works
 * here. CLQUANT_SCHEDULE chooses the schedule; both are run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"
#include "ops/conv2d_int8_plan.h"
#include "support/clq_test.h"
#include "support/ref_int8.h"

static clq_device *device;

/* ---- one case ---- */

typedef struct conv_case {
    int n, h, w, ic, oc, k, stride, pad, dilation, groups;
    int x_zero, y_zero;
    clq_requantizer requantizer;
    bool residual, float_output, relu, extreme;
} conv_case;

static clq_conv_geometry geometry_of(const conv_case *c) {
    int reach = c->dilation * (c->k - 1) + 1;
    return (clq_conv_geometry){.n = c->n,
                               .ih = c->h,
                               .iw = c->w,
                               .ic = c->ic,
                               .oc = c->oc,
                               .kh = c->k,
                               .kw = c->k,
                               .oh = (c->h + 2 * c->pad - reach) / c->stride + 1,
                               .ow = (c->w + 2 * c->pad - reach) / c->stride + 1,
                               .stride_h = c->stride,
                               .stride_w = c->stride,
                               .pad_top = c->pad,
                               .pad_left = c->pad,
                               .dilation_h = c->dilation,
                               .dilation_w = c->dilation,
                               .groups = c->groups};
}

typedef struct conv_data {
    clq_conv_geometry g;
    clq_conv2d_int8_params params;
    int8_t *w;
    int32_t *bias;
    float *w_scale;
    uint8_t *x, *residual;
    void *expected, *actual;
    size_t x_bytes, y_bytes;
} conv_data;

/* Random codes; the padding channels' bytes are filled too, as nothing may read them. */
static void make_data(const conv_case *c, conv_data *d) {
    clq_conv_geometry *g = &d->g;
    *d = (conv_data){.g = geometry_of(c)};
    int inputs = g->ic / g->groups * g->kh * g->kw;
    size_t pixels = (size_t)g->n * g->oh * g->ow;
    d->x_bytes = (size_t)g->n * g->ih * g->iw * ref_int8_pitch(g->ic);
    d->y_bytes = pixels * (c->float_output ? g->oc * sizeof(float) : (size_t)ref_int8_pitch(g->oc));
    d->w = malloc((size_t)g->oc * inputs);
    d->bias = malloc(g->oc * sizeof *d->bias);
    d->w_scale = malloc(g->oc * sizeof *d->w_scale);
    d->x = malloc(d->x_bytes);
    d->residual = malloc(d->y_bytes);
    d->expected = malloc(d->y_bytes);
    d->actual = clq_test_guarded(d->y_bytes);
    clq_test_fill_u8(d->x, d->x_bytes, c->extreme ? 255 : 0, 255, 1);
    clq_test_fill_u8(d->residual, d->y_bytes, 0, 255, 2);
    clq_test_fill_s8(d->w, (size_t)g->oc * inputs, -127, 127, 3);
    clq_test_fill_s32(d->bias, g->oc, -5000, 5000, 4);
    clq_test_fill_f32(d->w_scale, g->oc, 0.001f, 0.01f, 5);
    for (int oc = 0; oc < g->oc; oc++) {
        if (c->extreme) { /* whole channels of +127 and -127, and one that alternates */
            for (int i = 0; i < inputs; i++) {
                d->w[oc * inputs + i] =
                    (int8_t)(oc % 3 == 0 || (oc % 3 == 2 && i % 2) ? 127 : -127);
            }
        }
        if (c->requantizer == CLQ_REQUANT_SHIFT) {
            d->w_scale[oc] = ldexpf(1.0f, -9 - oc % 3);
        }
    }
    /* Makes codes spread over 0..255 around y_zero. */
    float spread = c->extreme ? 255.0f * (float)inputs : 128.0f * sqrtf((float)inputs);
    float y_scale = exp2f(roundf(log2f(0.02f * 0.005f * 127.0f * spread / 100.0f)));
    d->params = (clq_conv2d_int8_params){
        .w = d->w,
        .bias = d->bias,
        .w_scale = d->w_scale,
        .x_scale = c->requantizer == CLQ_REQUANT_SHIFT ? 0.015625f : 0.0203f,
        .x_zero_point = c->x_zero,
        .float_output = c->float_output,
        .float_relu = c->float_output && c->relu,
        .y_scale = c->requantizer == CLQ_REQUANT_SHIFT ? y_scale : y_scale * 1.07f,
        .y_zero_point = c->y_zero,
        .y_lo = c->relu && !c->residual ? c->y_zero : 0,
        .y_hi = 255,
        .requantizer = c->requantizer,
        .has_residual = c->residual,
        .r_scale = y_scale * 0.71f,
        .out_scale = y_scale * 1.3f,
        .r_zero_point = 11,
        .out_zero_point = 5,
        .out_lo = c->relu ? 5 : 0,
        .out_hi = 254};
}

static void free_data(conv_data *d) {
    free(d->w);
    free(d->bias);
    free(d->w_scale);
    free(d->x);
    free(d->residual);
    free(d->expected);
    clq_test_guarded_free(d->actual);
}

/* Guard bytes behind and before y on the device too. */
enum { DEVICE_GUARD = 256 };

static void run_conv(conv_data *d) {
    clq_conv2d_int8 *conv = NULL;
    clq_buffer *x = NULL, *residual = NULL, *all = NULL, *y = NULL;
    size_t guard = clq_device_get_info(device)->base_alignment;
    guard = guard < DEVICE_GUARD ? DEVICE_GUARD / guard * guard + guard : guard;
    size_t total = (guard + d->y_bytes + DEVICE_GUARD + 3) / 4 * 4;
    uint8_t *raw = malloc(total);
    assert_ok(clq_conv2d_int8_create(device, &d->g, &d->params, &conv));
    assert_ok(clq_buffer_create(device, d->x_bytes, &x));
    assert_ok(clq_buffer_write(x, 0, d->x_bytes, d->x));
    if (d->params.has_residual) {
        assert_ok(clq_buffer_create(device, d->y_bytes, &residual));
        assert_ok(clq_buffer_write(residual, 0, d->y_bytes, d->residual));
    }
    assert_ok(clq_buffer_create(device, total, &all));
    assert_ok(clq_buffer_fill(all, 0, total, 0x5a5a5a5a));
    assert_ok(clq_buffer_view(all, guard, total - guard, &y));
    assert_ok(clq_conv2d_int8_forward(conv, x, residual, y));
    assert_ok(clq_buffer_read(all, 0, total, raw));
    for (size_t i = 0; i < total; i++) {
        if ((i < guard || i >= guard + d->y_bytes) && raw[i] != 0x5a) {
            fail_msg("byte %ld outside y was written", (long)i - (long)guard);
        }
    }
    memcpy(d->actual, raw + guard, d->y_bytes);
    free(raw);
    clq_buffer_release(y);
    clq_buffer_release(all);
    clq_buffer_release(residual);
    clq_buffer_release(x);
    clq_conv2d_int8_destroy(conv);
}

static void compare(const conv_case *c, conv_data *d, const char *path) {
    char text[256];
    const clq_conv_geometry *g = &d->g;
    clq_test_shape shape =
        clq_test_shape_of((size_t)g->n, (size_t)g->oh, (size_t)g->ow,
                          c->float_output ? (size_t)g->oc : (size_t)ref_int8_pitch(g->oc));
    bool equal = c->float_output
                     ? clq_test_equal_bits(d->actual, d->expected, d->y_bytes, text, sizeof text)
                     : clq_test_equal_u8(d->actual, d->expected, shape, text, sizeof text);
    if (!equal) {
        fail_msg("%s: n %d, %dx%d, ic %d, oc %d, k %d, stride %d, pad %d, dilation %d, groups %d, "
                 "zero points %d %d, requantizer %d, residual %d: %s",
                 path, c->n, c->h, c->w, c->ic, c->oc, c->k, c->stride, c->pad, c->dilation,
                 c->groups, c->x_zero, c->y_zero, (int)c->requantizer, c->residual, text);
    }
}

/* The paths that work here, and two that C stands in for where the kernel compiler lacks their
 * instruction (kernels/include/dot4.h), with the same tiles and packing: AVX-512 and tensor cores.
 * PoCL's and Oclgrind's compilers are known to tell that they lack them. */
static bool can_check(const clq_device_info *info, clq_dot dot) {
    bool pocl = strcmp(info->platform, "Portable Computing Language") == 0 && info->is_cpu;
    bool knows = pocl || strcmp(info->platform, "Oclgrind") == 0;
    bool stands_in = info->schedule == CLQ_SCHEDULE_CPU
                         ? pocl && dot == CLQ_DOT_AVX512VNNI && info->simd_bytes < 64
                         : knows && dot == CLQ_DOT_MMA;
    return (info->dots & (1u << dot)) != 0 || stands_in;
}

/* CLQ_TEST_MAX_MAC in the environment leaves out cases of more multiply-adds, for interpreters such
 * as Oclgrind. */
static bool too_large(const conv_case *c) {
    const char *most = getenv("CLQ_TEST_MAX_MAC");
    clq_conv_geometry g = geometry_of(c);
    double products = (double)g.n * g.oh * g.ow * g.oc * g.kh * g.kw * (g.ic / g.groups);
    return most && products > strtod(most, NULL);
}

static void check(conv_case c) {
    const clq_device_info *info = clq_device_get_info(device);
    clq_dot first = info->dot;
    conv_data d;
    if (too_large(&c)) {
        return;
    }
    make_data(&c, &d);
    ref_conv2d_int8(&d.g, &d.params, d.x, d.residual, d.expected);
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        if (can_check(info, (clq_dot)dot)) {
            device->info.dot = (clq_dot)dot; /* clq_device_set_dot refuses what stands in */
            memset(d.actual, 0xee, d.y_bytes);
            run_conv(&d);
            compare(&c, &d, clq_dot_name((clq_dot)dot));
        }
    }
    device->info.dot = first;
    free_data(&d);
}

/* ---- tests ---- */

static const conv_case plain = {.n = 1,
                                .h = 7,
                                .w = 5,
                                .ic = 8,
                                .oc = 8,
                                .k = 1,
                                .stride = 1,
                                .dilation = 1,
                                .groups = 1,
                                .x_zero = 7,
                                .y_zero = 128};

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

/* Remembers a text once; how many different ones there are. */
static int remember(char known[][128], int count, const char *text) {
    for (int i = 0; i < count; i++) {
        if (strcmp(known[i], text) == 0) {
            return count;
        }
    }
    snprintf(known[count], 128, "%s", text);
    return count + 1;
}

/* Each tile of the GPU schedule, whole and with a rest, with words that lie together and not. A
 * device of one compute unit gives large tiles to small shapes. */
static void test_every_group_tile(void **state) {
    enum { SHAPES = 7, TILES = 5 };
    static const int shapes[SHAPES][4] = {/* height, width, channels, work-items of a group */
                                          {32, 16, 128, 256}, {30, 17, 100, 256}, {16, 16, 64, 256},
                                          {24, 24, 64, 256},  {32, 16, 32, 256},  {5, 7, 33, 256},
                                          {5, 7, 33, 16}};
    clq_device_info *info = &device->info, first = *info;
    static char known[4 * SHAPES][128];
    (void)state;
    if (info->schedule == CLQ_SCHEDULE_CPU) {
        skip();
    }
    int tiles = 0;
    info->compute_units = 1;
    info->dots = 1u << CLQ_DOT_PORTABLE; /* and tensor cores; the others have the same tiles */
    for (int i = 0; i < 2 * SHAPES; i++) {
        const int *shape = shapes[i / 2];
        conv_case c = plain;
        c.h = shape[0];
        c.w = shape[1];
        c.oc = shape[2];
        c.ic = i % 2 ? 32 : 12;
        info->max_work_group = (size_t)shape[3];
        check(c);
        for (int dot = CLQ_DOT_MMA; dot <= CLQ_DOT_DP4A; dot++) {
            const clq_conv_geometry g = geometry_of(&c);
            clq_int8_plan plan;
            info->dot = (clq_dot)dot;
            clq_int8_make_plan(info, &g, CLQ_REQUANT_FLOAT, &plan);
            tiles = remember(known, tiles, plan.options);
            info->dot = first.dot;
        }
    }
    *info = first;
    assert_int_equal(tiles, 2 * 2 * TILES);
}

static void test_depths(void **state) {
    static const int depths[] = {128, 252, 512, 516, 1024, 2048, 4872, 5000};
    (void)state;
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        conv_case c = plain;
        c.ic = depths[i];
        c.h = c.w = 2;
        c.oc = 70;
        check(c);
        if (depths[i] < 1100) {
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

/* y written by the convolution alone, then added by the stand-alone kernel. */
static void test_fused_residual_equals_unfused(void **state) {
    conv_case c = plain;
    (void)state;
    c.k = 3;
    c.pad = 1;
    c.ic = 12;
    c.oc = 45;
    c.residual = true;
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
    assert_ok(clq_int8_add(device, y, a, r, b, y, out, pixels, d.g.oc));
    assert_ok(clq_buffer_read(y, 0, d.y_bytes, d.actual));
    assert_equal_bits(d.actual, fused, d.y_bytes);
    clq_buffer_release(y);
    clq_buffer_release(r);
    free(fused);
    free_data(&d);
}

static void test_bad_parameters(void **state) {
    (void)state;
    conv_case c = plain;
    conv_data d;
    clq_conv2d_int8 *conv;
    make_data(&c, &d);
    d.w[13] = -128;
    assert_status(clq_conv2d_int8_create(device, &d.g, &d.params, &conv), CLQ_BAD_DATA);
    assert_error_has("channel 1");
    assert_error_has("-128");
    d.w[13] = 0;
    d.bias[2] = INT32_MAX;
    assert_status(clq_conv2d_int8_create(device, &d.g, &d.params, &conv), CLQ_BAD_DATA);
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

/* A processor, which both schedules suit, unless CLQUANT_DEVICE says otherwise. */
static int open_device(void **state) {
    (void)state;
    return clq_device_open(getenv("CLQUANT_DEVICE") ? NULL : "cpu", &device) == CLQ_OK ? 0 : -1;
}

static int close_device(void **state) {
    (void)state;
    clq_device_close(device);
    return 0;
}

/* An argument runs one schedule only. */
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_pixels_and_windows),
        cmocka_unit_test(test_large_tiles),
        cmocka_unit_test(test_every_group_tile),
        cmocka_unit_test(test_depths),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_requantizers),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_fused_residual_equals_unfused),
        cmocka_unit_test(test_bad_parameters),
        cmocka_unit_test(test_out_of_memory),
    };
    int failures = 0;
    static const char *const schedules[] = {"cpu", "gpu"};
    for (size_t i = 0; i < 2; i++) {
        if (argc < 2 || strcmp(argv[1], schedules[i]) == 0) {
            setenv("CLQUANT_SCHEDULE", schedules[i], 1);
            failures += cmocka_run_group_tests_name(schedules[i], tests, open_device, close_device);
        }
    }
    return failures;
}
