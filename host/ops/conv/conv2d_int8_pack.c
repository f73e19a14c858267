/* The constants of an integer convolution in the order its kernels read them (conv_int8.h). */
#include <string.h>

#include "base/checked.h"
#include "kernels/include/depthwise_chunks.h"
#include "ops/conv/conv2d_int8_plan.h"
#include "ops/multiplier.h"

/* Where an output channel of the network went: group of the plan, block, channel within it. */
typedef struct place {
    int block, lane;
    int first_input; /* of the merged group */
    int copies;      /* lanes that have the channel, */
    int apart;       /* so far from each other */
} place;

/* A piece of a chunk is 4 lanes of each plane; a narrow chunk is there once for each column that a
 * vector has (conv2d_depthwise.cl). */
static place chunk_place(const clq_int8_plan *plan, int oc) {
    place p = {0};
    int first, pieces, within;
    do {
        pieces = depthwise_chunk(plan->shape.oc, plan->pieces, p.block, &first);
        within = oc - first * DEPTHWISE_PIECE;
        p.block += within >= pieces * DEPTHWISE_PIECE;
    } while (within >= pieces * DEPTHWISE_PIECE);
    const int in_piece = within % DEPTHWISE_PIECE;
    p.lane = in_piece / 4 * 4 * plan->pieces + within / DEPTHWISE_PIECE * 4 + in_piece % 4;
    p.copies = plan->pieces / pieces;
    p.apart = 4 * pieces;
    return p;
}

static place place_of(const clq_int8_plan *plan, const clq_conv_geometry *g, int oc) {
    if (plan->by_columns) {
        return chunk_place(plan, oc);
    }
    if (plan->kernel == CLQ_CONV_DEPTHWISE) {
        return (place){oc / plan->nr, oc % plan->nr, 0, 1, 0};
    }
    int group = oc / (g->oc / g->groups), merged = group / plan->merged_groups;
    int within = oc - merged * plan->shape.group_oc;
    return (place){merged * plan->shape.group_blocks + within / plan->nr, within % plan->nr,
                   group % plan->merged_groups * (g->ic / g->groups), 1, 0};
}

/* Packed weights of one channel, with those that are zero for the layout's sake. */
static size_t block_inputs(const clq_int8_plan *plan) {
    size_t kh = (size_t)plan->shape.kh, kw = (size_t)plan->shape.kw, step = (size_t)plan->step;
    if (plan->kernel == CLQ_CONV_DEPTHWISE) {
        return plan->by_columns ? kw * ((kh + step - 1) / step * step)
                                : (kh * kw + step - 1) / step * step;
    }
    size_t taps = plan->kernel == CLQ_CONV_INT8_WINOGRAD ? CONV_WINOGRAD_POSITIONS : kh * kw;
    size_t inputs = taps * (size_t)plan->shape.depth;
    return plan->pad > 0 ? clq_round_up(inputs, (size_t)plan->pad) : inputs;
}

/* Where the weights of a block's channel lie among the others': conv2d_mma.cl has its own order. */
static size_t weight_lane(const clq_int8_plan *plan, int lane) {
    if (plan->kernel != CLQ_CONV_MMA) {
        return (size_t)lane;
    }
    int within = lane % 32, t = within / 8, q = within % 8 / 2, e = within % 2;
    return (size_t)(lane - within + 8 * q + 2 * t + e);
}

/* Room for a block's list of steps that do not pair. */
static size_t unfit_room(const clq_int8_plan *plan) {
    return plan->kernel == CLQ_CONV_SPLIT ? block_inputs(plan) / (size_t)plan->step / 2 + 1 : 0;
}

size_t clq_int8_weight_bytes(const clq_int8_plan *plan) {
    const size_t weights = (size_t)plan->shape.blocks * block_inputs(plan) * (size_t)plan->nr;
    return plan->nibbles ? weights / 2 : weights * (size_t)plan->element_bytes;
}

/* What a line of taps outside the image reads. */
static size_t beyond_bytes(const clq_int8_plan *plan) {
    return (size_t)(plan->shape.run_taps * plan->shape.depth);
}

size_t clq_int8_channel_bytes(const clq_int8_plan *plan) {
    size_t channels = (size_t)plan->shape.blocks * (size_t)plan->nr * 3;
    const size_t beyond = plan->in_place ? beyond_bytes(plan) / sizeof(int32_t) : 0;
    return (channels + (size_t)plan->shape.blocks * unfit_room(plan) + beyond) * sizeof(int32_t);
}

/* Weight k of those of a lane; 8 make a word (dot4.h). */
static void put_nibble(const clq_int8_plan *plan, uint32_t *packed, size_t k, size_t lane,
                       int8_t w) {
    const size_t step = (size_t)plan->step, steps = 8 / step, within = k % 8;
    const size_t bit = 32 / step * (within % step) + 4 * (steps - 1 - within / step);
    packed[k / 8 * (size_t)plan->nr + lane] |= (uint32_t)(w & 15) << bit;
}

static void put_weight(const clq_int8_plan *plan, void *packed, size_t at, int8_t w) {
    if (plan->element_bytes == 1) {
        ((int8_t *)packed)[at] = w;
    } else {
        ((int16_t *)packed)[at] = w;
    }
}

