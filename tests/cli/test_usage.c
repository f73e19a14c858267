/* Exit codes and error texts of the command for bad flags, files, recipes, models and data. */
#define _GNU_SOURCE /* memmem */
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "cli/command.h"

static void bad_flags_are_usage_errors(void **state) {
    (void)state;
    assert_exit(CLQ_USAGE, " ");
    assert_exit(CLQ_USAGE, "eval");
    assert_exit(CLQ_USAGE, "eval model.onnx --data synthetic --limit minus");
    assert_printed("--limit: must be an integer");
    assert_exit(CLQ_USAGE, "ptq model.onnx --data synthetic -o q.onnx --scale octal");
    assert_printed("--scale: must be one of float, pow2");
    assert_exit(CLQ_USAGE, "convert --network resnet51 -o %s", clq_test_temp_path("x.onnx"));
    assert_printed("resnet50");
}

/* In a shell, `clquant` before and behind; the exit code. */
static int shell(const char *before, const char *behind) {
    char line[4096];
    snprintf(line, sizeof line, "%s %s/clquant %s", before, CLQ_BINARY_DIR, behind);
    return WEXITSTATUS(system(line));
}

static void results_that_nobody_gets_are_failures(void **state) {
    (void)state;
    char line[2048];
    assert_int_equal(shell("", "--version >/dev/full 2>/dev/null"), CLQ_IO);
    assert_int_equal(shell("", "--help >/dev/full 2>/dev/null"), CLQ_IO);
    assert_int_equal(shell("", "ptq --help >/dev/full 2>/dev/null"), CLQ_IO);
    assert_int_equal(shell("", "--version >&- 2>/dev/null"), CLQ_IO);
    assert_int_equal(shell("", "--version <&- 2>&- >/dev/null"), 0);
    /* No descriptor of a message or a result becomes that of the file. */
    static const char convert[] = "convert --network mlp --size 8 -o";
    snprintf(line, sizeof line, "%s %s >/dev/null", convert, clq_test_temp_path("a.onnx"));
    assert_int_equal(shell("", line), 0);
    snprintf(line, sizeof line, "%s %s <&- >&- 2>&-", convert, clq_test_temp_path("b.onnx"));
    assert_int_equal(shell("", line), CLQ_IO);
    snprintf(line, sizeof line, "cmp %s %s", clq_test_temp_path("a.onnx"),
             clq_test_temp_path("b.onnx"));
    assert_int_equal(system(line), 0);
    /* A limit of the files' size is met as a full disk is: nothing is left. */
    assert_int_equal(mkdir(clq_test_temp_path("limited"), 0777), 0);
    snprintf(line, sizeof line, "convert --network resnet20 -o %s >/dev/null 2>&1",
             clq_test_temp_path("limited/m.onnx"));
    assert_int_equal(shell("ulimit -f 64;", line), CLQ_IO);
    assert_int_equal(rmdir(clq_test_temp_path("limited")), 0);
    /* A pipe would be waited for. */
    assert_int_equal(mkfifo(clq_test_temp_path("fifo"), 0600), 0);
    assert_exit(CLQ_CANNOT_CREATE, "%s %s", convert, clq_test_temp_path("fifo"));
    assert_printed("fifo: cannot create: is a pipe");
    assert_exit(0, "%s /dev/stdout | cat >/dev/null", convert);
}

static void missing_files_are_no_input(void **state) {
    (void)state;
    assert_exit(CLQ_NO_INPUT, "eval %s --data synthetic", clq_test_temp_path("absent.onnx"));
    assert_printed("absent.onnx");
    assert_exit(CLQ_NO_INPUT, "run %s --data synthetic --out %s", clq_test_temp_path("absent.json"),
                clq_test_temp_path("out"));
    assert_exit(CLQ_NO_INPUT, "report %s", clq_test_temp_path("absent"));
}

static void several_processes_do_no_whole_job(void **state) {
    (void)state;
    const char *recipe = text_file("whole.json", "{\"network\": {\"name\": \"mlp\"}}");
    setenv("PMI_SIZE", "2", 1);
    assert_exit(CLQ_USAGE, "run %s --data synthetic --out %s", recipe, clq_test_temp_path("out"));
    assert_printed("train and qat share their work");
    unsetenv("PMI_SIZE");
}

