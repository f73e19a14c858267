/* Opening a data set: selection, fitting, and the decoded images in memory. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arguments.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "data/dataset.h"
#include "data/parallel.h"
#include "data/table.h"

#define DEFAULT_MEMORY ((uint64_t)2 << 30)
enum { MAX_SIZE = 4096 };

struct clq_dataset {
    clq_dataset_info info;
    clq_source source;
    char *path;
    int32_t *labels;    /* of the selected images; NULL: the source's */
    bool first_part;    /* a limit selects the first images, not evenly spread ones */
    char **class_names; /* (info.class_count), owned: those of clq_dataset_map_classes, or NULL */
    bool fits;          /* images are scaled and cut; else they are taken as they are */
    clq_resize resize;
    size_t image_bytes;
    uint8_t *images;     /* (count, H, W, C) or NULL */
    clq_table *table;    /* instead of all the above but info and path; or NULL */
    uint64_t table_hash; /* before it is normalized */
};

/* ---- helpers for the kinds ---- */

static void free_names(char **names, int count) {
    for (int i = 0; names && i < count; i++) {
        clq_free(names[i]);
    }
    clq_free(names);
}

clq_status clq_check_class_name(const char *place, const char *name) {
    if (!clq_is_utf8(name) || strpbrk(name, "\r\n")) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: class \"%.200s\": its name must be UTF-8 without line breaks, for "
                        "models keep a name a line",
                        place, name);
    }
    return CLQ_OK;
}

static clq_status copy_names(const char *place, const char *const *names, int count, char ***out) {
    for (int i = 0; i < count; i++) {
        if (!names[i]) {
            return clq_fail(CLQ_USAGE, "%s: class %d has no name", place, i);
        }
        CLQ_TRY(clq_check_class_name(place, names[i]));
    }
    char **copies = clq_calloc((size_t)count, sizeof *copies);
    bool good = copies != NULL;
    for (int i = 0; good && i < count; i++) {
        copies[i] = clq_strdup(names[i]);
        good = copies[i] != NULL;
    }
    if (!good) {
        free_names(copies, count);
        return CLQ_NO_MEMORY;
    }
    *out = copies;
    return CLQ_OK;
}

clq_status clq_source_set_names(clq_source *source, const char *place, const char *const *names,
                                int count) {
    CLQ_TRY(copy_names(place, names, count, &source->class_names));
    source->class_count = count;
    return CLQ_OK;
}

static void source_clear(clq_source *source) {
    if (source->release && source->state) {
        source->release(source->state);
    }
    free_names(source->class_names, source->class_count);
    clq_free(source->labels);
    *source = (clq_source){0};
}

/* "0", "1", ... when the files name no classes. */
static clq_status number_classes(clq_source *source) {
    source->class_names = clq_calloc((size_t)source->class_count, sizeof *source->class_names);
    if (!source->class_names) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < source->class_count; i++) {
        source->class_names[i] = clq_format("%d", i);
        if (!source->class_names[i]) {
            return CLQ_NO_MEMORY;
        }
    }
    return CLQ_OK;
}

/* ---- one image ---- */

/* The source's number of the selected image `index`. */
static int64_t source_index(const clq_dataset *d, int64_t index) {
    if (d->first_part || d->info.count == d->source.count) {
        return index;
    }
    return index * d->source.count / d->info.count; /* both below 2^31 */
}

static void image_name(const clq_dataset *d, int64_t index, char *text, size_t size) {
    if (d->source.name) {
        d->source.name(d->source.state, source_index(d, index), text, size);
    } else {
        snprintf(text, size, "image %lld of %s", (long long)source_index(d, index), d->path);
    }
}

clq_status clq_dataset_name(const clq_dataset *d, int64_t index, char *text, size_t size) {
    CLQ_NEEDS(d, text);
    CLQ_REQUIRE(index >= 0 && index < d->info.count && !d->table, "index must be an image's");
    image_name(d, index, text, size);
    return CLQ_OK;
}

