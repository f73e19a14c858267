/* The draws of augmentation: their ranges and frequencies, the matrix they make, mixing. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "data/augment.h"
#include "data/draws.h"
#include "support/clq_test.h"

static const double pi = 3.14159265358979323846;

static clq_augment_options options_for(int height, int width, int out_height, int out_width) {
    return (clq_augment_options){.batch = 1,
                                 .height = height,
                                 .width = width,
                                 .channels = 3,
                                 .out_height = out_height,
                                 .out_width = out_width};
}

/* ---- crop and flip ---- */

static void crop_and_flip_are_fair_and_repeatable(void **state) {
    (void)state;
    clq_augment_options o = options_for(32, 32, 32, 32);
    o.config.crop_padding = 4;
    o.config.flip = true;
    int places[2][9] = {{0}}, flips = 0, same = 0;
    enum { DRAWS = 18000 };
    for (int i = 0; i < DRAWS; i++) {
        float a[AUGMENT_FIELDS], b[AUGMENT_FIELDS], other[AUGMENT_FIELDS];
        clq_augment_draw(&o, 1, 2, i, a);
        clq_augment_draw(&o, 1, 2, i, b);
        clq_augment_draw(&o, 1, 3, i, other);
        assert_memory_equal(a, b, sizeof a);
        assert_in_range((int)a[AUGMENT_DY] + 4, 0, 8);
        assert_in_range((int)a[AUGMENT_DX] + 4, 0, 8);
        places[0][(int)a[AUGMENT_DY] + 4]++;
        places[1][(int)a[AUGMENT_DX] + 4]++;
        flips += a[AUGMENT_FLIP] != 0;
        same += memcmp(a, other, sizeof a) == 0;
    }
    assert_in_range(flips, DRAWS / 2 - 400, DRAWS / 2 + 400);
    assert_in_range(same, 40, 200); /* 1 in 162 */
    for (int i = 0; i < 9; i++) {
        assert_in_range(places[0][i], 1800, 2200);
        assert_in_range(places[1][i], 1800, 2200);
    }
}

/* Whatever else is on, crop and flip come from the first counter of the position. */
static void crop_and_flip_keep_their_bits(void **state) {
    (void)state;
    clq_augment_options o = options_for(32, 32, 32, 32);
    o.config.crop_padding = 4;
    o.config.flip = true;
    o.config.rotation = 20;
    o.config.hue = 0.1;
    for (int i = 0; i < 50; i++) {
        float p[AUGMENT_FIELDS];
        uint32_t words[4];
        clq_philox(7, clq_draw_stream(CLQ_DRAW_AUGMENT, 5), (uint64_t)i << 4, words);
        clq_augment_draw(&o, 7, 5, i, p);
        assert_int_equal((int)p[AUGMENT_DY], (int)clq_bounded(words[0], 9) - 4);
        assert_int_equal((int)p[AUGMENT_DX], (int)clq_bounded(words[1], 9) - 4);
        assert_int_equal((int)p[AUGMENT_FLIP], words[2] >> 31);
    }
}

/* ---- geometry ---- */

/* Where output point (x, y) lies in the image. */
static void map(const float *m, double x, double y, double *u, double *v) {
    *u = (double)m[0] * x + (double)m[1] * y + (double)m[2];
    *v = (double)m[3] * x + (double)m[4] * y + (double)m[5];
}

static double mean_and_range(double *sum, double value, double low, double high) {
    assert_true(value >= low - 1e-4 && value <= high + 1e-4);
    *sum += value;
    return value;
}

/* Takes the matrix apart again: the angle from its columns, the scale from its determinant, the
 * translation from where the image's centre went. */
