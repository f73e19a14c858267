#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/ranges.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/recipe.h"
#include "graph/node.h"
#include "quant/report.h"
#include "quant/steps.h"

clq_status clq_option_i64(const char *option, const char *text, int64_t min, int64_t max,
                          int64_t *value) {
    int64_t number = 0;
    const char *end = clq_read_whole(text, &number);
    if (!end || *end || number < min || number > max) {
        return clq_fail(CLQ_USAGE, "%s: must be an integer in %lld..%lld, is \"%s\"", option,
                        (long long)min, (long long)max, text);
    }
    *value = number;
    return CLQ_OK;
}

clq_status clq_option_int(const char *option, const char *text, int min, int max, int *value) {
    int64_t number = 0;
    CLQ_TRY(clq_option_i64(option, text, min, max, &number));
    *value = (int)number;
    return CLQ_OK;
}

clq_status clq_option_f64(const char *option, const char *text, double min, double max,
                          double *value) {
    double number = 0;
    const char *end = clq_read_real(text, &number);
    if (!end || *end || number < min || number > max) {
        return clq_fail(CLQ_USAGE, "%s: must be a number in %.9g..%.9g, is \"%s\"", option, min,
                        max, text);
    }
    *value = number;
    return CLQ_OK;
}

clq_status clq_option_enum(const char *option, const char *text, const char *const *names,
                           size_t count, int *value) {
    clq_text known = {0};
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            clq_text_free(&known);
            *value = (int)i;
            return CLQ_OK;
        }
        clq_text_printf(&known, "%s%s", i ? ", " : "", names[i]);
    }
    const clq_status status = clq_fail(CLQ_USAGE, "%s: must be one of %s, is \"%s\"", option,
                                       known.data ? known.data : "", text);
    clq_text_free(&known);
    return status;
}

clq_status clq_option_floats(const char *option, const char *text, float *values, size_t capacity,
                             size_t *count) {
    const char *at = text;
    *count = 0;
    for (;;) {
        double number = 0;
        const char *end = clq_read_real(at, &number);
        if (!end || !isfinite((float)number) || (*end && *end != ',') || *count == capacity) {
            return clq_fail(CLQ_USAGE, "%s: must be up to %zu numbers with commas, is \"%s\"",
                            option, capacity, text);
        }
        values[(*count)++] = (float)number;
        if (!*end) {
            return CLQ_OK;
        }
        at = end + 1;
    }
}

clq_status clq_option_ints(const char *option, const char *text, int min, int max, int *values,
                           size_t capacity, size_t *count) {
    const char *at = text;
    *count = 0;
    for (;;) {
        int64_t number = 0;
        const char *end = clq_read_whole(at, &number);
        bool good =
            end && number >= min && number <= max && (!*end || *end == ',') && *count < capacity;
        for (size_t i = 0; i < *count; i++) {
            good = good && values[i] != number;
        }
        if (!good) {
            return clq_fail(CLQ_USAGE,
                            "%s: must be up to %zu different integers in %d..%d with commas, is "
                            "\"%s\"",
                            option, capacity, min, max, text);
        }
        values[(*count)++] = (int)number;
        if (!*end) {
            return CLQ_OK;
        }
        at = end + 1;
    }
}

clq_status clq_option_fraction(const char *option, const char *text, double *value) {
    double number = 0;
    const char *end = clq_read_real(text, &number);
    const bool percent = end && strcmp(end, "%") == 0;
    const double fraction = percent ? number / 100 : number;
    if (end && !*end && number > 1 && number <= 100) {
        return clq_fail(CLQ_USAGE, "%s: %s is more than 1, which is 100 %%; write %s%% or %.9g",
                        option, text, text, number / 100);
    }
    if (!end || (*end && !percent) || fraction < 0 || fraction > 1) {
        return clq_fail(CLQ_USAGE,
                        "%s: must be a fraction in 0..1 or a percentage like 5%%, is "
                        "\"%s\"",
                        option, text);
    }
    *value = fraction;
    return CLQ_OK;
}

