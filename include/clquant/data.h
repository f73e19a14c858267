/* Data sets, the prefetching loader, and tables of features.
 *
 * A data set is a fixed list of u8 images of one size, with labels or without, read in any order
 * from any thread, or a table: rows of float features with a class or numbers to predict. A loader
 * serves images in batches whose content depends on (data set, seed, epoch, batch) alone, never on
 * the number of threads or on when training was interrupted. Letters: N images in a batch, H
 * height, W width, C channels; images are (H, W, C). */
#ifndef CLQUANT_DATA_H
#define CLQUANT_DATA_H

#include <clquant/base.h>

CLQ_API_BEGIN

enum { CLQ_MAX_CHANNELS = 4 };

typedef enum clq_split { CLQ_SPLIT_TRAIN, CLQ_SPLIT_TEST } clq_split;

/* ---- from a picture to what a network reads ---- */

typedef enum clq_interpolation {
    CLQ_BILINEAR, /* the filter widens when shrinking, so that it does not alias: PIL, torchvision
                   */
    CLQ_BICUBIC,  /* the same with a cubic (a = -0.5): PIL, torchvision, timm */
    CLQ_LINEAR,   /* between the four nearest pixels at any scale: OpenCV, PyTorch's interpolate */
    CLQ_NEAREST,
    CLQ_INTERPOLATIONS,
} clq_interpolation;

/* How an image is scaled before its centre is cut out. */
typedef struct clq_resize {
    int shorter;       /* the shorter side gets so many pixels, the other keeps the proportions */
    int height, width; /* where `shorter` is 0: exactly this size, whatever the proportions */
    clq_interpolation interpolation;
} clq_resize;

/* How pixels become numbers: (v - mean) / std with v = u8 / 255 or u8, of each channel of the
 * network's input in its order. */
typedef struct clq_normalization {
    float mean[CLQ_MAX_CHANNELS], std[CLQ_MAX_CHANNELS];
    float range; /* v of a white pixel: 1 or 255; 0: 1 */
    bool bgr;    /* the network's first channel is blue, not red */
} clq_normalization;

/* ---- data sets ---- */

typedef struct clq_dataset clq_dataset;
typedef struct clq_table clq_table;

/* What a table's last columns, or its file of targets, hold. */
typedef enum clq_target {
    CLQ_TARGET_AUTO,       /* class when the targets are words or small integers, else regression */
    CLQ_TARGET_CLASS,      /* one column: a class name or number */
    CLQ_TARGET_REGRESSION, /* numbers */
    CLQ_TARGET_NONE,       /* only inputs are read, of all rows of a .csv or .tsv file */
} clq_target;

typedef struct clq_table_options {
    clq_split split;
    clq_target target;
    int target_columns;   /* csv and single .npy: so many last columns are targets; 0: 1 */
    double test_fraction; /* of a file with no split of its own; 0: 0.2 */
    uint64_t seed;        /* of that split */
    /* Of CLQ_TARGET_NONE: how many columns are read. By name where the file and the caller have
     * names (NULL: none), whatever else there is; else the first, and only target_columns or no
     * others may be there. What was left out is logged. */
    int features;
    const char *const *feature_names; /* (features) */
} clq_table_options;

/* A list of labelled images: a text file with IMAGE LABEL a line, IMAGE below the data set's
 * folder. A tab, or else the first blank, ends IMAGE; LABEL is one of `classes` or a number. Lines
 * that are empty or begin with # say nothing. */
typedef struct clq_label_list {
    const char *file;           /* NULL: no list */
    const char *const *classes; /* (class_count), or NULL: numbers only */
    int class_count;            /* labels are below it; 0: one more than the highest */
} clq_label_list;

