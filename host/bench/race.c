#include "bench/race.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/bench.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "device/tuning.h"
#include "ops/conv/conv2d_f32.h"
#include "ops/conv/conv2d_f32_gemm.h"
#include "ops/conv/conv2d_f32_plan.h"
#include "ops/conv/conv2d_int8.h"
#include "ops/conv/conv2d_int8_plan.h"

enum {
    HEAT_ROUNDS = 16,
    FINAL_ROUNDS = 15,
    LEAST_HEAT_ROUNDS = 3, /* however little time there is */
    LEAST_FINAL_ROUNDS = 7,
    FLUSH_BYTES = 32 << 20,      /* written to drive weights out of the caches */
    MAX_WEIGHT_BYTES = 512 << 20 /* of all entrants together */
};
static const double MARGIN = 1.03;

/* After so many rounds, entrants slower than the fastest by this factor drop out. */
static const struct {
    int rounds;
    double factor;
} heats[] = {{2, 1.5}, {4, 1.25}, {8, 1.1}, {12, 1.05}};

typedef struct entrant {
    clq_conv_choice choice;
    clq_conv2d_int8 *int8; /* one of the two */
    clq_conv2d_f32 *f32;
    double ms[HEAT_ROUNDS];
    int count;
    bool out;
} entrant;

typedef struct race {
    clq_device *device;
    clq_conv_family family;
    const clq_conv_geometry *geometry;
    char key[CLQ_CONV_KEY];
    void *host_w;   /* int8_t or float (OC, KH, KW, IC/G) */
    float *w_scale; /* int8: (OC) */
    clq_buffer *w;  /* f32: host_w */
    clq_buffer *source, *x, *y, *flush;
    entrant entrants[CLQ_MAX_CANDIDATES + 1]; /* the first is the default */
    int count;
} race;

/* ---- data ---- */

static size_t weight_count(const clq_conv_geometry *g) {
    return (size_t)g->oc * (size_t)(g->kh * g->kw) * (size_t)(g->ic / g->groups);
}

/* Bytes of an activation: u8 with pitch, or floats. */
static size_t tensor_bytes(const race *r, int h, int w, int c) {
    const size_t pixels = (size_t)r->geometry->n * (size_t)h * (size_t)w;
    return r->family == CLQ_CONV_INT8 ? pixels * (size_t)((c + 3) / 4 * 4)
                                      : pixels * (size_t)c * sizeof(float);
}

/* Close to a normal distribution within -reach..reach, 4.6 standard deviations: the sum of eight
 * hexadecimal digits. Values matter, as CLQ_CONV_SPLIT takes longer for large ones. */
static int bell(clq_rng *rng, int reach) {
    uint32_t bits = clq_rng_next(rng);
    int sum = -60;
    for (int i = 0; i < 8; i++, bits >>= 4) {
        sum += (int)(bits & 15);
    }
    return sum * reach / 60;
}

/* Codes as behind a ReLU: about half of them 0. */
static void fill_codes(uint8_t *codes, size_t count, clq_rng *rng) {
    for (size_t i = 0; i < count; i++) {
        const int code = bell(rng, 255);
        codes[i] = (uint8_t)(code > 0 ? code : 0);
    }
}

static void fill_weights(int8_t *w, size_t count, clq_rng *rng) {
    for (size_t i = 0; i < count; i++) {
        w[i] = (int8_t)bell(rng, 127);
    }
}

static void fill_floats(float *x, size_t count, clq_rng *rng) {
    for (size_t i = 0; i < count; i++) {
        x[i] = 2 * clq_uniform(clq_rng_next(rng)) - 1;
    }
}