/* By columns [blocks][KW][KH / STEP][NR][STEP], else [KH * KW / STEP][blocks * NR][STEP]. */
static void pack_depthwise(const clq_int8_plan *plan, const clq_conv_geometry *g, const int8_t *w,
                           void *packed) {
    size_t step = (size_t)plan->step, nr = (size_t)plan->nr, kw = (size_t)g->kw;
    size_t columns = (size_t)plan->shape.blocks * nr, words = block_inputs(plan) / kw / step;
    for (int oc = 0; oc < g->oc; oc++) {
        const place p = place_of(plan, g, oc);
        const size_t block = (size_t)p.block, lane = (size_t)p.lane;
        for (size_t tap = 0; tap < (size_t)g->kh * kw; tap++, w++) {
            size_t ky = tap / kw, kx = tap % kw;
            size_t word = ((block * kw + kx) * words + ky / step) * nr + lane, k = ky % step;
            if (!plan->by_columns) {
                word = tap / step * columns + (size_t)oc;
                k = tap % step;
            }
            for (int i = 0; i < p.copies; i++) {
                put_weight(plan, packed, (word + (size_t)(i * p.apart)) * step + k, *w);
            }
        }
    }
}

/* (2 0 0; 1 1 1; 1 -1 1; 0 0 2) times g, whose elements are `step` apart. */
static void winograd_weights(const int *g, int step, int *u) {
    const int g0 = g[0], g1 = g[step], g2 = g[2 * step];
    u[0] = 2 * g0;
    u[1] = g0 + g1 + g2;
    u[2] = g0 - g1 + g2;
    u[3] = 2 * g2;
}

/* [blocks][positions][depth / STEP][NR][STEP] */
static void pack_winograd(const clq_int8_plan *plan, const clq_conv_geometry *g, const int8_t *w,
                          int16_t *packed) {
    size_t step = (size_t)plan->step, nr = (size_t)plan->nr, depth = (size_t)plan->shape.depth;
    size_t inputs = (size_t)g->ic;
    for (size_t oc = 0; oc < (size_t)g->oc; oc++, w += 9 * inputs) {
        for (size_t c = 0; c < inputs; c++) {
            int taps[9], columns[3][4], u[4];
            for (size_t tap = 0; tap < 9; tap++) {
                taps[tap] = w[tap * inputs + c];
            }
            for (int x = 0; x < 3; x++) {
                winograd_weights(taps + x, 3, columns[x]);
            }
            for (size_t y = 0; y < 4; y++) {
                winograd_weights(&columns[0][y], 4, u);
                for (size_t x = 0; x < 4; x++) {
                    size_t k = oc / nr * block_inputs(plan) + (4 * y + x) * depth + c;
                    packed[(k / step * nr + oc % nr) * step + k % step] = (int16_t)u[x];
                }
            }
        }
    }
}

/* As below, where steps are words of the network's weights too. */
static void pack_words(const clq_int8_plan *plan, const clq_conv_geometry *g, const int8_t *w,
                       char *packed) {
    const size_t nr = (size_t)plan->nr, depth = (size_t)plan->shape.depth / 4;
    const size_t words = (size_t)(g->ic / g->groups) / 4, taps = (size_t)g->kh * (size_t)g->kw;
    for (int oc = 0; oc < g->oc; oc++) {
        const place p = place_of(plan, g, oc);
        const size_t first = (size_t)p.block * (block_inputs(plan) / 4) + (size_t)p.first_input / 4;
        char *to = packed + 4 * (first * nr + weight_lane(plan, p.lane));
        for (size_t tap = 0; tap < taps; tap++) {
            for (size_t c = 0; c < words; c++, w += 4) {
                memcpy(to + 4 * nr * (tap * depth + c), w, 4);
            }
        }
    }
}

/* Where the weight of an input of a tap lies among those of its channel. */
static size_t input_place(const clq_int8_plan *plan, const clq_conv_geometry *g, int tap, int c) {
    if (!plan->dense) {
        return (size_t)tap * (size_t)plan->shape.depth + (size_t)c;
    }
    const int line = g->kw * g->ic, whole = line / 4 * 4, left = line - whole;
    const int ky = tap / g->kw, at = tap % g->kw * g->ic + c;
    return (size_t)(at < whole ? ky * whole + at : g->kh * whole + ky * left + at - whole);
}

