/* Images without labels: the files of one folder, those below it, or a single one. They are no
 * class's, and not split: both parts are all of them. */
#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "data/dataset.h"

typedef struct images {
    char *folder;
    char **names; /* (count): of the files, sorted */
    size_t count;
} images;

static clq_status get(const void *state, int64_t index, int channels, clq_image *image) {
    const images *s = state;
    return clq_image_read_at(clq_path_join(s->folder, s->names[index]), channels, image);
}

static void name(const void *state, int64_t index, char *text, size_t size) {
    const images *s = state;
    snprintf(text, size, "%s/%s", s->folder, s->names[index]);
}

static void release(void *state) {
    images *s = state;
    clq_folder_list_free(s->names, s->count);
    clq_free(s->folder);
    clq_free(s);
}

/* Makes a source of the images, which are its own from here on. */
static clq_status describe(images *s, const char *path, int channels, clq_source *source) {
    source->state = s;
    source->release = release;
    source->get = get;
    source->name = name;
    source->kind = "images";
    source->unsplit = true;
    source->channels = channels ? channels : 3;
    source->constants = "imagenet";
    if (s->count > INT32_MAX) {
        return clq_fail(CLQ_BAD_DATA, "%s: more than %d images", path, INT32_MAX);
    }
    source->count = (int64_t)s->count;
    return CLQ_OK;
}

bool clq_images_here(const char *path) {
    char **names = NULL;
    size_t count = 0;
    bool found = false;
    if (!clq_is_folder(path)) {
        return clq_file_exists(path) && clq_is_image_name(path);
    }
    if (clq_folder_list(path, &names, &count) != CLQ_OK) {
        return false;
    }
    for (size_t i = 0; i < count && !found; i++) {
        found = clq_is_image_name(names[i]);
    }
    clq_folder_list_free(names, count);
    return found;
}

void clq_leave_out(clq_left_out *left, const char *name) {
    if (left->count++ == 0) {
        snprintf(left->first, sizeof left->first, "%s", name);
    }
}

void clq_left_out_warn(const clq_left_out *left, const char *folder) {
    const long long more = (long long)left->count - 1;
    if (more == 0) {
        clq_log_warn("%s: \"%s\" is no .jpg, .jpeg or .png file and was left out", folder,
                     left->first);
    } else if (more > 0) {
        clq_log_warn("%s: \"%s\" and %lld more are no .jpg, .jpeg or .png files and were left out",
                     folder, left->first, more);
    }
}

/* Keeps the names of images, in their order. */
static void keep_images(images *s) {
    clq_left_out left = {0};
    const size_t count = s->count;
    s->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (clq_is_image_name(s->names[i])) {
            s->names[s->count++] = s->names[i];
        } else {
            clq_leave_out(&left, s->names[i]);
            clq_free(s->names[i]);
        }
    }
    clq_left_out_warn(&left, s->folder);
}

/* ---- below folders ---- */

enum { MAX_DEPTH = 8 };

/* Takes over `name`. */
static clq_status add_name(images *s, char *name) {
    char **names = clq_realloc(s->names, s->count + 1, sizeof *names);
    if (!names) {
        clq_free(name);
        return CLQ_NO_MEMORY;
    }
    s->names = names;
    s->names[s->count++] = name;
    return CLQ_OK;
}

/* Adds the images in s->folder/below and in the folders there, in the order of their names. */
static clq_status add_below(images *s, const char *below, int depth, clq_left_out *left) {
    char **names = NULL, *folder = clq_path_join(s->folder, below);
    size_t count = 0;
    clq_status status = folder ? clq_folder_list(folder, &names, &count) : CLQ_NO_MEMORY;
    for (size_t i = 0; i < count && status == CLQ_OK; i++) {
        char *name = *below ? clq_path_join(below, names[i]) : clq_strdup(names[i]);
        char *path = name ? clq_path_join(s->folder, name) : NULL;
        if (!path) {
            status = CLQ_NO_MEMORY;
        } else if (clq_is_folder(path)) {
            if (depth < MAX_DEPTH) {
                status = add_below(s, name, depth + 1, left);
            } else {
                clq_leave_out(left, name);
            }
        } else if (clq_is_image_name(name)) {
            status = add_name(s, name);
            name = NULL;
        } else {
            clq_leave_out(left, name);
        }
        clq_free(name);
        clq_free(path);
    }
    clq_folder_list_free(names, count);
    clq_free(folder);
    return status;
}

clq_status clq_images_open_below(const char *path, int channels, bool *found, clq_source *source) {
    images *s = clq_calloc(1, sizeof *s);
    *found = false;
    if (!s) {
        return CLQ_NO_MEMORY;
    }
    clq_left_out left = {0};
    s->folder = clq_strdup(path);
    const clq_status status = s->folder ? add_below(s, "", 0, &left) : CLQ_NO_MEMORY;
    if (status != CLQ_OK || s->count == 0) {
        release(s);
        return status;
    }
    *found = true;
    clq_left_out_warn(&left, path);
    return describe(s, path, channels, source);
}

/* ---- in one folder ---- */

static clq_status single(const char *path, images *s) {
    s->folder = clq_path_folder(path);
    s->names = clq_calloc(1, sizeof *s->names);
    if (!s->folder || !s->names) {
        return CLQ_NO_MEMORY;
    }
    s->names[0] = clq_strdup(clq_path_basename(path));
    s->count = s->names[0] ? 1 : 0;
    return s->count ? CLQ_OK : CLQ_NO_MEMORY;
}

clq_status clq_images_open(const char *path, int channels, clq_source *source) {
    images *s = clq_calloc(1, sizeof *s);
    clq_status status = CLQ_NO_MEMORY;
    if (!s) {
        return CLQ_NO_MEMORY;
    }
    if (!clq_is_folder(path)) {
        status = single(path, s);
    } else {
        s->folder = clq_strdup(path);
        if (s->folder) {
            status = clq_folder_list(path, &s->names, &s->count);
        }
        if (status == CLQ_OK) {
            keep_images(s);
        }
    }
    if (status != CLQ_OK) {
        release(s);
        return status;
    }
    return describe(s, path, channels, source);
}
