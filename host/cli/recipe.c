#include "cli/recipe.h"

#include "cli/recipe_keys.h"
#include "graph/node.h"
#include "quant/policy.h"
#include "quant/report.h"
#include "quant/steps.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/ranges.h"
#include "base/text.h"

static const char *const target_names[] = {"auto", "class", "regression"};

static clq_status read_network(clq_json_reader *recipe, clq_recipe *out) {
    clq_json_reader r;
    const char *shortcut = NULL;
    int64_t hidden[CLQ_MAX_HIDDEN], seed = (int64_t)out->network.seed;
    size_t hidden_count = 0;
    CLQ_TRY(clq_json_read_object(recipe, "network", &r));
    CLQ_TRY(clq_json_read_string(&r, "name", &out->network.network));
    CLQ_TRY(clq_json_read_string(&r, "stem", &out->network.stem));
    CLQ_TRY(clq_json_read_int(&r, "size", CLQ_IN_SIZE, &out->network.size));
    CLQ_TRY(clq_json_read_int(&r, "channels", CLQ_IN_CHANNELS, &out->network.channels));
    CLQ_TRY(clq_json_read_int(&r, "classes", CLQ_IN_CLASSES, &out->network.classes));
    CLQ_TRY(clq_json_read_string(&r, "shortcut", &shortcut));
    if (shortcut && strcmp(shortcut, "A") != 0 && strcmp(shortcut, "B") != 0) {
        return clq_json_fail(&r, "shortcut", "must be \"A\" or \"B\"");
    }
    out->network.shortcut = shortcut ? shortcut[0] : '\0'; /* the network's default */
    CLQ_TRY(clq_json_read_bool(&r, "zero_init_residual", &out->network.zero_init_residual));
    CLQ_TRY(clq_json_read_string(&r, "activation", &out->network.activation));
    CLQ_TRY(clq_json_read_int(&r, "inputs", CLQ_IN_INPUTS, &out->network.inputs));
    CLQ_TRY(clq_json_read_i64_array(&r, "hidden", CLQ_IN_INPUTS, hidden, CLQ_MAX_HIDDEN,
                                    &hidden_count));
    if (hidden_count) {
        for (size_t i = 0; i < hidden_count; i++) {
            out->hidden[i] = (int)hidden[i];
        }
        out->network.hidden = out->hidden;
        out->network.hidden_count = (int)hidden_count;
    }
    CLQ_TRY(clq_json_read_string(&r, "weights", &out->weights));
    CLQ_TRY(clq_json_read_bool(&r, "new_head", &out->new_head));
    CLQ_TRY(clq_json_read_i64(&r, "seed", CLQ_IN_SEED, &seed));
    out->network.seed = (uint64_t)seed;
    return clq_json_reader_finish(&r);
}

/* "resize": pixels, or a text "WIDTHxHEIGHT". */
static clq_status read_resize(clq_json_reader *r, clq_preprocessing *given) {
    const char *text = NULL;
    int shorter = 0;
    if (r->object && json_is_string(json_object_get(r->object, "resize"))) {
        CLQ_TRY(clq_json_read_string(r, "resize", &text));
        if (clq_resize_parse(text, &given->resize) != CLQ_OK) {
            return clq_json_fail(r, "resize", "%s", clq_last_error());
        }
    } else {
        CLQ_TRY(clq_json_read_int(r, "resize", CLQ_IN_DATA_SIZE, &shorter));
        given->resize.shorter = shorter;
    }
    given->known |= text || shorter ? CLQ_PART_RESIZE : 0u;
    return CLQ_OK;
}

static void spread(float *values, size_t *count, size_t wanted) {
    for (size_t i = 1; *count == 1 && i < wanted; i++) {
        values[i] = values[0];
    }
    *count = *count == 1 ? wanted : *count;
}

bool clq_normalization_spread(clq_normalization *n, size_t *means, size_t *stds) {
    if (*means && *stds) {
        spread(n->mean, means, *stds);
        spread(n->std, stds, *means);
    }
    return *means == *stds;
}

