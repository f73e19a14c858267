/* The built-in data set: one figure a picture, at any place, size, angle and colour, on a shaded
 * and textured ground with small distracting marks before and behind it, and noise. Picture
 * (seed, split, index) is drawn from its own Philox stream and by arithmetic that IEEE 754 fixes
 * to the bit, so it depends on nothing else. Lengths below are in halves of the picture's side:
 * the picture is -1 .. 1 in x and y. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/numbers.h"
#include "base/rng.h"
#include "data/dataset.h"
#include "data/figures.h"

enum {
    DEFAULT_TRAIN = 8192,
    DEFAULT_TEST = 2048,
    DEFAULT_SIDE = 32,
    MAX_SIDE = 1024,
    MAX_COUNT = 1 << 28, /* pictures are made when they are wanted; labels and order take 2 GiB */
    MAX_MARKS = 5,
    LATTICE = 5, /* texture: values on a grid of so many points a side */
};

#define STREAM UINT64_C(0x73796e) /* "syn": keeps the streams apart from the loader's */

typedef struct synthetic {
    uint64_t seed;
    clq_split split;
    int side;
    double noise; /* 0 .. 1: how hard the pictures are */
} synthetic;

typedef struct colour {
    double rgb[3]; /* 0 .. 1 */
} colour;

/* A small blob or bar. */
typedef struct mark {
    double x, y, sine, cosine, half_length, half_width;
    bool round, in_front;
    colour paint;
} mark;

typedef struct scene {
    colour ground[2]; /* blended along a direction */
    double slope_x, slope_y;
    double texture[LATTICE][LATTICE]; /* added to all three colours */
    int figure;
    double x, y, radius, sine, cosine, stretch;
    colour paint;
    int mark_count;
    mark marks[MAX_MARKS];
    double sigma; /* of the noise */
} scene;

static double draw(clq_rng *rng, double low, double high) {
    return low + (high - low) * ((double)clq_rng_next(rng) * 0x1p-32);
}

static colour draw_colour(clq_rng *rng, double low, double high) {
    colour c;
    for (int i = 0; i < 3; i++) {
        c.rgb[i] = draw(rng, low, high);
    }
    return c;
}

static double brightness(colour c) {
    return c.rgb[0] + c.rgb[1] + c.rgb[2];
}

/* A colour that is brighter than both ends of the ground by `least`; white when none is found. */
static colour draw_brighter(clq_rng *rng, const colour ground[2], double least) {
    for (int i = 0; i < 20; i++) {
        const colour c = draw_colour(rng, 0.3, 1);
        if (brightness(c) >= brightness(ground[0]) + least &&
            brightness(c) >= brightness(ground[1]) + least) {
            return c;
        }
    }
    return (colour){{1, 1, 1}};
}

static mark draw_mark(clq_rng *rng) {
    mark m;
    m.x = draw(rng, -1, 1);
    m.y = draw(rng, -1, 1);
    clq_turn(draw(rng, 0, 1), &m.sine, &m.cosine);
    m.round = clq_rng_next(rng) & 1;
    m.half_width = draw(rng, 0.05, 0.14);
    m.half_length = m.round ? m.half_width * draw(rng, 1, 2) : draw(rng, 0.15, 0.5);
    m.in_front = draw(rng, 0, 1) < 0.4;
    m.paint = draw_colour(rng, 0, 1);
    return m;
}

static void draw_scene(const synthetic *s, int64_t index, clq_rng *rng, scene *out) {
    const double noise = s->noise;
    out->figure = (int)(index % CLQ_FIGURES);
    out->ground[0] = draw_colour(rng, 0.05, 0.6);
    out->ground[1] = draw_colour(rng, 0.05, 0.6);
    for (int i = 0; i < 3; i++) { /* the two ends are alike */
        out->ground[1].rgb[i] = 0.5 * (out->ground[0].rgb[i] + out->ground[1].rgb[i]);
    }
    clq_turn(draw(rng, 0, 1), &out->slope_y, &out->slope_x);
    const double amplitude = draw(rng, 0, 0.3 * noise);
    for (int y = 0; y < LATTICE; y++) {
        for (int x = 0; x < LATTICE; x++) {
            out->texture[y][x] = draw(rng, -amplitude, amplitude);
        }
    }
    out->radius = draw(rng, 0.5, 0.85);
    const double reach = 1 - out->radius;
    out->x = draw(rng, -reach, reach);
    out->y = draw(rng, -reach, reach);
    clq_turn(draw(rng, -0.12, 0.12), &out->sine, &out->cosine);
    out->stretch = draw(rng, 0.87, 1.15);
    out->paint = draw_brighter(rng, out->ground, 0.9 - 0.6 * noise);
    out->mark_count = (int)draw(rng, 0, 1 + 6 * noise);
    out->mark_count = out->mark_count > MAX_MARKS ? MAX_MARKS : out->mark_count;
    for (int i = 0; i < out->mark_count; i++) {
        out->marks[i] = draw_mark(rng);
    }
    out->sigma = draw(rng, 0.01, 0.01 + 0.16 * noise);
}

