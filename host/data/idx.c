/* idx files as MNIST has them (http://yann.lecun.com/exdb/mnist): two zero bytes, the type (8:
 * unsigned byte), the number of dimensions, each dimension as a big-endian 32-bit number, data.
 * Gzipped ones, as they are handed out, are told by their first bytes. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"
#include "data/dataset.h"
#include "data/gzip.h"

#define MAX_FILE_BYTES ((size_t)1 << 36)
enum { MAX_DIMS = 4, MOST_PACKED = 1040 /* bytes that gzip can make one of */ };

/* The first of each row that exists, so or with .gz, is taken. */
static const char *const image_files[2][4] = {
    {"train-images-idx3-ubyte", "train-images.idx3-ubyte", "train-images-idx4-ubyte", NULL},
    {"t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte", "t10k-images-idx4-ubyte",
     "test-images-idx3-ubyte"},
};
static const char *const label_files[2][4] = {
    {"train-labels-idx1-ubyte", "train-labels.idx1-ubyte", NULL, NULL},
    {"t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte", "test-labels-idx1-ubyte", NULL},
};

typedef struct idx {
    uint8_t *file; /* the image file's bytes */
    const uint8_t *images;
    int height, width, channels;
} idx;

/* Path of the first file that exists; NULL in *path when none does. */
static clq_status find_file(const char *folder, const char *const names[4], char **path) {
    *path = NULL;
    for (int i = 0; i < 4 && names[i]; i++) {
        *path = clq_path_join(folder, names[i]);
        if (!*path) {
            return CLQ_NO_MEMORY;
        }
        if (clq_file_exists(*path)) {
            return CLQ_OK;
        }
        char *packed = clq_format("%s.gz", *path);
        clq_free(*path);
        *path = packed;
        if (!packed) {
            return CLQ_NO_MEMORY;
        }
        if (clq_file_exists(packed)) {
            return CLQ_OK;
        }
        clq_free(packed);
        *path = NULL;
    }
    return CLQ_OK;
}

bool clq_idx_here(const char *folder) {
    for (int split = 0; split < 2; split++) {
        char *path = NULL;
        if (find_file(folder, image_files[split], &path) == CLQ_OK && path) {
            clq_free(path);
            return true;
        }
    }
    return false;
}

/* What a file must be, and is. */
typedef struct idx_header {
    int min_rank, max_rank;
    int rank;
    uint32_t dims[MAX_DIMS]; /* (rank) */
    size_t size, data_size;  /* of the header; of what follows it */
} idx_header;

/* Fills in the header from the first bytes, and compares it with the size, where that is known. */
static clq_status read_header(idx_header *h, const char *path, const void *head, size_t head_size,
                              uint64_t size) {
    const uint8_t *b = head;
    size_t product = 1;
    if (head_size < 4 || b[0] || b[1] || b[2] != 8) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: not an idx file of unsigned bytes (it must begin "
                        "with 00 00 08)",
                        path);
    }
    h->rank = b[3];
    if (h->rank < h->min_rank || h->rank > h->max_rank) {
        return clq_fail(CLQ_BAD_DATA, "%s: %d dimension%s, must be %d..%d", path, h->rank,
                        clq_plural(h->rank), h->min_rank, h->max_rank);
    }
    h->size = 4 + 4 * (size_t)h->rank;
    for (int i = 0; i < h->rank && h->size <= head_size; i++) {
        const uint8_t *d = b + 4 + 4 * i;
        h->dims[i] = (uint32_t)d[0] << 24 | (uint32_t)d[1] << 16 | (uint32_t)d[2] << 8 | d[3];
        if (h->dims[i] == 0 || !clq_mul_size(product, h->dims[i], &product)) {
            return clq_fail(CLQ_BAD_DATA, "%s: dimension %d is %u", path, i, h->dims[i]);
        }
    }
    if (h->size > head_size || (size != CLQ_UNKNOWN_SIZE && size - h->size != product)) {
        return clq_fail(CLQ_BAD_DATA, "%s: %llu bytes; its header asks for %zu + %zu", path,
                        (unsigned long long)size, h->size, product);
    }
    h->data_size = product;
    return CLQ_OK;
}

/* A clq_file_check. */
static clq_status check_header(void *context, const char *path, const void *head, size_t head_size,
                               uint64_t size) {
    return clq_is_gzip(head, head_size) ? CLQ_OK
                                        : read_header(context, path, head, head_size, size);
}

/* What is packed in *bytes takes its place. */
static clq_status unpack(const char *path, idx_header *header, void **bytes, size_t *size) {
    uint8_t head[4 + 4 * MAX_DIMS];
    size_t got, room;
    CLQ_TRY(clq_gunzip(path, *bytes, *size, head, sizeof head, &got));
    CLQ_TRY(read_header(header, path, head, got, CLQ_UNKNOWN_SIZE));
    if (!clq_add_size(header->size + 1, header->data_size, &room) || room > MAX_FILE_BYTES ||
        room / MOST_PACKED > *size) {
        return clq_fail(CLQ_BAD_DATA, "%s: its header asks for %zu bytes, more than it can hold",
                        path, header->data_size);
    }
    uint8_t *unpacked = clq_calloc(room, 1);
    if (!unpacked) {
        return CLQ_NO_MEMORY;
    }
    const clq_status status = clq_gunzip(path, *bytes, *size, unpacked, room, &got);
    clq_free(*bytes);
    *bytes = unpacked;
    *size = got;
    return status;
}