static void bad_recipes_name_the_place(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{", "recipe.json:1"},
        {"[]", "recipe.json"},
        {"{\"train\": {\"epochs\": -3}}", "train.epochs: must be an integer in 1..100000, is -3"},
        {"{\"train\": {\"epoch\": 3}}", "epochs"},
        {"{\"train\": {\"optimizer\": {\"name\": \"lion\"}}}", "train.optimizer.name"},
        {"{\"train\": {\"schedule\": {\"lr\": \"fast\"}}}", "train.schedule.lr"},
        {"{\"data\": {\"mean\": [0.5, 0.5, 0.5], \"std\": [0.1, 0.2]}}", "data.std"},
        {"{\"ptq\": {\"scale\": 3}}", "ptq.scale"},
        {"{\"network\": {\"shortcut\": \"C\"}}", "network.shortcut"},
        {"{\"train\": {}, \"train\": {}}", "recipe.json"},
        {"{\"name\": \"no network\"}", "names no network"},
        {"{\"network\": {\"name\": \"resnet20\", \"classes\": 3}}", "has 10 classes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = text_file("recipe.json", cases[i].text);
        assert_exit(CLQ_BAD_DATA, "run %s --data synthetic:train=64,test=16,size=8 --out %s", path,
                    clq_test_temp_path("out"));
        assert_printed(cases[i].part);
    }
    const char *path = text_file("recipe.json", "{}");
    assert_exit(CLQ_USAGE, "run %s --data synthetic --out %s --set nonsense", path,
                clq_test_temp_path("out"));
    assert_printed("KEY=VALUE");
}

/* All of their keys are known, and all values in range: what is missing is the data. */
static void recipes_that_come_along_are_good(void **state) {
    (void)state;
    glob_t recipes;
    assert_int_equal(glob(CLQ_SOURCE_DIR "/models/recipes/*.json", 0, NULL, &recipes), 0);
    for (size_t i = 0; i < recipes.gl_pathc; i++) {
        assert_exit(CLQ_NO_INPUT, "train %s --data %s --out %s", recipes.gl_pathv[i],
                    clq_test_temp_path("nowhere"), clq_test_temp_path("out"));
    }
    globfree(&recipes);
}

/* The example of the documentation is one of them. */
static void the_documented_recipe_is_the_real_one(void **state) {
    (void)state;
    void *page, *recipe;
    size_t page_size, recipe_size;
    assert_ok(clq_file_read(CLQ_SOURCE_DIR "/docs/recipes.md", 1 << 20, &page, &page_size));
    assert_ok(clq_file_read(CLQ_SOURCE_DIR "/models/recipes/resnet20-cifar10.json", 1 << 20,
                            &recipe, &recipe_size));
    assert_non_null(memmem(page, page_size, recipe, recipe_size));
    clq_free(page);
    clq_free(recipe);
}

/* A file in the place of another is called what it is; nothing of it is printed. */
static void files_of_another_kind(void **state) {
    (void)state;
    const char *model = clq_test_temp_path("kind.onnx"), *out = clq_test_temp_path("out");
    assert_exit(0, "convert --network mlp --size 8 --input-channels 3 --classes 10 -o %s", model);
    assert_exit(CLQ_BAD_DATA, "train %s -D synthetic -O %s", model, out);
    assert_printed("kind.onnx: must be a JSON text, is a binary file (an ONNX model, by its name)");
    assert_exit(CLQ_BAD_DATA, "bench %s --compare %s", model, model);
    assert_printed("kind.onnx: must be a JSON text, is a binary file (an ONNX model, by its name)");
    assert_exit(CLQ_BAD_DATA, "eval %s -D %s --labels %s", model, clq_test_temp_path(""), model);
    assert_printed("kind.onnx: must be a list, IMAGE LABEL a line, is a binary file (an ONNX");
    assert_exit(CLQ_USAGE, "ptq %s -D synthetic -o -", model);
    assert_printed("-o: - is no file's name; standard output is /dev/stdout");
}

static void mistaken_names_get_a_suggestion(void **state) {
    (void)state;
    const char *out = clq_test_temp_path("out");
    assert_exit(CLQ_NO_INPUT, "run resnet20-cifar10x -D synthetic -O %s", out);
    assert_printed("resnet20-cifar10x: no such file, nor a recipe in ");
    assert_printed("; did you mean resnet20-cifar10? There are imagenet-resnet50, ");
    assert_exit(CLQ_NO_INPUT, "train qqqqqqqq -D synthetic -O %s", out);
    assert_printed("; there are imagenet-resnet50, ");
    assert_exit(CLQ_USAGE, "convert --network resnet21 -o %s", clq_test_temp_path("x.onnx"));
    assert_printed("network \"resnet21\"; did you mean resnet20? It must be one of resnet18, ");
    assert_exit(CLQ_USAGE, "run resnet20-cifar10 -D synthetic -O %s --set epochs=1", out);
    assert_printed("unknown key; did you mean \"train.epochs\" or \"qat.epochs\"?");
    assert_exit(CLQ_USAGE, "run resnet20-cifar10 -D synthetic -O %s --set train.lr=1", out);
    assert_printed("train.lr: unknown key; did you mean \"train.schedule.lr\"?");
    assert_exit(CLQ_USAGE, "run resnet20-cifar10 -D synthetic -O %s --set network.batch=1", out);
    assert_printed("did you mean \"train.batch\" or \"qat.batch\"?");
}

static void bad_models_are_bad_data(void **state) {
    (void)state;
    const char *path =
        text_file("noise.onnx", "this is no protobuf at all, but it is long enough to try");
    assert_exit(CLQ_BAD_DATA, "eval %s --data synthetic", path);
    assert_printed("noise.onnx");
    path = text_file("empty.onnx", "");
    assert_exit(CLQ_BAD_DATA, "eval %s --data synthetic", path);
    path = text_file("noise.safetensors", "xxxxxxxxxxxxxxxxxxxxxxxxxx");
    assert_exit(CLQ_BAD_DATA, "convert --network resnet20 --weights %s -o %s", path,
                clq_test_temp_path("m.onnx"));
    assert_printed("noise.safetensors");
}

static void bad_data_and_devices(void **state) {
    (void)state;
    char model[1024]; /* the scratch paths take turns */
    snprintf(model, sizeof model, "%s", clq_test_temp_path("mlp.onnx"));
    assert_exit(0, "convert --network mlp --size 8 --input-channels 3 --classes 10 -o %s", model);
    assert_exit(CLQ_NO_INPUT, "eval %s --data %s", model, clq_test_temp_path("nowhere"));
    /* The device that is not there is told before data is read and warned of. */
    static const char *const commands[] = {"eval -D", "ptq -o q.onnx -D", "ptq -o q.onnx -i",
                                           "predict -o p.csv -i", "qat -o q.onnx -D"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        assert_exit(CLQ_DEVICE, "%s %s %s -d nonesuch", commands[i], clq_test_temp_path("nowhere"),
                    model);
        assert_printed("nonesuch");
        assert_null(strstr(command_output, "warning"));
    }
    assert_exit(CLQ_DEVICE, "train resnet20-cifar10 -d nonesuch -D %s -O %s",
                clq_test_temp_path("nowhere"), clq_test_temp_path("out"));
    assert_exit(CLQ_USAGE, "verify %s", model);
    assert_printed("not a quantized model");
    assert_exit(CLQ_CANNOT_CREATE, "convert --network mlp --size 8 -o /nowhere/at/all.onnx");
}

/* The lines of clquant.h that are set in as code are a function's body. */
static void the_example_of_the_header_compiles(void **state) {
    (void)state;
    char line[4096];
    snprintf(line, sizeof line,
             "{ echo '#include <clquant/clquant.h>'; echo 'clq_status example(void);';"
             " echo 'clq_status example(void) {';"
             " sed -n '/A complete example/,/^ \\* Headers/s/^ \\*     //p' "
             "%s/include/clquant/clquant.h;"
             " echo 'return CLQ_OK; }'; } > %s",
             CLQ_SOURCE_DIR, clq_test_temp_path("example.c"));
    assert_int_equal(system(line), 0);
    snprintf(line, sizeof line, "cc -std=c11 -Wall -Wextra -Werror -fsyntax-only -I %s/include %s",
             CLQ_SOURCE_DIR, clq_test_temp_path("example.c"));
    assert_int_equal(system(line), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_flags_are_usage_errors),
        cmocka_unit_test(results_that_nobody_gets_are_failures),
        cmocka_unit_test(missing_files_are_no_input),
        cmocka_unit_test(bad_recipes_name_the_place),
        cmocka_unit_test(bad_models_are_bad_data),
        cmocka_unit_test(bad_data_and_devices),
        cmocka_unit_test(recipes_that_come_along_are_good),
        cmocka_unit_test(the_documented_recipe_is_the_real_one),
        cmocka_unit_test(files_of_another_kind),
        cmocka_unit_test(mistaken_names_get_a_suggestion),
        cmocka_unit_test(the_example_of_the_header_compiles),
        cmocka_unit_test(several_processes_do_no_whole_job),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
