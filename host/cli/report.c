#include <stdio.h>

#include "cli/cli.h"

typedef struct options {
    clq_common common;
    const char *folder;
} options;

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case ARGP_KEY_ARG:
        if (o->folder) {
            argp_error(state, "one folder only");
        }
        o->folder = argument;
        return 0;
    case ARGP_KEY_END:
        if (!o->folder) {
            argp_error(state, "needs the folder of a run");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&clq_words_argp, 0, "Common options:", 90}, {0}};
static const struct argp argp = {
    NULL,
    parse,
    "DIR",
    "Writes DIR/report: one HTML page with its pictures inside, PNGs and CSVs, from what "
    "a run left in DIR."
    "\vExamples:\n"
    "  clquant report out-demo",
    children,
    NULL,
    NULL};

static clq_status run(int argc, char **argv) {
    options o = {0};
    char *html = NULL;
    bool done;
    CLQ_TRY(clq_parse(&argp, "report", argc, argv, &o, &done));
    CLQ_TRY(clq_report_write(o.folder, &html));
    puts(html);
    clq_free(html);
    return CLQ_OK;
}

const clq_command clq_command_report = {"report", "HTML page, pictures and tables of a run", run};
