/* What kind of data set is at a path, told by looking. */
#include <string.h>

#include "base/files.h"
#include "base/text.h"
#include "data/dataset.h"

static clq_status open_kind(const char *folder, const clq_dataset_options *options, bool *found,
                            clq_source *source) {
    *found = true;
    if (clq_cifar_here(folder, 10)) {
        return clq_cifar_open(folder, options->split, 10, source);
    }
    if (clq_cifar_here(folder, 100)) {
        return clq_cifar_open(folder, options->split, 100, source);
    }
    if (clq_idx_here(folder)) {
        return clq_idx_open(folder, options->split, source);
    }
    if (clq_folder_here(folder)) {
        return clq_folder_open(folder, options->split, options->channels, source);
    }
    if (clq_images_here(folder)) {
        return clq_images_open(folder, options->channels, source);
    }
    if (!options->no_classes && clq_classes_here(folder)) {
        return clq_classes_open(folder, options->channels, source);
    }
    *found = false;
    return CLQ_OK;
}

/* The only thing in `folder` when that is a folder; NULL in *inner otherwise. */
static clq_status only_inner_folder(const char *folder, char **inner) {
    char **names = NULL;
    size_t count = 0;
    *inner = NULL;
    CLQ_TRY(clq_folder_list(folder, &names, &count));
    clq_status status = CLQ_OK;
    if (count == 1) {
        *inner = clq_path_join(folder, names[0]);
        status = *inner ? CLQ_OK : CLQ_NO_MEMORY;
    }
    clq_folder_list_free(names, count);
    if (*inner && !clq_is_folder(*inner)) {
        clq_free(*inner);
        *inner = NULL;
    }
    return status;
}

/* ---- what is there instead ---- */

static bool is_archive(const char *name) {
    static const char *const endings[] = {".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip"};
    bool found = false;
    for (size_t i = 0; i < sizeof endings / sizeof *endings && !found; i++) {
        found = clq_path_has_extension(name, endings[i]);
    }
    return found;
}

/* The names that a folder of the kind has, and what to do about it. */
static const struct {
    const char *files[3];
    const char *what;
} others[] = {
    {{"data_batch_1", "test_batch", "batches.meta"},
     "is the Python version of CIFAR-10; clquant reads the binary version, "
     "cifar-10-binary.tar.gz of the same page"},
    {{"train", "test", "meta"},
     "is the Python version of CIFAR-100; clquant reads the binary version, "
     "cifar-100-binary.tar.gz of the same page"},
};

static bool has_files(const char *folder, const char *const names[3]) {
    bool all = true;
    for (int i = 0; i < 3 && all; i++) {
        char *path = clq_path_join(folder, names[i]);
        all = path && clq_file_exists(path) && !clq_is_folder(path);
        clq_free(path);
    }
    return all;
}

/* "cat/, dog/ and 8 more": the folders in `folder`, of which there are *count; `archive` receives
 * the first archive (clq_free it). */
static clq_status look_inside(const char *folder, clq_text *folders, int *count, char **archive) {
    enum { SHOWN = 3 };
    char **names = NULL;
    size_t all = 0;
    CLQ_TRY(clq_folder_list(folder, &names, &all));
    clq_status status = CLQ_OK;
    for (size_t i = 0; i < all && status == CLQ_OK; i++) {
        char *path = clq_path_join(folder, names[i]);
        status = path ? CLQ_OK : CLQ_NO_MEMORY;
        if (path && clq_is_folder(path)) {
            if (*count < SHOWN) {
                clq_text_printf(folders, "%s%.60s/", *count ? ", " : "", names[i]);
            }
            ++*count;
        } else if (path && !*archive && is_archive(names[i])) {
            *archive = path;
            path = NULL;
        }
        clq_free(path);
    }
    if (*count > SHOWN) {
        clq_text_printf(folders, " and %d more", *count - SHOWN);
    }
    clq_folder_list_free(names, all);
    return status;
}

static clq_status refuse_folder(const char *path) {
    clq_text folders = {0};
    char *archive = NULL;
    int count = 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (has_files(path, others[i].files)) {
            return clq_fail(CLQ_BAD_DATA, "%s: %s", path, others[i].what);
        }
    }
    clq_status status = look_inside(path, &folders, &count, &archive);
    if (status != CLQ_OK) {
        goto cleanup;
    }
    if (archive) {
        status = clq_fail(CLQ_BAD_DATA, "%s: is an archive; unpack it", archive);
        goto cleanup;
    }
    status = clq_fail(
        CLQ_NO_INPUT,
        "%s: no data set in it: looked for data_batch_1.bin (CIFAR-10), train.bin "
        "(CIFAR-100), train-images-idx3-ubyte (idx), one folder a class, or these in train/ and "
        "test/ or val/, images (without labels), train.csv, train.tsv, x_train.npy and x.npy "
        "(tables)%s%s%s",
        path, count ? "; what it has is folders, " : "", count ? folders.data : "",
        count ? ": if these are classes, there must be at least two, each with .jpg or .png files "
                "and no folders in it; else, for commands with --labels, a list names the class of "
                "each image"
              : "");
cleanup:
    clq_free(archive);
    clq_text_free(&folders);
    return status;
}

/* ---- opening ---- */

static clq_status open_file(const char *path, const clq_dataset_options *options,
                            clq_source *source) {
    if (clq_images_here(path)) {
        return clq_images_open(path, options->channels, source);
    }
    if (is_archive(path)) {
        return clq_fail(CLQ_BAD_DATA, "%s: is an archive; unpack it and give its folder", path);
    }
    return clq_fail(
        CLQ_BAD_DATA,
        "%s: is a file; a data set is a folder, a .csv, .tsv or .npy file, a .jpg or .png "
        "file or \"synthetic\"",
        path);
}

static clq_status open_folder(const char *path, const clq_dataset_options *options,
                              clq_source *source) {
    bool found = false;
    char *inner = NULL;
    CLQ_TRY(open_kind(path, options, &found, source));
    if (found) {
        return CLQ_OK;
    }
    CLQ_TRY(only_inner_folder(path, &inner));
    clq_status status = inner ? open_kind(inner, options, &found, source) : CLQ_OK;
    if (status == CLQ_OK && !found && !options->needs_labels) { /* whatever the folders are */
        status = clq_images_open_below(path, options->channels, &found, source);
    }
    if (status == CLQ_OK && !found) {
        status = refuse_folder(inner ? inner : path);
    }
    clq_free(inner);
    return status;
}

clq_status clq_source_open(const char *path, const clq_dataset_options *options,
                           clq_source *source) {
    static const char word[] = "synthetic";
    const size_t length = sizeof word - 1;
    if (strncmp(path, word, length) == 0 && (path[length] == '\0' || path[length] == ':')) {
        return clq_synthetic_open(path + length, options, source);
    }
    if (!clq_file_exists(path)) {
        return clq_fail(CLQ_NO_INPUT,
                        "%s: no such folder or table (or \"synthetic\" for built-in data)", path);
    }
    if (options->list.file) {
        return clq_list_open(path, &options->list, source);
    }
    return clq_is_folder(path) ? open_folder(path, options, source)
                               : open_file(path, options, source);
}