clq_status clq_option_seed(const char *text, uint64_t *seed) {
    int64_t number = 0;
    CLQ_TRY(clq_option_i64("--seed", text, CLQ_IN_SEED, &number));
    *seed = (uint64_t)number;
    return CLQ_OK;
}

clq_status clq_option_override(const char *text, const char **overrides, size_t *count) {
    if (*count == CLQ_MAX_OVERRIDES) {
        return clq_fail(CLQ_USAGE, "--set may be given %d times", CLQ_MAX_OVERRIDES);
    }
    overrides[(*count)++] = text;
    return CLQ_OK;
}

/* ---- quantization ---- */

enum {
    IMAGES = CLQ_KEY_LONG,
    OBSERVER,
    SCALE,
    REQUANTIZER,
    MAX_SHIFT,
    ACTIVATIONS,
    WEIGHT_SCALES,
    FLOAT_WEIGHTS,
    WEIGHT_OBSERVER,
    POLICY,
    KEEP_FLOAT,
    WEIGHT_BITS,
    WEIGHT_STEPS,
    ACTIVATION_BITS,
    EQUALIZE,
    ADAROUND,
    BIAS_CORRECT
};

/* A rule for the nodes called like the first `length` bytes of `pattern`. */
static clq_status add_rule(const char *option, clq_policy *policy, const char *pattern,
                           size_t length, clq_policy_rule rule) {
    if (length == 0 || length >= sizeof rule.name) {
        return clq_fail(CLQ_USAGE, "%s: a pattern of names must have 1..%zu bytes", option,
                        sizeof rule.name - 1);
    }
    memcpy(rule.name, pattern, length);
    rule.name[length] = '\0';
    return clq_fail_in(clq_policy_add(policy, &rule), "%s", option);
}

/* PATTERN=BITS or PATTERN=TYPE; of weights, signed, or of activations. */
static clq_status add_bits(const char *option, const char *argument, bool weights,
                           clq_policy *policy) {
    const char *equals = strrchr(argument, '=');
    clq_qtype type;
    int bits = 0;
    if (!equals) {
        return clq_fail(CLQ_USAGE, "%s: must be PATTERN=BITS, is \"%s\"", option, argument);
    }
    if (!clq_qtype_find(equals + 1, &type)) {
        char name[16];
        CLQ_TRY(clq_option_int(option, equals + 1, 2, 8, &bits));
        clq_snprintf(name, sizeof name, "%c%d%s", weights ? 's' : 'u', bits,
                     weights && bits == 8 ? "_narrow" : "");
        (void)clq_qtype_find(name, &type);
    }
    return add_rule(option, policy, argument, (size_t)(equals - argument),
                    weights ? (clq_policy_rule){.weights = type}
                            : (clq_policy_rule){.activations = type});
}

/* Flags that only matter together with others. */
enum { GAVE_SCALE = 1, GAVE_MAX_SHIFT = 2 };

static clq_status check_scale(clq_quant_config *config, int given) {
    if (config->requantizer == CLQ_REQUANT_SHIFT && !(given & GAVE_SCALE)) {
        config->scale = CLQ_SCALE_POW2;
    }
    if (config->requantizer == CLQ_REQUANT_SHIFT && config->scale != CLQ_SCALE_POW2) {
        return clq_fail(CLQ_USAGE,
                        "--requantizer shift takes powers of two: --scale pow2, or leave it out");
    }
    if ((given & GAVE_MAX_SHIFT) && config->scale != CLQ_SCALE_POW2) {
        return clq_fail(CLQ_USAGE, "--max-shift is for powers of two, and needs --scale pow2");
    }
    return CLQ_OK;
}