/* Brings a decoded image to the data set's channels and size. */
static clq_status fit(const clq_dataset *d, int64_t index, const clq_image *image, uint8_t *out) {
    const clq_dataset_info *info = &d->info;
    if (!d->fits && (image->height != info->height || image->width != info->width)) {
        char text[512];
        image_name(d, index, text, sizeof text);
        return clq_fail(CLQ_BAD_DATA,
                        "%s: %d x %d pixels where the first image has %d x %d: give a size to "
                        "resize to",
                        text, image->width, image->height, info->width, info->height);
    }
    clq_image converted = {0};
    if (image->channels != info->channels) {
        CLQ_TRY(clq_image_create(d->path, image->height, image->width, info->channels, &converted));
        clq_image_convert(image->data, image->channels, converted.data, info->channels,
                          (size_t)image->height * (size_t)image->width);
        image = &converted;
    }
    clq_status status = CLQ_OK;
    if (d->fits) {
        status = clq_image_fit(image, &d->resize, info->height, info->width, out);
    } else {
        memcpy(out, image->data, d->image_bytes);
    }
    clq_image_free(&converted);
    return status;
}

static clq_status make_image(const clq_dataset *d, int64_t index, uint8_t *out) {
    clq_image image = {0};
    CLQ_TRY(d->source.get(d->source.state, source_index(d, index), d->info.channels, &image));
    clq_status status = fit(d, index, &image, out);
    clq_image_free(&image);
    return status;
}

clq_status clq_dataset_read(const clq_dataset *d, int64_t index, uint8_t *image) {
    CLQ_NEEDS(d, image);
    if (index < 0 || index >= d->info.count) {
        return clq_fail(CLQ_INTERNAL, "%s: image %lld of %lld asked for", d->path, (long long)index,
                        (long long)d->info.count);
    }
    if (d->table) {
        return clq_fail(CLQ_USAGE, "%s: is a table, not images", d->path);
    }
    if (d->images) {
        memcpy(image, d->images + (size_t)index * d->image_bytes, d->image_bytes);
        return CLQ_OK;
    }
    return make_image(d, index, image);
}

/* ---- opening ---- */

static bool is_size(int size) {
    return size >= 0 && size <= MAX_SIZE;
}

static clq_status check_options(const clq_dataset_options *o) {
    const clq_resize *r = &o->resize;
    const int width = o->width ? o->width : o->height;
    const int height = r->shorter ? r->shorter : r->height;
    const bool resized = r->shorter || r->height || r->width;
    if (!is_size(o->height) || !is_size(o->width) || !is_size(r->shorter) || !is_size(r->height) ||
        !is_size(r->width) || (o->width && !o->height) || !r->height != !r->width ||
        (r->shorter && r->height) ||
        (resized && (height < o->height || (r->shorter ? height : r->width) < width))) {
        return clq_fail(CLQ_USAGE,
                        "data: a crop of %d x %d behind scaling to %d, or %d x %d; all must be "
                        "0..%d, and what is cut out of not smaller than the crop",
                        width, o->height, r->shorter, r->width, r->height, MAX_SIZE);
    }
    if (r->interpolation < 0 || r->interpolation >= CLQ_INTERPOLATIONS) {
        return clq_fail(CLQ_USAGE, "data: interpolation %d is not known", (int)r->interpolation);
    }
    if (o->channels != 0 && o->channels != 1 && o->channels != 3) {
        return clq_fail(CLQ_USAGE, "data: %d channels; must be 1 or 3", o->channels);
    }
    if ((unsigned)o->split > CLQ_SPLIT_TEST) {
        return clq_fail(CLQ_USAGE, "data: there is no split %d", (int)o->split);
    }
    if (o->list.class_count < 0 || (o->list.classes && o->list.class_count == 0)) {
        return clq_fail(CLQ_USAGE, "data: a list of labels of %d classes", o->list.class_count);
    }
    if (o->limit < 0) {
        return clq_fail(CLQ_USAGE, "data: a limit of %lld images", (long long)o->limit);
    }
    return CLQ_OK;
}

