/* The cache folder as a whole: what lies in it, and removing it. */
#ifndef CLQ_DEVICE_CACHE_FOLDER_H
#define CLQ_DEVICE_CACHE_FOLDER_H

#include <clquant/base.h>

enum { CLQ_CACHE_KINDS = 16, CLQ_CACHE_KIND_SIZE = 24 };

typedef struct clq_cache_kind {
    char name[CLQ_CACHE_KIND_SIZE]; /* "program", "probe", ... */
    int64_t files, bytes;
} clq_cache_kind;

typedef struct clq_cache_survey {
    clq_cache_kind kinds[CLQ_CACHE_KINDS]; /* by name */
    int kind_count;
    int64_t files, bytes;  /* of all kinds */
    clq_cache_kind tables; /* of tuning */
    int64_t in_use;        /* not removed: another process holds them */
    int64_t
        others; /* files and folders that are not clquant's, or not as it writes them: left alone
                 */
} clq_cache_survey;

/* What lies in clq_cache_folder(); a folder that is not there is an empty one. CLQ_BAD_DATA for one
 * that is no folder. */
clq_status clq_cache_survey_get(clq_cache_survey *survey);
/* Removes clquant's own files there that no process holds, the tables of tuning only if `tuning`,
 * and tells what was removed. Each is looked at before: its name, that it is a regular file, and
 * how it begins. Other processes may run: they lose time, never a result. CLQ_IO names the first
 * file that could not be removed; the others are. */
clq_status clq_cache_clear(bool tuning, clq_cache_survey *removed);

#endif