/* A number, or an array of a number a channel. */
static clq_status read_channels(clq_json_reader *r, const char *key, double low, double high,
                                float *values, size_t *count) {
    double numbers[CLQ_MAX_CHANNELS];
    if (r->object && json_is_number(json_object_get(r->object, key))) {
        CLQ_TRY(clq_json_read_f64(r, key, low, high, &numbers[0]));
        *count = 1;
    } else {
        CLQ_TRY(clq_json_read_f64_array(r, key, low, high, numbers, CLQ_MAX_CHANNELS, count));
    }
    for (size_t i = 0; i < *count; i++) {
        values[i] = (float)numbers[i];
    }
    return CLQ_OK;
}

/* "mean", "std" and "range". */
static clq_status read_normalization(clq_json_reader *r, clq_preprocessing *given) {
    clq_normalization *n = &given->normalization;
    size_t means = 0, stds = 0;
    int range = 1;
    CLQ_TRY(read_channels(r, "mean", CLQ_IN_MEAN, n->mean, &means));
    CLQ_TRY(read_channels(r, "std", CLQ_IN_STD, n->std, &stds));
    CLQ_TRY(clq_json_read_int(r, "range", 1, 255, &range));
    if (!clq_normalization_spread(n, &means, &stds)) {
        return clq_json_fail(r, "std", "must have as many numbers as mean (%zu), has %zu", means,
                             stds);
    }
    if (means == 0) {
        return range == 1 ? CLQ_OK : clq_json_fail(r, "range", "needs mean and std");
    }
    n->range = (float)range;
    given->normalization_count = (int)means;
    given->known |= CLQ_PART_NORMALISATION;
    return clq_preprocessing_check(given, NULL, CLQ_BAD_DATA) == CLQ_OK
               ? CLQ_OK
               : clq_json_fail(r, "mean, std, range", "%s", clq_last_error());
}

static clq_status read_data(clq_json_reader *recipe, clq_recipe *out) {
    clq_json_reader r;
    clq_preprocessing *given = &out->data.given;
    CLQ_TRY(clq_json_read_object(recipe, "data", &r));
    CLQ_TRY(clq_json_read_int(&r, "size", CLQ_IN_DATA_SIZE, &out->data.size));
    CLQ_TRY(clq_json_read_int(&r, "source_size", CLQ_IN_DATA_SIZE, &out->data.source_size));
    CLQ_TRY(read_resize(&r, given));
    CLQ_TRY(clq_json_read_i64(&r, "train_limit", CLQ_IN_DATA_LIMIT, &out->data.train_limit));
    CLQ_TRY(clq_json_read_i64(&r, "test_limit", CLQ_IN_DATA_LIMIT, &out->data.test_limit));
    CLQ_TRY(read_normalization(&r, given));
    if (clq_json_has(&r, "channels")) {
        CLQ_READ_ENUM(&r, "channels", clq_channels_names, given->channels);
        given->known |= CLQ_PART_CHANNELS;
    }
    if (clq_json_has(&r, "interpolation")) {
        CLQ_READ_ENUM(&r, "interpolation", clq_interpolation_names, given->resize.interpolation);
        given->known |= CLQ_PART_INTERPOLATION;
    }
    clq_table_options *table = &out->data.table;
    CLQ_READ_ENUM(&r, "target", target_names, table->target);
    CLQ_TRY(clq_json_read_int(&r, "target_columns", CLQ_IN_TARGET_COLUMNS, &table->target_columns));
    CLQ_TRY(clq_json_read_f64(&r, "test_fraction", CLQ_IN_TEST_FRACTION, &table->test_fraction));
    if (table->target == CLQ_TARGET_CLASS && table->target_columns > 1) {
        return clq_json_fail(&r, "target_columns", "must be 1 for classes, is %d",
                             table->target_columns);
    }
    return clq_json_reader_finish(&r);
}