/* Size and channels of the images handed out. */
static clq_status choose_shape(clq_dataset *d, const clq_dataset_options *o) {
    const clq_source *s = &d->source;
    clq_dataset_options fitted = *o;
    if ((o->resize.shorter || o->resize.height) && !o->height) { /* the images' own size then */
        if (s->height == 0) {
            return clq_fail(CLQ_USAGE,
                            "%s: images of several sizes: scaling needs the size that "
                            "is cut out of the result (data.size, --crop)",
                            d->path);
        }
        fitted.height = s->height;
        fitted.width = s->width;
        CLQ_TRY(check_options(&fitted));
        o = &fitted;
    }
    d->info.channels = o->channels ? o->channels : s->channels;
    d->info.height = s->height;
    d->info.width = s->width;
    d->info.equal_sizes = s->height > 0;
    if (o->height) {
        d->info.height = o->height;
        d->info.width = o->width ? o->width : o->height;
        d->fits = true;
        d->resize = o->resize;
        if (!d->resize.shorter && !d->resize.height) {
            const bool square = d->info.height == d->info.width;
            d->resize.shorter = square ? d->info.height : 0;
            d->resize.height = square ? 0 : d->info.height;
            d->resize.width = square ? 0 : d->info.width;
        }
    } else if (s->height == 0) {
        clq_image first = {0};
        CLQ_TRY(s->get(s->state, 0, d->info.channels, &first));
        d->info.height = first.height;
        d->info.width = first.width;
        clq_image_free(&first);
    }
    d->image_bytes = (size_t)d->info.height * (size_t)d->info.width * (size_t)d->info.channels;
    return CLQ_OK;
}

static clq_status select_images(clq_dataset *d, const clq_dataset_options *o) {
    clq_source *s = &d->source;
    d->first_part = s->shuffled;
    d->info.stored = s->count;
    d->info.count = o->limit > 0 && o->limit < s->count ? o->limit : s->count;
    d->info.labels = s->labels;
    if (s->labels && d->info.count < s->count) {
        d->labels = clq_calloc((size_t)d->info.count, sizeof *d->labels);
        if (!d->labels) {
            return CLQ_NO_MEMORY;
        }
        for (int64_t i = 0; i < d->info.count; i++) {
            d->labels[i] = s->labels[source_index(d, i)];
        }
        d->info.labels = d->labels;
    }
    return CLQ_OK;
}

static clq_status make_stored_image(void *context, int64_t index) {
    clq_dataset *d = context;
    return make_image(d, index, d->images + (size_t)index * d->image_bytes);
}

/* Decodes everything when it fits; then the source's own memory is not needed any more, but for
 * names. */
static clq_status load_all(clq_dataset *d, const clq_dataset_options *o) {
    const uint64_t limit = o->max_memory ? o->max_memory : DEFAULT_MEMORY;
    size_t bytes;
    if (!clq_mul_size((size_t)d->info.count, d->image_bytes, &bytes) || bytes > limit) {
        return CLQ_OK;
    }
    uint8_t *images = clq_calloc(bytes, 1);
    if (!images) {
        return CLQ_NO_MEMORY;
    }
    d->images = images;
    clq_progress progress;
    clq_progress_begin(&progress, "Loading images", "images", d->info.count);
    clq_status status =
        clq_parallel_for(o->threads, d->info.count, make_stored_image, d, &progress);
    clq_progress_end(&progress);
    if (status == CLQ_OK && d->source.release && !d->source.name) {
        d->source.release(d->source.state);
        d->source.release = NULL;
        d->source.state = NULL;
    }
    return status;
}

static uint64_t hash_names(const char *const *names, int count, uint64_t hash) {
    for (int i = 0; names && i < count; i++) {
        hash = clq_hash64_seeded(names[i], strlen(names[i]) + 1, hash);
    }
    return hash;
}

static uint64_t hash_table(const clq_table *t) {
    const size_t rows = (size_t)t->rows;
    const int64_t sizes[] = {t->rows, t->features, t->targets, t->class_count};
    uint64_t hash = clq_hash64(sizes, sizeof sizes);
    hash = clq_hash64_seeded(t->x, rows * (size_t)t->features * sizeof *t->x, hash);
    hash = t->y ? clq_hash64_seeded(t->y, rows * (size_t)t->targets * sizeof *t->y, hash) : hash;
    return t->labels ? clq_hash64_seeded(t->labels, rows * sizeof *t->labels, hash) : hash;
}

