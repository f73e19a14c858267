/* The integer convolution on the AVX-512 dot paths, compared exactly with its reference, without
 * OpenCL: scripts/emulate-avx512 builds and runs it.
 *
 *   emulated_int8 compile FOLDER     puts the kernels into FOLDER
 *   emulated_int8 run FOLDER         compares, on a processor with AVX-512 VNNI, emulated or not */
#include "emulate/device.h"
#include "ops/conv/int8_case.h"

static bool compiling;
static int compared;

/* On the dot paths that other processors lack. */
static void check(conv_case c) {
    conv_data d;
    make_data(&c, &d);
    ref_conv2d_int8(&d.g, &d.params, d.x, d.residual, d.expected);
    for (int dot = CLQ_DOT_AVX512VNNI; dot <= CLQ_DOT_AVXVNNI; dot++) {
        if (device->info.dots & (1u << dot)) {
            device->info.dot = (clq_dot)dot;
            run_conv(&d);
            if (!compiling) {
                compare(&c, &d, clq_dot_name((clq_dot)dot));
                compared++;
            }
        }
    }
    free_data(&d);
}

/* One image size for each register tile of the wide form (conv_class.c), which pixels and channels
 * lead to; and one more and one less channel. */
static void test_tiles(void **state) {
    static const int sizes[][3] = {/* height, width, output channels */
                                   {6, 7, 64},  {5, 9, 64}, {8, 5, 48}, {12, 3, 32},
                                   {20, 3, 16}, {7, 11, 8}, {1, 1, 64}, {13, 3, 100}};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int more = -1; more <= 1; more++) {
            conv_case c = plain;
            c.h = sizes[i][0];
            c.w = sizes[i][1];
            c.oc = sizes[i][2] + more;
            c.ic = 12;
            check(c);
            c.k = 3;
            c.pad = 1;
            c.residual = true;
            check(c);
        }
    }
}

static void test_shapes(void **state) {
    (void)state;
    conv_case c = plain;
    c.ic = 3; /* a stem */
    c.h = c.w = 11;
    c.k = 7;
    c.pad = 3;
    c.stride = 2;
    c.oc = 37;
    check(c);
    c.pad = 6; /* whole windows outside the image */
    check(c);
    c = plain;
    c.k = 3;
    c.dilation = 2;
    c.ic = 5;
    check(c);
    c.groups = 4;
    c.ic = 64;
    c.oc = 80;
    c.pad = 2;
    check(c);
    c = plain;
    c.h = c.w = 2; /* more inputs than a panel row holds */
    c.ic = 5000;
    c.oc = 33;
    check(c);
    c = plain;
    c.h = c.w = 1;
    c.ic = 130;
    c.oc = 101;
    c.float_output = true;
    check(c);
}

static void test_depthwise(void **state) {
    static const int channels[] = {3, 16, 17, 33};
    (void)state;
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++) {
        conv_case c = plain;
        c.groups = c.ic = c.oc = channels[i];
        c.k = i % 2 ? 5 : 3;
        c.pad = c.k / 2;
        check(c);
        c.stride = 2;
        c.residual = true;
        check(c);
    }
}

static void test_extremes(void **state) {
    static const int zeros[] = {0, 128, 255};
    (void)state;
    for (int i = 0; i < 9; i++) {
        conv_case c = plain;
        c.x_zero = zeros[i / 3];
        c.y_zero = zeros[i % 3];
        c.k = 3;
        c.pad = 2;
        c.ic = 68;
        c.oc = 19;
        c.extreme = true;
        check(c);
        c.groups = c.ic = c.oc = 21;
        check(c);
    }
}

/* The probe of host/device, whose values have been compared, found the path. */
static void test_probe(void **state) {
    (void)state;
    assert_int_equal(device->info.simd_bytes, 64);
    assert_int_equal(device->info.dot, CLQ_DOT_AVX512VNNI);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe),    cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_shapes),   cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_extremes),
    };
    if (argc != 3) {
        fprintf(stderr, "usage: emulated_int8 compile|run FOLDER\n");
        return 2;
    }
    compiling = strcmp(argv[1], "compile") == 0;
    stand_in_setup(argv[2], compiling);
    int failures = cmocka_run_group_tests_name("int8", tests, open_device, NULL);
    printf("%d convolutions compared; dot paths", compared);
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        if (device->info.dots & (1u << dot)) {
            printf(" %s", clq_dot_name((clq_dot)dot));
        }
    }
    printf("\n");
    return failures;
}
