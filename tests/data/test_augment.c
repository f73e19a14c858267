/* The augmentation kernels against the reference, each piece alone and all together, on both
 * schedules: bit for bit where pixels stay whole, else within the rounding of a few float
 * operations. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/augment.h"
#include "support/device.h"
#include "support/ref_augment.h"

enum { SEED = 11, EPOCH = 3, POSITION = 1000, CLASSES = 5, MAX_BATCH = 8 };

/* Values of 0..1 are right to about 1e-6 after sampling and four colour steps; the smallest
 * standard deviation below divides them by 0.24. */
static const double tolerance = 1e-5;

static const char *const schedules[] = {"cpu", "gpu"};

/* ---- one batch, on the device and by the reference ---- */

static clq_augment_options options_for(int batch, int height, int width, int channels) {
    return (clq_augment_options){.batch = batch,
                                 .height = height,
                                 .width = width,
                                 .channels = channels,
                                 .out_height = height,
                                 .out_width = width,
                                 .normalization = {.mean = {0.4914f, 0.4822f, 0.4465f, 0.1f},
                                                   .std = {0.247f, 0.2435f, 0.2616f, 1.3f}}};
}

static size_t out_floats(const clq_augment_options *o) {
    return (size_t)(o->batch * o->out_height * o->out_width * o->channels);
}

static uint8_t *new_images(const clq_augment_options *o, int count) {
    const size_t bytes = (size_t)(count * o->height * o->width * o->channels);
    uint8_t *images = malloc(bytes);
    assert_non_null(images);
    clq_test_fill_u8(images, bytes, 0, 255, 1);
    return images;
}

static clq_batch batch_of(const clq_augment_options *o, const uint8_t *images, int count) {
    return (clq_batch){.count = count,
                       .height = o->height,
                       .width = o->width,
                       .channels = o->channels,
                       .images = images,
                       .seed = SEED,
                       .where = {.epoch = EPOCH},
                       .position = POSITION};
}

/* out and, of a mixed batch, targets (B, CLASSES) from labels 0, 1, 2, ... */
static bool on_device(clq_device *device, const clq_augment_options *o, int count, bool random,
                      float *out, float *targets) {
    const size_t bytes = out_floats(o) * sizeof(float);
    const size_t target_bytes = (size_t)(o->batch * CLASSES) * sizeof(float);
    int32_t labels[MAX_BATCH];
    uint8_t *images = new_images(o, count);
    const clq_batch batch = batch_of(o, images, count);
    clq_augment *augment = NULL;
    clq_buffer *buffer = NULL, *label_buffer = NULL, *target_buffer = NULL;
    assert_ok(clq_augment_create(device, o, &augment));
    assert_ok(clq_buffer_create(device, bytes, &buffer));
    assert_ok(clq_buffer_fill(buffer, 0, bytes, 0x7fc00000)); /* NaN */
    assert_ok(clq_augment_apply(augment, &batch, random, buffer));
    assert_ok(clq_buffer_read(buffer, 0, bytes, out));
    const bool mixed = clq_augment_is_mixed(augment);
    if (targets) {
        for (int i = 0; i < o->batch; i++) {
            labels[i] = i % CLASSES;
        }
        assert_ok(clq_buffer_create(device, sizeof labels, &label_buffer));
        assert_ok(clq_buffer_write(label_buffer, 0, sizeof labels, labels));
        assert_ok(clq_buffer_create(device, target_bytes, &target_buffer));
        assert_ok(clq_augment_targets(augment, label_buffer, CLASSES, target_buffer));
        assert_ok(clq_buffer_read(target_buffer, 0, target_bytes, targets));
    }
    clq_buffer_release(buffer);
    clq_buffer_release(label_buffer);
    clq_buffer_release(target_buffer);
    clq_augment_destroy(augment);
    free(images);
    return mixed;
}

