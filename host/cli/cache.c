#define _XOPEN_SOURCE 700 /* nftw */
#include <ftw.h>
#include <stdio.h>
#include <string.h>

#include "base/environment.h"
#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "device/cache_file.h"
#include "device/cache_folder.h"
#include "device/pocl_cache.h"

typedef struct options {
    clq_common common;
    bool clear, clear_tuning;
} options;

enum { CLEAR = CLQ_KEY_LONG, CLEAR_TUNING };

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    (void)argument;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case CLEAR:
        o->clear = true;
        return 0;
    case CLEAR_TUNING:
        o->clear = o->clear_tuning = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"clear", CLEAR, NULL, 0,
     "Remove what clquant makes again by itself: programs, results of probes and self-tests", 0},
    {"clear-tuning", CLEAR_TUNING, NULL, 0,
     "The same, and the tables of `clquant tune`, which took minutes to measure", 0},
    {0},
};
static const struct argp_child children[] = {{&clq_host_argp, 0, "Common options:", 90}, {0}};
static const struct argp argp = {
    argp_options,
    parse,
    NULL,
    "Tells what clquant, and PoCL, keep on disk between runs: where, and how large. Nothing in it "
    "is needed but to save time. Only files that clquant wrote are ever removed; other commands "
    "may run meanwhile."
    "\vExamples:\n"
    "  clquant cache\n"
    "  clquant cache --clear",
    children,
    NULL,
    NULL};

/* ---- PoCL's ---- */

static int64_t pocl_files, pocl_bytes;

static int add_entry(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)path;
    (void)place;
    if (kind == FTW_F) {
        pocl_files++;
        pocl_bytes += (int64_t)info->st_size;
    }
    return 0;
}

static void measure_pocl(const char *folder) {
    enum { OPEN_FOLDERS = 16 };
    pocl_files = pocl_bytes = 0;
    if (clq_is_folder(folder)) {
        (void)nftw(folder, add_entry, OPEN_FOLDERS,
                   FTW_PHYS); /* what it cannot read is not counted */
    }
}

/* ---- printing ---- */

static void print_line(const char *what, int64_t files, int64_t bytes) {
    const bool small = bytes < 100000;
    printf("  %-10s %6lld file%s %9.2f %s\n", what, (long long)files, files == 1 ? " " : "s",
           (double)bytes / (small ? 1e3 : 1e6), small ? "kB" : "MB");
}

static void print_kinds(const clq_cache_survey *survey) {
    for (int k = 0; k < survey->kind_count; k++) {
        print_line(survey->kinds[k].name, survey->kinds[k].files, survey->kinds[k].bytes);
    }
    if (survey->tables.files > 0) {
        print_line("tuning", survey->tables.files, survey->tables.bytes);
    }
}

static void print_survey(const clq_cache_survey *survey, const char *folder, const char *pocl,
                         const char *pocl_from) {
    const char *tuning = clq_environment("CLQUANT_TUNE");
    if (folder) {
        printf("clquant: %s%s\n", folder,
               clq_environment("CLQUANT_CACHE_DIR") ? " (CLQUANT_CACHE_DIR)" : "");
        print_kinds(survey);
        if (survey->files + survey->tables.files == 0) {
            puts("  nothing");
        }
        if (survey->others > 0) {
            printf("  and %lld that clquant did not write\n", (long long)survey->others);
        }
    } else {
        puts("clquant: keeps nothing (CLQUANT_CACHE is off, or there is no HOME)");
    }
    if (tuning) {
        printf("  tuning: %s (CLQUANT_TUNE)\n", tuning);
    }
    const bool named = strcmp(pocl_from, "POCL_CACHE_DIR") == 0;
    printf("PoCL: %s%s\n", pocl, named ? " (POCL_CACHE_DIR)" : "");
    print_line("programs", pocl_files, pocl_bytes);
    puts("  its own: remove the folder while nothing runs on PoCL");
}