static clq_status make_input(race *r, clq_rng *rng) {
    const size_t bytes = tensor_bytes(r, r->geometry->ih, r->geometry->iw, r->geometry->ic);
    void *data = clq_calloc(bytes, 1);
    if (!data) {
        return CLQ_NO_MEMORY;
    }
    if (r->family == CLQ_CONV_INT8) {
        fill_codes(data, bytes, rng);
    } else {
        fill_floats(data, bytes / sizeof(float), rng);
    }
    clq_status status = clq_buffer_create(r->device, bytes, &r->source);
    if (status == CLQ_OK) {
        status = clq_buffer_write(r->source, 0, bytes, data);
    }
    clq_free(data);
    CLQ_TRY(status);
    return clq_buffer_create(r->device, bytes, &r->x);
}

static clq_status make_data(race *r, uint64_t seed) {
    const clq_conv_geometry *g = r->geometry;
    const size_t bytes = weight_count(g) * (r->family == CLQ_CONV_INT8 ? 1 : sizeof(float));
    clq_rng rng = clq_rng_start(seed, 0);
    CLQ_TRY(make_input(r, &rng));
    CLQ_TRY(clq_buffer_create(r->device, tensor_bytes(r, g->oh, g->ow, g->oc), &r->y));
    CLQ_TRY(clq_buffer_create(r->device, FLUSH_BYTES, &r->flush));
    r->host_w = clq_calloc(bytes, 1);
    r->w_scale = clq_calloc((size_t)g->oc, sizeof *r->w_scale);
    if (!r->host_w || !r->w_scale) {
        return CLQ_NO_MEMORY;
    }
    if (r->family == CLQ_CONV_INT8) {
        fill_weights(r->host_w, bytes, &rng);
    } else {
        fill_floats(r->host_w, bytes / sizeof(float), &rng);
    }
    for (int c = 0; c < g->oc; c++) {
        r->w_scale[c] = 0.001f;
    }
    if (r->family == CLQ_CONV_F32) {
        CLQ_TRY(clq_buffer_create(r->device, bytes, &r->w));
        CLQ_TRY(clq_buffer_write(r->w, 0, bytes, r->host_w));
    }
    return CLQ_OK;
}

static void free_race(race *r) {
    for (int i = 0; i < r->count; i++) {
        clq_conv2d_int8_destroy(r->entrants[i].int8);
        clq_conv2d_f32_destroy(r->entrants[i].f32);
    }
    clq_free(r->host_w);
    clq_free(r->w_scale);
    clq_buffer_release(r->w);
    clq_buffer_release(r->source);
    clq_buffer_release(r->x);
    clq_buffer_release(r->y);
    clq_buffer_release(r->flush);
    clq_free(r);
}

/* ---- entrants ---- */

static clq_status run_entrant(const race *r, const entrant *e) {
    return e->int8 ? clq_conv2d_int8_forward(e->int8, r->x, NULL, r->y)
                   : clq_conv2d_f32_forward(e->f32, r->x, NULL, NULL, CLQ_ACT_RELU, r->y);
}

/* Makes the convolution as any executor would, from the table. */
static clq_status create_entrant(race *r, entrant *e) {
    if (r->family == CLQ_CONV_F32) {
        const int directions = CLQ_CONV_FORWARD | CLQ_CONV_WINOGRAD | CLQ_CONV_TUNE;
        CLQ_TRY(clq_conv2d_f32_create(r->device, r->geometry, directions, &e->f32));
        return clq_conv2d_f32_load_weights(e->f32, r->w);
    }
    const clq_conv2d_int8_params params = {
        .w = r->host_w, .w_scale = r->w_scale, .x_scale = 0.02f, .y_scale = 0.02f, .y_hi = 255};
    return clq_conv2d_int8_create(r->device, r->geometry, &params, &e->int8);
}

/* Creates and runs it once, which may compile it. A device that cannot run it refuses here. */
static clq_status enter(race *r, const clq_conv_choice *choice) {
    char text[CLQ_CHOICE_TEXT];
    entrant *e = &r->entrants[r->count++];
    e->choice = *choice;
    clq_conv_choice_text(choice, text);
    CLQ_TRY(clq_tuning_set(r->device, r->key, text));
    CLQ_TRY(create_entrant(r, e));
    CLQ_TRY(run_entrant(r, e));
    return clq_device_finish(r->device);
}

