/* The augmentation kernel against the reference, bit for bit, on both schedules. */
#include <stdlib.h>
#include <string.h>

#include "data/augment.h"
#include "support/clq_test.h"
#include "support/ref_augment.h"

static const char *const schedules[] = {"cpu", "gpu"};

static clq_augment_options options_for(int batch, int height, int width, int channels) {
    return (clq_augment_options){.batch = batch,
                                 .height = height,
                                 .width = width,
                                 .channels = channels,
                                 .mean = {0.4914f, 0.4822f, 0.4465f, 0.1f},
                                 .std = {0.247f, 0.2435f, 0.2616f, 1.3f}};
}

/* Runs `count` images of random content and compares with the reference. */
static void check(clq_device *device, const clq_augment_options *o, int count, bool random) {
    const size_t image = (size_t)(o->height * o->width * o->channels);
    const size_t out_bytes = (size_t)o->batch * image * sizeof(float);
    uint8_t *images = malloc((size_t)count * image);
    float *actual = malloc(out_bytes), *expected = malloc(out_bytes);
    int *dy = malloc(3 * sizeof *dy * (size_t)count), *dx = dy + count, *flip = dx + count;
    assert_true(images && actual && expected && dy);
    clq_test_fill_u8(images, (size_t)count * image, 0, 255, 1);
    const clq_batch batch = {.count = count,
                             .height = o->height,
                             .width = o->width,
                             .channels = o->channels,
                             .images = images,
                             .seed = 11,
                             .where = {.epoch = 3},
                             .position = 1000};
    for (int i = 0; i < count; i++) {
        float params[AUGMENT_FIELDS] = {0};
        if (random) {
            clq_augment_draw(o, 11, 3, 1000 + i, params);
        }
        dy[i] = (int)params[AUGMENT_DY];
        dx[i] = (int)params[AUGMENT_DX];
        flip[i] = params[AUGMENT_FLIP] != 0;
    }
    ref_augment(images, count, o->batch, o->height, o->width, o->channels, dy, dx, flip, o->mean,
                o->std, expected);

    clq_augment *augment = NULL;
    clq_buffer *out = NULL;
    assert_ok(clq_augment_create(device, o, &augment));
    assert_ok(clq_buffer_create(device, out_bytes, &out));
    assert_ok(clq_buffer_fill(out, 0, out_bytes, 0x7fc00000)); /* NaN */
    assert_ok(clq_augment_apply(augment, &batch, random, out));
    assert_ok(clq_buffer_read(out, 0, out_bytes, actual));
    assert_equal_bits(actual, expected, out_bytes);
    clq_buffer_release(out);
    clq_augment_destroy(augment);
    free(images);
    free(actual);
    free(expected);
    free(dy);
}

static void equals_the_reference(void **state) {
    (void)state;
    const int shapes[][5] = {/* batch, count, height, width, channels */
                             {4, 4, 32, 32, 3}, {5, 2, 7, 5, 3},   {3, 1, 1, 1, 1},
                             {8, 8, 13, 17, 1}, {3, 3, 16, 33, 4}, {2, 2, 28, 28, 1}};
    for (int s = 0; s < 2; s++) {
        setenv("CLQUANT_SCHEDULE", schedules[s], 1);
        clq_device *device = NULL;
        assert_ok(clq_device_open(NULL, &device));
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            clq_augment_options o =
                options_for(shapes[i][0], shapes[i][2], shapes[i][3], shapes[i][4]);
            check(device, &o, shapes[i][1], false);
            o.flip = true;
            check(device, &o, shapes[i][1], true);
            o.crop_padding = 4;
            check(device, &o, shapes[i][1], true);
            check(device, &o, shapes[i][1], false);
            o.crop_padding = 40; /* mostly or wholly outside */
            check(device, &o, shapes[i][1], true);
        }
        clq_device_close(device);
    }
    unsetenv("CLQUANT_SCHEDULE");
}

static void draws_are_fair_and_repeatable(void **state) {
    (void)state;
    clq_augment_options o = options_for(1, 32, 32, 3);
    o.crop_padding = 4;
    o.flip = true;
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

static void the_table_is_the_formula(void **state) {
    (void)state;
    const clq_augment_options o = options_for(1, 1, 1, 3);
    float table[3 * 256];
    clq_augment_table(&o, table);
    assert_true(table[0] == (0.0f - 0.4914f) / 0.247f);
    assert_true(table[255] == (1.0f - 0.4914f) / 0.247f);
    assert_true(table[2 * 256 + 51] == (51.0f / 255.0f - 0.4465f) / 0.2616f);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    clq_device *device = NULL;
    assert_ok(clq_device_open(NULL, &device));
    for (int i = 0; i < 5; i++) {
        clq_augment *augment = NULL;
        clq_augment_options o = options_for(2, 4, 4, 3);
        o.std[2] = i == 0 ? 0 : o.std[2];
        o.std[0] = i == 1 ? -1 : o.std[0];
        o.mean[1] = i == 2 ? (float)strtod("nan", NULL) : o.mean[1];
        o.crop_padding = i == 3 ? -1 : 0;
        o.channels = i == 4 ? 5 : 3;
        assert_status(clq_augment_create(device, &o, &augment), CLQ_USAGE);
        assert_null(augment);
    }
    /* A batch of another shape is the caller's mistake. */
    const clq_augment_options o = options_for(2, 4, 4, 3);
    const uint8_t pixels[4 * 4 * 4 * 3] = {0};
    clq_augment *augment = NULL;
    clq_buffer *out = NULL;
    assert_ok(clq_augment_create(device, &o, &augment));
    assert_ok(clq_buffer_create(device, 4096, &out));
    clq_batch batch = {.count = 3, .height = 4, .width = 4, .channels = 3, .images = pixels};
    assert_status(clq_augment_apply(augment, &batch, false, out), CLQ_INTERNAL);
    batch.count = 2;
    batch.width = 5;
    assert_status(clq_augment_apply(augment, &batch, false, out), CLQ_INTERNAL);
    clq_buffer_release(out);
    clq_augment_destroy(augment);
    clq_device_close(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_reference),
        cmocka_unit_test(draws_are_fair_and_repeatable),
        cmocka_unit_test(the_table_is_the_formula),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests_name("data/augment", tests, NULL, NULL);
}
