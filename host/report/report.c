#include <clquant/report.h>

#include <stdlib.h>
#include <string.h>

#include "base/arguments.h"
#include "base/files.h"
#include "report/page.h"
#include "report/tables.h"

/* A run and what is made of it. */
typedef struct report_run {
    clq_run_data data;
    clq_pictures pictures;
    char *link, *prefix; /* owned */
} report_run;

static clq_status add_pngs(const report_run *run, clq_report_files *files) {
    for (int i = 0; i < run->pictures.count; i++) {
        const clq_picture *picture = &run->pictures.items[i];
        clq_text png = {0};
        const clq_status status = clq_picture_png(picture, &clq_theme_light, &png);
        if (status != CLQ_OK) {
            clq_text_free(&png);
            return status;
        }
        CLQ_TRY(clq_report_files_add(files, &png, "%s%s.png", run->prefix, picture->name));
    }
    return CLQ_OK;
}

/* "2-resnet20-" in front of the names of files, so that those of several runs differ. */
static char *make_prefix(const clq_page_run *run, size_t index, size_t count) {
    char name[32] = "";
    if (count == 1) {
        return clq_strdup("");
    }
    strncat(name, clq_page_name(run), sizeof name - 1);
    for (char *c = name; *c; c++) {
        const bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                           (*c >= '0' && *c <= '9') || *c == '_';
        *c = plain ? *c : '-';
    }
    return clq_format("%zu-%s-", index + 1, name);
}

static clq_status make_run(const char *folder, size_t index, size_t count, report_run *run,
                           clq_page_run *shown, clq_report_files *files) {
    CLQ_TRY(clq_run_data_read(&run->data, folder));
    CLQ_TRY(clq_pictures_make(&run->pictures, &run->data));
    *shown = (clq_page_run){.data = &run->data,
                            .pictures = &run->pictures,
                            .folder = folder,
                            .level = count > 1 ? 3 : 2};
    shown->prefix = run->prefix = make_prefix(shown, index, count);
    if (!run->prefix) {
        return CLQ_NO_MEMORY;
    }
    CLQ_TRY(add_pngs(run, files));
    return clq_tables_make(&run->data, run->prefix, files);
}

/* The page and the writing of all, with the links between the report's folder and the runs'. */
static clq_status finish(report_run *runs, clq_page_run *shown, size_t count, const char *out,
                         bool own, bool overwrite, clq_report_files *files) {
    clq_text page = {0};
    char **links = clq_calloc(count, sizeof *links);
    clq_status status = links ? clq_make_dirs(out) : CLQ_NO_MEMORY;
    for (size_t i = 0; i < count && status == CLQ_OK; i++) {
        status = clq_report_link(out, shown[i].folder, &runs[i].link);
        shown[i].link = links[i] = runs[i].link;
    }
    if (status == CLQ_OK) {
        status = clq_page_make(shown, count, files, &page);
    }
    if (status == CLQ_OK) {
        status = clq_report_files_add(files, &page, "index.html");
    }
    if (status == CLQ_OK) {
        status = clq_report_files_write(files, out, links, count, own, overwrite);
    }
    clq_text_free(&page);
    clq_free(links);
    return status;
}

/* No run may be given twice, by whatever path. */
static clq_status check_folders(const char *const *folders, size_t count) {
    clq_status status = CLQ_OK;
    for (size_t i = 0; i < count && status == CLQ_OK; i++) {
        char *path = realpath(folders[i], NULL);
        for (size_t other = 0; path && other < i && status == CLQ_OK; other++) {
            char *before = realpath(folders[other], NULL);
            if (before && strcmp(path, before) == 0) {
                status =
                    clq_fail(CLQ_USAGE, "%s and %s are the same run", folders[other], folders[i]);
            }
            free(before);
        }
        free(path);
    }
    return status;
}

/* A report's files would mix with those of a run, which no flag is to allow. */
static clq_status check_out(const char *out) {
    static const char *const names[] = {"run.json",    "origin.json", "history.json",
                                        "history.csv", "log.jsonl",   ".clquant.lock"};
    clq_status status = CLQ_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status == CLQ_OK; i++) {
        char *path = clq_path_join(out, names[i]);
        if (!path) {
            return CLQ_NO_MEMORY;
        }
        if (clq_file_exists(path)) {
            status = clq_fail(CLQ_CANNOT_CREATE,
                              "%s: is the folder of a run (it holds %s); a report needs one of its "
                              "own, such as %s/report",
                              out, names[i], out);
        }
        clq_free(path);
    }
    return status;
}

clq_status clq_report_write(const char *const *folders, size_t count,
                            const clq_report_options *options, char **html) {
    static const clq_report_options usual = {0};
    CLQ_NEEDS(folders);
    CLQ_REQUIRE(count > 0, "there must be a folder");
    options = options ? options : &usual;
    if (!options->out && count > 1) {
        return clq_fail(CLQ_USAGE, "a report of several runs needs a folder of its own (--out)");
    }
    CLQ_TRY(check_folders(folders, count));
    CLQ_TRY(options->out ? check_out(options->out) : CLQ_OK);
    clq_report_files files = {0};
    report_run *runs = clq_calloc(count, sizeof *runs);
    clq_page_run *shown = clq_calloc(count, sizeof *shown);
    char *out = options->out ? clq_strdup(options->out) : clq_path_join(folders[0], "report");
    clq_status status = runs && shown && out ? CLQ_OK : CLQ_NO_MEMORY;
    for (size_t i = 0; i < count && status == CLQ_OK; i++) {
        status = make_run(folders[i], i, count, &runs[i], &shown[i], &files);
    }
    if (status == CLQ_OK) {
        status = finish(runs, shown, count, out, !options->out, options->overwrite, &files);
    }
    if (status == CLQ_OK && html) {
        *html = clq_path_join(out, "index.html");
        status = *html ? CLQ_OK : CLQ_NO_MEMORY;
    }
    for (size_t i = 0; runs && i < count; i++) {
        clq_pictures_clear(&runs[i].pictures);
        clq_run_data_clear(&runs[i].data);
        clq_free(runs[i].link);
        clq_free(runs[i].prefix);
    }
    clq_free(out);
    clq_free(shown);
    clq_free(runs);
    clq_report_files_clear(&files);
    return status;
}
