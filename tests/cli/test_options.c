/* Numbers in options and recipes: every one is checked where it is read. */
#include <ctype.h>

#include "base/ranges.h"
#include "cli/command.h"

static const char *const commands[] = {
    "run",  "train",  "eval", "ptq",     "qat",    "convert", "bench",
    "demo", "verify", "tune", "devices", "report", "predict", "bench --train mlp"};

/* ---- options: those that --help shows with a number ---- */

enum { MOST_OPTIONS = 64, NAME = 40 };

typedef struct option {
    char name[NAME]; /* "--limit" */
    bool whole;
} option;

/* The placeholders of numbers; the whole ones first. */
static const char *const placeholders[] = {"N", "N[,N]",  "N[,N...]", "PIXELS", "N|WxH",
                                           "S", "NUMBER", "FRACTION", "5%"};
enum { WHOLE_PLACEHOLDERS = 5, PLACEHOLDERS = sizeof placeholders / sizeof *placeholders };

static size_t options_with_numbers(const char *command_name, option *options) {
    size_t count = 0;
    assert_exit(0, "%s --help", command_name);
    for (const char *at = strstr(command_output, "--"); at; at = strstr(at + 2, "--")) {
        const size_t length = strspn(at, "-abcdefghijklmnopqrstuvwxyz0123456789");
        const char *argument = at + length + 1;
        const size_t size = strcspn(argument, " \n");
        for (int p = 0; at[length] == '=' && length < NAME && p < PLACEHOLDERS; p++) {
            if (strlen(placeholders[p]) == size && strncmp(argument, placeholders[p], size) == 0) {
                assert_true(count < MOST_OPTIONS);
                option *o = &options[count++];
                snprintf(o->name, sizeof o->name, "%.*s", (int)length, at);
                o->whole = p < WHOLE_PLACEHOLDERS;
            }
        }
    }
    return count;
}

static void assert_refused(const char *command_name, const option *o, const char *value) {
    assert_exit(CLQ_USAGE, "%s '%s=%s'", command_name, o->name, value);
    assert_printed(o->name);
    assert_printed("must be");
}

/* Every option gets some of the bad values, and all together get all. */
static void no_number_but_a_plain_one(void **state) {
    (void)state;
    static const char *const bad[] = {"",     "1e3", " 1",   "1.5", "1 ",    "1x",
                                      "0x1",  "nan", "inf",  "1.0", "-inf",  "1e999",
                                      "1,5x", "+",   "1e+x", "--1", "1e400%"};
    enum { BAD = sizeof bad / sizeof *bad, EACH = 4 };
    size_t checked = 0, next = 0;
    for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
        option options[MOST_OPTIONS];
        const size_t count = options_with_numbers(commands[c], options);
        for (size_t i = 0; i < count; i++) {
            for (size_t b = 0; b < EACH; next++) {
                const char *value = bad[next % BAD];
                const bool real = strcmp(value, "1e3") == 0 || strcmp(value, "1.5") == 0 ||
                                  strcmp(value, "1.0") == 0;
                if (!real || options[i].whole) {
                    assert_refused(commands[c], &options[i], value);
                    b++;
                }
            }
        }
        checked += count;
    }
    assert_true(checked >= 30);
}

