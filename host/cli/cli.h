/* What the subcommands share: one file a subcommand, each a clq_command in main.c's table. */
#ifndef CLQUANT_CLI_H
#define CLQUANT_CLI_H

#include <argp.h>
#include <jansson.h>

#include <clquant/clquant.h>

#include "session/results.h"

typedef struct clq_command {
    const char *name;
    const char *summary; /* one line for `clquant --help` */
    clq_status (*run)(int argc, char **argv);
} clq_command;

extern const clq_command clq_command_run, clq_command_train, clq_command_eval, clq_command_ptq,
    clq_command_qat, clq_command_convert, clq_command_bench, clq_command_verify, clq_command_report,
    clq_command_demo, clq_command_devices, clq_command_tune, clq_command_info, clq_command_cache,
    clq_command_predict, clq_command_analyze;

/* ---- options ---- */

/* What --data may be. */
#define CLQ_DATA_HELP                                                                              \
    "Images (CIFAR binary, folders by class, idx, synthetic) or a table (.csv, .tsv, .npy)"
/* Of those that need no labels. */
#define CLQ_UNLABELLED_HELP "Images, labelled or not, or a table (.csv, .tsv, .npy)"
/* Options that several commands have. */
#define CLQ_LOG_FILE_HELP "Append what happens to FILE, as it happens: JSON, a line each"
#define CLQ_NEW_HEAD_HELP "Keep the seeded last layer where the weights have one of another shape"
#define CLQ_RECOMPUTE_HELP                                                                         \
    "Compute activations again instead of keeping them: less memory, the same result"
#define CLQ_CLASS_NAMES_HELP                                                                       \
    "Keep these names of the outputs' classes in the model: a name a line, from output 0 on"
#define CLQ_TEST_IMAGES_HELP                                                                       \
    "Measure accuracy before and after on N images of the test split; 0: do not (default 512)"
#define CLQ_WEIGHTS_HELP "Start from these weights: safetensors, with torchvision's names"

/* Letters, with one meaning in all commands: -b --batch, -d --device, -D --data, -e --epochs,
 * -h --help, -i --inputs, -j --json, -n --limit, -o --output FILE, -O --out DIR, -q --quiet,
 * -r --recipe, -s --set, -S --seed, -v --verbose, -w --weights FILE. All other options have long
 * names only, and keys of their parser's own from here on. */
enum { CLQ_KEY_LONG = 256 };

/* What commands have in common. A command's option struct starts with one, which is the input of
 * its argp's child: one of the three below, by what the command makes use of. */
typedef struct clq_common {
    const char *device; /* NULL: CLQUANT_DEVICE, then the first GPU, else the CPU */
    bool json;
} clq_common;
extern const struct argp clq_common_argp; /* --device, --json, --quiet, --verbose, --help */
extern const struct argp clq_host_argp;   /* of commands that open no device, or several */
extern const struct argp clq_words_argp;  /* and print nothing that JSON could hold */

/* Parses; does not return from --help. CLQ_USAGE when an option is none of the command's, and the
 * text then names the nearest one; *done when argp has printed what is wrong. `name` is the
 * subcommand. The text of `argp` behind a \v, its examples, ends the help. */
clq_status clq_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input,
                     bool *done);

/* Values of options, checked: CLQ_USAGE names the option and the rule. */
clq_status clq_option_i64(const char *option, const char *text, int64_t min, int64_t max,
                          int64_t *value);
clq_status clq_option_int(const char *option, const char *text, int min, int max, int *value);
clq_status clq_option_f64(const char *option, const char *text, double min, double max,
                          double *value);
/* Index of `text` in names[count]. */
clq_status clq_option_enum(const char *option, const char *text, const char *const *names,
                           size_t count, int *value);
/* "0.485,0.456,0.406" into values[capacity]. */
clq_status clq_option_floats(const char *option, const char *text, float *values, size_t capacity,
                             size_t *count);
/* "1,8,32" into values[capacity], each in min..max and none twice. */
clq_status clq_option_ints(const char *option, const char *text, int min, int max, int *values,
                           size_t capacity, size_t *count);
/* "5%" or "0.05", in 0..1. */
clq_status clq_option_fraction(const char *option, const char *text, double *value);

clq_status clq_option_seed(const char *text, uint64_t *seed);
/* A "KEY=VALUE" for the recipe, kept in overrides[CLQ_MAX_OVERRIDES]. */
clq_status clq_option_override(const char *text, const char **overrides, size_t *count);

/* The flags of quantization as given; zeroed: none. */
enum { CLQ_MAX_QUANT_FLAGS = 128 };
typedef struct clq_quant_flags {
    struct {
        int key;
        char *argument;
    } given[CLQ_MAX_QUANT_FLAGS];
    int count;
} clq_quant_flags;

/* Options of quantization; the child's input is a clq_quant_flags. */
extern const struct argp clq_quant_flags_argp;
/* Sets what the flags say in settings from elsewhere; rules of flags take the place of their
 * policy. CLQ_USAGE names the flag or rule that is broken. */
clq_status clq_quant_flags_apply(const clq_quant_flags *flags, clq_quant_config *config);
/* How a built-in network is made, all but its name; the child's input is a clq_network_options. */
extern const struct argp clq_network_argp;

/* `clquant bench --train`, which `bench` hands its arguments to. */
clq_status clq_bench_train_command(int argc, char **argv);

/* In a parser: keeps the first failure of an option for clq_parse to return. */
error_t clq_option_result(struct argp_state *state, clq_status status);
/* The same for a rule that is broken: CLQ_USAGE. */
error_t clq_option_fail(struct argp_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* At a parser's end, CLQ_USAGE that names what is missing:
 *     CLQ_OPTION_NEEDS(state, {"a model", o->model}, {"-o", o->out}) */
typedef struct clq_need {
    const char *what;
    bool there;
} clq_need;
clq_status clq_missing(const char *command, const clq_need *needs, size_t count);
error_t clq_option_needs(struct argp_state *state, const clq_need *needs, size_t count);
#define CLQ_OPTION_NEEDS(state, ...)                                                               \
    clq_option_needs((state), (const clq_need[]){__VA_ARGS__},                                     \
                     sizeof((const clq_need[]){__VA_ARGS__}) / sizeof(clq_need))

#endif