/* Zeroed means: everything of the training split as it is stored. */
typedef struct clq_dataset_options {
    clq_split split;
    /* The centre that is cut out; 0: images as they are, and all must be equal. width 0: height */
    int height, width;
    clq_resize resize;       /* before that; no size: the shorter side to that of a square crop, or
                                exactly to a crop that is not square */
    int channels;            /* 1: grey, 3: RGB; 0: as stored (image folders: 3) */
    int64_t limit;           /* at most this many images, spread evenly over the set; 0: all */
    bool needs_labels;       /* images without labels are refused: clq_dataset_require_labels */
    bool no_classes;         /* folders directly below the path are not taken for classes */
    clq_label_list list;     /* instead of what `path` holds beside the images */
    uint64_t seed;           /* of the synthetic set */
    int threads;             /* for decoding; 0: one a processor */
    uint64_t max_memory;     /* decoded images up to this many bytes are kept; 0: 2 GiB */
    clq_table_options table; /* of a table; `split` stands above */
} clq_dataset_options;

typedef struct clq_dataset_info {
    const char *kind; /* "cifar10", "cifar100", "folder", "idx", "images", "list", "synthetic"
                         or "table" */
    const char *path; /* as given to open */
    clq_split split;
    int64_t count;                  /* 1 .. 2^31 - 1 */
    int64_t stored;                 /* of which `limit` left `count` */
    int height, width, channels;    /* of images; 0 in a table */
    int features;                   /* of a table's row; 0: images */
    int targets;                    /* numbers to predict of a row (regression); 0: classes */
    int class_count;                /* regression, and images without labels: 0, and NULL for
                                       names and labels */
    const char *const *class_names; /* (class_count) */
    const int32_t *labels;          /* (count), each in 0 .. class_count - 1 */
    /* Usual normalization of this kind of data, (u8 / 255 - mean) / std of red, green and blue, and
     * whose it is. */
    float mean[CLQ_MAX_CHANNELS], std[CLQ_MAX_CHANNELS];
    const char *usual;
    bool unsplit;     /* both splits are all of it */
    bool equal_sizes; /* all images are stored in one size */
    bool in_memory;   /* decoded at open; otherwise clq_dataset_read decodes */
} clq_dataset_info;

/* Opens what is at `path`, told apart by looking:
 *   data_batch_1.bin .. data_batch_5.bin, test_batch.bin          CIFAR-10, binary version
 *   train.bin, test.bin                                           CIFAR-100 (fine labels)
 *   train-images-idx3-ubyte, t10k-images-idx3-ubyte, ...          idx, 3-D or 4-D (count, H, W, C),
 *                                                                 also gzipped (.gz)
 *   train/ and test/ (or val/), in them one folder a class        JPEG and PNG images
 *   FILE.jpg, FILE.png, or a folder with such files               images without labels
 *   two or more folders, images and no folders in each          the same as train/: classes
 *   FILE.csv, FILE.tsv, FILE.npy, train.csv, train.tsv, x_train.npy, x.npy, ...  a table:
 * clq_table_open "synthetic[:KEY=VALUE,...]"                                   rendered shapes, see
 * below With options->list, `path` is the folder of that list's images. These, images without
 * labels, and class folders that are not in train/ or test/ are all in both splits. A folder that
 * holds nothing but one other folder stands for that one. Class names come from batches.meta.txt,
 * fine_label_names.txt or the sorted folder names.
 *
 * The keys of "synthetic" are train and test (counts, 8192 and 2048), size (32), noise (0..1, 0.5)
 * and seed (options->seed); `limit` cuts the count.
 *
 * CLQ_NO_INPUT: nothing there, or a part is missing. CLQ_BAD_DATA: a file breaks its format, a
 * class is empty, a label is out of range, sizes differ and no `size` is given. The text names
 * the file and the rule. */
clq_status clq_dataset_open(const char *path, const clq_dataset_options *options,
                            clq_dataset **dataset);
void clq_dataset_close(clq_dataset *dataset); /* NULL ok */

