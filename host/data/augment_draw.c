/* What happens to an image: the draws and the matrix they make. */
#include <math.h>

#include "base/rng.h"
#include "data/augment.h"
#include "data/draws.h"

enum { RESIZED_CROP_BLOCK = 4, ERASE_BLOCK = 10, TRIES = 10 };

static const double pi = 3.14159265358979323846;

/* Whose draws. */
typedef struct place {
    uint64_t seed, stream;
    int64_t position;
} place;

typedef struct box {
    int y, x, height, width;
} box;

static void draw_block(const place *at, int block, uint32_t words[4]) {
    clq_philox(at->seed, at->stream, (uint64_t)at->position << 4 | (uint64_t)block, words);
}

/* [low, high) */
static double between(uint32_t bits, double low, double high) {
    return low + (high - low) * ((double)bits * 0x1p-32);
}

/* A box within height x width, at most `most_height` x `most_width`: its area a fraction in `scale`
 * of the whole, its width by its height in `ratio`, even in the logarithm ({0, 0}: 1). False when
 * no try fits. Takes 6 blocks. */
static bool draw_box(const place *at, int block, const double scale[2], const double ratio[2],
                     int height, int width, int most_height, int most_width, box *out) {
    uint32_t words[24];
    const double low = ratio[0] > 0 ? log(ratio[0]) : 0, high = ratio[1] > 0 ? log(ratio[1]) : 0;
    for (int i = 0; i < 6; i++) {
        draw_block(at, block + i, words + 4 * i);
    }
    for (int i = 0; i < TRIES; i++) {
        const double area =
            (double)height * (double)width * between(words[2 * i], scale[0], scale[1]);
        const double by = exp(between(words[2 * i + 1], low, high));
        const double h = round(sqrt(area / by)), w = round(sqrt(area * by));
        if (h >= 1 && h <= most_height && w >= 1 && w <= most_width) {
            out->height = (int)h;
            out->width = (int)w;
            out->y = (int)clq_bounded(words[2 * TRIES], (uint32_t)(height - out->height + 1));
            out->x = (int)clq_bounded(words[2 * TRIES + 1], (uint32_t)(width - out->width + 1));
            return true;
        }
    }
    return false;
}

/* The largest centred box of height x width whose ratio is allowed. */
static box central_box(const double ratio[2], int height, int width) {
    const double by = (double)width / height;
    box b = {.height = height, .width = width};
    if (ratio[0] > 0 && by < ratio[0]) {
        b.height = (int)round(width / ratio[0]);
    } else if (ratio[1] > 0 && by > ratio[1]) {
        b.width = (int)round(height * ratio[1]);
    }
    b.y = (height - b.height) / 2;
    b.x = (width - b.width) / 2;
    return b;
}

/* The part of the image that the output shows. */
static box shown_box(const clq_augment_options *o, const place *at, int dy, int dx) {
    const clq_augment_config *c = &o->config;
    box b = {0, 0, o->height, o->width};
    if (c->resized_crop.scale[1] > 0) {
        if (!draw_box(at, RESIZED_CROP_BLOCK, c->resized_crop.scale, c->resized_crop.ratio,
                      o->height, o->width, o->height, o->width, &b)) {
            b = central_box(c->resized_crop.ratio, o->height, o->width);
        }
    } else if (o->centre_crop) {
        b.height = o->out_height < o->height ? o->out_height : o->height;
        b.width = o->out_width < o->width ? o->out_width : o->width;
        b.y = (o->height - b.height) / 2;
        b.x = (o->width - b.width) / 2;
    }
    b.y += dy;
    b.x += dx;
    return b;
}

/* An output pixel p is at q = A (p - centre - shift) + centre of the fitted image, where A undoes
 * rotation and scale; mirrored if `flip`; then within the box, in proportion. */
