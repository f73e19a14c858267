/* The keys of "train" and "qat": how to train. */
#include "base/ranges.h"
#include "session/keys.h"

static const char *const optimizer_names[] = {"sgd", "adam", "adamw"};
static const char *const schedule_names[] = {"constant", "step", "one_cycle", "cosine",
                                             "cosine_restarts"};
static const char *const loss_names[] = {"cross_entropy", "mse", "output_error"};
static const char *const nonfinite_names[] = {"stop", "skip"};

static clq_status read_optimizer(clq_json_reader *section, clq_train_config *config) {
    clq_json_reader r;
    CLQ_TRY(clq_json_read_object(section, "optimizer", &r));
    CLQ_READ_ENUM(&r, "name", optimizer_names, config->optimizer.kind);
    CLQ_TRY(clq_json_read_f64(&r, "momentum", CLQ_IN_MOMENTUM, &config->optimizer.momentum));
    CLQ_TRY(clq_json_read_bool(&r, "nesterov", &config->optimizer.nesterov));
    CLQ_TRY(clq_json_read_f64(&r, "weight_decay", CLQ_IN_WEIGHT_DECAY,
                              &config->optimizer.weight_decay));
    CLQ_TRY(clq_json_read_bool(&r, "decay_norm_and_bias", &config->optimizer.decay_norm_and_bias));
    CLQ_TRY(clq_json_read_f64(&r, "beta1", CLQ_IN_BETA1, &config->optimizer.beta1));
    CLQ_TRY(clq_json_read_f64(&r, "beta2", CLQ_IN_BETA2, &config->optimizer.beta2));
    CLQ_TRY(clq_json_read_f64(&r, "epsilon", CLQ_IN_EPSILON, &config->optimizer.epsilon));
    return clq_json_reader_finish(&r);
}

static clq_status read_ema(clq_json_reader *section, clq_train_config *config) {
    clq_json_reader r;
    CLQ_TRY(clq_json_read_object(section, "ema", &r));
    CLQ_TRY(clq_json_read_f64(&r, "decay", CLQ_IN_EMA_DECAY, &config->ema.decay));
    CLQ_TRY(clq_json_read_bool(&r, "warmup", &config->ema.warmup));
    return clq_json_reader_finish(&r);
}

static clq_status read_schedule(clq_json_reader *section, clq_train_config *config) {
    clq_json_reader r;
    int64_t milestones[CLQ_MAX_MILESTONES];
    size_t milestone_count = 0;
    CLQ_TRY(clq_json_read_object(section, "schedule", &r));
    CLQ_READ_ENUM(&r, "name", schedule_names, config->schedule.kind);
    CLQ_TRY(clq_json_read_f64(&r, "lr", CLQ_IN_LR, &config->schedule.lr));
    CLQ_TRY(clq_json_read_f64(&r, "warmup_epochs", CLQ_IN_WARMUP_EPOCHS,
                              &config->schedule.warmup_epochs));
    CLQ_TRY(
        clq_json_read_f64(&r, "final_ratio", CLQ_IN_FINAL_RATIO, &config->schedule.final_ratio));
    CLQ_TRY(clq_json_read_f64(&r, "eta_min", CLQ_IN_ETA_MIN, &config->schedule.eta_min));
    CLQ_TRY(clq_json_read_f64(&r, "gamma", CLQ_IN_GAMMA, &config->schedule.gamma));
    CLQ_TRY(clq_json_read_f64(&r, "t_0", CLQ_IN_T_0, &config->schedule.t_0));
    CLQ_TRY(clq_json_read_f64(&r, "t_mult", CLQ_IN_T_MULT, &config->schedule.t_mult));
    CLQ_TRY(clq_json_read_i64_array(&r, "milestones", CLQ_IN_MILESTONES, milestones,
                                    CLQ_MAX_MILESTONES, &milestone_count));
    for (size_t i = 0; i < milestone_count; i++) {
        config->schedule.milestones[i] = (int)milestones[i];
        config->schedule.milestone_count = (int)milestone_count;
    }
    return clq_json_reader_finish(&r);
}

