#include <stdio.h>

#include "cli/cli.h"

enum { MAX_RUNS = 64, OVERWRITE = CLQ_KEY_LONG };

typedef struct options {
    clq_common common;
    clq_report_options report;
    const char *folders[MAX_RUNS];
    size_t count;
} options;

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case 'O':
        o->report.out = argument;
        return 0;
    case OVERWRITE:
        o->report.overwrite = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->count == MAX_RUNS) {
            return clq_option_fail(state, "at most %d folders", MAX_RUNS);
        }
        o->folders[o->count++] = argument;
        return 0;
    case ARGP_KEY_END:
        if (o->count > 1 && !o->report.out) {
            return clq_option_fail(state, "several runs need --out, a folder for their report");
        }
        return CLQ_OPTION_NEEDS(state, {"the folder of a run", o->count > 0});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"out", 'O', "DIR", 0, "Folder for the report (default: report in a single run's folder)", 0},
    {"overwrite", OVERWRITE, NULL, 0,
     "Replace the report of other runs, or files that are no report's, in --out", 0},
    {0},
};
static const struct argp_child children[] = {{&clq_words_argp, 0, "Common options:", 90}, {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "DIR...",
    "Writes one HTML page with its pictures inside, PNGs and CSVs, from what runs left in their "
    "folders: those of run, demo, train and qat, also while they still run. Several runs are "
    "compared in one table, then shown one by one."
    "\vExamples:\n"
    "  clquant report out-demo\n"
    "  clquant report out-a out-b --out compared",
    children,
    NULL,
    NULL};

static clq_status run(int argc, char **argv) {
    options o = {0};
    char *html = NULL;
    bool done;
    CLQ_TRY(clq_parse(&argp, "report", argc, argv, &o, &done));
    CLQ_TRY(clq_report_write(o.folders, o.count, &o.report, &html));
    puts(html);
    clq_free(html);
    return CLQ_OK;
}

const clq_command clq_command_report = {"report", "HTML page, pictures and tables of runs", run};