static void find_candidates(const race *r, clq_conv_candidates *candidates) {
    const clq_device_info *info = clq_device_get_info(r->device);
    if (r->family == CLQ_CONV_INT8) {
        clq_int8_candidates(info, r->geometry, candidates);
    } else {
        clq_f32_candidates(info, r->geometry, candidates);
        if (clq_conv_gemm_suits(r->device, r->geometry)) {
            clq_conv_add_candidate(candidates, &(clq_conv_choice){.kernel = CLQ_CONV_GEMM});
        }
    }
    /* Packed weights take 4 bytes each, integers about 2 (from 1 to 3.6 by Winograd's algorithm).
     */
    const size_t bytes = weight_count(r->geometry) * (r->family == CLQ_CONV_INT8 ? 2 : 4);
    const size_t most = MAX_WEIGHT_BYTES / bytes;
    if ((size_t)candidates->count > most) {
        candidates->count = most < 2 ? 2 : (int)most;
    }
}

static clq_status enter_all(race *r) {
    static const clq_conv_choice open = {0};
    clq_conv_candidates candidates;
    find_candidates(r, &candidates);
    CLQ_TRY(enter(r, &open));
    /* The default is the first candidate too, unless it is Winograd's algorithm. */
    const clq_conv2d_f32 *f32 = r->entrants[0].f32;
    const bool known = !f32 || clq_conv2d_f32_choice(f32);
    for (int i = known ? 1 : 0; i < candidates.count; i++) {
        const clq_status status = enter(r, &candidates.list[i]);
        if (status != CLQ_OK && status != CLQ_DEVICE) {
            return status;
        }
        if (status != CLQ_OK) {
            clq_log_debug("%s: a candidate does not run: %s", r->key, clq_last_error());
            r->entrants[r->count - 1].out = true;
        }
    }
    return CLQ_OK;
}

/* ---- rounds ---- */