static void set_matrix(const clq_augment_options *o, const place *at, bool flip, const box *b,
                       float matrix[6]) {
    const clq_augment_config *c = &o->config;
    uint32_t words[4];
    draw_block(at, 1, words);
    const double height = o->out_height, width = o->out_width;
    const double angle = between(words[0], -c->rotation, c->rotation) * pi / 180;
    const double shift_x = round(between(words[1], -c->translate, c->translate) * width);
    const double shift_y = round(between(words[2], -c->translate, c->translate) * height);
    const double scale = c->scale[0] > 0 ? between(words[3], c->scale[0], c->scale[1]) : 1;
    const double cosine = cos(angle) / scale, sine = sin(angle) / scale;
    const double mid_x = 0.5 * width, mid_y = 0.5 * height;
    const double start_x = mid_x - cosine * (mid_x + shift_x) + sine * (mid_y + shift_y);
    const double start_y = mid_y - sine * (mid_x + shift_x) - cosine * (mid_y + shift_y);
    const double by_x = b->width / width, by_y = b->height / height, mirror = flip ? -1 : 1;
    matrix[0] = (float)(by_x * mirror * cosine);
    matrix[1] = (float)(by_x * mirror * -sine);
    matrix[2] = (float)(b->x + by_x * (mirror * start_x + (flip ? width : 0)));
    matrix[3] = (float)(by_y * sine);
    matrix[4] = (float)(by_y * cosine);
    matrix[5] = (float)(b->y + by_y * start_y);
}

/* The colour steps that are on, in one of the 24 orders; channels other than three have no colour
 * to saturate or turn. */
static void set_colours(const clq_augment_options *o, const place *at, float *steps,
                        float *amounts) {
    const clq_augment_config *c = &o->config;
    const double jitter[4] = {c->brightness, c->contrast, o->channels == 3 ? c->saturation : 0,
                              o->channels == 3 ? c->hue : 0};
    int left[4] = {0, 1, 2, 3}, used = 0;
    uint32_t words[4], order[4];
    draw_block(at, 2, words);
    draw_block(at, 3, order);
    uint32_t number = clq_bounded(order[0], 24);
    for (uint32_t remaining = 4; remaining > 0; remaining--) {
        const uint32_t taken = number % remaining;
        const int i = left[taken];
        number /= remaining;
        left[taken] = left[remaining - 1];
        if (jitter[i] > 0) {
            const bool hue = i + 1 == AUGMENT_HUE;
            const double low = hue ? -jitter[i] : fmax(0, 1 - jitter[i]);
            steps[used] = (float)(i + 1);
            amounts[used++] = (float)between(words[i], low, hue ? jitter[i] : 1 + jitter[i]);
        }
    }
}

static void set_box(const box *b, float *fields) {
    fields[0] = (float)b->y;
    fields[1] = (float)b->x;
    fields[2] = (float)b->height;
    fields[3] = (float)b->width;
}

void clq_augment_draw(const clq_augment_options *o, uint64_t seed, int64_t epoch, int64_t position,
                      float params[AUGMENT_FIELDS]) {
    const clq_augment_config *c = &o->config;
    const place at = {seed, clq_draw_stream(CLQ_DRAW_AUGMENT, epoch), position};
    uint32_t words[4];
    for (int i = 0; i < AUGMENT_FIELDS; i++) {
        params[i] = 0;
    }
    draw_block(&at, 0, words);
    const uint32_t places = 2 * (uint32_t)c->crop_padding + 1;
    const int dy = (int)clq_bounded(words[0], places) - c->crop_padding;
    const int dx = (int)clq_bounded(words[1], places) - c->crop_padding;
    const bool flip = c->flip && words[2] >> 31;
    params[AUGMENT_DY] = (float)dy;
    params[AUGMENT_DX] = (float)dx;
    params[AUGMENT_FLIP] = flip ? 1.0f : 0.0f;
    const box shown = shown_box(o, &at, dy, dx);
    set_box(&shown, params + AUGMENT_BOX);
    set_matrix(o, &at, flip, &shown, params + AUGMENT_MATRIX);
    set_colours(o, &at, params + AUGMENT_STEPS, params + AUGMENT_AMOUNTS);
    box erased;
    if (between(words[3], 0, 1) < c->erase.probability &&
        draw_box(&at, ERASE_BLOCK, c->erase.scale, c->erase.ratio, o->out_height, o->out_width,
                 o->out_height - 1, o->out_width - 1, &erased)) {
        set_box(&erased, params + AUGMENT_ERASE);
    }
}
