#include <math.h>
#include <string.h>

#include <clquant/train.h>

#include "base/arguments.h"
#include "base/hash.h"
#include "base/ranges.h"

void clq_train_config_init(clq_train_config *config) {
    CLQ_NEEDS_OR(, config);
    *config = (clq_train_config){
        .epochs = 1, .batch = 128, .seed = 1, .loader_threads = 2, .log_steps = 10};
    config->optimizer.kind = CLQ_OPTIMIZER_SGD;
    config->optimizer.momentum = 0.9;
    config->optimizer.nesterov = true;
    config->optimizer.weight_decay = 5e-4;
    config->optimizer.decay_norm_and_bias = true;
    config->optimizer.beta1 = 0.9;
    config->optimizer.beta2 = 0.999;
    config->optimizer.epsilon = 1e-8;
    config->schedule.kind = CLQ_LR_ONE_CYCLE;
    config->schedule.lr = 0.1;
    config->schedule.warmup_epochs = 0;
    config->schedule.gamma = 0.1;
    config->schedule.t_0 = 10;
    config->schedule.t_mult = 2;
    config->ema.warmup = true;
    config->loss = CLQ_LOSS_CROSS_ENTROPY;
    config->distill.weight = 0.5;
    config->distill.temperature = 4;
    clq_augment_config *a = &config->augment;
    a->resized_crop.ratio[0] = 3.0 / 4.0;
    a->resized_crop.ratio[1] = 4.0 / 3.0;
    a->erase.scale[0] = 0.02;
    a->erase.scale[1] = 0.33;
    a->erase.ratio[0] = 0.3;
    a->erase.ratio[1] = 3.3;
    a->mixup.probability = a->cutmix.probability = 1;
}

static clq_status check_schedule(const clq_train_config *config) {
    CLQ_TRY(clq_in_range("schedule.lr", config->schedule.lr, CLQ_IN_LR));
    CLQ_TRY(clq_in_range("schedule.warmup_epochs", config->schedule.warmup_epochs,
                         CLQ_IN_WARMUP_EPOCHS));
    CLQ_TRY(clq_in_range("schedule.final_ratio", config->schedule.final_ratio, CLQ_IN_FINAL_RATIO));
    CLQ_TRY(clq_in_range("schedule.eta_min", config->schedule.eta_min, 0, config->schedule.lr));
    CLQ_TRY(clq_in_range("schedule.gamma", config->schedule.gamma, CLQ_IN_GAMMA));
    CLQ_TRY(clq_in_range("schedule.t_0", config->schedule.t_0, CLQ_IN_T_0));
    CLQ_TRY(clq_in_range("schedule.t_mult", config->schedule.t_mult, CLQ_IN_T_MULT));
    for (int i = 0; i < config->schedule.milestone_count; i++) {
        CLQ_TRY(
            clq_in_range("schedule.milestones", config->schedule.milestones[i], CLQ_IN_MILESTONES));
        if (i > 0 && config->schedule.milestones[i] <= config->schedule.milestones[i - 1]) {
            return clq_fail(CLQ_USAGE, "schedule.milestones must increase: %d follows %d",
                            config->schedule.milestones[i], config->schedule.milestones[i - 1]);
        }
    }
    return CLQ_OK;
}

static clq_status check_progressive(const clq_train_config *config) {
    int last = 0;
    for (int i = 0; i < config->progressive_count; i++) {
        const int until = config->progressive[i].until_epoch;
        CLQ_TRY(clq_in_range("progressive.size", config->progressive[i].size, CLQ_IN_SIZE));
        if (until <= last) {
            return clq_fail(CLQ_USAGE,
                            "progressive.until_epoch must increase from 1, %d follows %d", until,
                            last);
        }
        last = until;
    }
    return CLQ_OK;
}

/* 0 <= low <= high <= most, and both above 0 unless both are 0. */
static clq_status range_of(const char *name, const double range[2], double most) {
    const bool off = range[0] == 0 && range[1] == 0;
    if (!off && !(range[0] > 0 && range[0] <= range[1] && range[1] <= most)) {
        return clq_fail(CLQ_USAGE, "%s must be [low, high] with 0 < low <= high <= %g, is [%g, %g]",
                        name, most, range[0], range[1]);
    }
    return CLQ_OK;
}