static double texture_at(const scene *s, double x, double y) {
    const double u = (x + 1) * 0.5 * (LATTICE - 1), v = (y + 1) * 0.5 * (LATTICE - 1);
    const int i = u < LATTICE - 2 ? (int)u : LATTICE - 2;
    const int j = v < LATTICE - 2 ? (int)v : LATTICE - 2;
    const double a = u - i, b = v - j;
    return (s->texture[j][i] * (1 - a) + s->texture[j][i + 1] * a) * (1 - b) +
           (s->texture[j + 1][i] * (1 - a) + s->texture[j + 1][i + 1] * a) * b;
}

static void cover(colour *under, colour paint, double coverage) {
    for (int i = 0; i < 3; i++) {
        under->rgb[i] += (paint.rgb[i] - under->rgb[i]) * coverage;
    }
}

static void paint_marks(const scene *s, bool in_front, double x, double y, double pixels,
                        colour *c) {
    for (int i = 0; i < s->mark_count; i++) {
        const mark *m = &s->marks[i];
        if (m->in_front != in_front) {
            continue;
        }
        const double dx = x - m->x, dy = y - m->y;
        const double u = fabs(dx * m->cosine + dy * m->sine);
        const double v = fabs(dy * m->cosine - dx * m->sine);
        double distance =
            u - m->half_length > v - m->half_width ? u - m->half_length : v - m->half_width;
        if (m->round) {
            const double a = u / m->half_length, b = v / m->half_width;
            distance = (sqrt(a * a + b * b) - 1) * m->half_width;
        }
        cover(c, m->paint, clq_coverage(distance * pixels));
    }
}

/* The scene at one point, `pixels` pixels a unit length. */
static colour shade(const scene *s, double x, double y, double pixels) {
    const double blend = 0.5 + 0.35 * (x * s->slope_x + y * s->slope_y); /* within 0 .. 1 */
    const double texture = texture_at(s, x, y);
    colour c;
    for (int i = 0; i < 3; i++) {
        c.rgb[i] =
            s->ground[0].rgb[i] + (s->ground[1].rgb[i] - s->ground[0].rgb[i]) * blend + texture;
    }
    paint_marks(s, false, x, y, pixels, &c);
    const double dx = (x - s->x) / s->radius, dy = (y - s->y) / s->radius;
    const double u = (dx * s->cosine + dy * s->sine) * s->stretch;
    const double v = (dy * s->cosine - dx * s->sine) / s->stretch;
    if (u * u + v * v < 4) {
        const double distance = clq_figure_distance(s->figure, u, v) * s->radius;
        cover(&c, s->paint, clq_coverage(distance * pixels));
    }
    paint_marks(s, true, x, y, pixels, &c);
    return c;
}

/* About normal, mean 0, deviation 1: the sum of a word's four bytes. */
static double draw_noise(clq_rng *rng) {
    const uint32_t w = clq_rng_next(rng);
    const int sum = (int)((w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24));
    return (sum - 510) * (1 / 147.8);
}