/* Valid until close. */
const clq_dataset_info *clq_dataset_get_info(const clq_dataset *dataset);
/* The table that the data set is, to read or to normalize; NULL: images. */
clq_table *clq_dataset_table(clq_dataset *dataset);

/* A hash of what training or testing on the set depends on: class names, and of each image in order
 * label and pixels; of images that are not in memory, instead of pixels, the file's name and size.
 * Of a table as it was read. CLQ_NO_MEMORY; CLQ_NO_INPUT, CLQ_BAD_DATA as clq_dataset_read. */
clq_status clq_dataset_hash(const clq_dataset *dataset, uint64_t *hash);

/* CLQ_BAD_DATA, saying how images get labels, for a data set without labels and numbers to predict:
 * for whoever needs them. */
clq_status clq_dataset_require_labels(const clq_dataset *dataset);

/* Takes the labels away, where they are not those of the network that is fed. */
void clq_dataset_forget_labels(clq_dataset *dataset);

/* Gives the classes other numbers and names: those of a network. map (class_count): the new number
 * of each class, or -1 for one that no label has; below `count`, the number of `names`. */
clq_status clq_dataset_map_classes(clq_dataset *dataset, const int32_t *map,
                                   const char *const *names, int count);

/* Image `index` (0 .. count - 1) into image[H * W * C]. May be called from any thread. Fails only
 * for sets that are not in memory: CLQ_NO_INPUT, CLQ_BAD_DATA name the file. */
clq_status clq_dataset_read(const clq_dataset *dataset, int64_t index, uint8_t *image);

/* Where image `index` comes from: its file, or "image 17 of PATH" where many are in one. */
clq_status clq_dataset_name(const clq_dataset *dataset, int64_t index, char *text, size_t size);

/* Mean and standard deviation of u8 / 255 of each channel over all images: exact integer sums, so
 * the result does not depend on the number of threads. */
clq_status clq_dataset_measure(const clq_dataset *dataset, float mean[CLQ_MAX_CHANNELS],
                               float std[CLQ_MAX_CHANNELS]);

/* ---- arrays: inputs of any network as its callers feed them ---- */

/* How arrays have the elements of a sample. */
typedef enum clq_order {
    CLQ_ORDER_MODEL, /* as the model's file shows them: (C, H, W), unless it says otherwise */
    CLQ_ORDER_NHWC,  /* channels last, as devices keep them: nothing is copied on the way there */
    CLQ_ORDER_COUNT
} clq_order;

/* The arrays of a .npy file (one, without a name) or a .npz file (each under its name), read row by
 * row: the first dimension counts samples. Memory is that of the rows asked for, but for arrays in
 * Fortran order, which are read as a whole, up to 4 GiB. Or a program's own, clq_arrays_create. */
typedef struct clq_arrays clq_arrays;

enum { CLQ_ARRAY_MAX_RANK = 5 };

typedef struct clq_array {
    const char *name; /* "" in a .npy file */
    const char *type; /* NumPy's, without its byte order: "f4", "u1" */
    int rank;         /* 1 .. CLQ_ARRAY_MAX_RANK */
    int64_t dims[CLQ_ARRAY_MAX_RANK];
} clq_array;

/* CLQ_NO_INPUT: nothing there. CLQ_BAD_DATA: a file breaks its format, an array does not hold
 * numbers, two have one name. The text names file, array and rule. */
clq_status clq_arrays_open(const char *path, clq_arrays **arrays);
void clq_arrays_close(clq_arrays *arrays); /* NULL ok */
const char *clq_arrays_path(const clq_arrays *arrays);
int clq_arrays_count(const clq_arrays *arrays);
const clq_array *clq_arrays_at(const clq_arrays *arrays, int index); /* NULL past them */

