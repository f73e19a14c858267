/* Images without labels: the files of one folder, or a single one. They are no class's, and not
 * split: both parts are all of them. */
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
    char *path = clq_path_join(s->folder, s->names[index]);
    if (!path) {
        return CLQ_NO_MEMORY;
    }
    const clq_status status = clq_image_read(path, channels, image);
    clq_free(path);
    return status;
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

/* Keeps the names of images, in their order. */
static void keep_images(images *s) {
    const size_t count = s->count;
    s->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (clq_is_image_name(s->names[i])) {
            s->names[s->count++] = s->names[i];
        } else {
            clq_free(s->names[i]);
        }
    }
    if (s->count < count) {
        clq_log_warn("%s: %zu files or folders that are not .jpg, .jpeg or .png were left out",
                     s->folder, count - s->count);
    }
}

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
    if (!s) {
        return CLQ_NO_MEMORY;
    }
    source->state = s;
    source->release = release;
    source->get = get;
    source->name = name;
    source->kind = "images";
    source->channels = channels ? channels : 3;
    source->constants = "imagenet";
    if (!clq_is_folder(path)) {
        CLQ_TRY(single(path, s));
    } else {
        s->folder = clq_strdup(path);
        if (!s->folder) {
            return CLQ_NO_MEMORY;
        }
        CLQ_TRY(clq_folder_list(path, &s->names, &s->count));
        keep_images(s);
    }
    if (s->count > INT32_MAX) {
        return clq_fail(CLQ_BAD_DATA, "%s: more than %d images", path, INT32_MAX);
    }
    source->count = (int64_t)s->count;
    return CLQ_OK;
}