static clq_status get(const void *state, int64_t index, int channels, clq_image *image) {
    const synthetic *s = state;
    (void)channels;
    CLQ_TRY(clq_image_create("synthetic", s->side, s->side, 3, image));
    const uint64_t split = s->split == CLQ_SPLIT_TEST;
    const uint64_t stream = STREAM << 40 | split << 32 | (uint64_t)index;
    clq_rng rng = clq_rng_start(s->seed, stream);
    scene sc;
    draw_scene(s, index, &rng, &sc);
    uint8_t *out = image->data;
    for (int y = 0; y < s->side; y++) {
        for (int x = 0; x < s->side; x++) {
            const colour c =
                shade(&sc, (2 * x + 1.0) / s->side - 1, (2 * y + 1.0) / s->side - 1, s->side * 0.5);
            for (int i = 0; i < 3; i++) {
                const double v = (c.rgb[i] + sc.sigma * draw_noise(&rng)) * 255 + 0.5;
                *out++ = v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
            }
        }
    }
    return CLQ_OK;
}

static void release(void *state) {
    clq_free(state);
}

/* ":train=4096,noise=0.7" */
static clq_status parse_keys(const char *keys, synthetic *s, int64_t *train, int64_t *test) {
    static const char *const names[] = {"train", "test", "size", "seed", "noise"};
    if (*keys == ':') {
        keys++;
    }
    while (*keys) {
        char word[16] = "", text[40] = "";
        const size_t letters = strspn(keys, "abcdefghijklmnopqrstuvwxyz");
        const char *number = keys + letters + 1;
        const size_t digits = keys[letters] == '=' ? strspn(number, "0123456789.") : 0;
        if (letters == 0 || letters >= sizeof word || digits == 0 || digits >= sizeof text ||
            (number[digits] != '\0' && number[digits] != ',')) {
            return clq_fail(CLQ_USAGE, "synthetic: \"%s\" is not KEY=NUMBER[,...]", keys);
        }
        memcpy(word, keys, letters);
        memcpy(text, number, digits);
        size_t which = 0;
        while (which < 5 && strcmp(word, names[which]) != 0) {
            which++;
        }
        char *end = NULL;
        const double value = clq_strtod(text, &end);
        const double least[] = {1, 1, 8, 0, 0};
        const double most[] = {MAX_COUNT, MAX_COUNT, MAX_SIDE, 9007199254740992.0, 1};
        if (which == 5) {
            return clq_fail(CLQ_USAGE,
                            "synthetic: no key \"%s\"; there are train, test, size, "
                            "seed, noise",
                            word);
        }
        if (*end || !(value >= least[which] && value <= most[which]) ||
            (which < 4 && value != floor(value))) {
            return clq_fail(CLQ_USAGE, "synthetic: %s=%s: must be %sin %.0f..%.0f", word, text,
                            which < 4 ? "whole and " : "", least[which], most[which]);
        }
        *train = which == 0 ? (int64_t)value : *train;
        *test = which == 1 ? (int64_t)value : *test;
        s->side = which == 2 ? (int)value : s->side;
        s->seed = which == 3 ? (uint64_t)value : s->seed;
        s->noise = which == 4 ? value : s->noise;
        keys = number + digits + (number[digits] == ',');
    }
    return CLQ_OK;
}

clq_status clq_synthetic_open(const char *keys, const clq_dataset_options *options,
                              clq_source *source) {
    synthetic *s = clq_calloc(1, sizeof *s);
    if (!s) {
        return CLQ_NO_MEMORY;
    }
    source->state = s;
    source->release = release;
    source->get = get;
    source->kind = "synthetic";
    source->shuffled = true; /* classes take turns, so any first part is balanced */
    source->channels = 3;
    s->seed = options->seed;
    s->split = options->split;
    s->side = options->height ? options->height : DEFAULT_SIDE;
    s->noise = 0.5;
    int64_t train = DEFAULT_TRAIN, test = DEFAULT_TEST;
    CLQ_TRY(parse_keys(keys, s, &train, &test));
    source->height = source->width = s->side;
    source->count = options->split == CLQ_SPLIT_TRAIN ? train : test;
    CLQ_TRY(clq_source_set_names(source, "synthetic", clq_figure_names, CLQ_FIGURES));
    source->constants = "synthetic";
    source->labels = clq_calloc((size_t)source->count, sizeof *source->labels);
    if (!source->labels) {
        return CLQ_NO_MEMORY;
    }
    for (int64_t i = 0; i < source->count; i++) {
        source->labels[i] = (int32_t)(i % CLQ_FIGURES);
    }
    return CLQ_OK;
}
