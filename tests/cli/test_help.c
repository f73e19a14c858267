/* What the commands say of themselves: help by every way to ask for it, letters that mean one
 * thing, examples that work, slips that are understood. */
#include <ctype.h>
#include <unistd.h>

#include "cli/command.h"

enum { MAX_COMMANDS = 32, NAME = 40, WIDTH = 79 };

static char commands[MAX_COMMANDS][NAME];
static char *helps[MAX_COMMANDS + 1]; /* of each, and of `clquant` itself behind them */
static int command_count;

/* The names of all commands, as `clquant --help` lists them; a command of its own is bench --train.
 */
static int list_commands(void **state) {
    if (clq_test_setup_temp_dir(state) != 0 || command("--help") != 0) {
        return -1;
    }
    for (const char *line = command_output; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, "  ", 2) == 0 && islower((unsigned char)line[2])) {
            const size_t length = strcspn(line + 2, " ");
            snprintf(commands[command_count++], NAME, "%.*s", (int)length, line + 2);
        }
    }
    snprintf(commands[command_count++], NAME, "bench --train");
    for (int c = 0; c <= command_count; c++) {
        const int code = command("%s --help", c < command_count ? commands[c] : "");
        helps[c] = code == 0 ? strdup(command_output) : NULL;
        if (!helps[c]) {
            return -1;
        }
    }
    return command_count < 12 ? -1 : 0;
}

static int forget_commands(void **state) {
    for (int c = 0; c <= command_count; c++) {
        free(helps[c]);
    }
    return clq_test_teardown_temp_dir(state);
}

static void all_ways_lead_to_it(void **state) {
    (void)state;
    for (int c = 0; c < command_count; c++) {
        assert_int_equal(strncmp(helps[c], "Usage: clquant ", 15), 0);
        assert_exit(0, "%s -h", commands[c]);
        assert_string_equal(command_output, helps[c]);
        assert_exit(0, "help %s", commands[c]);
        assert_string_equal(command_output, helps[c]);
    }
    assert_exit(0, "--help %s", commands[0]);
    assert_string_equal(command_output, helps[0]);
    assert_exit(0, "%s -qh", commands[0]);
    assert_string_equal(command_output, helps[0]);
    assert_exit(0, "-h");
    assert_string_equal(command_output, helps[command_count]);
    assert_exit(0, "help");
    assert_string_equal(command_output, helps[command_count]);
    assert_exit(0, "--version");
}

/* Nothing is wider than a terminal, and no lines are left empty twice. */
static void it_is_laid_out(void **state) {
    (void)state;
    for (int c = 0; c <= command_count; c++) {
        const char *help = helps[c];
        assert_null(strstr(help, "\n\n\n"));
        assert_null(strstr(help, "Mandatory or optional"));
        for (const char *line = help; *line; line += strcspn(line, "\n") + 1) {
            const size_t length = strcspn(line, "\n");
            if (length > WIDTH || (length > 0 && line[length - 1] == ' ')) {
                fail_msg("%s: \"%.*s\" is too wide or ends with a space",
                         c < command_count ? commands[c] : "clquant", (int)length, line);
            }
        }
    }
}

/* "  -b, --batch=N": the long name that belongs to each letter. */
static void a_letter_means_one_thing(void **state) {
    (void)state;
    static const char *const known[][2] = {
        {"b", "batch"},  {"d", "device"}, {"D", "data"},    {"e", "epochs"},
        {"h", "help"},   {"i", "inputs"}, {"j", "json"},    {"n", "limit"},
        {"o", "output"}, {"O", "out"},    {"q", "quiet"},   {"r", "recipe"},
        {"s", "set"},    {"S", "seed"},   {"v", "verbose"}, {"w", "weights"},
    };
    enum { KNOWN = sizeof known / sizeof *known };
    for (int c = 0; c < command_count; c++) {
        int letters = 0;
        for (const char *at = strstr(helps[c], "\n  -"); at; at = strstr(at + 1, "\n  -")) {
            size_t k = 0;
            char name[NAME];
            snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 9, "=[ \n"), at + 9);
            while (k < KNOWN && known[k][0][0] != at[4]) {
                k++;
            }
            if (strncmp(at + 5, ", --", 4) != 0 || k == KNOWN || strcmp(name, known[k][1]) != 0) {
                fail_msg("%s: -%c is no letter of --%s", commands[c], at[4], name);
            }
            letters++;
        }
        assert_true(letters >= 3); /* -h, -q, -v */
    }
}

/* Each is parsed to its end: what is missing is a model, data or the device, no option or recipe.
 */