static void the_matrix_is_rotation_scale_and_translation(void **state) {
    (void)state;
    clq_augment_options o = options_for(40, 30, 40, 30);
    o.config.rotation = 20;
    o.config.translate = 0.1;
    o.config.scale[0] = 0.9;
    o.config.scale[1] = 1.1;
    double angles = 0, scales = 0, shifts = 0;
    enum { DRAWS = 4000 };
    for (int i = 0; i < DRAWS; i++) {
        float p[AUGMENT_FIELDS];
        clq_augment_draw(&o, 1, 0, i, p);
        const float *m = p + AUGMENT_MATRIX;
        const double a = m[0], b = m[1], d = m[3], e = m[4];
        assert_true(fabs(a - e) < 1e-6 && fabs(b + d) < 1e-6); /* a similarity */
        const double scale = 1 / sqrt(a * e - b * d);
        mean_and_range(&angles, atan2(d, a) * 180 / pi, -20, 20);
        mean_and_range(&scales, scale, 0.9, 1.1);
        /* (x, y) -> (u, v) = centre: solve for where the centre is shown. */
        const double u = 15 - (double)m[2], v = 20 - (double)m[5];
        const double x = (e * u - b * v) * scale * scale, y = (a * v - d * u) * scale * scale;
        mean_and_range(&shifts, x - 15, -3, 3);
        assert_true(fabs(x - 15 - round(x - 15)) < 1e-4); /* whole pixels */
        assert_true(fabs(y - 20) < 4 + 1e-4 && fabs(y - round(y)) < 1e-4);
    }
    assert_true(fabs(angles / DRAWS) < 0.6); /* deviation 11.5 / sqrt(4000) = 0.18 */
    assert_true(fabs(scales / DRAWS - 1) < 0.003);
    assert_true(fabs(shifts / DRAWS) < 0.1);
}

/* A quarter turn shows at the top what was at the right: counter-clockwise, y pointing down. */
static void positive_angles_turn_counter_clockwise(void **state) {
    (void)state;
    clq_augment_options o = options_for(10, 10, 10, 10);
    o.config.rotation = 90;
    for (int i = 0; i < 100; i++) {
        float p[AUGMENT_FIELDS];
        uint32_t words[4];
        double u, v;
        clq_philox(1, clq_draw_stream(CLQ_DRAW_AUGMENT, 0), (uint64_t)i << 4 | 1, words);
        const double angle = (words[0] * 0x1p-31 - 1) * pi / 2;
        clq_augment_draw(&o, 1, 0, i, p);
        /* The point that was at the right edge is shown at `angle` above it. */
        map(p + AUGMENT_MATRIX, 5 + 5 * cos(angle), 5 - 5 * sin(angle), &u, &v);
        assert_true(fabs(u - 10) < 1e-4 && fabs(v - 5) < 1e-4);
    }
}

static void resized_crops_lie_in_the_image(void **state) {
    (void)state;
    clq_augment_options o = options_for(60, 80, 24, 32);
    o.config.flip = true;
    o.config.resized_crop.scale[0] = 0.25;
    o.config.resized_crop.scale[1] = 1;
    o.config.resized_crop.ratio[0] = 3.0 / 4;
    o.config.resized_crop.ratio[1] = 4.0 / 3;
    double areas = 0;
    enum { DRAWS = 2000 };
    for (int i = 0; i < DRAWS; i++) {
        float p[AUGMENT_FIELDS];
        clq_augment_draw(&o, 1, 0, i, p);
        const float *box = p + AUGMENT_BOX;
        double u, v;
        assert_true(box[0] >= 0 && box[1] >= 0 && box[0] + box[2] <= 60 && box[1] + box[3] <= 80);
        const double ratio = (double)(box[3] / box[2]);
        assert_true(ratio > 0.72 && ratio < 1.38); /* rounding to whole pixels */
        areas += (double)(box[2] * box[3]) / (60 * 80);
        /* The output's corner shows the box's, the right one when mirrored. */
        map(p + AUGMENT_MATRIX, 0, 0, &u, &v);
        const double left = (double)box[1] + (p[AUGMENT_FLIP] != 0 ? (double)box[3] : 0);
        assert_true(fabs(u - left) < 1e-3 && fabs(v - (double)box[0]) < 1e-3);
    }
    /* 0.625 if none were refused; the largest often are. */
    assert_true(areas / DRAWS > 0.5 && areas / DRAWS < 0.65);

    /* No try fits a strip: the largest centred crop of an allowed ratio. */
    o = options_for(10, 1000, 8, 8);
    o.config.resized_crop.scale[0] = o.config.resized_crop.scale[1] = 1;
    o.config.resized_crop.ratio[0] = o.config.resized_crop.ratio[1] = 2;
    float p[AUGMENT_FIELDS];
    clq_augment_draw(&o, 1, 0, 0, p);
    const float expected[] = {0, 490, 10, 20};
    assert_memory_equal(p + AUGMENT_BOX, expected, sizeof expected);
}