static void ranges_of_options(void **state) {
    (void)state;
    static const struct {
        const char *command, *option, *values[2];
    } cases[] = {
        {"eval", "--limit", {"0", "2147483648"}},
        {"eval", "--batch", {"0", "65537"}},
        {"eval", "--min-top1", {"-0.1", "100.5%"}},
        {"eval", "--min-r2", {"1.1", "-2e6"}},
        {"ptq", "--images", {"0", "2147483648"}},
        {"ptq", "--max-shift", {"-1", "31"}},
        {"ptq", "--seed", {"-1", "9223372036854775808"}},
        {"qat", "--epochs", {"0", "100001"}},
        {"qat", "--observer-epochs", {"-0.5", "100001"}},
        {"qat", "--max-shift", {"-1", "31"}},
        {"qat", "--freeze-bn-epoch", {"-1", "0.5"}},
        {"run", "--epochs", {"0", "1.5"}},
        {"train", "--epochs", {"0", "100001"}},
        {"convert", "--size", {"0", "4097"}},
        {"convert", "--classes", {"0", "100001"}},
        {"convert", "--channels", {"0", "5"}},
        {"verify", "--limit", {"0", "-3"}},
        {"bench", "--batch", {"1,0", "8,8"}},
        {"bench", "--iterations", {"0", "1000001"}},
        {"bench", "--warmup", {"0", "1000001"}},
        {"bench", "--max-regress", {"-5%", "101%"}},
        {"bench --train mlp", "--batch", {"0", "65537"}},
        {"tune", "--batch", {"1.5", "0"}},
        {"tune", "--seconds", {"0", "1e7"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int v = 0; v < 2; v++) {
            option o = {.whole = true};
            snprintf(o.name, sizeof o.name, "%s", cases[i].option);
            assert_refused(cases[i].command, &o, cases[i].values[v]);
        }
    }
}

/* A percentage is told from a fraction by its sign alone: 10 is neither. */
static void fractions_say_what_they_are(void **state) {
    (void)state;
    assert_exit(CLQ_USAGE, "bench m.onnx --compare b.json --max-regress 10");
    assert_printed("--max-regress: 10 is more than 1, which is 100 %; write 10% or 0.1");
    assert_exit(CLQ_USAGE, "eval m.onnx --data synthetic --min-top1 90");
    assert_printed("--min-top1: 90 is more than 1, which is 100 %; write 90% or 0.9");
    static const char *const good[] = {"10%", "0.1", "0", "1", "100%", "1e-3", ".5"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_exit(CLQ_NO_INPUT, "eval %s --data synthetic --min-top1 %s",
                    clq_test_temp_path("absent.onnx"), good[i]);
    }
}

/* ---- recipes ---- */

#define CASE(key, range)                                                                           \
    { key, range, false }
#define INTEGER(key, range)                                                                        \
    { key, range, true }

typedef struct recipe_key {
    const char *key;
    double low, high;
    bool whole;
} recipe_key;

static const recipe_key keys[] = {
    INTEGER("network.size", CLQ_IN_SIZE),
    INTEGER("network.channels", CLQ_IN_CHANNELS),
    INTEGER("network.classes", CLQ_IN_CLASSES),
    INTEGER("network.inputs", CLQ_IN_INPUTS),
    INTEGER("data.size", CLQ_IN_DATA_SIZE),
    INTEGER("data.source_size", CLQ_IN_DATA_SIZE),
    INTEGER("data.train_limit", CLQ_IN_DATA_LIMIT),
    INTEGER("data.test_limit", CLQ_IN_DATA_LIMIT),
    INTEGER("data.target_columns", CLQ_IN_TARGET_COLUMNS),
    CASE("data.test_fraction", CLQ_IN_TEST_FRACTION),
    INTEGER("train.epochs", CLQ_IN_EPOCHS),
    INTEGER("train.batch", CLQ_IN_BATCH),
    CASE("train.label_smoothing", CLQ_IN_LABEL_SMOOTHING),
    INTEGER("train.loader_threads", CLQ_IN_LOADER_THREADS),
    INTEGER("train.checkpoint_steps", CLQ_IN_CHECKPOINT_STEPS),
    INTEGER("train.log_steps", CLQ_IN_LOG_STEPS),
    CASE("train.clip_norm", CLQ_IN_CLIP_NORM),
    CASE("train.optimizer.momentum", CLQ_IN_MOMENTUM),
    CASE("train.optimizer.weight_decay", CLQ_IN_WEIGHT_DECAY),
    CASE("train.optimizer.beta1", CLQ_IN_BETA1),
    CASE("train.optimizer.beta2", CLQ_IN_BETA2),
    CASE("train.optimizer.epsilon", CLQ_IN_EPSILON),
    CASE("train.ema.decay", CLQ_IN_EMA_DECAY),
    CASE("train.schedule.lr", CLQ_IN_LR),
    CASE("train.schedule.warmup_epochs", CLQ_IN_WARMUP_EPOCHS),
    CASE("train.schedule.final_ratio", CLQ_IN_FINAL_RATIO),
    CASE("train.schedule.eta_min", CLQ_IN_ETA_MIN),
    CASE("train.schedule.gamma", CLQ_IN_GAMMA),
    CASE("train.schedule.t_0", CLQ_IN_T_0),
    CASE("train.schedule.t_mult", CLQ_IN_T_MULT),
    CASE("train.distill.weight", CLQ_IN_DISTILL_WEIGHT),
    CASE("train.distill.temperature", CLQ_IN_TEMPERATURE),
    INTEGER("train.augment.crop_padding", CLQ_IN_CROP_PADDING),
    CASE("train.augment.rotation", CLQ_IN_ROTATION),
    CASE("train.augment.translate", CLQ_IN_TRANSLATE),
    CASE("train.augment.brightness", CLQ_IN_JITTER),
    CASE("train.augment.contrast", CLQ_IN_JITTER),
    CASE("train.augment.saturation", CLQ_IN_JITTER),
    CASE("train.augment.hue", CLQ_IN_HUE),
    CASE("train.augment.erase.probability", CLQ_IN_PROBABILITY),
    CASE("train.augment.mixup.alpha", CLQ_IN_ALPHA),
    CASE("train.augment.mixup.probability", CLQ_IN_PROBABILITY),
    CASE("train.augment.cutmix.alpha", CLQ_IN_ALPHA),
    CASE("train.augment.cutmix.probability", CLQ_IN_PROBABILITY),
    CASE("ptq.averaging", CLQ_IN_AVERAGING),
    INTEGER("ptq.max_shift", CLQ_IN_MAX_SHIFT),
    INTEGER("ptq.images", CLQ_IN_IMAGES),
    INTEGER("qat.epochs", CLQ_IN_QAT_EPOCHS),
    INTEGER("qat.max_shift", CLQ_IN_MAX_SHIFT),
    INTEGER("qat.freeze_bn_epoch", CLQ_IN_QAT_EPOCHS),
    CASE("qat.observer_epochs", CLQ_IN_OBSERVER_EPOCHS),
    INTEGER("bench.iterations", CLQ_IN_ITERATIONS),
};

static void assert_override_refused(const char *recipe, const recipe_key *k, const char *value) {
    assert_exit(CLQ_USAGE, "train %s --data synthetic --out %s --set '%s=%s'", recipe,
                clq_test_temp_path("out"), k->key, value);
    char expected[96];
    snprintf(expected, sizeof expected, "--set %s=", k->key);
    assert_printed(expected);
    assert_printed("must be");
}

static void ranges_of_recipes(void **state) {
    (void)state;
    static const char *const bad[] = {"nan", "1x", "", "1e999"};
    char recipe[256];
    snprintf(recipe, sizeof recipe, "%s", text_file("empty.json", "{}"));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char below[64], above[64];
        snprintf(below, sizeof below, keys[i].whole ? "%.0f" : "%.17g",
                 keys[i].whole     ? keys[i].low - 1
                 : keys[i].low > 0 ? 0
                                   : -1e-9);
        snprintf(above, sizeof above, keys[i].whole ? "%.0f" : "%.17g",
                 keys[i].whole ? keys[i].high + 1 : keys[i].high * (1 + 1e-9));
        assert_override_refused(recipe, &keys[i], below);
        assert_override_refused(recipe, &keys[i], above);
        assert_override_refused(recipe, &keys[i], bad[i % (sizeof bad / sizeof *bad)]);
    }
}