static clq_status read_observer(clq_json_reader *r, clq_quant_config *config) {
    const char *text = NULL;
    CLQ_TRY(clq_json_read_string(r, "observer", &text));
    return !text || clq_observer_parse(text, config) == CLQ_OK
               ? CLQ_OK
               : clq_json_fail(r, "observer", "%s", clq_last_error());
}

static bool is_text(clq_json_reader *r, const char *key, const char *text) {
    const char *value = json_string_value(json_object_get(r->object, key));
    return clq_json_has(r, key) && value && strcmp(value, text) == 0;
}

/* A rule for all nodes, unless another section has said the same. */
static clq_status add_last_rule(clq_policy *policy, clq_policy_rule rule) {
    for (int i = 0; i < policy->count; i++) {
        const clq_policy_rule *r = &policy->rules[i];
        if (!r->name[0] && !r->op[0] && !r->first && !r->last && !r->keep_float &&
            r->weights == rule.weights && r->activations == rule.activations) {
            return CLQ_OK;
        }
    }
    return clq_policy_add(policy, &rule);
}

/* The keys that "ptq" and "qat" have in common. */
static clq_status read_quantization(clq_json_reader *r, clq_quant_config *config) {
    CLQ_TRY(read_observer(r, config));
    CLQ_READ_ENUM(r, "requantizer", clq_requantizer_names, config->requantizer);
    if (clq_json_has(r, "requantizer") && config->requantizer == CLQ_REQUANT_SHIFT) {
        config->scale = CLQ_SCALE_POW2; /* which "scale" must not contradict */
    }
    CLQ_READ_ENUM(r, "scale", clq_scale_names, config->scale);
    if (config->requantizer == CLQ_REQUANT_SHIFT && config->scale != CLQ_SCALE_POW2) {
        return clq_json_fail(r, "scale", "must be \"pow2\" for the requantizer \"shift\"");
    }
    CLQ_READ_ENUM(r, "weight_steps", clq_steps_names, config->weight_steps);
    const bool real_activations = is_text(r, "activations", "float");
    const bool real_weights = is_text(r, "weights", "float");
    if (!real_activations) {
        CLQ_READ_ENUM(r, "activations", clq_activation_names, config->symmetric_activations);
    }
    if (!real_weights) {
        CLQ_READ_ENUM(r, "weights", clq_weight_names, config->per_tensor_weights);
    }
    CLQ_READ_ENUM(r, "weight_observer", clq_weight_observer_names, config->weight_observer);
    CLQ_TRY(clq_json_read_f64(r, "averaging", CLQ_IN_AVERAGING, &config->averaging));
    const bool limited = clq_json_has(r, "max_shift");
    CLQ_TRY(clq_json_read_int(r, "max_shift", CLQ_IN_MAX_SHIFT, &config->max_shift));
    if (limited && config->scale != CLQ_SCALE_POW2) {
        return clq_json_fail(r, "max_shift", "is for powers of two, and needs scale \"pow2\"");
    }
    CLQ_TRY(clq_json_read_bool(r, "equalize", &config->equalize));
    CLQ_TRY(clq_json_read_int(r, "adaround", CLQ_IN_ADAROUND, &config->adaround));
    CLQ_TRY(clq_json_read_bool(r, "bias_correct", &config->bias_correct));
    if (clq_json_has(r, "policy")) { /* one of its own takes the place of another section's */
        config->policy.count = 0;
        CLQ_TRY(clq_policy_read(r, "policy", &config->policy));
    }
    if (real_activations) {
        CLQ_TRY(add_last_rule(&config->policy, (clq_policy_rule){.activations = CLQ_Q_FLOAT}));
    }
    if (real_weights) {
        CLQ_TRY(add_last_rule(&config->policy, (clq_policy_rule){.weights = CLQ_Q_FLOAT}));
    }
    return clq_json_read_i64(r, "images", CLQ_IN_IMAGES, &config->images);
}

/* QAT without keys of its own: a tenth of the training's learning rate, everything else as there.
 */