/* One flag into the settings. */
static clq_status set_quant(int key, char *argument, clq_quant_config *config) {
    int index = 0;
    clq_status status = CLQ_OK;
    switch (key) {
    case IMAGES:
        status = clq_option_i64("--images", argument, CLQ_IN_IMAGES, &config->images);
        break;
    case OBSERVER:
        status = clq_fail_in(clq_observer_parse(argument, config), "--observer");
        break;
    case ACTIVATIONS:
        if (strcmp(argument, "float") == 0) {
            status =
                clq_policy_add(&config->policy, &(clq_policy_rule){.activations = CLQ_Q_FLOAT});
            break;
        }
        status = clq_option_enum("--activations", argument, clq_activation_names, 2, &index);
        config->symmetric_activations = index == 1;
        break;
    case WEIGHT_SCALES:
        status = clq_option_enum("--weight-scales", argument, clq_weight_names, 2, &index);
        config->per_tensor_weights = index == 1;
        break;
    case FLOAT_WEIGHTS:
        status = clq_policy_add(&config->policy, &(clq_policy_rule){.weights = CLQ_Q_FLOAT});
        break;
    case WEIGHT_OBSERVER:
        status =
            clq_option_enum("--weight-observer", argument, clq_weight_observer_names, 2, &index);
        config->weight_observer = (clq_weight_observer_kind)index;
        break;
    case SCALE:
        status = clq_option_enum("--scale", argument, clq_scale_names, 2, &index);
        config->scale = (clq_scale_kind)index;
        break;
    case REQUANTIZER:
        status = clq_option_enum("--requantizer", argument, clq_requantizer_names,
                                 CLQ_REQUANT_COUNT, &index);
        config->requantizer = (clq_requantizer)index;
        break;
    case POLICY:
        status = clq_policy_load(&config->policy, argument);
        break;
    case KEEP_FLOAT:
        status = add_rule("--keep-float", &config->policy, argument, strlen(argument),
                          (clq_policy_rule){.keep_float = true});
        break;
    case WEIGHT_STEPS:
        status =
            clq_option_enum("--weight-steps", argument, clq_steps_names, CLQ_STEPS_COUNT, &index);
        config->weight_steps = (clq_weight_steps)index;
        break;
    case WEIGHT_BITS:
        status = add_bits("--weight-bits", argument, true, &config->policy);
        break;
    case ACTIVATION_BITS:
        status = add_bits("--activation-bits", argument, false, &config->policy);
        break;
    case EQUALIZE:
        config->equalize = true;
        break;
    case ADAROUND:
        config->adaround = CLQ_ADAROUND_STEPS;
        if (argument) {
            status = clq_option_int("--adaround", argument, CLQ_IN_ADAROUND, &config->adaround);
        }
        break;
    case BIAS_CORRECT:
        config->bias_correct = true;
        break;
    case MAX_SHIFT:
        status = clq_option_int("--max-shift", argument, CLQ_IN_MAX_SHIFT, &config->max_shift);
        break;
    default:
        break;
    }
    return status;
}