static void by_reference(const clq_augment_options *o, int count, bool random, bool general,
                         float *out) {
    float params[(1 + MAX_BATCH) * AUGMENT_FIELDS] = {0};
    uint32_t partners[MAX_BATCH];
    clq_augment_options drawn = *o;
    clq_mix mix;
    if (!random) {
        drawn.config = (clq_augment_config){0};
    }
    clq_mix_draw(&drawn.config, SEED, EPOCH, POSITION, count, o->out_height, o->out_width, &mix,
                 partners);
    const float cut[] = {(float)mix.y, (float)mix.x, (float)mix.height, (float)mix.width};
    params[AUGMENT_KEEP] = mix.keep;
    memcpy(params + AUGMENT_CUT, cut, sizeof cut);
    for (int i = 0; i < count && i < MAX_BATCH; i++) {
        float *row = params + (1 + i) * AUGMENT_FIELDS;
        clq_augment_draw(&drawn, SEED, EPOCH, POSITION + i, row);
        row[AUGMENT_PARTNER] = (float)partners[i];
    }
    uint8_t *images = new_images(o, count);
    const clq_normalization *n = &o->normalization;
    const ref_augment_case of = {images,
                                 params,
                                 count,
                                 o->batch,
                                 o->height,
                                 o->width,
                                 o->channels,
                                 o->out_height,
                                 o->out_width,
                                 n->mean,
                                 n->std,
                                 general,
                                 n->range == 255 ? 255.0f : 1.0f,
                                 n->bgr};
    ref_augment(&of, out);
    free(images);
}

/* ---- the pieces ---- */

static void crop(clq_augment_config *c) {
    c->crop_padding = 4;
}
static void wide_crop(clq_augment_config *c) {
    c->crop_padding = 40; /* mostly outside */
}
static void flip(clq_augment_config *c) {
    c->flip = true;
}
static void erase(clq_augment_config *c) {
    c->erase.probability = 0.6;
    c->erase.scale[0] = 0.02;
    c->erase.scale[1] = 0.4;
    c->erase.ratio[0] = 0.3;
    c->erase.ratio[1] = 3.3;
}
static void mixup(clq_augment_config *c) {
    c->mixup.alpha = 0.2;
    c->mixup.probability = 1;
}
static void cutmix(clq_augment_config *c) {
    c->cutmix.alpha = 1;
    c->cutmix.probability = 1;
}
static void rotation(clq_augment_config *c) {
    c->rotation = 20;
}
static void translation(clq_augment_config *c) {
    c->translate = 0.1;
}
static void scaling(clq_augment_config *c) {
    c->scale[0] = 0.9;
    c->scale[1] = 1.1;
}
static void resized_crop(clq_augment_config *c) {
    c->resized_crop.scale[0] = 0.08;
    c->resized_crop.scale[1] = 1;
    c->resized_crop.ratio[0] = 3.0 / 4;
    c->resized_crop.ratio[1] = 4.0 / 3;
}
static void brightness(clq_augment_config *c) {
    c->brightness = 0.3;
}
static void contrast(clq_augment_config *c) {
    c->contrast = 0.3;
}
static void saturation(clq_augment_config *c) {
    c->saturation = 0.3;
}
static void hue(clq_augment_config *c) {
    c->hue = 0.1;
}
static void colours(clq_augment_config *c) {
    brightness(c);
    contrast(c);
    saturation(c);
    hue(c);
}
static void strong_colours(clq_augment_config *c) {
    c->brightness = c->contrast = c->saturation = 2;
    c->hue = 0.5;
}
/* Published for ResNet-50 on CIFAR-10. */
static void recipe(clq_augment_config *c) {
    crop(c);
    flip(c);
    colours(c);
    rotation(c);
    translation(c);
    scaling(c);
    erase(c);
    mixup(c);
}
static void everything(clq_augment_config *c) {
    recipe(c);
    resized_crop(c);
    c->mixup.probability = 0;
    cutmix(c);
}

typedef void (*piece)(clq_augment_config *config);

static const piece plain_pieces[] = {crop, wide_crop, flip, erase, mixup, cutmix};
static const piece general_pieces[] = {rotation,   translation,    scaling,    resized_crop,
                                       brightness, contrast,       saturation, hue,
                                       colours,    strong_colours, recipe,     everything};

static const int shapes[][5] = {/* batch, count, height, width, channels */
                                {4, 4, 32, 32, 3}, {5, 2, 7, 5, 3},   {3, 1, 1, 1, 1},
                                {8, 8, 13, 17, 1}, {3, 3, 16, 33, 4}, {2, 2, 28, 28, 1}};

enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Both schedules give the reference's values and the same bits. */
static void check(clq_device *const devices[2], const clq_augment_options *o, int count,
                  bool random, bool general) {
    const size_t floats = out_floats(o);
    float *expected = malloc(3 * floats * sizeof *expected);
    assert_non_null(expected);
    float *actual[2] = {expected + floats, expected + 2 * floats};
    by_reference(o, count, random, general, expected);
    for (int s = 0; s < 2; s++) {
        on_device(devices[s], o, count, random, actual[s], NULL);
    }
    const clq_test_shape shape = clq_test_shape_of((size_t)o->batch, (size_t)o->out_height,
                                                   (size_t)o->out_width, (size_t)o->channels);
    if (general) {
        assert_close_f32(actual[0], expected, shape, tolerance, 0);
    } else {
        assert_equal_bits(actual[0], expected, floats * sizeof(float));
    }
    assert_equal_bits(actual[1], actual[0], floats * sizeof(float));
    free(expected);
}

