/* What a report consists of, made in memory and then written, or not at all where it would take the
 * place of something else. */
#ifndef CLQUANT_REPORT_FILES_H
#define CLQUANT_REPORT_FILES_H

#include "base/text.h"

typedef struct clq_report_file {
    char *name; /* owned */
    clq_text content;
} clq_report_file;

typedef struct clq_report_files {
    clq_report_file *items; /* (count), owned */
    size_t count;
} clq_report_files;

/* Takes `content` over, on failure too. CLQ_NO_MEMORY, also for a content that lacks something. */
clq_status clq_report_files_add(clq_report_files *files, clq_text *content, const char *name_format,
                                ...) __attribute__((format(printf, 3, 4)));
void clq_report_files_clear(clq_report_files *files);

/* How `folder` is reached from the folder `from`, as part of a link: "../" or "../../a%20b/". Both
 * exist. clq_free it. */
clq_status clq_report_link(const char *from, const char *folder, char **link);

/* Adds report.json, which names the runs (count; links) and all files, and writes all of them into
 * the folder. What an earlier report of the same runs left there and this one has not goes.
 * CLQ_CANNOT_CREATE, and nothing is touched, when the folder holds a report of other runs or,
 * unless it is `own` (a run's own folder for reports), files by these names that no report left;
 * with `overwrite` they are replaced and the log says so. */
clq_status clq_report_files_write(clq_report_files *files, const char *folder, char *const *runs,
                                  size_t count, bool own, bool overwrite);

#endif