static const struct argp_option quant_options[] = {
    {"images", IMAGES, "N", 0, "Images that calibrate (default 512)", 0},
    {"observer", OBSERVER, "NAME", 0,
     "How activations' ranges are found: minmax, moving_average, percentile (99.99 %), "
     "percentile:P, "
     "mse, entropy, or all: the best of these (default minmax)",
     0},
    {"method", 0, NULL, OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"scale", SCALE, "float|pow2", 0, "Any scale, or powers of two (default float)", 0},
    {"requantizer", REQUANTIZER, "float|fixed|shift", 0,
     "From sums to codes: a float multiplication, a 31-bit integer multiplication and a shift, or "
     "a "
     "shift alone, which implies --scale pow2 (default float)",
     0},
    {"max-shift", MAX_SHIFT, "N", 0,
     "Largest exponent of a power-of-two scale, either way (default 8)", 0},
    {"activations", ACTIVATIONS, "affine|symmetric|float", 0,
     "Zero points of the activations: where they fit, or in the middle (default affine); float: "
     "leave them in FP32 and quantize weights only, but for what flags before it say",
     0},
    {"weight-scales", WEIGHT_SCALES, "per_channel|per_tensor", 0,
     "Scales of the weights (default per_channel)", 0},
    {"weights", 0, NULL, OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"float-weights", FLOAT_WEIGHTS, NULL, 0,
     "Leave the weights in FP32 and quantize activations only, but for what flags before it say",
     0},
    {"weight-observer", WEIGHT_OBSERVER, "minmax|mse", 0,
     "How they are found: from the largest weight, or for the least squared error (default minmax)",
     0},
    {"policy", POLICY, "P.json", 0, "Rules that say which layer gets which precision", 0},
    {"keep-float", KEEP_FLOAT, "PATTERN", 0,
     "Leave the nodes of these names (with * and ?) in FP32; may be given again", 0},
    {"weight-steps", WEIGHT_STEPS, "uniform|pow2|apot", 0,
     "Levels of weights of 4 bits (default uniform): pow2, powers of two; apot, sums of two. Both "
     "are "
     "stored as codes of 8 bits",
     0},
    {"weight-bits", WEIGHT_BITS, "PATTERN=BITS", 0,
     "Quantize the weights of the layers of these names to 2..8 bits, or to a type like s8; may be "
     "given again",
     0},
    {"activation-bits", ACTIVATION_BITS, "PATTERN=BITS", 0,
     "Quantize what the nodes and inputs of these names make to 2..8 bits (u8 otherwise), or to a "
     "type like s8; may be given again",
     0},
    {"equalize", EQUALIZE, NULL, 0,
     "Scale channels between layers so that both layers' weights use their ranges alike", 0},
    {"adaround", ADAROUND, "STEPS", OPTION_ARG_OPTIONAL,
     "Learn for each layer how to round its weights, in so many steps (default 1000)", 0},
    {"bias-correct", BIAS_CORRECT, NULL, 0,
     "Let biases take back what rounding does to the means of layers' outputs", 0},
    {0},
};

static error_t parse_quant(int key, char *argument, struct argp_state *state) {
    clq_quant_flags *flags = state->input;
    clq_quant_config scratch;
    bool known = false;
    for (const struct argp_option *o = quant_options; o->name; o++) {
        known |= o->key == key && key != 0;
    }
    if (!known) {
        return ARGP_ERR_UNKNOWN;
    }
    if (flags->count == CLQ_MAX_QUANT_FLAGS) {
        return clq_option_fail(state, "at most %d flags of quantization", CLQ_MAX_QUANT_FLAGS);
    }
    flags->given[flags->count].key = key;
    flags->given[flags->count++].argument = argument;
    if (key == POLICY) { /* a file's fault is none of usage: it is read when flags apply */
        return 0;
    }
    clq_quant_config_init(&scratch);
    return clq_option_result(state, set_quant(key, argument, &scratch));
}

const struct argp clq_quant_flags_argp = {quant_options, parse_quant, NULL, NULL, NULL, NULL, NULL};

clq_status clq_quant_flags_apply(const clq_quant_flags *flags, clq_quant_config *config) {
    const clq_policy before = config->policy;
    int given = 0;
    config->policy.count = 0;
    for (int i = 0; i < flags->count; i++) {
        given |= flags->given[i].key == SCALE ? GAVE_SCALE : 0;
        given |= flags->given[i].key == MAX_SHIFT ? GAVE_MAX_SHIFT : 0;
        CLQ_TRY(set_quant(flags->given[i].key, flags->given[i].argument, config));
    }
    if (config->policy.count == 0) {
        config->policy = before;
    }
    for (int i = 0; i < flags->count; i++) {
        if (flags->given[i].key == ADAROUND && config->adaround == 0) {
            clq_log_warn("--adaround=0: no steps, so weights are rounded to the nearest");
            break;
        }
    }
    CLQ_TRY(check_scale(config, given));
    return clq_quant_config_check(config);
}

