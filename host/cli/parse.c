/* Command lines: the options that all commands share, --help, and the slips in options. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/environment.h"
#include "base/nearest.h"
#include "base/numbers.h"
#include "base/progress.h"
#include "cli/cli.h"

/* ---- --help ---- */

/* Prints argp's text. Where its buffer is full, glibc's argp writes the indentation of an option's
 * description in front of what is still in the buffer: the line there is too far to the right, and
 * the description's first line stands at the margin. */
static void print_indented(const char *text) {
    static const char indent[] = "                             "; /* argp's, of descriptions */
    enum { INDENT = sizeof indent - 1 };
    bool owed = false;
    while (*text) {
        const int length = (int)strcspn(text, "\n");
        const char *wide = strstr(text, indent);
        if (owed && length > 0 && *text != ' ') {
            printf("%s%.*s\n", indent, length, text);
            owed = false;
        } else if (wide && wide + INDENT < text + length && (wide > text || wide[INDENT] == ' ')) {
            printf("%.*s%.*s\n", (int)(wide - text), text, length - (int)(wide - text) - INDENT,
                   wide + INDENT);
            owed = true;
        } else {
            printf("%.*s\n", length, text);
        }
        text += length + (text[length] == '\n');
    }
}

static void print_help(const struct argp_state *state) {
    char *text = NULL;
    size_t size;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) {
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
        return;
    }
    argp_state_help(state, memory, ARGP_HELP_STD_HELP & ~ARGP_HELP_EXIT_OK);
    fclose(memory);
    print_indented(text);
    free(text);
    exit(CLQ_OK);
}

/* ---- common options ---- */

enum { USAGE = CLQ_KEY_LONG };

/* Each of the three has the one before it as a child, with the same input. */
static error_t parse_words(int key, char *argument, struct argp_state *state) {
    switch (key) {
    case 'q':
        clq_progress_enable(false);
        clq_set_log(NULL, NULL, CLQ_LOG_WARN);
        return 0;
    case 'v':
        clq_set_log(NULL, NULL, CLQ_LOG_DEBUG);
        return 0;
    case 'h':
        print_help(state);
        return 0;
    case USAGE:
        argp_state_help(state, stdout, ARGP_HELP_USAGE | ARGP_HELP_EXIT_OK);
        return 0;
    case ARGP_KEY_ARG: /* which no parser above took */
        return clq_option_fail(state, "takes no \"%s\"", argument);
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
    bool takes[MAX_OPTIONS];         /* an argument */
    const char *values[MAX_OPTIONS]; /* what it is called in the help */
    size_t count;
} option_list;

static void list_options(const struct argp *argp, option_list *list) {
    const struct argp_option *of = NULL; /* an alias has the argument of the one before it */
    for (const struct argp_option *o = argp->options; o && (o->name || o->key); o++) {
        of = o->flags & OPTION_ALIAS ? of : o;
        if (list->count < MAX_OPTIONS) {
            list->takes[list->count] = of->arg != NULL;
            list->values[list->count] = of->arg;
            list->options[list->count++] = o;
        }
    }
    for (const struct argp_child *child = argp->children; child && child->argp; child++) {
        list_options(child->argp, list);
    }
}

/* The option that the first `length` bytes of a word are the name of, or its beginning; -1: none.
 * *other: another one that begins so and is not the same, or -1. */
static int find_long(const option_list *list, const char *word, size_t length, int *other) {
    int found = -1;
    *other = -1;
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->options[i]->name;
        if (name && strncmp(name, word, length) == 0) {
            if (name[length] == '\0') {
                *other = -1;
                return (int)i;
            }
            *other = found >= 0 && *other < 0 ? (int)i : *other;
            found = found < 0 ? (int)i : found;
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

static clq_status no_value(const char *dashes, const char *name, const char *of,
                           const char *command) {
    return clq_fail(CLQ_USAGE, "%s%s needs a value, %s; `clquant %s --help` tells which", dashes,
                    name, of, command);
}

static clq_status check_long(const option_list *list, const char *command, const char *word,
                             const char *next, bool *takes_next) {
    const size_t length = strcspn(word, "=");
    int other;
    const int found = find_long(list, word, length, &other);
    if (found < 0) {
        return no_option(list, command, word, length);
    }
    const char *name = list->options[found]->name;
    if (other >= 0) {
        return clq_fail(CLQ_USAGE, "--%.*s may be --%s or --%s; `clquant %s --help` lists them all",
                        (int)length, word, name, list->options[other]->name, command);
    }
    if (!list->takes[found] && word[length] == '=') {
        return clq_fail(CLQ_USAGE, "--%s takes no value", name);
    }
    *takes_next = list->takes[found] && word[length] != '=';
    return *takes_next && !next ? no_value("--", name, list->values[found], command) : CLQ_OK;
}

static clq_status check_letters(const option_list *list, const char *command, const char *letters,
                                const char *next, bool *takes_next) {
    for (; *letters && !*takes_next; letters++) {
        const int found = find_letter(list, *letters);
        const char name[2] = {*letters};
        if (found < 0) {
            return clq_fail(CLQ_USAGE, "no option -%s; `clquant %s --help` lists them", name,
                            command);
        }
        if (list->takes[found] && letters[1] != '\0') {
            return CLQ_OK;
        }
        *takes_next = list->takes[found];
        if (*takes_next && !next) {
            return no_value("-", name, list->values[found], command);
        }
    }
    return CLQ_OK;
}

/* Looks at the words as getopt will, which knows no names that are near and has a voice of its
 * own. */
static clq_status check_options(const struct argp *argp, const char *command, int argc,
                                char **argv) {
    option_list list = {.count = 0};
    list_options(argp, &list);
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        bool takes_next = false;
        if (strncmp(argv[i], "--", 2) == 0) {
            CLQ_TRY(check_long(&list, command, argv[i] + 2, next, &takes_next));
        } else if (argv[i][0] == '-') {
            CLQ_TRY(check_letters(&list, command, argv[i] + 1, next, &takes_next));
        }
        i += takes_next;
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

error_t clq_option_fail(struct argp_state *state, const char *format, ...) {
    char rule[512];
    va_list arguments;
    va_start(arguments, format);
    clq_vsnprintf(rule, sizeof rule, format, arguments);
    va_end(arguments);
    return clq_option_result(state, clq_fail(CLQ_USAGE, "%s", rule));
}

clq_status clq_missing(const char *command, const clq_need *needs, size_t count) {
    char missing[512] = "";
    size_t found = 0, last = 0, used = 0;
    for (size_t i = 0; i < count; i++) {
        found += !needs[i].there;
        last = needs[i].there ? last : i;
    }
    for (size_t i = 0, said = 0; i < count && used < sizeof missing; i++) {
        if (!needs[i].there) {
            const char *before = said++ == 0 ? "" : i == last ? " and " : ", ";
            used += (size_t)snprintf(missing + used, sizeof missing - used, "%s%s", before,
                                     needs[i].what);
        }
    }
    return found == 0 ? CLQ_OK
                      : clq_fail(CLQ_USAGE, "%s %s missing; `%s --help` tells how", missing,
                                 found == 1 ? "is" : "are", command);
}

error_t clq_option_needs(struct argp_state *state, const clq_need *needs, size_t count) {
    return clq_option_result(state, clq_missing(state->name, needs, count));
}