static clq_status open_table(clq_dataset *d, const clq_dataset_options *o) {
    clq_table_options options = o->table;
    options.split = o->split;
    CLQ_TRY(clq_table_open(d->path, &options, &d->table));
    const int64_t stored = d->table->rows;
    clq_table_limit(d->table, o->limit);
    d->table_hash = hash_table(d->table);
    d->info = (clq_dataset_info){.kind = "table",
                                 .path = d->path,
                                 .split = o->split,
                                 .count = d->table->rows,
                                 .stored = stored,
                                 .features = d->table->features,
                                 .targets = d->table->targets,
                                 .class_count = d->table->class_count,
                                 .class_names = (const char *const *)d->table->class_names,
                                 .labels = d->table->labels,
                                 .in_memory = true};
    clq_log_debug("%s: table, %lld rows of %d features, %d targets, %d classes", d->path,
                  (long long)d->info.count, d->info.features, d->info.targets, d->info.class_count);
    return CLQ_OK;
}

clq_status clq_dataset_require_labels(const clq_dataset *d) {
    CLQ_NEEDS(d);
    return d->info.class_count > 0 || d->info.targets > 0
               ? CLQ_OK
               : clq_fail(
                     CLQ_BAD_DATA,
                     "%s: its images have no labels; they have where each class has a folder of "
                     "its own or, for commands with --labels, where a list names the class of each "
                     "image; qat --distill fp32 --no-labels needs none",
                     d->path);
}

static clq_status open_images(clq_dataset *d, const clq_dataset_options *o) {
    clq_source *s = &d->source;
    CLQ_TRY(clq_source_open(d->path, o, s));
    if (!s->class_names && s->class_count > 0) {
        CLQ_TRY(number_classes(s));
    }
    d->info.kind = s->kind;
    d->info.path = d->path;
    d->info.split = o->split;
    d->info.unsplit = s->unsplit;
    d->info.class_count = s->class_count;
    d->info.class_names = (const char *const *)s->class_names;
    if (o->needs_labels) {
        CLQ_TRY(clq_dataset_require_labels(d));
    }
    CLQ_TRY(choose_shape(d, o));
    CLQ_TRY(select_images(d, o));
    d->info.usual =
        clq_normalization_constants(s->constants, d->info.channels, d->info.mean, d->info.std);
    CLQ_TRY(load_all(d, o));
    d->info.in_memory = d->images != NULL;
    clq_log_debug("%s: %s, %lld images of %dx%dx%d, %d classes%s", d->path, d->info.kind,
                  (long long)d->info.count, d->info.height, d->info.width, d->info.channels,
                  d->info.class_count, d->images ? "" : ", decoded when needed");
    return CLQ_OK;
}

static clq_status open_dataset(clq_dataset *d, const clq_dataset_options *o) {
    CLQ_TRY(check_options(o));
    return !o->list.file && clq_table_here(d->path) ? open_table(d, o) : open_images(d, o);
}

/* ---- what is in it ---- */

typedef struct hashing {
    const clq_dataset *dataset;
    uint64_t *hashes; /* of each image */
} hashing;

/* By name below the data set's folder, which may move, and size. */
static clq_status hash_file(const clq_dataset *d, int64_t index, uint64_t *hash) {
    char text[PATH_MAX];
    struct stat info;
    image_name(d, index, text, sizeof text);
    if (stat(text, &info) != 0) {
        return clq_fail(CLQ_NO_INPUT, "%s: cannot be read", text);
    }
    const size_t length = strlen(d->path);
    const char *below = strncmp(text, d->path, length) == 0 ? text + length : text;
    below += strspn(below, "/");
    const int64_t size = info.st_size;
    *hash = clq_hash64_seeded(below, strlen(below), clq_hash64(&size, sizeof size));
    return CLQ_OK;
}

static clq_status hash_image(void *context, int64_t index) {
    const hashing *h = context;
    const clq_dataset *d = h->dataset;
    if (d->images) {
        const uint8_t *image = d->images + (size_t)index * d->image_bytes;
        h->hashes[index] = clq_hash64(image, d->image_bytes);
        return CLQ_OK;
    }
    if (d->source.name) {
        return hash_file(d, index, &h->hashes[index]);
    }
    clq_image image = {0};
    CLQ_TRY(d->source.get(d->source.state, source_index(d, index), d->info.channels, &image));
    const size_t bytes = (size_t)image.height * (size_t)image.width * (size_t)image.channels;
    h->hashes[index] = clq_hash64(image.data, bytes);
    clq_image_free(&image);
    return CLQ_OK;
}