/* A pair [low, high]. */
static clq_status read_range(clq_json_reader *r, const char *key, double range[2]) {
    double values[2];
    size_t count = 0;
    CLQ_TRY(clq_json_read_f64_array(r, key, 0, 1e6, values, 2, &count));
    if (count == 1) {
        return clq_json_fail(r, key, "must be [low, high]");
    }
    for (size_t i = 0; i < count; i++) {
        range[i] = values[i];
    }
    return CLQ_OK;
}

static clq_status read_mix(clq_json_reader *augment, const char *key, double *alpha,
                           double *probability) {
    clq_json_reader r;
    CLQ_TRY(clq_json_read_object(augment, key, &r));
    CLQ_TRY(clq_json_read_f64(&r, "alpha", CLQ_IN_ALPHA, alpha));
    CLQ_TRY(clq_json_read_f64(&r, "probability", CLQ_IN_PROBABILITY, probability));
    return clq_json_reader_finish(&r);
}

static clq_status read_augment(clq_json_reader *section, clq_augment_config *a) {
    clq_json_reader r, part;
    CLQ_TRY(clq_json_read_object(section, "augment", &r));
    CLQ_TRY(clq_json_read_int(&r, "crop_padding", CLQ_IN_CROP_PADDING, &a->crop_padding));
    CLQ_TRY(clq_json_read_bool(&r, "flip", &a->flip));
    CLQ_TRY(clq_json_read_f64(&r, "rotation", CLQ_IN_ROTATION, &a->rotation));
    CLQ_TRY(clq_json_read_f64(&r, "translate", CLQ_IN_TRANSLATE, &a->translate));
    CLQ_TRY(read_range(&r, "scale", a->scale));
    CLQ_TRY(clq_json_read_f64(&r, "brightness", CLQ_IN_JITTER, &a->brightness));
    CLQ_TRY(clq_json_read_f64(&r, "contrast", CLQ_IN_JITTER, &a->contrast));
    CLQ_TRY(clq_json_read_f64(&r, "saturation", CLQ_IN_JITTER, &a->saturation));
    CLQ_TRY(clq_json_read_f64(&r, "hue", CLQ_IN_HUE, &a->hue));
    CLQ_TRY(clq_json_read_object(&r, "resized_crop", &part));
    CLQ_TRY(read_range(&part, "scale", a->resized_crop.scale));
    CLQ_TRY(read_range(&part, "ratio", a->resized_crop.ratio));
    CLQ_TRY(clq_json_reader_finish(&part));
    CLQ_TRY(clq_json_read_object(&r, "erase", &part));
    CLQ_TRY(clq_json_read_f64(&part, "probability", CLQ_IN_PROBABILITY, &a->erase.probability));
    CLQ_TRY(read_range(&part, "scale", a->erase.scale));
    CLQ_TRY(read_range(&part, "ratio", a->erase.ratio));
    CLQ_TRY(clq_json_reader_finish(&part));
    CLQ_TRY(read_mix(&r, "mixup", &a->mixup.alpha, &a->mixup.probability));
    CLQ_TRY(read_mix(&r, "cutmix", &a->cutmix.alpha, &a->cutmix.probability));
    return clq_json_reader_finish(&r);
}

static clq_status read_freeze(clq_json_reader *section, clq_train_config *config) {
    const json_t *array = NULL;
    CLQ_TRY(clq_json_read_array(section, "freeze", &array));
    if (!array) {
        return CLQ_OK;
    }
    if (json_array_size(array) > CLQ_MAX_FREEZE) {
        return clq_json_fail(section, "freeze", "must have at most %d names", CLQ_MAX_FREEZE);
    }
    config->freeze_count = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *prefix = json_string_value(json_array_get(array, i));
        if (!prefix || !*prefix) {
            return clq_json_fail(section, "freeze", "must be names of layers");
        }
        config->freeze[config->freeze_count++] = prefix;
    }
    return CLQ_OK;
}