void clq_int8_pack_weights(const clq_int8_plan *plan, const clq_conv_geometry *g, const int8_t *w,
                           void *packed) {
    if (plan->kernel == CLQ_CONV_DEPTHWISE) {
        pack_depthwise(plan, g, w, packed);
        return;
    }
    if (plan->kernel == CLQ_CONV_INT8_WINOGRAD) {
        pack_winograd(plan, g, w, packed);
        return;
    }
    size_t step = (size_t)plan->step, nr = (size_t)plan->nr;
    int inputs = g->ic / g->groups;
    if (!plan->nibbles && plan->element_bytes == 1 && step == 4 && inputs % 4 == 0) {
        pack_words(plan, g, w, packed);
        return;
    }
    for (int oc = 0; oc < g->oc; oc++) {
        place p = place_of(plan, g, oc);
        size_t lane = weight_lane(plan, p.lane);
        for (int tap = 0; tap < g->kh * g->kw; tap++) {
            for (int c = 0; c < inputs; c++, w++) {
                size_t k = (size_t)p.block * block_inputs(plan) +
                           input_place(plan, g, tap, p.first_input + c);
                if (plan->nibbles) {
                    put_nibble(plan, packed, k, lane, *w);
                } else {
                    put_weight(plan, packed, (k / step * nr + lane) * step + k % step, *w);
                }
            }
        }
    }
}

/* Whether the weights w of a step and those of the next, behind them, fit a pair (dot4.h). */
static bool fits_pair(const int8_t *w, size_t step_weights) {
    for (size_t i = 0; i < step_weights; i += 2) {
        const int four[] = {w[i], w[i + 1], w[step_weights + i], w[step_weights + i + 1]};
        int positive = 0, negative = 0;
        for (int k = 0; k < 4; k++) {
            positive += four[k] > 0 ? four[k] : 0;
            negative -= four[k] < 0 ? four[k] : 0;
        }
        if (positive > CONV_PAIR_LIMIT || negative > CONV_PAIR_LIMIT) {
            return false;
        }
    }
    return true;
}

void clq_int8_list_unfit(const clq_int8_plan *plan, const int8_t *packed, int32_t *channels) {
    size_t step_weights = (size_t)plan->nr * (size_t)plan->step;
    size_t steps = block_inputs(plan) / (size_t)plan->step, blocks = (size_t)plan->shape.blocks;
    for (size_t block = 0; block < blocks; block++) {
        int32_t *unfit = channels + blocks * (size_t)plan->nr * 3 + block * unfit_room(plan);
        for (size_t step = 0; step + 1 < steps; step += 2) {
            if (!fits_pair(packed + (block * steps + step) * step_weights, step_weights)) {
                *unfit++ = (int32_t)step;
            }
        }
        *unfit = INT32_MAX;
    }
}

/* The sum's start; CLQ_BAD_DATA when some input could drive the sum out of int32. */
static clq_status sum_start(const int8_t *w, size_t count, int32_t bias, int32_t zero,
                            int32_t *start) {
    int64_t sum = 0, reach = 0, farthest = zero > 255 - zero ? zero : 255 - zero;
    for (size_t i = 0; i < count; i++) {
        sum += w[i];
        reach += w[i] < 0 ? -w[i] : w[i];
    }
    int64_t extreme = (bias < 0 ? -(int64_t)bias : (int64_t)bias) + farthest * reach;
    int64_t first = bias - zero * sum;
    if (extreme > INT32_MAX || first > INT32_MAX || first < INT32_MIN) {
        return clq_fail(CLQ_BAD_DATA, "sums could reach %lld: beyond int32", (long long)extreme);
    }
    *start = (int32_t)first;
    return CLQ_OK;
}

/* The factor, and for the fixed requantizer the shift. */
static clq_status factors(const clq_conv2d_int8_params *params, int oc, int32_t *factor,
                          int32_t *shift) {
    const bool real = params->float_output;
    int32_t both[2];
    CLQ_TRY(clq_multiplier_sum(real ? CLQ_REQUANT_FLOAT : params->requantizer, params->x_scale,
                               params->w_scale[oc], real ? 1.0f : params->y_scale, both));
    *factor = both[0];
    if (!real && params->requantizer == CLQ_REQUANT_FIXED) {
        *shift = both[1];
    }
    return CLQ_OK;
}

clq_status clq_int8_pack_channels(const clq_int8_plan *plan, const clq_conv_geometry *g,
                                  const clq_conv2d_int8_params *params, int32_t *channels) {
    size_t stride = (size_t)plan->shape.blocks * (size_t)plan->nr;
    size_t count = (size_t)(g->kh * g->kw) * (size_t)(g->ic / g->groups);
    if (plan->in_place) {
        memset(channels + 3 * stride, params->x_zero_point, beyond_bytes(plan));
    }
    for (size_t i = 0; i < stride; i++) {
        channels[2 * stride + i] = 1; /* a shift that is valid for channels nobody sees */
    }
    for (int oc = 0; oc < g->oc; oc++) {
        place p = place_of(plan, g, oc);
        int32_t *entry = channels + (size_t)p.block * (size_t)plan->nr + (size_t)p.lane;
        clq_status status =
            sum_start(params->w + (size_t)oc * count, count, params->bias ? params->bias[oc] : 0,
                      params->x_zero_point, &entry[0]);
        if (status == CLQ_OK) {
            status = factors(params, oc, &entry[stride], &entry[2 * stride]);
        }
        CLQ_TRY(clq_fail_in(status, "output channel %d", oc));
        for (int copy = 1; copy < p.copies; copy++) {
            for (size_t i = 0; i < 3; i++) {
                entry[i * stride + (size_t)(copy * p.apart)] = entry[i * stride];
            }
        }
    }
    return CLQ_OK;
}