static void init_qat(clq_recipe *out) {
    out->qat = out->train;
    out->qat.epochs = 0;
    out->qat.freeze_count = 0;
    out->qat.progressive_count = 0;
    out->qat.schedule.kind = CLQ_LR_COSINE;
    out->qat.schedule.lr = out->train.schedule.lr * 0.0005;
    out->qat.schedule.warmup_epochs = 0;
    out->qat.schedule.eta_min = 0;
    out->qat_quant = out->ptq;
    out->qat_quant.adaround = 0; /* training rounds anew */
    out->qat_quant.observer = CLQ_OBSERVER_MOVING_AVERAGE;
}

/* `places` gets the paths of all keys. */
static clq_status read_recipe(const char *file, clq_recipe *out, clq_text *places) {
    clq_json_reader top, section;
    CLQ_TRY(clq_json_reader_init(&top, file, out->json));
    top.places = places;
    CLQ_TRY(clq_json_read_string(&top, "name", &out->name));
    (void)clq_json_has(&top, "comment");
    CLQ_TRY(read_network(&top, out));
    CLQ_TRY(read_data(&top, out));

    CLQ_TRY(clq_json_read_object(&top, "train", &section));
    CLQ_TRY(clq_json_read_int(&section, "epochs", CLQ_IN_EPOCHS, &out->train.epochs));
    CLQ_TRY(clq_recipe_read_training(&section, &out->train));
    CLQ_TRY(clq_json_reader_finish(&section));

    CLQ_TRY(clq_json_read_object(&top, "ptq", &section));
    CLQ_TRY(read_quantization(&section, &out->ptq));
    CLQ_TRY(clq_json_reader_finish(&section));

    init_qat(out);
    CLQ_TRY(clq_json_read_object(&top, "qat", &section));
    CLQ_TRY(clq_json_read_int(&section, "epochs", CLQ_IN_QAT_EPOCHS, &out->qat.epochs));
    CLQ_TRY(clq_recipe_read_training(&section, &out->qat));
    CLQ_TRY(read_quantization(&section, &out->qat_quant));
    CLQ_READ_ENUM(&section, "learn_scales", clq_learn_names, out->qat_quant.learn_scales);
    CLQ_TRY(clq_json_read_bool(&section, "int8_forward", &out->qat_quant.int8_forward));
    CLQ_TRY(clq_json_read_int(&section, "freeze_bn_epoch", CLQ_IN_QAT_EPOCHS,
                              &out->qat_quant.freeze_bn_epoch));
    CLQ_TRY(clq_json_read_f64(&section, "observer_epochs", CLQ_IN_OBSERVER_EPOCHS,
                              &out->qat_quant.observer_epochs));
    CLQ_TRY(clq_json_reader_finish(&section));

    CLQ_TRY(clq_json_read_object(&top, "bench", &section));
    CLQ_TRY(clq_json_read_int(&section, "iterations", CLQ_IN_ITERATIONS, &out->bench_iterations));
    CLQ_TRY(clq_json_reader_finish(&section));
    return clq_json_reader_finish(&top);
}

static clq_status apply_overrides(json_t *json, const char *const *overrides, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *equals = strchr(overrides[i], '=');
        if (!equals || equals == overrides[i]) {
            return clq_fail(CLQ_USAGE, "--set %s: must be KEY=VALUE, like train.epochs=3",
                            overrides[i]);
        }
        char *key = clq_format("%.*s", (int)(equals - overrides[i]), overrides[i]);
        if (!key) {
            return CLQ_NO_MEMORY;
        }
        const clq_status status = clq_json_override(json, key, equals + 1);
        clq_free(key);
        CLQ_TRY(status);
    }
    return CLQ_OK;
}

/* The rules between keys. */
static clq_status check_recipe(const char *file, const clq_recipe *recipe) {
    clq_status status = clq_fail_in(clq_train_config_check(&recipe->train), "%s: train", file);
    if (status == CLQ_OK) {
        status = clq_fail_in(clq_quant_config_check(&recipe->ptq), "%s: ptq", file);
    }
    if (status == CLQ_OK && recipe->qat.epochs > 0) {
        status = clq_fail_in(clq_train_config_check(&recipe->qat), "%s: qat", file);
    }
    if (status == CLQ_OK && recipe->qat.epochs > 0) {
        status = clq_fail_in(clq_quant_config_check(&recipe->qat_quant), "%s: qat", file);
    }
    return status == CLQ_USAGE ? CLQ_BAD_DATA : status; /* it is the file that breaks them */
}