static clq_status read_progressive(clq_json_reader *section, clq_train_config *config) {
    const json_t *array = NULL;
    clq_json_reader r;
    CLQ_TRY(clq_json_read_array(section, "progressive", &array));
    if (!array) {
        return CLQ_OK;
    }
    if (json_array_size(array) > CLQ_MAX_PROGRESSIVE) {
        return clq_json_fail(section, "progressive", "must have at most %d entries",
                             CLQ_MAX_PROGRESSIVE);
    }
    config->progressive_count = (int)json_array_size(array);
    for (int i = 0; i < config->progressive_count; i++) {
        int *until = &config->progressive[i].until_epoch, *size = &config->progressive[i].size;
        CLQ_TRY(clq_json_read_element(section, "progressive", array, (size_t)i, &r));
        CLQ_TRY(clq_json_require(&r, "until_epoch"));
        CLQ_TRY(clq_json_require(&r, "size"));
        CLQ_TRY(clq_json_read_int(&r, "until_epoch", CLQ_IN_EPOCHS, until));
        CLQ_TRY(clq_json_read_int(&r, "size", CLQ_IN_SIZE, size));
        CLQ_TRY(clq_json_reader_finish(&r));
    }
    return CLQ_OK;
}

static clq_status read_distill(clq_json_reader *section, clq_train_config *config) {
    clq_json_reader r;
    CLQ_TRY(clq_json_read_object(section, "distill", &r));
    CLQ_TRY(clq_json_read_string(&r, "teacher", &config->distill.teacher));
    CLQ_TRY(clq_json_read_f64(&r, "weight", CLQ_IN_DISTILL_WEIGHT, &config->distill.weight));
    CLQ_TRY(clq_json_read_f64(&r, "temperature", CLQ_IN_TEMPERATURE, &config->distill.temperature));
    return clq_json_reader_finish(&r);
}

clq_status clq_keys_read_training(clq_json_reader *r, clq_train_config *config) {
    int64_t seed = (int64_t)config->seed;
    CLQ_TRY(clq_json_read_int(r, "batch", CLQ_IN_BATCH, &config->batch));
    CLQ_TRY(clq_json_read_i64(r, "seed", CLQ_IN_SEED, &seed));
    config->seed = (uint64_t)seed;
    CLQ_READ_ENUM(r, "loss", loss_names, config->loss);
    CLQ_TRY(
        clq_json_read_f64(r, "label_smoothing", CLQ_IN_LABEL_SMOOTHING, &config->label_smoothing));
    CLQ_TRY(clq_json_read_int(r, "loader_threads", CLQ_IN_LOADER_THREADS, &config->loader_threads));
    CLQ_TRY(clq_json_read_int(r, "checkpoint_steps", CLQ_IN_CHECKPOINT_STEPS,
                              &config->checkpoint_steps));
    CLQ_TRY(clq_json_read_bool(r, "sync_batch_norm", &config->sync_batch_norm));
    CLQ_TRY(clq_json_read_int(r, "log_steps", CLQ_IN_LOG_STEPS, &config->log_steps));
    CLQ_TRY(clq_json_read_bool(r, "recompute", &config->recompute));
    CLQ_TRY(read_distill(r, config));
    CLQ_TRY(clq_json_read_f64(r, "clip_norm", CLQ_IN_CLIP_NORM, &config->clip_norm));
    CLQ_READ_ENUM(r, "on_nonfinite", nonfinite_names, config->on_nonfinite);
    CLQ_TRY(read_freeze(r, config));
    CLQ_TRY(read_progressive(r, config));
    CLQ_TRY(read_augment(r, &config->augment));
    CLQ_TRY(read_optimizer(r, config));
    CLQ_TRY(read_ema(r, config));
    return read_schedule(r, config);
}
