/* Recipes: one JSON file that says what to train and how (docs/recipes.md lists every key). */
#ifndef CLQUANT_CLI_RECIPE_H
#define CLQUANT_CLI_RECIPE_H

#include <clquant/models.h>
#include <clquant/quant.h>
#include <clquant/train.h>

#include "base/json.h"
#include "cli/cli.h"

enum { CLQ_MAX_HIDDEN = 16, CLQ_MAX_OVERRIDES = 64 };

typedef struct clq_recipe {
    json_t *json; /* the recipe after all overrides; owned. Strings below point into it */
    char *text;   /* the same, compact, for checkpoints; owned */
    const char *name;

    clq_network_options network;
    int hidden[CLQ_MAX_HIDDEN];
    const char *weights; /* the network starts from these; NULL: seeded */
    bool new_head;       /* but for the last layer where its shape is another */

    struct {
        int size;
        int source_size; /* of the images that training crops from at random; 0: size */
        int64_t train_limit, test_limit; /* 0: all */
        clq_preprocessing given;         /* all but the crop; what it does not know is usual */
        unsigned from_flags;             /* the parts of these, and the crop, that flags said */
        clq_table_options table;
    } data;

    clq_train_config train; /* FP32 training */
    clq_quant_config ptq;
    clq_train_config qat; /* QAT fine-tuning; epochs 0: none */
    clq_quant_config qat_quant;
    int bench_iterations;
    bool bench_peaks;
} clq_recipe;

/* Reads a file; where there is none of that name, the recipe of that name, with or without .json,
 * that came with the command, and says so; with NULL the defaults. overrides: "KEY=VALUE" texts
 * with dotted keys ("train.epochs=3"). CLQ_BAD_DATA names file, place and rule; CLQ_USAGE a bad
 * override. */
clq_status clq_recipe_load(const char *name, const char *const *overrides, size_t override_count,
                           clq_recipe **recipe);
/* Where the parts of its preprocessing come from: "flag", "recipe" or "usual", as each part's bit
 * has its place in sources (CLQ_PART_COUNT). */
void clq_recipe_sources(const clq_recipe *recipe, const char **sources);
/* What flags of quantization say, as keys of the sections "qat" and, with `ptq_too`, "ptq", so that
 * what keeps the recipe has them too. CLQ_USAGE. */
clq_status clq_recipe_take_quant_flags(clq_recipe *recipe, const clq_quant_flags *flags,
                                       bool ptq_too);
void clq_recipe_free(clq_recipe *recipe); /* NULL ok */

#endif
