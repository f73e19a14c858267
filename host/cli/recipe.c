#include "cli/recipe.h"

#include "session/keys.h"

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

static clq_status read_data(clq_json_reader *recipe, clq_recipe *out) {
    clq_json_reader r;
    CLQ_TRY(clq_json_read_object(recipe, "data", &r));
    CLQ_TRY(clq_json_read_int(&r, "size", CLQ_IN_DATA_SIZE, &out->data.size));
    CLQ_TRY(clq_json_read_int(&r, "source_size", CLQ_IN_DATA_SIZE, &out->data.source_size));
    CLQ_TRY(clq_json_read_i64(&r, "train_limit", CLQ_IN_DATA_LIMIT, &out->data.train_limit));
    CLQ_TRY(clq_json_read_i64(&r, "test_limit", CLQ_IN_DATA_LIMIT, &out->data.test_limit));
    CLQ_TRY(clq_keys_read_preprocessing(&r, &out->data.given));
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
    CLQ_TRY(clq_keys_read_training(&section, &out->train));
    CLQ_TRY(clq_json_reader_finish(&section));

    CLQ_TRY(clq_json_read_object(&top, "ptq", &section));
    CLQ_TRY(clq_keys_read_quantization(&section, &out->ptq));
    CLQ_TRY(clq_json_reader_finish(&section));

    clq_keys_init_qat(&out->train, &out->ptq, &out->qat, &out->qat_quant);
    CLQ_TRY(clq_json_read_object(&top, "qat", &section));
    CLQ_TRY(clq_keys_read_qat(&section, &out->qat, &out->qat_quant));
    CLQ_TRY(clq_json_reader_finish(&section));

    CLQ_TRY(clq_json_read_object(&top, "bench", &section));
    CLQ_TRY(clq_json_read_int(&section, "iterations", CLQ_IN_ITERATIONS, &out->bench_iterations));
    CLQ_TRY(clq_json_read_bool(&section, "peaks", &out->bench_peaks));
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
        recipe->bench_peaks = true;
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