/* ---- colour and erasing ---- */

static void colours_are_in_range_and_in_every_order(void **state) {
    (void)state;
    clq_augment_options o = options_for(8, 8, 8, 8);
    o.config.brightness = 0.3;
    o.config.contrast = 2; /* a factor is never below 0 */
    o.config.saturation = 0.3;
    o.config.hue = 0.1;
    const double low[] = {0.7, 0, 0.7, -0.1}, high[] = {1.3, 3, 1.3, 0.1};
    int orders[5 * 5 * 5 * 5] = {0}, seen = 0;
    double sums[4] = {0};
    enum { DRAWS = 4800 };
    for (int i = 0; i < DRAWS; i++) {
        float p[AUGMENT_FIELDS];
        int order = 0;
        clq_augment_draw(&o, 1, 0, i, p);
        for (int s = 0; s < 4; s++) {
            const int step = (int)p[AUGMENT_STEPS + s] - 1;
            assert_in_range(step, 0, 3);
            mean_and_range(&sums[step], (double)p[AUGMENT_AMOUNTS + s], low[step], high[step]);
            order = 5 * order + step;
        }
        orders[order]++;
    }
    for (int i = 0; i < 5 * 5 * 5 * 5; i++) {
        seen += orders[i] > 0;
        assert_true(orders[i] == 0 || (orders[i] > 140 && orders[i] < 260)); /* 200 */
    }
    assert_int_equal(seen, 24);
    for (int s = 0; s < 4; s++) {
        const double middle = (low[s] + high[s]) / 2;
        assert_true(fabs(sums[s] / DRAWS - middle) < 0.02 * (high[s] - low[s]));
    }

    /* Grey images: brightness and contrast only. */
    float p[AUGMENT_FIELDS];
    o.channels = 1;
    clq_augment_draw(&o, 1, 0, 0, p);
    const float *steps = p + AUGMENT_STEPS;
    assert_true(steps[0] + steps[1] == AUGMENT_BRIGHTNESS + AUGMENT_CONTRAST);
    assert_true(steps[2] == AUGMENT_NO_STEP && steps[3] == AUGMENT_NO_STEP);
}

static void erased_boxes_are_as_asked(void **state) {
    (void)state;
    clq_augment_options o = options_for(32, 32, 32, 32);
    o.config.erase.probability = 0.6;
    o.config.erase.scale[0] = 0.02;
    o.config.erase.scale[1] = 0.4;
    o.config.erase.ratio[0] = 0.3;
    o.config.erase.ratio[1] = 3.3;
    int erased = 0;
    double logs = 0;
    enum { DRAWS = 4000 };
    for (int i = 0; i < DRAWS; i++) {
        float p[AUGMENT_FIELDS];
        clq_augment_draw(&o, 1, 0, i, p);
        const float *box = p + AUGMENT_ERASE;
        if (box[2] == 0) {
            continue;
        }
        erased++;
        assert_true(box[0] >= 0 && box[1] >= 0 && box[0] + box[2] <= 32 && box[1] + box[3] <= 32);
        const double area = (double)(box[2] * box[3]) / (32 * 32);
        assert_true(area > 0.015 && area < 0.43);
        logs += log((double)(box[3] / box[2]));
    }
    assert_in_range(erased, 2280, 2520); /* 2400, deviation 31 */
    assert_true(fabs(logs / erased) < 0.06);
}

/* ---- mixing ---- */