static clq_status check_augment(const clq_augment_config *a) {
    CLQ_TRY(clq_in_range("augment.crop_padding", a->crop_padding, CLQ_IN_CROP_PADDING));
    CLQ_TRY(clq_in_range("augment.rotation", a->rotation, CLQ_IN_ROTATION));
    CLQ_TRY(clq_in_range("augment.translate", a->translate, CLQ_IN_TRANSLATE));
    CLQ_TRY(range_of("augment.scale", a->scale, 100));
    CLQ_TRY(range_of("augment.resized_crop.scale", a->resized_crop.scale, 1));
    CLQ_TRY(range_of("augment.resized_crop.ratio", a->resized_crop.ratio, 100));
    CLQ_TRY(clq_in_range("augment.brightness", a->brightness, CLQ_IN_JITTER));
    CLQ_TRY(clq_in_range("augment.contrast", a->contrast, CLQ_IN_JITTER));
    CLQ_TRY(clq_in_range("augment.saturation", a->saturation, CLQ_IN_JITTER));
    CLQ_TRY(clq_in_range("augment.hue", a->hue, CLQ_IN_HUE));
    CLQ_TRY(clq_in_range("augment.erase.probability", a->erase.probability, CLQ_IN_PROBABILITY));
    CLQ_TRY(range_of("augment.erase.scale", a->erase.scale, 1));
    CLQ_TRY(range_of("augment.erase.ratio", a->erase.ratio, 100));
    CLQ_TRY(clq_in_range("augment.mixup.alpha", a->mixup.alpha, CLQ_IN_ALPHA));
    CLQ_TRY(clq_in_range("augment.mixup.probability", a->mixup.probability, CLQ_IN_PROBABILITY));
    CLQ_TRY(clq_in_range("augment.cutmix.alpha", a->cutmix.alpha, CLQ_IN_ALPHA));
    return clq_in_range("augment.cutmix.probability", a->cutmix.probability, CLQ_IN_PROBABILITY);
}

clq_status clq_train_config_check(const clq_train_config *config) {
    CLQ_NEEDS(config);
    if ((unsigned)config->optimizer.kind > CLQ_OPTIMIZER_ADAMW ||
        (unsigned)config->schedule.kind > CLQ_LR_COSINE_RESTARTS ||
        (unsigned)config->loss > CLQ_LOSS_OUTPUT_ERROR ||
        (unsigned)config->on_nonfinite > CLQ_NONFINITE_SKIP) {
        return clq_fail(CLQ_USAGE, "unknown optimizer %d, schedule %d, loss %d or on_nonfinite %d",
                        (int)config->optimizer.kind, (int)config->schedule.kind, (int)config->loss,
                        (int)config->on_nonfinite);
    }
    CLQ_REQUIRE(config->schedule.milestone_count >= 0 &&
                    config->schedule.milestone_count <= CLQ_MAX_MILESTONES &&
                    config->freeze_count >= 0 && config->freeze_count <= CLQ_MAX_FREEZE &&
                    config->progressive_count >= 0 &&
                    config->progressive_count <= CLQ_MAX_PROGRESSIVE,
                "a list is longer than its array");
    CLQ_TRY(clq_in_range("epochs", config->epochs, CLQ_IN_EPOCHS));
    CLQ_TRY(clq_in_range("batch", config->batch, CLQ_IN_BATCH));
    CLQ_TRY(clq_in_range("optimizer.momentum", config->optimizer.momentum, CLQ_IN_MOMENTUM));
    CLQ_TRY(clq_in_range("optimizer.weight_decay", config->optimizer.weight_decay,
                         CLQ_IN_WEIGHT_DECAY));
    CLQ_TRY(clq_in_range("optimizer.beta1", config->optimizer.beta1, CLQ_IN_BETA1));
    CLQ_TRY(clq_in_range("optimizer.beta2", config->optimizer.beta2, CLQ_IN_BETA2));
    CLQ_TRY(clq_in_range("optimizer.epsilon", config->optimizer.epsilon, CLQ_IN_EPSILON));
    CLQ_TRY(clq_in_range("clip_norm", config->clip_norm, CLQ_IN_CLIP_NORM));
    CLQ_TRY(clq_in_range("ema.decay", config->ema.decay, CLQ_IN_EMA_DECAY));
    CLQ_TRY(clq_in_range("label_smoothing", config->label_smoothing, CLQ_IN_LABEL_SMOOTHING));
    CLQ_TRY(clq_in_range("loader_threads", config->loader_threads, CLQ_IN_LOADER_THREADS));
    CLQ_TRY(clq_in_range("distill.weight", config->distill.weight, CLQ_IN_DISTILL_WEIGHT));
    CLQ_TRY(clq_in_range("distill.temperature", config->distill.temperature, CLQ_IN_TEMPERATURE));
    CLQ_TRY(clq_in_range("checkpoint_steps", config->checkpoint_steps, CLQ_IN_CHECKPOINT_STEPS));
    CLQ_TRY(clq_in_range("log_steps", config->log_steps, CLQ_IN_LOG_STEPS));
    CLQ_TRY(check_progressive(config));
    CLQ_TRY(check_augment(&config->augment));
    return check_schedule(config);
}

/* ---- hash: by field, since padding bytes are not defined ---- */

#define HASH(numbers, hash) clq_hash64_seeded((numbers), sizeof(numbers), (hash))