/* Arrays of a program's own, none so far, of so many rows (at least 1). */
clq_status clq_arrays_create(int64_t rows, clq_arrays **arrays);
/* One array more, whose rows have `rank` dimensions (0 .. CLQ_ARRAY_MAX_RANK - 1): `values` (rows,
 * dims...), dense, must outlive the arrays; NULL: the function of clq_arrays_set_fill makes them.
 * CLQ_USAGE for a name that is taken. */
clq_status clq_arrays_add(clq_arrays *arrays, const char *name, const int64_t *dims, int rank,
                          const float *values);
/* Writes rows first .. first + count - 1 of all arrays that were added without values, in the order
 * in which they were: values[i] (count, dims...). Rows are asked for in their order, from the first
 * one on, but where some of them are spread over all, or training shuffles them. A failure ends
 * what asks with that status and text (clq_fail). */
typedef clq_status (*clq_arrays_fill)(void *context, int64_t first, int64_t count,
                                      float *const *values);
clq_status clq_arrays_set_fill(clq_arrays *arrays, clq_arrays_fill fill, void *context);
/* Says that the array of this name, of rank 0, holds the numbers of the rows' classes, or of more
 * dimensions (H, W) those of their pixels, where CLQ_NO_CLASS is of none. CLQ_USAGE when there is
 * no such array or it has other dimensions. */
enum { CLQ_NO_CLASS = 255 };
clq_status clq_arrays_set_labels(clq_arrays *arrays, const char *name);
int clq_arrays_labels(const clq_arrays *arrays); /* its index; -1: there are none */
/* Of all of them; CLQ_ORDER_MODEL to begin with. */
clq_status clq_arrays_set_order(clq_arrays *arrays, clq_order order);
clq_order clq_arrays_order(const clq_arrays *arrays);

/* Rows first .. first + count - 1 of array `index`, in C order, as floats; fastest when they follow
 * those of the last call. CLQ_BAD_DATA for damaged data, a number that is not finite, and integers
 * from 2^24 on, which floats do not hold; CLQ_USAGE for rows that are not there. */
clq_status clq_arrays_read(clq_arrays *arrays, int index, int64_t first, int64_t count,
                           float *values);

/* ---- loader ---- */

typedef struct clq_loader clq_loader;

/* Where a loader stands: the batch that clq_loader_next gives next. */
typedef struct clq_loader_position {
    int64_t epoch; /* from 0 */
    int64_t batch; /* within the epoch, from 0 */
} clq_loader_position;

/* Zeroed but for `batch` means: every image in order, over and over. */
typedef struct clq_loader_options {
    int batch;      /* images in a batch, >= 1 */
    bool shuffle;   /* a new random order each epoch, from (seed, epoch) */
    bool drop_last; /* leave out an epoch's last batch when it is not full */
    uint64_t seed;
    int threads;               /* 0: chosen */
    int prefetch;              /* batches made ahead; 0: chosen */
    int64_t epochs;            /* stop after this epoch number; 0: never */
    clq_loader_position start; /* continue from here */
    int shard, shards;         /* data parallel: this process takes part `shard` of each batch of
                                * batch * shards images; shards 0 or 1: alone. Needs drop_last */
} clq_loader_options;

typedef struct clq_batch {
    int count; /* N: `batch`, or fewer in an epoch's last one */
    int height, width, channels;
    const uint8_t *images;   /* (N, H, W, C) */
    const int32_t *labels;   /* (N), or NULL: there are none */
    const uint32_t *indices; /* (N) in the data set */
    uint64_t seed;           /* of the loader: with epoch and position the key of all draws */
    clq_loader_position where;
    int64_t position; /* of image 0 in the epoch's order; image i is at position + i */
    bool last;        /* of its epoch */
} clq_batch;

/* `dataset` must outlive the loader. CLQ_USAGE: an option out of range, or no full batch and
 * drop_last. */
clq_status clq_loader_create(const clq_dataset *dataset, const clq_loader_options *options,
                             clq_loader **loader);
void clq_loader_destroy(clq_loader *loader); /* stops the threads at once; NULL ok */

