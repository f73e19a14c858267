/* mixup and cutmix: what is drawn for a batch. */
#include <math.h>

#include "base/rng.h"
#include "data/augment.h"
#include "data/draws.h"

/* (0, 1) */
static double uniform(clq_rng *rng) {
    return ((double)clq_rng_next(rng) + 0.5) * 0x1p-32;
}

/* Logarithm of a Gamma(shape, 1) variate by Marsaglia & Tsang, "A simple method for generating
 * gamma variables" (2000), with their G(a) = G(a + 1) U^(1/a) below 1: in logarithms, since U^(1/a)
 * underflows for a small a. */
static double log_gamma_variate(clq_rng *rng, double shape) {
    const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / sqrt(9 * d);
    const double boost = shape < 1 ? log(uniform(rng)) / shape : 0;
    for (;;) {
        uint32_t bits[2];
        float normal[2];
        bits[0] = clq_rng_next(rng);
        bits[1] = clq_rng_next(rng);
        clq_normal2(bits, normal);
        const double x = (double)normal[0], root = 1 + c * x, v = root * root * root;
        if (root > 0 && log(uniform(rng)) < 0.5 * x * x + d - d * v + d * log(v)) {
            return log(d * v) + boost;
        }
    }
}

/* Beta(alpha, alpha) = G / (G + G'). */
static double beta_variate(clq_rng *rng, double alpha) {
    const double a = log_gamma_variate(rng, alpha);
    const double b = log_gamma_variate(rng, alpha);
    return 1 / (1 + exp(b - a));
}

/* Half of `cut` pixels to either side of `middle`, within 0 .. size. */
static void clip(int middle, int cut, int size, int *first, int *count) {
    const int low = middle - cut / 2, high = middle + cut / 2;
    *first = low > 0 ? low : 0;
    *count = (high < size ? high : size) - *first;
}

static void draw_cut(clq_rng *rng, double lambda, int height, int width, clq_mix *mix) {
    const double side = sqrt(1 - lambda);
    const int y = (int)clq_bounded(clq_rng_next(rng), (uint32_t)height);
    const int x = (int)clq_bounded(clq_rng_next(rng), (uint32_t)width);
    clip(y, (int)(height * side), height, &mix->y, &mix->height);
    clip(x, (int)(width * side), width, &mix->x, &mix->width);
    const double cut = (double)mix->height * mix->width;
    mix->share = (float)(1 - cut / ((double)height * width));
}

void clq_mix_draw(const clq_augment_config *config, uint64_t seed, int64_t epoch, int64_t position,
                  int count, int height, int width, clq_mix *mix, uint32_t *partners) {
    uint32_t key[4];
    clq_philox(seed, clq_draw_stream(CLQ_DRAW_MIX, epoch), (uint64_t)position, key);
    clq_rng rng = clq_rng_start((uint64_t)key[1] << 32 | key[0], 0);
    const double mixup = config->mixup.alpha > 0 ? config->mixup.probability : 0;
    const double cutmix = config->cutmix.alpha > 0 ? config->cutmix.probability : 0;
    const double chance = uniform(&rng) * fmax(1, mixup + cutmix);
    *mix = (clq_mix){.keep = 1, .share = 1};
    clq_permutation((uint64_t)key[3] << 32 | key[2], 0, (uint32_t)count, partners);
    if (chance < mixup) {
        mix->keep = mix->share = (float)beta_variate(&rng, config->mixup.alpha);
    } else if (chance < mixup + cutmix) {
        draw_cut(&rng, beta_variate(&rng, config->cutmix.alpha), height, width, mix);
    }
}