static void open_devices(clq_device *devices[2]) {
    for (int s = 0; s < 2; s++) {
        assert_ok(clq_test_open(schedules[s], &devices[s]));
    }
}

static void close_devices(clq_device *devices[2]) {
    clq_device_close(devices[0]);
    clq_device_close(devices[1]);
}

static void whole_pixels_equal_the_reference(void **state) {
    (void)state;
    clq_device *devices[2];
    open_devices(devices);
    for (int i = 0; i < SHAPES; i++) {
        const int *s = shapes[i];
        clq_augment_options o = options_for(s[0], s[2], s[3], s[4]);
        check(devices, &o, s[1], false, false);
        for (size_t p = 0; p < sizeof plain_pieces / sizeof *plain_pieces; p++) {
            o.config = (clq_augment_config){0};
            plain_pieces[p](&o.config);
            check(devices, &o, s[1], true, false);
        }
        for (size_t p = 0; p < sizeof plain_pieces / sizeof *plain_pieces; p++) {
            plain_pieces[p](&o.config);
        }
        check(devices, &o, s[1], true, false);
        check(devices, &o, s[1], false, false);
    }
    close_devices(devices);
}

static void sampled_and_coloured_pixels_are_near_the_reference(void **state) {
    (void)state;
    clq_device *devices[2];
    open_devices(devices);
    for (int i = 0; i < SHAPES; i++) {
        const int *s = shapes[i];
        for (size_t p = 0; p < sizeof general_pieces / sizeof *general_pieces; p++) {
            clq_augment_options o = options_for(s[0], s[2], s[3], s[4]);
            general_pieces[p](&o.config);
            check(devices, &o, s[1], true, true);
            if (p % 3 == 0) { /* to another size as well */
                o.out_height = s[2] + 3;
                o.out_width = s[3] > 9 ? s[3] - 9 : s[3] + 1;
                check(devices, &o, s[1], true, true);
            }
        }
    }
    close_devices(devices);
}

/* Crop and flip as a matrix, sampled, give the bits of the table. */
static void sampling_at_whole_pixels_changes_no_bit(void **state) {
    (void)state;
    clq_device *devices[2];
    open_devices(devices);
    clq_augment_options o = options_for(8, 13, 17, 3);
    const size_t floats = out_floats(&o);
    float *table = malloc(2 * floats * sizeof *table), *sampled = table + floats;
    assert_non_null(table);
    crop(&o.config);
    flip(&o.config);
    on_device(devices[0], &o, 8, true, table, NULL);
    o.config.scale[0] = o.config.scale[1] = 1;
    on_device(devices[0], &o, 8, true, sampled, NULL);
    assert_equal_bits(sampled, table, floats * sizeof(float));
    free(table);
    close_devices(devices);
}

/* Blue first, and pixels as they are. */
static void order_and_range_are_the_networks(void **state) {
    (void)state;
    clq_device *devices[2];
    open_devices(devices);
    for (int i = 0; i < 2; i++) {
        clq_augment_options o = options_for(5, 13, 11, 3);
        o.normalization = (clq_normalization){
            .mean = {103.9f, 116.8f, 123.7f}, .std = {57, 58, 59}, .range = 255, .bgr = true};
        crop(&o.config);
        flip(&o.config);
        check(devices, &o, 5, true, false);
        o.config.hue = 0.2;
        o.config.contrast = 0.3;
        o.config.rotation = i ? 20 : 0;
        check(devices, &o, 4, true, true);
    }
    close_devices(devices);
}

/* Without `random`: the centre cut out to the pixel, or the whole image scaled. */
static void evaluation_fits_the_size(void **state) {
    (void)state;
    clq_device *devices[2];
    open_devices(devices);
    clq_augment_options o = options_for(2, 12, 10, 3);
    o.out_height = 8;
    o.out_width = 6;
    check(devices, &o, 2, false, true); /* scaled */
    o.centre_crop = true;
    check(devices, &o, 2, false, true);
    float out[2 * 8 * 6 * 3];
    uint8_t *images = new_images(&o, 2);
    on_device(devices[0], &o, 2, false, out, NULL);
    for (int i = 0; i < 8 * 6 * 3; i++) {
        const int y = i / 18, x = i / 3 % 6, c = i % 3;
        const float value = (float)images[((y + 2) * 10 + x + 2) * 3 + c] / 255.0f;
        assert_true(out[i] == (value - o.normalization.mean[c]) / o.normalization.std[c]);
    }
    free(images);
    close_devices(devices);
}

