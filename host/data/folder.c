/* Image folders: FOLDER/train/CLASS/FILE and FOLDER/test/CLASS/FILE (or val/). The classes are
 * train's folders in bytewise order, so that a test split that lacks one keeps the numbers.
 * FOLDER/CLASS/FILE is a set that is not split. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/files.h"
#include "base/log.h"
#include "data/dataset.h"

typedef struct folder {
    char *root;            /* of the split */
    char **classes;        /* borrowed from the source: folder names */
    const int32_t *labels; /* borrowed */
    char *names;           /* file names, one after the other with their NULs */
    size_t name_bytes, name_room;
    size_t *offsets; /* (count): of each image's name */
} folder;

static char *split_folder(const char *root, clq_split split) {
    if (split == CLQ_SPLIT_TRAIN) {
        return clq_path_join(root, "train");
    }
    char *test = clq_path_join(root, "test");
    if (test && !clq_is_folder(test)) {
        clq_free(test);
        test = clq_path_join(root, "val");
    }
    return test;
}

static bool has_split(const char *root, clq_split split) {
    char *path = split_folder(root, split);
    bool there = path && clq_is_folder(path);
    clq_free(path);
    return there;
}

bool clq_folder_here(const char *root) {
    return has_split(root, CLQ_SPLIT_TRAIN) || has_split(root, CLQ_SPLIT_TEST);
}

static bool has_folders(const char *root) {
    char **names = NULL;
    size_t count = 0;
    bool found = false;
    if (clq_folder_list(root, &names, &count) != CLQ_OK) {
        return true;
    }
    for (size_t i = 0; i < count && !found; i++) {
        char *path = clq_is_image_name(names[i]) ? NULL : clq_path_join(root, names[i]);
        found = path && clq_is_folder(path);
        clq_free(path);
    }
    clq_folder_list_free(names, count);
    return found;
}

bool clq_classes_here(const char *root) {
    char **names = NULL;
    size_t count = 0, folders = 0;
    bool all = true;
    if (clq_folder_list(root, &names, &count) != CLQ_OK) {
        return false;
    }
    for (size_t i = 0; i < count && all; i++) {
        char *path = clq_path_join(root, names[i]);
        if (path && clq_is_folder(path)) {
            folders++;
            all = clq_images_here(path) && !has_folders(path);
        }
        clq_free(path);
    }
    clq_folder_list_free(names, count);
    return all && folders >= 2;
}

static char *image_path(const folder *f, int64_t index) {
    return clq_format("%s/%s/%s", f->root, f->classes[f->labels[index]],
                      f->names + f->offsets[index]);
}

static clq_status get(const void *state, int64_t index, int channels, clq_image *image) {
    return clq_image_read_at(image_path(state, index), channels, image);
}

static void name(const void *state, int64_t index, char *text, size_t size) {
    const folder *f = state;
    snprintf(text, size, "%s/%s/%s", f->root, f->classes[f->labels[index]],
             f->names + f->offsets[index]);
}

static void release(void *state) {
    folder *f = state;
    clq_free(f->root);
    clq_free(f->names);
    clq_free(f->offsets);
    clq_free(f);
}

static bool is_number(const char *name) {
    return *name && strspn(name, "0123456789") == strlen(name);
}

/* Numbers by their value, without limit: by length, once leading zeros are gone. */
static int compare_numbers(const void *a, const void *b) {
    const char *left = *(char *const *)a, *right = *(char *const *)b;
    const char *x = left + strspn(left, "0"), *y = right + strspn(right, "0");
    const size_t x_digits = strlen(x), y_digits = strlen(y);
    const int order = x_digits != y_digits ? (x_digits > y_digits ? 1 : -1) : strcmp(x, y);
    return order ? order : strcmp(left, right);
}

/* Names that are all numbers count as numbers: "10" comes behind "2". */
static void sort_numbers(char **names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!is_number(names[i])) {
            return;
        }
    }
    qsort(names, count, sizeof *names, compare_numbers);
}

/* The names in `root` that are folders; *names and *count as by clq_folder_list. */
static clq_status list_classes(const char *root, char ***names, size_t *count) {
    char **all = NULL;
    size_t n = 0, kept = 0;
    CLQ_TRY(clq_folder_list(root, &all, &n));
    for (size_t i = 0; i < n; i++) {
        char *path = clq_path_join(root, all[i]);
        if (!path) {
            clq_folder_list_free(all, n);
            return CLQ_NO_MEMORY;
        }
        bool keep = clq_is_folder(path);
        clq_free(path);
        char *swap = all[kept]; /* keeps the order of the folders */
        all[kept] = all[i];
        all[i] = swap;
        kept += keep ? 1 : 0;
    }
    for (size_t i = kept; i < n; i++) {
        clq_free(all[i]);
        all[i] = NULL;
    }
    *names = all;
    *count = kept;
    if (kept == 0) {
        clq_folder_list_free(all, kept);
        *names = NULL;
        return clq_fail(CLQ_BAD_DATA, "%s: no classes: it must hold one folder a class", root);
    }
    sort_numbers(all, kept);
    return CLQ_OK;
}

static clq_status add_image(clq_source *source, size_t *room, const char *file, int label) {
    folder *f = source->state;
    size_t length = strlen(file) + 1;
    if (f->name_bytes + length > f->name_room) {
        size_t grown = 2 * f->name_room + length + 4096;
        char *names = clq_realloc(f->names, grown, 1);
        if (!names) {
            return CLQ_NO_MEMORY;
        }
        f->names = names;
        f->name_room = grown;
    }
    if ((size_t)source->count == *room) {
        size_t grown = 2 * *room + 1024;
        size_t *offsets = clq_realloc(f->offsets, grown, sizeof *offsets);
        if (!offsets) {
            return CLQ_NO_MEMORY;
        }
        f->offsets = offsets;
        int32_t *labels = clq_realloc(source->labels, grown, sizeof *labels);
        if (!labels) {
            return CLQ_NO_MEMORY;
        }
        source->labels = labels;
        *room = grown;
    }
    memcpy(f->names + f->name_bytes, file, length);
    f->offsets[source->count] = f->name_bytes;
    source->labels[source->count++] = label;
    f->name_bytes += length;
    return CLQ_OK;
}