/* Reads a file (clq_free it) whose header and length agree; *data is behind the header. */
static clq_status read_idx(const char *path, idx_header *header, uint8_t **file,
                           const uint8_t **data) {
    void *bytes = NULL;
    size_t size = 0;
    CLQ_TRY(clq_file_read_checked(path, MAX_FILE_BYTES, check_header, header, &bytes, &size));
    clq_status status = clq_is_gzip(bytes, size) ? unpack(path, header, &bytes, &size) : CLQ_OK;
    if (status == CLQ_OK) {
        status = read_header(header, path, bytes, size, size);
    }
    if (status != CLQ_OK) {
        clq_free(bytes);
        return status;
    }
    *file = bytes;
    *data = *file + header->size;
    return CLQ_OK;
}

static clq_status get(const void *state, int64_t index, int channels, clq_image *image) {
    const idx *x = state;
    (void)channels;
    CLQ_TRY(clq_image_create("idx", x->height, x->width, x->channels, image));
    size_t bytes = (size_t)x->height * (size_t)x->width * (size_t)x->channels;
    memcpy(image->data, x->images + (size_t)index * bytes, bytes);
    return CLQ_OK;
}

static void release(void *state) {
    idx *x = state;
    clq_free(x->file);
    clq_free(x);
}

static clq_status read_images(const char *path, clq_source *source) {
    idx *x = source->state;
    idx_header header = {.min_rank = 3, .max_rank = 4, .dims = {0, 0, 0, 1}};
    const uint32_t *dims = header.dims;
    CLQ_TRY(read_idx(path, &header, &x->file, &x->images));
    if (dims[0] > INT32_MAX || dims[1] > CLQ_IMAGE_MAX_SIDE || dims[2] > CLQ_IMAGE_MAX_SIDE ||
        (dims[3] != 1 && dims[3] != 3)) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: %u images of %u x %u with %u channels; at most %d images, sides up to "
                        "%d, 1 or 3 channels",
                        path, dims[0], dims[1], dims[2], dims[3], INT32_MAX, CLQ_IMAGE_MAX_SIDE);
    }
    source->count = dims[0];
    source->height = x->height = (int)dims[1];
    source->width = x->width = (int)dims[2];
    source->channels = x->channels = (int)dims[3];
    return CLQ_OK;
}

static clq_status read_labels(const char *path, clq_source *source) {
    uint8_t *file = NULL;
    const uint8_t *data = NULL;
    idx_header header = {.min_rank = 1, .max_rank = 1};
    clq_status status = read_idx(path, &header, &file, &data);
    CLQ_TRY(status);
    const uint32_t count = header.dims[0];
    if (count != source->count) {
        status = clq_fail(CLQ_BAD_DATA, "%s: %u label%s for %lld image%s", path, count,
                          clq_plural(count), (long long)source->count, clq_plural(source->count));
        goto cleanup;
    }
    source->labels = clq_calloc(count, sizeof *source->labels);
    if (!source->labels) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    for (uint32_t i = 0; i < count; i++) {
        source->labels[i] = data[i];
        if (data[i] >= source->class_count) {
            source->class_count = data[i] + 1;
        }
    }

cleanup:
    clq_free(file);
    return status;
}

/* The largest label of both splits decides how many classes there are, so that a test split
 * that lacks the last class agrees with training. */
static clq_status count_other_classes(const char *folder, clq_split split, clq_source *source) {
    uint8_t *file = NULL;
    const uint8_t *data = NULL;
    idx_header header = {.min_rank = 1, .max_rank = 1};
    char *path = NULL;
    CLQ_TRY(find_file(folder, label_files[split == CLQ_SPLIT_TRAIN], &path));
    if (!path) {
        return CLQ_OK;
    }
    clq_status status = read_idx(path, &header, &file, &data);
    clq_free(path);
    CLQ_TRY(status);
    for (uint32_t i = 0; i < header.dims[0]; i++) {
        if (data[i] >= source->class_count) {
            source->class_count = data[i] + 1;
        }
    }
    clq_free(file);
    return CLQ_OK;
}

clq_status clq_idx_open(const char *folder, clq_split split, clq_source *source) {
    const int row = split == CLQ_SPLIT_TEST;
    char *images = NULL, *labels = NULL;
    clq_status status = CLQ_OK;
    idx *x = clq_calloc(1, sizeof *x);
    if (!x) {
        return CLQ_NO_MEMORY;
    }
    source->state = x;
    source->release = release;
    source->get = get;
    source->kind = "idx";
    source->shuffled = true;
    CLQ_GOTO(status, cleanup, find_file(folder, image_files[row], &images));
    CLQ_GOTO(status, cleanup, find_file(folder, label_files[row], &labels));
    if (!images || !labels) {
        status = clq_fail(CLQ_NO_INPUT, "%s: %s is missing", folder,
                          images ? label_files[row][0] : image_files[row][0]);
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, read_images(images, source));
    CLQ_GOTO(status, cleanup, read_labels(labels, source));
    CLQ_GOTO(status, cleanup, count_other_classes(folder, split, source));
    source->constants = source->channels == 1 ? "mnist" : "imagenet";

cleanup:
    clq_free(images);
    clq_free(labels);
    return status;
}