static void print_removed(const clq_cache_survey *removed, const char *folder) {
    printf("%s: removed %lld file%s, %.2f MB\n", folder,
           (long long)(removed->files + removed->tables.files),
           clq_plural(removed->files + removed->tables.files),
           (double)(removed->bytes + removed->tables.bytes) / 1e6);
    print_kinds(removed);
    if (removed->in_use > 0) {
        printf("  left: %lld that another process holds\n", (long long)removed->in_use);
    }
    if (removed->others > 0) {
        printf("  left: %lld that clquant did not write\n", (long long)removed->others);
    }
}

static json_t *survey_to_json(const clq_cache_survey *survey, const char *folder) {
    json_t *json = json_object(), *kinds = json_object();
    for (int k = 0; k < survey->kind_count; k++) {
        json_object_set_new(kinds, survey->kinds[k].name,
                            json_pack("{s:I, s:I}", "files", (json_int_t)survey->kinds[k].files,
                                      "bytes", (json_int_t)survey->kinds[k].bytes));
    }
    json_object_set_new(json, "folder", folder ? clq_json_string(folder) : json_null());
    json_object_set_new(json, "files", json_integer(survey->files));
    json_object_set_new(json, "bytes", json_integer(survey->bytes));
    json_object_set_new(json, "kinds", kinds);
    json_object_set_new(json, "tuning",
                        json_pack("{s:I, s:I}", "files", (json_int_t)survey->tables.files, "bytes",
                                  (json_int_t)survey->tables.bytes));
    json_object_set_new(json, "in_use", json_integer(survey->in_use));
    json_object_set_new(json, "others", json_integer(survey->others));
    return json;
}

static clq_status print_json(json_t *what, const char *key, const char *pocl) {
    json_t *json = clq_json_result();
    json_object_set_new(json, key, what);
    if (pocl) {
        json_t *its = json_object();
        json_object_set_new(its, "folder", clq_json_string(pocl));
        json_object_set_new(its, "files", json_integer(pocl_files));
        json_object_set_new(its, "bytes", json_integer(pocl_bytes));
        json_object_set_new(json, "pocl", its);
    }
    const clq_status status = clq_json_dump_stdout(json);
    json_decref(json);
    return status;
}

/* ---- the command ---- */

static clq_status clear(const options *o, const char *folder) {
    clq_cache_survey removed;
    if (!folder) {
        return clq_fail(CLQ_USAGE, "there is no cache folder: CLQUANT_CACHE is off, or no HOME");
    }
    const clq_status status = clq_cache_clear(o->clear_tuning, &removed);
    if (status != CLQ_OK && status != CLQ_IO) {
        return status;
    }
    if (!o->common.json) {
        print_removed(&removed, folder);
        return status;
    }
    const clq_status printed = print_json(survey_to_json(&removed, folder), "removed", NULL);
    return status != CLQ_OK ? status : printed;
}

static clq_status show(const options *o, const char *folder) {
    const char *from = "";
    clq_cache_survey survey;
    CLQ_TRY(clq_cache_survey_get(&survey));
    char *pocl = clq_pocl_cache_folder(&from);
    if (!pocl) {
        return CLQ_NO_MEMORY;
    }
    clq_status status = CLQ_OK;
    measure_pocl(pocl);
    if (o->common.json) {
        status = print_json(survey_to_json(&survey, folder), "clquant", pocl);
    } else {
        print_survey(&survey, folder, pocl, from);
    }
    clq_free(pocl);
    return status;
}

static clq_status run(int argc, char **argv) {
    options o = {0};
    bool done;
    CLQ_TRY(clq_parse(&argp, "cache", argc, argv, &o, &done));
    char *folder = clq_cache_folder();
    const clq_status status = o.clear ? clear(&o, folder) : show(&o, folder);
    clq_free(folder);
    return status;
}

const clq_command clq_command_cache = {"cache",
                                       "what is kept on disk between runs, and clearing it", run};