/* ---- labels ---- */

static void targets_are_the_labels_mixed(void **state) {
    (void)state;
    clq_device *devices[2];
    open_devices(devices);
    const piece pieces[] = {flip, mixup, cutmix};
    for (int p = 0; p < 3; p++) {
        clq_augment_options o = options_for(7, 9, 9, 1);
        float out[7 * 9 * 9], targets[7 * CLASSES];
        uint32_t partners[7];
        clq_mix mix;
        pieces[p](&o.config);
        clq_mix_draw(&o.config, SEED, EPOCH, POSITION, 6, 9, 9, &mix, partners);
        assert_int_equal(on_device(devices[p % 2], &o, 6, true, out, targets), p > 0);
        for (int n = 0; n < 7; n++) {
            const int image = n < 6 ? n : 5, other = (int)partners[image] % CLASSES;
            for (int k = 0; k < CLASSES; k++) {
                const float expected =
                    (image % CLASSES == k ? mix.share : 0) + (other == k ? 1 - mix.share : 0);
                assert_true(targets[n * CLASSES + k] == expected);
            }
        }
    }
    close_devices(devices);
}

/* ---- normalization, mistakes ---- */

static void the_table_is_the_formula(void **state) {
    (void)state;
    const clq_augment_options o = options_for(1, 1, 1, 3);
    float table[3 * 256];
    clq_augment_table(&o, table);
    assert_true(table[0] == (0.0f - 0.4914f) / 0.247f);
    assert_true(table[255] == (1.0f - 0.4914f) / 0.247f);
    assert_true(table[2 * 256 + 51] == (51.0f / 255.0f - 0.4465f) / 0.2616f);
    clq_augment_options whole = o;
    whole.normalization = (clq_normalization){{127, 127, 127}, {128, 128, 128}, .range = 255};
    clq_augment_table(&whole, table);
    assert_true(table[0] == -127.0f / 128.0f);
    assert_true(table[256 + 255] == 1.0f);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    clq_device *device = NULL;
    assert_ok(clq_test_open(NULL, &device));
    for (int i = 0; i < 7; i++) {
        clq_augment *augment = NULL;
        clq_augment_options o = options_for(2, 4, 4, 3);
        o.normalization.std[2] = i == 0 ? 0 : o.normalization.std[2];
        o.normalization.std[0] = i == 1 ? -1 : o.normalization.std[0];
        o.normalization.mean[1] = i == 2 ? (float)strtod("nan", NULL) : o.normalization.mean[1];
        o.config.crop_padding = i == 3 ? -1 : 0;
        o.channels = i == 4 ? 5 : 3;
        o.out_width = i == 5 ? -1 : 4;
        o.normalization.range = i == 6 ? 2 : 1;
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

static void running_out_of_memory_is_reported(void **state) {
    (void)state;
    clq_device *device = NULL;
    const clq_augment_options o = options_for(2, 4, 4, 3);
    clq_status status = CLQ_NO_MEMORY;
    clq_augment *augment = NULL;
    assert_ok(clq_test_open(NULL, &device));
    assert_ok(clq_augment_create(device, &o, &augment));
    clq_augment_destroy(augment); /* what the device keeps of it, it keeps from here on */
    for (long n = 1; status != CLQ_OK; n++) {
        clq_test_fail_allocation(n);
        status = clq_augment_create(device, &o, &augment);
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
        assert_int_equal(augment != NULL, status == CLQ_OK);
        clq_augment_destroy(augment);
        assert_int_equal(clq_test_live_allocations(), 0);
        assert_true(n < 100);
    }
    clq_test_restore_allocator();
    clq_device_close(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_pixels_equal_the_reference),
        cmocka_unit_test(sampled_and_coloured_pixels_are_near_the_reference),
        cmocka_unit_test(sampling_at_whole_pixels_changes_no_bit),
        cmocka_unit_test(order_and_range_are_the_networks),
        cmocka_unit_test(evaluation_fits_the_size),
        cmocka_unit_test(targets_are_the_labels_mixed),
        cmocka_unit_test(the_table_is_the_formula),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(running_out_of_memory_is_reported),
    };
    return cmocka_run_group_tests_name("data/augment", tests, NULL, NULL);
}
