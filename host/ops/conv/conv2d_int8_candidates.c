/* Choices for an integer convolution that are worth measuring. */
#include "ops/conv/conv2d_int8_plan.h"
#include "ops/conv/conv_class.h"
#include "ops/conv/group_tile.h"

typedef struct search {
    const clq_device_info *info;
    const clq_conv_geometry *geometry;
    clq_conv_candidates *found;
} search;

/* Adds a choice that can be had, with what it leaves open filled in; whether it could. */
static bool consider(const search *s, const clq_conv_choice *choice, clq_conv_choice *whole) {
    clq_int8_plan plan;
    if (!clq_int8_make_plan(s->info, s->geometry, CLQ_REQUANT_FLOAT, 0, false, choice, &plan)) {
        return false;
    }
    clq_conv_add_candidate(s->found, &plan.choice);
    if (whole) {
        *whole = plan.choice;
    }
    return true;
}

/* Every tile, each with work-items around the heuristics', in both orders where there are two. */
static void consider_tiles(const search *s, clq_conv_kernel kernel) {
    const clq_int8_vectors *vectors = clq_int8_vectors_of(s->info, kernel);
    int rows = s->geometry->n * s->geometry->oh * s->geometry->ow == 1 ? 1 : 0;
    for (int i = 0; vectors && i < CLQ_MAX_TILES && vectors->tiles[i].rows > 0; i++) {
        clq_conv_choice whole, choice = {.kernel = kernel};
        choice.tile[0] = rows ? rows : vectors->tiles[i].rows;
        choice.tile[1] = vectors->tiles[i].vectors;
        if (!consider(s, &choice, &whole)) {
            continue;
        }
        const int orders = whole.order > 0 ? 2 : 0;
        for (int scaling = 0; scaling < CLQ_ITEM_SCALINGS; scaling++) {
            choice = clq_conv_scale_items(&whole, scaling);
            for (choice.order = orders > 0; choice.order <= orders; choice.order++) {
                consider(s, &choice, NULL);
            }
        }
    }
}

static void consider_groups(const search *s) {
    for (int i = 1; i <= clq_int8_group_tiles.count; i++) {
        consider(s, &(clq_conv_choice){.kernel = CLQ_CONV_GROUP, .group = i}, NULL);
    }
    for (int i = 1; i <= clq_mma_group_tiles.count; i++) {
        consider(s, &(clq_conv_choice){.kernel = CLQ_CONV_MMA, .group = i}, NULL);
    }
}

static void consider_shares(const search *s, int shares) {
    for (int factor = 1; factor <= 8; factor *= 2) {
        clq_conv_choice choice = {.kernel = CLQ_CONV_DEPTHWISE, .shares = shares * factor};
        consider(s, &choice, NULL);
    }
}

void clq_int8_candidates(const clq_device_info *info, const clq_conv_geometry *geometry,
                         clq_conv_candidates *candidates) {
    const search s = {info, geometry, candidates};
    clq_conv_choice first = {0};
    candidates->count = 0;
    consider(&s, &first, &first);
    if (first.kernel != CLQ_CONV_DEPTHWISE) {
        if (info->schedule == CLQ_SCHEDULE_CPU) {
            consider_tiles(&s, CLQ_CONV_INT8_WINOGRAD);
            consider_tiles(&s, CLQ_CONV_SPLIT);
            consider_tiles(&s, CLQ_CONV_TILE);
        }
        consider_groups(&s);
    } else if (first.shares > 0) {
        consider_shares(&s, (int)info->compute_units);
    }
}
