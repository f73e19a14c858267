/* Command lines: the options that all commands share, --help, and the slips in options. */
#include <stdio.h>
#include <string.h>

#include "base/environment.h"
#include "base/nearest.h"
#include "base/progress.h"
#include "cli/cli.h"

/* ---- common options ---- */

enum { USAGE = CLQ_KEY_LONG };

/* Each of the three has the one before it as a child, with the same input. */
static error_t parse_words(int key, char *argument, struct argp_state *state) {
    (void)argument;
    switch (key) {
    case 'q':
        clq_progress_enable(false);
        clq_set_log(NULL, NULL, CLQ_LOG_WARN);
        return 0;
    case 'v':
        clq_set_log(NULL, NULL, CLQ_LOG_DEBUG);
        return 0;
    case 'h':
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
        return 0;
    case USAGE:
        argp_state_help(state, stdout, ARGP_HELP_USAGE | ARGP_HELP_EXIT_OK);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_host(int key, char *argument, struct argp_state *state) {
    clq_common *common = state->input;
    (void)argument;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        return 0;
    case 'j':
        common->json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_common(int key, char *argument, struct argp_state *state) {
    clq_common *common = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        return 0;
    case 'd':
        common->device = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option words_options[] = {
    {"quiet", 'q', NULL, 0, "No progress bars, warnings only", 0},
    {"verbose", 'v', NULL, 0, "Log more", 0},
    {"help", 'h', NULL, 0, "Print this", 0},
    {"usage", USAGE, NULL, OPTION_HIDDEN, NULL, 0},
    {0},
};
static const struct argp_option host_options[] = {
    {"json", 'j', NULL, 0, "Print the result as JSON on stdout", 0},
    {0},
};
static const struct argp_option common_options[] = {
    {"device", 'd', "DEVICE", 0,
     "P:D indices, part of a name, cpu or gpu (default: CLQUANT_DEVICE, else the first GPU, else "
     "the CPU)",
     0},
    {0},
};
const struct argp clq_words_argp = {words_options, parse_words, NULL, NULL, NULL, NULL, NULL};
static const struct argp_child words_child[] = {{&clq_words_argp, 0, NULL, 0}, {0}};
const struct argp clq_host_argp = {host_options, parse_host, NULL, NULL, words_child, NULL, NULL};
static const struct argp_child host_child[] = {{&clq_host_argp, 0, NULL, 0}, {0}};
const struct argp clq_common_argp = {common_options, parse_common, NULL, NULL,
                                     host_child,     NULL,         NULL};

/* ---- options that a command does not have ---- */

enum { MAX_OPTIONS = 128 };

typedef struct option_list {
    const struct argp_option *options[MAX_OPTIONS];
    bool takes[MAX_OPTIONS]; /* an argument */
    size_t count;
} option_list;

static void list_options(const struct argp *argp, option_list *list) {
    const struct argp_option *of = NULL; /* an alias has the argument of the one before it */
    for (const struct argp_option *o = argp->options; o && (o->name || o->key); o++) {
        of = o->flags & OPTION_ALIAS ? of : o;
        if (list->count < MAX_OPTIONS) {
            list->takes[list->count] = of->arg != NULL;
            list->options[list->count++] = o;
        }
    }
    for (const struct argp_child *child = argp->children; child && child->argp; child++) {
        list_options(child->argp, list);
    }
}

/* The option that the first `length` bytes of a word are the name of, or its beginning; -1: none.
 */
static int find_long(const option_list *list, const char *word, size_t length) {
    int found = -1;
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->options[i]->name;
        if (name && strncmp(name, word, length) == 0) {
            found = (int)i;
            if (name[length] == '\0') {
                break;
            }
        }
    }
    return found;
}

static int find_letter(const option_list *list, char letter) {
    for (size_t i = 0; i < list->count; i++) {
        if (list->options[i]->key == letter) {
            return (int)i;
        }
    }
    return -1;
}

static clq_status no_option(const option_list *list, const char *command, const char *word,
                            size_t length) {
    const char *names[MAX_OPTIONS];
    size_t count = 0;
    char name[64];
    for (size_t i = 0; i < list->count; i++) {
        if (list->options[i]->name && !(list->options[i]->flags & OPTION_HIDDEN)) {
            names[count++] = list->options[i]->name;
        }
    }
    snprintf(name, sizeof name, "%.*s", (int)length, word);
    const char *nearest = clq_nearest(name, names, count);
    return clq_fail(CLQ_USAGE, "no option --%.*s%s%s%s `clquant %s --help` lists them", (int)length,
                    word, nearest ? "; did you mean --" : "", nearest ? nearest : "",
                    nearest ? "?" : ";", command);
}

/* Looks at the words as getopt will, which knows no names that are near. */
static clq_status check_options(const struct argp *argp, const char *command, int argc,
                                char **argv) {
    option_list list = {.count = 0};
    list_options(argp, &list);
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *word = argv[i];
        if (strncmp(word, "--", 2) == 0) {
            const size_t length = strcspn(word + 2, "=");
            const int found = find_long(&list, word + 2, length);
            if (found < 0) {
                return no_option(&list, command, word + 2, length);
            }
            i += list.takes[found] && word[2 + length] != '=';
        } else if (word[0] == '-') {
            for (const char *letter = word + 1; *letter; letter++) {
                const int found = find_letter(&list, *letter);
                if (found < 0) {
                    return clq_fail(CLQ_USAGE, "no option -%c; `clquant %s --help` lists them",
                                    *letter, command);
                }
                if (list.takes[found]) {
                    i += letter[1] == '\0';
                    break;
                }
            }
        }
    }
    return CLQ_OK;
}

/* ---- parsing ---- */

/* Leaves out the line that arguments of long options are those of letters too. */
static char *filter_help(int key, const char *text, void *input) {
    (void)input;
    return key == ARGP_KEY_HELP_DUP_ARGS_NOTE ? NULL : (char *)text;
}

clq_status clq_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input,
                     bool *done) {
    static char program[64];
    struct argp root = *argp;
    root.help_filter = filter_help;
    snprintf(program, sizeof program, "clquant %s", name);
    argv[0] = program;
    argp_err_exit_status = CLQ_USAGE;
    *done = false;
    CLQ_TRY(check_options(argp, name, argc, argv));
    const error_t error = argp_parse(&root, argc, argv, ARGP_NO_HELP, NULL, input);
    if (error != 0) {
        *done = true;
        if (!*clq_last_error()) {
            return clq_fail(CLQ_USAGE, "%s", strerror(error));
        }
        return CLQ_USAGE;
    }
    return clq_environment_check(); /* also where no device is opened */
}

error_t clq_option_result(struct argp_state *state, clq_status status) {
    (void)state;
    return status == CLQ_OK ? 0 : EINVAL;
}