/* Adds the recorded times of one round; commands that are nobody's have no label. */
static clq_status add_times(race *r) {
    const clq_profile_entry *entries = NULL;
    size_t count = 0;
    CLQ_TRY(clq_device_profile_entries(r->device, &entries, &count));
    for (int i = 0; i < r->count; i++) {
        if (!r->entrants[i].out) {
            r->entrants[i].ms[r->entrants[i].count++] = 0;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (*entries[i].label) {
            entrant *e = &r->entrants[strtol(entries[i].label, NULL, 10)];
            e->ms[e->count - 1] += entries[i].ms;
        }
    }
    return CLQ_OK;
}

static clq_status run_round(race *r) {
    CLQ_TRY(clq_device_profile(r->device, true));
    for (int i = 0; i < r->count; i++) {
        char label[16];
        if (r->entrants[i].out) {
            continue;
        }
        clq_device_set_label(r->device, "");
        CLQ_TRY(clq_buffer_fill(r->flush, 0, FLUSH_BYTES, 0));
        CLQ_TRY(clq_buffer_copy(r->x, 0, r->source, 0, clq_buffer_size(r->source)));
        snprintf(label, sizeof label, "%d", i);
        clq_device_set_label(r->device, label);
        CLQ_TRY(run_entrant(r, &r->entrants[i]));
    }
    clq_device_set_label(r->device, "");
    return add_times(r);
}

static double least_ms(const entrant *e) {
    double least = e->ms[0];
    for (int i = 1; i < e->count; i++) {
        least = e->ms[i] < least ? e->ms[i] : least;
    }
    return least;
}

/* The fastest so far, with or without the default; NULL: there is none. */
static entrant *fastest(race *r, int first) {
    entrant *best = NULL;
    for (int i = first; i < r->count; i++) {
        entrant *e = &r->entrants[i];
        if (!e->out && (!best || least_ms(e) < least_ms(best))) {
            best = e;
        }
    }
    return best;
}

/* The default stays in whatever its times are. */
static void drop_slower(race *r, double factor) {
    const double limit = factor * least_ms(fastest(r, 0));
    for (int i = 1; i < r->count; i++) {
        r->entrants[i].out = r->entrants[i].out || least_ms(&r->entrants[i]) > limit;
    }
}

/* Most of the time, as there are many entrants. */
static clq_status run_heats(race *r, double seconds) {
    const double deadline = clq_now_seconds() + 0.75 * seconds;
    size_t heat = 0;
    for (int round = 1; round <= HEAT_ROUNDS; round++) {
        if (round > LEAST_HEAT_ROUNDS && clq_now_seconds() > deadline) {
            break;
        }
        CLQ_TRY(run_round(r));
        if (heat < sizeof heats / sizeof *heats && round == heats[heat].rounds) {
            drop_slower(r, heats[heat++].factor);
        }
    }
    return CLQ_OK;
}

/* Only the default and the fastest other, with new times. */
static clq_status run_final(race *r, entrant *other, double seconds, clq_race_result *result) {
    const double deadline = clq_now_seconds() + 0.25 * seconds;
    entrant *first = &r->entrants[0];
    for (int i = 1; i < r->count; i++) {
        r->entrants[i].out = &r->entrants[i] != other;
    }
    first->count = other->count = 0;
    for (int round = 1; round <= FINAL_ROUNDS; round++) {
        if (round > LEAST_FINAL_ROUNDS && clq_now_seconds() > deadline) {
            break;
        }
        CLQ_TRY(run_round(r));
    }
    const clq_latency before = clq_latency_of(first->ms, (size_t)first->count);
    const clq_latency after = clq_latency_of(other->ms, (size_t)other->count);
    result->better = before.min > MARGIN * after.min && before.median > MARGIN * after.median;
    result->best = result->better ? other->choice : first->choice;
    result->default_ms = before.min;
    result->best_ms = result->better ? after.min : before.min;
    return CLQ_OK;
}

static clq_status run_race(race *r, double seconds, clq_race_result *result) {
    CLQ_TRY(run_heats(r, seconds));
    entrant *other = fastest(r, 1);
    result->entrants = r->count;
    if (other) {
        return run_final(r, other, seconds, result);
    }
    result->better = false;
    result->best = r->entrants[0].choice;
    result->default_ms = result->best_ms = least_ms(&r->entrants[0]);
    return CLQ_OK;
}

clq_status clq_race(clq_device *device, clq_conv_family family, const clq_conv_geometry *geometry,
                    double seconds, uint64_t seed, clq_race_result *result) {
    clq_status status = CLQ_OK;
    char *before = NULL;
    race *r = clq_calloc(1, sizeof *r);
    if (!r) {
        return CLQ_NO_MEMORY;
    }
    r->device = device;
    r->family = family;
    r->geometry = geometry;
    clq_conv_key(device, family, geometry, r->key);
    if (clq_tuning_find(device, r->key)) {
        before = clq_strdup(clq_tuning_find(device, r->key));
        if (!before) {
            status = CLQ_NO_MEMORY;
            goto cleanup;
        }
    }
    CLQ_GOTO(status, restore, make_data(r, seed));
    CLQ_GOTO(status, restore, enter_all(r));
    CLQ_GOTO(status, restore, run_race(r, seconds, result));
restore:
    if (clq_device_profile(device, false) != CLQ_OK && status == CLQ_OK) {
        status = CLQ_DEVICE;
    }
    if (clq_tuning_set(device, r->key, before) != CLQ_OK && status == CLQ_OK) {
        status = CLQ_NO_MEMORY;
    }
cleanup:
    clq_free(before);
    free_race(r);
    return status;
}