/* The next batch, valid until the next call; NULL after `epochs`. A failure to read an image comes
 * when its batch is due, and again at every later call. */
clq_status clq_loader_next(clq_loader *loader, const clq_batch **batch);

/* What a later loader needs as `start` to go on from here. */
clq_loader_position clq_loader_get_position(const clq_loader *loader);
int64_t clq_loader_batches(const clq_loader *loader); /* in an epoch */

/* ---- augmentation ---- */

/* What training does to its images, by chance, before normalization; zeroed: nothing. Pairs are
 * {low, high}. */
typedef struct clq_augment_config {
    int crop_padding; /* random crop of the image with so many black pixels around it */
    bool flip;        /* mirror every second image */
    double rotation;  /* degrees, either way */
    double translate; /* fraction of the size, either way and axis */
    double scale[2];  /* {0, 0}: 1 */
    struct {
        double scale[2], ratio[2]; /* of the area, width by height; scale {0, 0}: off */
    } resized_crop;
    double brightness, contrast, saturation, hue; /* factors 1 +- x; hue in turns, at most 0.5 */
    struct {
        double probability, scale[2], ratio[2]; /* of an image; of its area; width by height */
    } erase;
    struct {
        double alpha, probability; /* of Beta(alpha, alpha); of a batch. alpha 0: off */
    } mixup, cutmix;
} clq_augment_config;

/* ---- tables: rows of float features ---- */

struct clq_table {
    int64_t rows;
    int features;
    float *x;             /* (rows, features) */
    int targets;          /* regression: columns of y; otherwise 0 */
    float *y;             /* (rows, targets) or NULL */
    int class_count;      /* class targets; otherwise 0, and without targets so is `targets` */
    int32_t *labels;      /* (rows) or NULL */
    char **class_names;   /* (class_count) or NULL */
    char **column_names;  /* (features) or NULL when the file has none */
    char **target_names;  /* (targets), the same */
    double test_fraction; /* of the file's rows, that are tests; 0: the split is the files' */
    float *target_std;    /* (targets): the data's unit of each in y, once normalized; else NULL */
};

/* A .csv, .tsv or .npy file whose last columns are the targets, or a folder with train.csv and
 * test.csv (or .tsv),
 * with x_train.npy, y_train.npy, x_test.npy and y_test.npy, or with x.npy and y.npy. Where a file
 * has no split of its own, the rows that are tests are drawn by `seed`. CLQ_NO_INPUT, CLQ_BAD_DATA
 * (not a number, uneven row, ...: the text names file, line and column). */
clq_status clq_table_open(const char *path, const clq_table_options *options, clq_table **table);
void clq_table_close(clq_table *table); /* NULL ok */

/* Leaves at most `limit` rows, spread evenly over the table. */
void clq_table_limit(clq_table *table, int64_t limit);

/* The order of the rows in an epoch, as a loader with shuffle has it: order (rows). */
void clq_table_order(const clq_table *table, uint64_t seed, int64_t epoch, uint32_t *order);
/* Copies `count` rows, given by number, to x (count, features), and to y (count, targets) or
 * labels (count), whichever the table has. */
void clq_table_gather(const clq_table *table, const uint32_t *numbers, int count, float *x,
                      float *y, int32_t *labels);

/* Mean and standard deviation of each feature (features) or target (targets), in double, in the
 * order of the rows. A column of one value has the deviation 1. */
void clq_table_measure(const clq_table *table, float *mean, float *std);
void clq_table_measure_targets(const clq_table *table, float *mean, float *std);
/* Subtracts `mean` and divides by `std` (> 0), in place. */
void clq_table_normalize(clq_table *table, const float *mean, const float *std);
/* The same for the targets, of a table that has them as in the file; keeps `std`. */
clq_status clq_table_normalize_targets(clq_table *table, const float *mean, const float *std);

CLQ_API_END
#endif