static clq_recipe *create(void) {
    clq_recipe *recipe = clq_calloc(1, sizeof *recipe);
    if (recipe) {
        recipe->name = "recipe";
        recipe->bench_iterations = 50;
        clq_train_config_init(&recipe->train);
        clq_quant_config_init(&recipe->ptq);
    }
    return recipe;
}

/* Reads the recipe's keys, knowing from a recipe without any where each belongs. */
static clq_status read_keys(const char *file, clq_recipe *recipe) {
    clq_text places = {0};
    clq_recipe *empty = create();
    clq_status status = empty ? read_recipe(file, empty, &places) : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        status = read_recipe(file, recipe, &places);
    }
    clq_recipe_free(empty);
    clq_text_free(&places);
    return status;
}

static clq_status load(const char *path, const char *const *overrides, size_t override_count,
                       clq_recipe **out) {
    const char *file = path ? path : "recipe";
    clq_status status = CLQ_OK;
    clq_recipe *recipe = create();
    *out = NULL;
    if (!recipe) {
        return CLQ_NO_MEMORY;
    }
    if (path) {
        CLQ_GOTO(status, cleanup, clq_json_load(path, &recipe->json));
    } else {
        CLQ_GOTO(status, cleanup, clq_json_parse(file, "{}", 2, &recipe->json));
    }
    CLQ_GOTO(status, cleanup, apply_overrides(recipe->json, overrides, override_count));
    CLQ_GOTO(status, cleanup, read_keys(file, recipe));
    CLQ_GOTO(status, cleanup, check_recipe(file, recipe));
    CLQ_GOTO(status, cleanup, clq_json_dump_exact(recipe->json, &recipe->text));
    *out = recipe;
    return CLQ_OK;
cleanup:
    clq_recipe_free(recipe);
    return status;
}

/* Whether the recipe is good with `count` overrides, of which one is left out (count: none is). */
static bool is_good(const char *path, const char *const *overrides, size_t count, size_t left_out) {
    const char *others[CLQ_MAX_OVERRIDES] = {0};
    size_t kept = 0;
    clq_recipe *recipe = NULL;
    for (size_t i = 0; i < count; i++) {
        if (i != left_out) {
            others[kept++] = overrides[i];
        }
    }
    const bool good = load(path, others, kept, &recipe) == CLQ_OK;
    clq_recipe_free(recipe);
    return good;
}

/* Loads, and says which override it is that breaks a rule. */
static clq_status load_with(const char *path, const char *const *overrides, size_t override_count,
                            clq_recipe **out) {
    clq_status status = load(path, overrides, override_count, out);
    if (status != CLQ_BAD_DATA || override_count == 0 || override_count > CLQ_MAX_OVERRIDES ||
        !is_good(path, NULL, 0, 0)) {
        return status;
    }
    /* The file is good: an override is at fault, the one without which the others are good. */
    size_t fault = 0;
    while (fault < override_count && !is_good(path, overrides, override_count, fault)) {
        fault++;
    }
    status = load(path, overrides, override_count, out); /* the error's text again */
    if (status != CLQ_BAD_DATA) {
        return status;
    }
    return fault < override_count ? clq_fail_in(CLQ_USAGE, "--set %s", overrides[fault])
                                  : clq_fail_in(CLQ_USAGE, "--set");
}

/* The folder of the running program, without a slash at its end; false: not known. */
static bool program_folder(char folder[PATH_MAX]) {
    const ssize_t length = readlink("/proc/self/exe", folder, PATH_MAX - 1);
    folder[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash) {
        *slash = '\0';
    }
    return slash;
}

/* Where recipes lie, from the program's folder: installed, or in the checkout whose build folder it
 * lies in. */