static clq_status take_quant_flags(json_t *recipe, const char *section,
                                   const clq_quant_flags *flags, clq_quant_config *config) {
    CLQ_TRY(clq_quant_flags_apply(flags, config));
    json_t *settings = clq_quant_config_to_json(config, section, config->images);
    json_object_del(settings, "method");
    if (!json_object_get(recipe, section)) {
        json_object_set_new(recipe, section, json_object());
    }
    const int failed = json_object_update(json_object_get(recipe, section), settings);
    json_decref(settings);
    return failed ? CLQ_NO_MEMORY : CLQ_OK;
}

clq_status clq_recipe_take_quant_flags(clq_recipe *recipe, const clq_quant_flags *flags,
                                       bool ptq_too) {
    if (flags->count == 0) {
        return CLQ_OK;
    }
    CLQ_TRY(ptq_too ? take_quant_flags(recipe->json, "ptq", flags, &recipe->ptq) : CLQ_OK);
    CLQ_TRY(take_quant_flags(recipe->json, "qat", flags, &recipe->qat_quant));
    clq_free(recipe->text);
    recipe->text = NULL;
    return clq_json_dump_exact(recipe->json, &recipe->text);
}

/* ---- networks ---- */

enum { STEM = CLQ_KEY_LONG, SIZE, CLASSES, INPUT_CHANNELS, SHORTCUT };

static error_t parse_network(int key, char *argument, struct argp_state *state) {
    clq_network_options *network = state->input;
    clq_status status = CLQ_OK;
    switch (key) {
    case STEM:
        network->stem = argument;
        break;
    case SIZE:
        status = clq_option_int("--size", argument, CLQ_IN_SIZE, &network->size);
        break;
    case CLASSES:
        status = clq_option_int("--classes", argument, CLQ_IN_CLASSES, &network->classes);
        break;
    case INPUT_CHANNELS:
        status = clq_option_int("--input-channels", argument, CLQ_IN_CHANNELS, &network->channels);
        break;
    case SHORTCUT:
        if (strcmp(argument, "A") != 0 && strcmp(argument, "B") != 0) {
            return clq_option_fail(state, "--shortcut: must be A or B, is \"%s\"", argument);
        }
        network->shortcut = argument[0];
        break;
    case 'S':
        status = clq_option_seed(argument, &network->seed);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return clq_option_result(state, status);
}

/* Adds the list of networks to --help. */
static char *list_networks(int key, const char *text, void *input) {
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC) {
        return (char *)text;
    }
    static char list[2048];
    size_t used = (size_t)snprintf(list, sizeof list, "Networks:\n");
    for (size_t i = 0; clq_network_list(i) && used < sizeof list; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "  %-13s %s\n",
                                 clq_network_list(i)->name, clq_network_list(i)->summary);
    }
    return strdup(list);
}

static const struct argp_option network_options[] = {
    {"stem", STEM, "imagenet|cifar", 0,
     "7x7 stride 2 and max pool, or 3x3 stride 1 (default: the network's own)", 0},
    {"size", SIZE, "PIXELS", 0,
     "Input height and width (default 224 with the stem imagenet, 32 with cifar, 28 for mlp)", 0},
    {"classes", CLASSES, "N", 0, "Outputs (default 1000 with the stem imagenet, else 10)", 0},
    {"input-channels", INPUT_CHANNELS, "N", 0, "Input channels (default 3, 1 for mlp)", 0},
    {"shortcut", SHORTCUT, "A|B", 0,
     "Of the CIFAR ResNets: zero-padded, or a 1x1 convolution (default A)", 0},
    {"seed", 'S', "N", 0, "Seed of random weights (default 0)", 0},
    {0},
};
const struct argp clq_network_argp = {network_options, parse_network, NULL, NULL, NULL,
                                      list_networks,   NULL};
