/* What a kind of data set (cifar.c, idx.c, folder.c, images.c, list.c, synthetic.c) fills in for
 * dataset.c. */
#ifndef CLQ_DATA_DATASET_H
#define CLQ_DATA_DATASET_H

#include <clquant/data.h>

#include "data/image.h"

/* The stored images, before `size`, `channels` and `limit` are applied. The opener sets all fields
 * it has; what it has set is released by dataset.c, after a failure too. */
typedef struct clq_source {
    const char *kind;
    int64_t count;
    int height, width, channels; /* of the stored images; height 0: they differ */
    int class_count;             /* 0: there are no labels */
    char **class_names;          /* owned, (class_count) owned strings */
    int32_t *labels;             /* owned, (count); NULL: none */
    const char *constants;       /* for clq_normalization_constants */
    bool unsplit;                /* both splits are all of it */
    bool shuffled;               /* any first part of it is a fair sample */
    /* Makes image `index`, from any thread. `channels` as in clq_image_decode, for sources whose
     * files may hold either; the others ignore it. */
    clq_status (*get)(const void *state, int64_t index, int channels, clq_image *image);
    /* What to call the image in an error; NULL: "image N of PATH". */
    void (*name)(const void *state, int64_t index, char *text, size_t size);
    void (*release)(void *state); /* NULL ok; frees `state` */
    void *state;
} clq_source;

/* Opens what is at `path`, of whatever kind it is but a table. */
clq_status clq_source_open(const char *path, const clq_dataset_options *options,
                           clq_source *source);

/* `folder` has been seen to hold this kind. */
clq_status clq_cifar_open(const char *folder, clq_split split, int classes, clq_source *source);
clq_status clq_idx_open(const char *folder, clq_split split, clq_source *source);
clq_status clq_folder_open(const char *folder, clq_split split, int channels, clq_source *source);
/* A folder of class folders: both splits are all of them. */
clq_status clq_classes_open(const char *folder, int channels, clq_source *source);
clq_status clq_images_open(const char *path, int channels, clq_source *source);
/* All images in the folders below a folder; *found: there are some. */
clq_status clq_images_open_below(const char *path, int channels, bool *found, clq_source *source);
clq_status clq_list_open(const char *folder, const clq_label_list *list, clq_source *source);
/* `keys` is what follows "synthetic". */
clq_status clq_synthetic_open(const char *keys, const clq_dataset_options *options,
                              clq_source *source);

/* Whether `folder` holds files of that kind (of either split). */
bool clq_cifar_here(const char *folder, int classes);
bool clq_idx_here(const char *folder);
bool clq_folder_here(const char *folder);
/* Whether two or more folders are in `folder`, and images, but no folders, in each of them. */
bool clq_classes_here(const char *folder);
/* Whether `path` is an image, or a folder with images in it. */
bool clq_images_here(const char *path);

/* Files and folders that are no images. */
typedef struct clq_left_out {
    int64_t count;
    char first[256]; /* the first one's name */
} clq_left_out;
void clq_leave_out(clq_left_out *left, const char *name);
void clq_left_out_warn(const clq_left_out *left, const char *folder); /* nothing for none */

extern const char *const clq_cifar10_names[10];

/* CLQ_BAD_DATA, naming `place`, for a name that a model's metadata, a name a line, could not keep.
 */
clq_status clq_check_class_name(const char *place, const char *name);
/* Copies `count` names of classes, once checked; `place` is the file or folder they are from. */
clq_status clq_source_set_names(clq_source *source, const char *place, const char *const *names,
                                int count);

/* The usual constants, and whose they are, for people. `kind` is "cifar10", "cifar100", "mnist",
 * "synthetic" or "imagenet" (any other word counts as that). One channel of an RGB set is the mean
 * of the three. */
const char *clq_normalization_constants(const char *kind, int channels,
                                        float mean[CLQ_MAX_CHANNELS], float std[CLQ_MAX_CHANNELS]);

#endif