/* Adds the images of one class folder. */
static clq_status add_class(clq_source *source, size_t *room, const char *class, int label,
                            clq_left_out *left) {
    const folder *f = source->state;
    char **files = NULL;
    size_t count = 0;
    const int64_t before = source->count;
    char *path = clq_path_join(f->root, class);
    if (!path) {
        return CLQ_NO_MEMORY;
    }
    clq_status status;
    CLQ_GOTO(status, cleanup, clq_folder_list(path, &files, &count));
    for (size_t i = 0; i < count; i++) {
        if (!clq_is_image_name(files[i])) {
            char *name = clq_path_join(class, files[i]);
            clq_leave_out(left, name ? name : files[i]);
            clq_free(name);
            continue;
        }
        if (source->count == INT32_MAX) {
            status = clq_fail(CLQ_BAD_DATA, "%s: more than %d images", f->root, INT32_MAX);
            goto cleanup;
        }
        CLQ_GOTO(status, cleanup, add_image(source, room, files[i], label));
    }
    if (source->count == before) {
        status =
            clq_fail(CLQ_BAD_DATA, "%s: an empty class: no .jpg, .jpeg or .png file in it", path);
    }

cleanup:
    clq_folder_list_free(files, count);
    clq_free(path);
    return status;
}

static int find_class(const clq_source *source, const char *class) {
    for (int i = 0; i < source->class_count; i++) {
        if (strcmp(source->class_names[i], class) == 0) {
            return i;
        }
    }
    return -1;
}

/* The folders in `place` are the classes. */
static clq_status read_class_names(const char *place, clq_source *source) {
    char **classes = NULL;
    size_t count = 0;
    CLQ_TRY(list_classes(place, &classes, &count));
    const clq_status status =
        count > INT16_MAX
            ? clq_fail(CLQ_BAD_DATA, "%s: %zu classes, at most %d", place, count, INT16_MAX)
            : clq_source_set_names(source, place, (const char *const *)classes, (int)count);
    clq_folder_list_free(classes, count);
    return status;
}

static clq_status add_classes(clq_source *source) {
    const folder *f = source->state;
    char **classes = NULL;
    size_t count = 0, room = 0;
    clq_left_out left = {0};
    CLQ_TRY(list_classes(f->root, &classes, &count));
    clq_status status = CLQ_OK;
    for (size_t i = 0; i < count; i++) {
        int label = find_class(source, classes[i]);
        if (label < 0) {
            status = clq_fail(CLQ_BAD_DATA, "%s: class \"%s\" is not among the %d of train/",
                              f->root, classes[i], source->class_count);
            goto cleanup;
        }
        CLQ_GOTO(status, cleanup, add_class(source, &room, classes[i], label, &left));
    }
    clq_left_out_warn(&left, f->root);

cleanup:
    clq_folder_list_free(classes, count);
    return status;
}

/* The same pictures as files; their names tell. */
static bool is_cifar10(const clq_source *source) {
    bool same = source->class_count == 10;
    for (int i = 0; same && i < 10; i++) {
        same = strcmp(source->class_names[i], clq_cifar10_names[i]) == 0;
    }
    return same;
}

/* Takes over `images`, the folder of the class folders; their names are those in `classes`. */
static clq_status open_classes(char *images, const char *classes, int channels,
                               clq_source *source) {
    folder *f = clq_calloc(1, sizeof *f);
    if (!f) {
        clq_free(images);
        return CLQ_NO_MEMORY;
    }
    f->root = images;
    source->state = f;
    source->release = release;
    source->get = get;
    source->name = name;
    source->kind = "folder";
    source->channels = channels ? channels : 3;
    CLQ_TRY(read_class_names(classes, source));
    CLQ_TRY(add_classes(source));
    f->classes = source->class_names;
    f->labels = source->labels;
    source->constants = is_cifar10(source) ? "cifar10" : "imagenet";
    return CLQ_OK;
}

clq_status clq_classes_open(const char *path, int channels, clq_source *source) {
    char *images = clq_strdup(path);
    source->unsplit = true;
    return images ? open_classes(images, path, channels, source) : CLQ_NO_MEMORY;
}

/* The split's folder is missing, so the other one is there. */
static clq_status refuse_split(const char *root, clq_split split) {
    const bool train = split == CLQ_SPLIT_TRAIN;
    char *other = split_folder(root, train ? CLQ_SPLIT_TEST : CLQ_SPLIT_TRAIN);
    const clq_status status =
        other
            ? clq_fail(CLQ_NO_INPUT,
                       "%s: holds no %s folder; give %s itself to take all images in it, which are "
                       "not split then",
                       root, train ? "train/" : "test/ or val/", other)
            : CLQ_NO_MEMORY;
    clq_free(other);
    return status;
}

clq_status clq_folder_open(const char *root, clq_split split, int channels, clq_source *source) {
    clq_status status = CLQ_NO_MEMORY;
    char *images = split_folder(root, split), *train = split_folder(root, CLQ_SPLIT_TRAIN);
    if (images && train && !clq_is_folder(images)) {
        status = refuse_split(root, split);
    } else if (images && train) {
        status = open_classes(images, clq_is_folder(train) ? train : images, channels, source);
        images = NULL;
    }
    clq_free(images);
    clq_free(train);
    return status;
}
