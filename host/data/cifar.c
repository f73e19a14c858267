/* CIFAR-10 and CIFAR-100, "binary version" (https://www.cs.toronto.edu/~kriz/cifar.html): records
 * of one (10) or two (100: coarse, fine) label bytes and 3 x 32 x 32 bytes, channel by channel. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"
#include "data/dataset.h"

enum { SIDE = 32, PIXELS = SIDE * SIDE, MAX_FILES = 5 };
#define MAX_FILE_BYTES ((size_t)1 << 30)

static const char *const train10[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                      "data_batch_4.bin", "data_batch_5.bin"};
const char *const clq_cifar10_names[10] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                           "dog",      "frog",       "horse", "ship", "truck"};

typedef struct cifar {
    uint8_t *records; /* (count, label_bytes + 3 * PIXELS) */
    int label_bytes;
} cifar;

static size_t record_size(const cifar *c) {
    return (size_t)c->label_bytes + 3 * PIXELS;
}

static bool has_file(const char *folder, const char *name) {
    char *path = clq_path_join(folder, name);
    bool there = path && clq_file_exists(path);
    clq_free(path);
    return there;
}

bool clq_cifar_here(const char *folder, int classes) {
    if (classes == 10) {
        return has_file(folder, train10[0]) || has_file(folder, "test_batch.bin");
    }
    return has_file(folder, "train.bin") || has_file(folder, "test.bin");
}

static clq_status get(const void *state, int64_t index, int channels, clq_image *image) {
    const cifar *c = state;
    (void)channels;
    CLQ_TRY(clq_image_create("cifar", SIDE, SIDE, 3, image));
    const uint8_t *planes = c->records + (size_t)index * record_size(c) + c->label_bytes;
    for (size_t i = 0; i < PIXELS; i++) {
        image->data[3 * i] = planes[i];
        image->data[3 * i + 1] = planes[PIXELS + i];
        image->data[3 * i + 2] = planes[2 * PIXELS + i];
    }
    return CLQ_OK;
}

static void release(void *state) {
    cifar *c = state;
    clq_free(c->records);
    clq_free(c);
}

/* A clq_file_check with the source as context: whole records. */
static clq_status check_size(void *context, const char *path, const void *head, size_t head_size,
                             uint64_t size) {
    const clq_source *source = context;
    const size_t record = record_size(source->state);
    (void)head;
    (void)head_size;
    if (size != CLQ_UNKNOWN_SIZE && (size == 0 || size % record != 0)) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: %llu bytes; a %s file is one or more records of %zu bytes", path,
                        (unsigned long long)size, source->kind, record);
    }
    return CLQ_OK;
}

/* Appends one file's records. */
static clq_status append_file(const char *folder, const char *name, clq_source *source) {
    cifar *c = source->state;
    const size_t record = record_size(c);
    void *data = NULL;
    size_t size = 0;
    clq_status status = CLQ_OK;
    char *path = clq_path_join(folder, name);
    if (!path) {
        return CLQ_NO_MEMORY;
    }
    CLQ_GOTO(status, cleanup,
             clq_file_read_checked(path, MAX_FILE_BYTES, check_size, source, &data, &size));
    CLQ_GOTO(status, cleanup, check_size(source, path, data, size, size));
    for (size_t i = 0; i < size / record; i++) {
        int label = ((uint8_t *)data)[i * record + (size_t)c->label_bytes - 1];
        if (label >= source->class_count) {
            status = clq_fail(CLQ_BAD_DATA, "%s: record %zu: label %d, must be 0..%d", path, i,
                              label, source->class_count - 1);
            goto cleanup;
        }
    }
    size_t have = (size_t)source->count * record;
    uint8_t *grown = clq_realloc(c->records, have + size, 1); /* at most 5 GiB in all */
    if (!grown) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    c->records = grown;
    memcpy(c->records + have, data, size);
    source->count += (int64_t)(size / record);

cleanup:
    clq_free(data);
    clq_free(path);
    return status;
}

/* One name a line; a file that is missing or has another number of lines is not used. */
static clq_status read_names(const char *folder, const char *file, clq_source *source) {
    void *data = NULL;
    size_t size = 0;
    char *path = clq_path_join(folder, file);
    const char *names[100];
    int count = 0;
    clq_status status = CLQ_OK;
    if (!path) {
        return CLQ_NO_MEMORY;
    }
    if (!clq_file_exists(path)) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_file_read(path, 1 << 16, &data, &size));
    for (char *save = NULL, *line = strtok_r(data, "\r\n", &save); line;
         line = strtok_r(NULL, "\r\n", &save)) {
        if (count < source->class_count) {
            names[count] = line;
        }
        count++;
    }
    if (count != source->class_count) {
        status = clq_fail(CLQ_BAD_DATA, "%s: %d class name%s, must be %d", path, count,
                          clq_plural(count), source->class_count);
        goto cleanup;
    }
    status = clq_source_set_names(source, path, names, count);

cleanup:
    clq_free(data);
    clq_free(path);
    return status;
}

clq_status clq_cifar_open(const char *folder, clq_split split, int classes, clq_source *source) {
    const bool ten = classes == 10;
    const char *const test = ten ? "test_batch.bin" : "test.bin";
    const char *const train100 = "train.bin";
    const char *const *files = ten ? train10 : &train100;
    int file_count = ten ? MAX_FILES : 1;
    if (split == CLQ_SPLIT_TEST) {
        files = &test;
        file_count = 1;
    }
    cifar *c = clq_calloc(1, sizeof *c);
    if (!c) {
        return CLQ_NO_MEMORY;
    }
    source->state = c;
    source->release = release;
    source->get = get;
    source->kind = ten ? "cifar10" : "cifar100";
    source->shuffled = true;
    source->height = source->width = SIDE;
    source->channels = 3;
    source->class_count = classes;
    c->label_bytes = ten ? 1 : 2;
    source->constants = source->kind;
    for (int i = 0; i < file_count; i++) {
        CLQ_TRY(append_file(folder, files[i], source));
    }
    source->labels = clq_calloc((size_t)source->count, sizeof *source->labels);
    if (!source->labels) {
        return CLQ_NO_MEMORY;
    }
    for (int64_t i = 0; i < source->count; i++) {
        source->labels[i] = c->records[(size_t)i * record_size(c) + (size_t)c->label_bytes - 1];
    }
    CLQ_TRY(read_names(folder, ten ? "batches.meta.txt" : "fine_label_names.txt", source));
    if (!source->class_names && ten) {
        CLQ_TRY(clq_source_set_names(source, folder, clq_cifar10_names, 10));
    }
    return CLQ_OK;
}