/* A recipe that is bad by itself is bad data, whatever --set says. */
static void the_fault_is_named(void **state) {
    (void)state;
    const char *bad = text_file("bad.json", "{\"train\": {\"epochs\": 0}}");
    const char *good = text_file("good.json", "{\"train\": {\"epochs\": 3}}");
    const char *out = clq_test_temp_path("out");
    assert_exit(CLQ_BAD_DATA, "train %s --data synthetic --out %s --set train.batch=0", bad, out);
    assert_printed("bad.json: train.epochs");
    assert_exit(CLQ_USAGE,
                "train %s --data synthetic --out %s --set train.seed=2 --set train.batch=0", good,
                out);
    assert_printed("--set train.batch=0: ");
    assert_printed("good.json: train.batch: must be an integer in 1..65536, is 0");
    assert_exit(CLQ_USAGE, "train %s --data synthetic --out %s --set train.schedule.eta_min=1",
                good, out);
    assert_printed("--set train.schedule.eta_min=1: ");
    assert_exit(CLQ_USAGE,
                "train %s --data synthetic --out %s --set data.mean=[0.5] --set data.std=[0.2] "
                "--set train.epochs=0",
                good, out); /* of a pair that only works together, neither is at fault */
    assert_printed("--set train.epochs=0: ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_number_but_a_plain_one),   cmocka_unit_test(ranges_of_options),
        cmocka_unit_test(fractions_say_what_they_are), cmocka_unit_test(ranges_of_recipes),
        cmocka_unit_test(the_fault_is_named),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