static const char *const places[] = {CLQ_RECIPES, "../models/recipes"};
enum { PLACES = sizeof places / sizeof *places };

/* The names, without their endings, of the recipes in a place. */
static clq_status list_recipes(const char *place, char ***names, size_t *count) {
    *names = NULL;
    *count = 0;
    if (clq_is_folder(place)) {
        CLQ_TRY(clq_folder_list(place, names, count));
    }
    for (size_t i = 0; i < *count; i++) {
        char *ending = strstr((*names)[i], ".json");
        if (ending) {
            *ending = '\0';
        }
    }
    return CLQ_OK;
}

static clq_status refuse(const char *name, const char *place, const char *const *names,
                         size_t count) {
    const char *nearest = clq_nearest(name, names, count);
    clq_text text = {0};
    if (nearest) {
        clq_text_printf(&text, "; did you mean %s?", nearest);
    }
    for (size_t i = 0; i < count; i++) {
        const char *before = i > 0 ? ", " : nearest ? " There are " : "; there are ";
        clq_text_printf(&text, "%s%s", before, names[i]);
    }
    clq_status status = clq_text_status(&text);
    if (status == CLQ_OK) {
        status = clq_fail(CLQ_NO_INPUT, "%s: no such file, nor a recipe in %s%s", name, place,
                          text.data ? text.data : "");
    }
    clq_text_free(&text);
    return status;
}

/* No file and no recipe is called so. */
static clq_status no_recipe(const char *name, const char *program) {
    clq_status status = CLQ_OK;
    bool said = false;
    for (size_t i = PLACES; i-- > 0 && status == CLQ_OK && !said;) {
        char **names = NULL, *place = clq_format("%s/%s", program, places[i]);
        size_t count = 0;
        status = place ? list_recipes(place, &names, &count) : CLQ_NO_MEMORY;
        if (status == CLQ_OK && (count > 0 || i == 0)) {
            said = true;
            status = refuse(name, place, (const char *const *)names, count);
        }
        clq_folder_list_free(names, count);
        clq_free(place);
    }
    return status;
}

/* A file of that name, else the recipe of that name that came with the command. */
static clq_status find(const char *name, char **path) {
    char folder[PATH_MAX], real[PATH_MAX];
    if (!strchr(name, '/') && access(name, F_OK) != 0 && program_folder(folder)) {
        const char *ending = strstr(name, ".json") ? "" : ".json";
        for (size_t i = 0; i < PLACES; i++) {
            char *place = clq_format("%s/%s/%s%s", folder, places[i], name, ending);
            if (!place) {
                return CLQ_NO_MEMORY;
            }
            const bool found = realpath(place, real);
            clq_free(place);
            if (found) {
                clq_log_info("recipe: %s", real);
                *path = clq_strdup(real);
                return *path ? CLQ_OK : CLQ_NO_MEMORY;
            }
        }
        return no_recipe(name, folder);
    }
    *path = clq_strdup(name);
    return *path ? CLQ_OK : CLQ_NO_MEMORY;
}

clq_status clq_recipe_load(const char *name, const char *const *overrides, size_t override_count,
                           clq_recipe **recipe) {
    char *path = NULL;
    *recipe = NULL;
    if (name) {
        CLQ_TRY(find(name, &path));
    }
    const clq_status status = load_with(path, overrides, override_count, recipe);
    clq_free(path);
    return status;
}

void clq_recipe_sources(const clq_recipe *recipe, const char **sources) {
    const bool sized = recipe->data.size || recipe->network.size;
    const unsigned said = recipe->data.given.known | (sized ? CLQ_PART_CROP : 0u);
    for (int i = 0; i < CLQ_PART_COUNT; i++) {
        const unsigned part = 1u << i;
        sources[i] = recipe->data.from_flags & part ? "flag" : said & part ? "recipe" : "usual";
    }
}

void clq_recipe_free(clq_recipe *recipe) {
    if (!recipe) {
        return;
    }
    json_decref(recipe->json);
    clq_free(recipe->text);
    clq_free(recipe);
}