static void examples_work(void **state) {
    (void)state;
    char folder[1024];
    assert_non_null(getcwd(folder, sizeof folder));
    assert_int_equal(chdir(clq_test_temp_path("")), 0);
    setenv("CLQUANT_DEVICE", "nonesuch", 1);
    setenv("CLQUANT_CACHE_DIR", clq_test_temp_path("cache"), 1);
    for (int c = 0; c < command_count; c++) {
        int examples = 0;
        const char *line = strstr(helps[c], "\n\nExamples:\n");
        assert_non_null(line);
        for (line = strchr(line + 2, '\n') + 1; strncmp(line, "  ", 2) == 0; line++) {
            char example[512];
            const size_t length = strcspn(line, "\n");
            snprintf(example, sizeof example, "%.*s", (int)length, line);
            const char *arguments = strstr(example, "clquant ");
            assert_non_null(arguments);
            arguments += strlen("clquant ");
            assert_int_equal(strncmp(arguments, commands[c], strcspn(commands[c], " ")), 0);
            const int code = command("%s", arguments);
            if ((code != 0 && code < CLQ_BAD_DATA) || code > 128 ||
                strstr(command_output, "nor a recipe")) {
                fail_msg("%s: exit code %d: %s", arguments, code, command_output);
            }
            examples++;
            line += length;
        }
        assert_true(examples >= 1);
    }
    unsetenv("CLQUANT_DEVICE");
    unsetenv("CLQUANT_CACHE_DIR");
    assert_int_equal(chdir(folder), 0);
}

static void slips_are_answered_with_what_is_near(void **state) {
    (void)state;
    static const struct {
        const char *arguments, *part;
    } cases[] = {
        {"evla", "no command \"evla\"; did you mean eval? `clquant --help` lists them"},
        {"help trian", "no command \"trian\"; did you mean train?"},
        {"frobnicate", "no command \"frobnicate\"; `clquant --help` lists them"},
        {"eval m.onnx --limt 3", "eval: no option --limt; did you mean --limit?"},
        {"eval m.onnx --limt=3", "no option --limt; did you mean --limit?"},
        {"ptq --datta=x", "no option --datta; did you mean --data?"},
        {"bench --train mlp --iteration",
         "--iterations needs a value, N; `clquant bench --help` tells which"},
        {"eval m.onnx --m x", "--m may be --min-top1 or --min-r2; `clquant eval --help`"},
        {"eval m.onnx --json=x", "--json takes no value"},
        {"eval m.onnx -D", "-D needs a value, DIR; `clquant eval --help` tells which"},
        {"devices x", "clquant devices: takes no \"x\""},
        {"eval a.onnx b.onnx", "clquant eval: one model only"},
        {"ptq", "ptq: a model, --data (or --inputs, --encodings) and -o are missing; `clquant ptq "
                "--help`"},
        {"ptq m.onnx -D x", "ptq: -o is missing; `clquant ptq --help` tells how"},
        {"ptq m.onnx -D x -i y.npz -o q.onnx", "takes either --data or --inputs, not both"},
        {"eval -D x", "eval: a model is missing"},
        {"qat m.onnx", "qat: --data (or --inputs) and -o are missing"},
        {"train", "train: a recipe, --data and --out are missing"},
        {"run", "run: a recipe, --data and --out are missing"},
        {"convert m.onnx", "convert: -o (or --weights-out, --encodings-out) is missing"},
        {"convert m.onnx --network mlp -o a", "takes either a model or --network, not both"},
        {"report", "report: the folder of a run is missing"},
        {"tune", "tune: a model is missing"},
        {"verify", "verify: a model is missing"},
        {"info", "info: a model is missing"},
        {"bench --train", "bench: a network or a recipe is missing"},
        {"bench m.onnx -w 3", "no option -w; `clquant bench --help` lists them"},
        {"convert -qz", "no option -z"},
        {"report out -d cpu", "no option -d"},
        {"report out --json", "no option --json;"},
        {"convert --network mlp --device cpu", "no option --device;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_exit(CLQ_USAGE, "%s", cases[i].arguments);
        assert_printed(cases[i].part);
    }
    /* Words that only look like options are left alone. */
    assert_exit(CLQ_NO_INPUT, "eval -q -Dsynthetic --labels --limt -- -nosuch.onnx");
    assert_printed("-nosuch.onnx");
    assert_exit(CLQ_NO_INPUT, "eval -qDsynthetic -n 3 nosuch.onnx");
}

/* Names that an option had before it got a clearer one. */
static void earlier_names_still_do(void **state) {
    (void)state;
    assert_exit(CLQ_USAGE, "ptq m.onnx -D synthetic -o q.onnx --weights=octal");
    assert_printed("--weight-scales: must be one of per_channel, per_tensor");
    assert_exit(CLQ_NO_INPUT, "ptq nosuch.onnx -D synthetic -o %s --weights=per_tensor",
                clq_test_temp_path("q.onnx"));
    assert_exit(CLQ_NO_INPUT, "eval nosuch.onnx -D synthetic --inputs %s",
                clq_test_temp_path("x.npy"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_ways_lead_to_it),
        cmocka_unit_test(it_is_laid_out),
        cmocka_unit_test(a_letter_means_one_thing),
        cmocka_unit_test(examples_work),
        cmocka_unit_test(slips_are_answered_with_what_is_near),
        cmocka_unit_test(earlier_names_still_do),
    };
    return cmocka_run_group_tests(tests, list_commands, forget_commands);
}