static void mixup_draws_a_beta_variate(void **state) {
    (void)state;
    const double alphas[] = {0.2, 1, 3};
    enum { DRAWS = 4000 };
    for (int a = 0; a < 3; a++) {
        const clq_augment_config config = {.mixup = {alphas[a], 1}};
        double sum = 0, squares = 0;
        for (int i = 0; i < DRAWS; i++) {
            uint32_t partners[8];
            clq_mix mix;
            clq_mix_draw(&config, 1, 0, i * 8, 8, 32, 32, &mix, partners);
            assert_true(mix.keep == mix.share && mix.height == 0);
            assert_true(mix.keep >= 0 && mix.keep <= 1);
            sum += (double)mix.keep;
            squares += ((double)mix.keep - 0.5) * ((double)mix.keep - 0.5);
        }
        /* Variance of Beta(a, a): 1 / (4 (2 a + 1)). */
        const double variance = 1 / (4 * (2 * alphas[a] + 1));
        assert_true(fabs(sum / DRAWS - 0.5) < 0.03);
        assert_true(fabs(squares / DRAWS / variance - 1) < 0.08);
    }
}

static void partners_are_a_permutation(void **state) {
    (void)state;
    const clq_augment_config config = {.mixup = {0.2, 0.5}};
    int mixed = 0, to_itself = 0;
    enum { DRAWS = 2000, COUNT = 16 };
    for (int i = 0; i < DRAWS; i++) {
        uint32_t partners[COUNT], again[COUNT], seen = 0;
        clq_mix mix, same;
        clq_mix_draw(&config, 3, 1, i * COUNT, COUNT, 32, 32, &mix, partners);
        clq_mix_draw(&config, 3, 1, i * COUNT, COUNT, 32, 32, &same, again);
        assert_memory_equal(partners, again, sizeof again);
        assert_true(mix.keep == same.keep);
        for (int n = 0; n < COUNT; n++) {
            seen |= 1u << partners[n];
            to_itself += partners[n] == (uint32_t)n;
        }
        assert_int_equal(seen, 0xffff);
        mixed += mix.share < 1;
    }
    assert_in_range(mixed, 900, 1100);      /* a few lambdas round to 1 */
    assert_in_range(to_itself, 1800, 2200); /* 1 a permutation */
}

static void cutmix_shares_by_area(void **state) {
    (void)state;
    const clq_augment_config config = {.cutmix = {1, 1}};
    double shares = 0;
    enum { DRAWS = 2000 };
    for (int i = 0; i < DRAWS; i++) {
        uint32_t partners[4];
        clq_mix mix;
        clq_mix_draw(&config, 1, 0, i * 4, 4, 20, 30, &mix, partners);
        assert_true(mix.keep == 1);
        assert_true(mix.y >= 0 && mix.x >= 0 && mix.y + mix.height <= 20 &&
                    mix.x + mix.width <= 30);
        assert_true(fabs((double)mix.share - (1 - mix.height * mix.width / 600.0)) < 1e-6);
        shares += (double)mix.share;
    }
    /* With s^2 = 1 - lambda even in 0..1, a side of s loses s^2 / 4 to the edges:
     * 1 - E((s - s^2 / 4)^2) = 0.679. Sides cut down to even pixels make it 0.708 here. */
    assert_true(fabs(shares / DRAWS - 0.708) < 0.025);
}

/* Both at probability 1 take half of the batches each. */
static void mixup_and_cutmix_share_the_batches(void **state) {
    (void)state;
    const clq_augment_config config = {.mixup = {0.2, 1}, .cutmix = {1, 1}};
    int cut = 0;
    for (int i = 0; i < 2000; i++) {
        uint32_t partners[4];
        clq_mix mix;
        clq_mix_draw(&config, 1, 0, i * 4, 4, 32, 32, &mix, partners);
        cut += mix.keep == 1;
    }
    assert_in_range(cut, 900, 1100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crop_and_flip_are_fair_and_repeatable),
        cmocka_unit_test(crop_and_flip_keep_their_bits),
        cmocka_unit_test(the_matrix_is_rotation_scale_and_translation),
        cmocka_unit_test(positive_angles_turn_counter_clockwise),
        cmocka_unit_test(resized_crops_lie_in_the_image),
        cmocka_unit_test(colours_are_in_range_and_in_every_order),
        cmocka_unit_test(erased_boxes_are_as_asked),
        cmocka_unit_test(mixup_draws_a_beta_variate),
        cmocka_unit_test(partners_are_a_permutation),
        cmocka_unit_test(cutmix_shares_by_area),
        cmocka_unit_test(mixup_and_cutmix_share_the_batches),
    };
    return cmocka_run_group_tests_name("data/augment_draw", tests, NULL, NULL);
}