static uint64_t hash_augment(const clq_augment_config *a, uint64_t hash) {
    const double numbers[] = {
        a->crop_padding,
        a->flip,
        a->rotation,
        a->translate,
        a->scale[0],
        a->scale[1],
        a->resized_crop.scale[0],
        a->resized_crop.scale[1],
        a->resized_crop.ratio[0],
        a->resized_crop.ratio[1],
        a->brightness,
        a->contrast,
        a->saturation,
        a->hue,
        a->erase.probability,
        a->erase.scale[0],
        a->erase.scale[1],
        a->erase.ratio[0],
        a->erase.ratio[1],
        a->mixup.alpha,
        a->mixup.probability,
        a->cutmix.alpha,
        a->cutmix.probability,
    };
    return HASH(numbers, hash);
}

static uint64_t hash_optimizer(const clq_train_config *config, uint64_t hash) {
    const double numbers[] = {
        config->optimizer.kind,
        config->optimizer.momentum,
        config->optimizer.weight_decay,
        config->optimizer.nesterov,
        config->optimizer.beta1,
        config->optimizer.beta2,
        config->optimizer.epsilon,
        config->clip_norm,
        config->optimizer.decay_norm_and_bias,
        config->ema.decay,
        config->ema.warmup,
    };
    return HASH(numbers, hash);
}

static uint64_t hash_schedule(const clq_train_config *config, uint64_t hash) {
    const double numbers[] = {
        config->schedule.kind,        config->schedule.lr,      config->schedule.warmup_epochs,
        config->schedule.final_ratio, config->schedule.eta_min, config->schedule.gamma,
        config->schedule.t_0,         config->schedule.t_mult,
    };
    hash = HASH(numbers, hash);
    return clq_hash64_seeded(config->schedule.milestones,
                             (size_t)config->schedule.milestone_count * sizeof(int), hash);
}

uint64_t clq_train_config_hash(const clq_train_config *config) {
    CLQ_NEEDS_OR(0, config);
    const double numbers[] = {config->epochs, config->batch,           (double)config->seed,
                              config->loss,   config->label_smoothing, config->sync_batch_norm};
    uint64_t hash = clq_hash64(numbers, sizeof numbers);
    for (int i = 0; i < config->freeze_count; i++) {
        hash = clq_hash64_seeded(config->freeze[i], strlen(config->freeze[i]) + 1, hash);
    }
    hash = clq_hash64_seeded(config->progressive,
                             (size_t)config->progressive_count * sizeof *config->progressive, hash);
    hash = hash_augment(&config->augment, hash);
    hash = hash_optimizer(config, hash);
    return hash_schedule(config, hash);
}

/* ---- what changes from epoch to epoch ---- */

int clq_train_size(const clq_train_config *config, int64_t epoch) {
    CLQ_NEEDS_OR(0, config);
    for (int i = 0; i < config->progressive_count; i++) {
        if (epoch < config->progressive[i].until_epoch) {
            return config->progressive[i].size;
        }
    }
    return 0;
}

/* Cosine from `high` at 0 to `low` at 1. */
static double cosine(double high, double low, double progress) {
    return low + 0.5 * (high - low) * (1.0 + cos(3.14159265358979323846 * fmin(progress, 1.0)));
}

/* Epochs since the last restart over the length of the present cycle. */
static double restart_progress(double epoch, double t_0, double t_mult) {
    double length = t_0;
    while (epoch >= length) {
        epoch -= length;
        length *= t_mult;
    }
    return epoch / length;
}

double clq_learning_rate(const clq_train_config *config, int64_t step, int64_t steps_per_epoch) {
    CLQ_NEEDS_OR(0, config);
    const double epoch = (double)step / (double)(steps_per_epoch > 0 ? steps_per_epoch : 1);
    const double warmup = config->schedule.warmup_epochs, lr = config->schedule.lr;
    const double after = config->epochs - warmup;
    double rate = lr;
    if (warmup > 0 && epoch < warmup) {
        /* The first step already moves: (step + 1) / warm-up steps. */
        return lr * fmin(1.0, ((double)step + 1.0) / (warmup * (double)steps_per_epoch));
    }
    switch (config->schedule.kind) {
    case CLQ_LR_CONSTANT:
        break;
    case CLQ_LR_STEP:
        for (int i = 0; i < config->schedule.milestone_count; i++) {
            if (epoch >= config->schedule.milestones[i]) {
                rate *= config->schedule.gamma;
            }
        }
        break;
    case CLQ_LR_ONE_CYCLE:
        rate =
            cosine(lr, lr * config->schedule.final_ratio, after > 0 ? (epoch - warmup) / after : 1);
        break;
    case CLQ_LR_COSINE:
        rate = cosine(lr, config->schedule.eta_min, after > 0 ? (epoch - warmup) / after : 1);
        break;
    case CLQ_LR_COSINE_RESTARTS:
        rate =
            cosine(lr, config->schedule.eta_min,
                   restart_progress(epoch - warmup, config->schedule.t_0, config->schedule.t_mult));
        break;
    }
    return rate;
}