clq_status clq_dataset_hash(const clq_dataset *d, uint64_t *hash) {
    CLQ_NEEDS(d, hash);
    const size_t count = (size_t)d->info.count;
    *hash = hash_names(d->info.class_names, d->info.class_count, d->table_hash);
    if (d->info.labels) {
        *hash = clq_hash64_seeded(d->info.labels, count * sizeof *d->info.labels, *hash);
    }
    if (d->table) {
        *hash = hash_names((const char *const *)d->table->column_names, d->info.features, *hash);
        return CLQ_OK;
    }
    hashing h = {.dataset = d, .hashes = clq_calloc(count, sizeof *h.hashes)};
    if (!h.hashes) {
        return CLQ_NO_MEMORY;
    }
    const clq_status status = clq_parallel_for(0, d->info.count, hash_image, &h, NULL);
    *hash = clq_hash64_seeded(h.hashes, count * sizeof *h.hashes, *hash);
    clq_free(h.hashes);
    return status;
}

/* ---- classes ---- */

void clq_dataset_forget_labels(clq_dataset *d) {
    CLQ_NEEDS_OR(, d);
    if (d->table) {
        clq_free(d->table->labels);
        d->table->labels = NULL;
    }
    d->info.labels = NULL; /* the source keeps its own: a folder finds its files by them */
}

clq_status clq_dataset_map_classes(clq_dataset *d, const int32_t *map, const char *const *names,
                                   int count) {
    CLQ_NEEDS(d, map, names);
    const int32_t *old = d->info.labels;
    for (int64_t i = 0; i < d->info.count; i++) {
        if (!old || map[old[i]] < 0 || map[old[i]] >= count) {
            return clq_fail(CLQ_USAGE, "%s: a label without a new number in 0..%d", d->path,
                            count - 1);
        }
    }
    char **copies = NULL;
    int32_t *labels = clq_calloc((size_t)d->info.count, sizeof *labels);
    clq_status status = labels ? copy_names(d->path, names, count, &copies) : CLQ_NO_MEMORY;
    if (status != CLQ_OK) {
        clq_free(labels);
        return status;
    }
    for (int64_t i = 0; i < d->info.count; i++) {
        labels[i] = map[old[i]];
    }
    if (d->table) {
        clq_free(d->table->labels);
        free_names(d->table->class_names, d->table->class_count);
        d->table->labels = labels;
        d->table->class_names = copies;
        d->table->class_count = count;
    } else {
        /* The source keeps its own: a folder finds its files by them. */
        clq_free(d->labels);
        free_names(d->class_names, d->info.class_count);
        d->labels = labels;
        d->class_names = copies;
    }
    d->info.labels = labels;
    d->info.class_names = (const char *const *)copies;
    d->info.class_count = count;
    return CLQ_OK;
}

clq_status clq_dataset_open(const char *path, const clq_dataset_options *options,
                            clq_dataset **dataset) {
    CLQ_NEEDS(path, dataset);
    static const clq_dataset_options defaults = {0};
    *dataset = NULL;
    clq_dataset *d = clq_calloc(1, sizeof *d);
    if (!d) {
        return CLQ_NO_MEMORY;
    }
    d->path = clq_strdup(path);
    clq_status status = d->path ? open_dataset(d, options ? options : &defaults) : CLQ_NO_MEMORY;
    if (status != CLQ_OK) {
        clq_dataset_close(d);
        return status;
    }
    *dataset = d;
    return CLQ_OK;
}

void clq_dataset_close(clq_dataset *dataset) {
    if (!dataset) {
        return;
    }
    free_names(dataset->class_names, dataset->info.class_count);
    source_clear(&dataset->source);
    clq_table_close(dataset->table);
    clq_free(dataset->labels);
    clq_free(dataset->images);
    clq_free(dataset->path);
    clq_free(dataset);
}

const clq_dataset_info *clq_dataset_get_info(const clq_dataset *dataset) {
    CLQ_NEEDS_OR(NULL, dataset);
    return &dataset->info;
}

clq_table *clq_dataset_table(clq_dataset *dataset) {
    CLQ_NEEDS_OR(NULL, dataset);
    return dataset->table;
}
