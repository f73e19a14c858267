#include "cli/dump.h"

#include <string.h>

#include "cli/pipeline.h"
#include "data/npy.h"
#include "ops/quantized_run.h"

/* (H, W, C) to (C, H, W). */
static void to_chw(const float *hwc, int64_t height, int64_t width, int64_t channels, float *chw) {
    for (int64_t p = 0; p < height * width; p++) {
        for (int64_t c = 0; c < channels; c++) {
            chw[c * height * width + p] = hwc[p * channels + c];
        }
    }
}

clq_status clq_dump_inputs(clq_device *device, const clq_graph *graph, clq_dataset *dataset,
                           const char *path) {
    const clq_shape *shape = &graph->values[clq_graph_input(graph)].shape;
    const size_t pixels = (size_t)clq_shape_count(shape);
    const int64_t total = clq_dataset_get_info(dataset)->count;
    const int batch = clq_eval_batch(graph, total);
    /* A row is an image of one pixel. */
    const int64_t height = shape->rank == 4 ? shape->dim[1] : 1,
                  width = shape->rank == 4 ? shape->dim[2] : 1,
                  channels = shape->dim[shape->rank - 1], dims[] = {total, channels, height, width};
    clq_status status = CLQ_OK;
    clq_feed *feed = NULL;
    clq_buffer *buffer = NULL;
    int64_t done = 0;
    float *all = clq_calloc((size_t)total, pixels * sizeof *all);
    float *images = clq_calloc((size_t)batch, pixels * sizeof *images);
    if (!all || !images) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_data_feed(device, graph, dataset, batch, &feed));
    CLQ_GOTO(status, cleanup,
             clq_buffer_create(device, (size_t)batch * pixels * sizeof *all, &buffer));
    for (;;) {
        clq_feed_batch data;
        CLQ_GOTO(status, cleanup, clq_feed_next(feed, buffer, &data));
        const int count = data.count;
        if (count == 0) {
            break;
        }
        CLQ_GOTO(status, cleanup,
                 clq_buffer_read(buffer, 0, (size_t)count * pixels * sizeof *all, images));
        for (int i = 0; i < count; i++) {
            to_chw(images + (size_t)i * pixels, height, width, channels,
                   all + (size_t)done++ * pixels);
        }
    }
    CLQ_GOTO(status, cleanup, clq_npy_write(path, all, dims, shape->rank));
cleanup:
    clq_buffer_release(buffer);
    clq_feed_destroy(feed);
    clq_free(images);
    clq_free(all);
    return status;
}

clq_status clq_dump_labels(const clq_dataset *dataset, const char *path) {
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    if (!info->labels) {
        return clq_fail(CLQ_USAGE, "%s: has no classes, so there are no labels to write",
                        info->path);
    }
    float *labels = clq_calloc((size_t)info->count, sizeof *labels);
    if (!labels) {
        return CLQ_NO_MEMORY;
    }
    for (int64_t i = 0; i < info->count; i++) {
        labels[i] = (float)info->labels[i];
    }
    const clq_status status = clq_npy_write(path, labels, &info->count, 1);
    clq_free(labels);
    return status;
}

/* One value's codes of all images, without the padding channels; of signed types as S8. */
typedef struct codes {
    uint8_t *data; /* NULL: the value has none */
    size_t per_image;
} codes;

static clq_status take_codes(const clq_tensor *tensor, int64_t first, int count, codes *to) {
    const size_t channels = (size_t)tensor->shape.dim[tensor->shape.rank - 1],
                 pitch = (size_t)tensor->pitch;
    const size_t pixels = to->per_image / channels * (size_t)count;
    uint8_t *raw = clq_calloc(pixels, pitch);
    if (!raw) {
        return CLQ_NO_MEMORY;
    }
    const clq_status status = clq_buffer_read(tensor->buffer, 0, pixels * pitch, raw);
    for (size_t p = 0; status == CLQ_OK && p < pixels; p++) {
        memcpy(to->data + (size_t)first * to->per_image + p * channels, raw + p * pitch, channels);
    }
    clq_free(raw);
    for (size_t i = 0; i < (size_t)count * to->per_image; i++) {
        to->data[(size_t)first * to->per_image + i] -= (uint8_t)clq_code_byte(tensor->value, 0);
    }
    return status;
}

static clq_status save_codes(const clq_graph *graph, const codes *all, int64_t images,
                             const char *path) {
    clq_tensors *tensors = NULL;
    clq_status status = clq_tensors_create(&tensors);
    for (int v = 0; v < graph->value_count && status == CLQ_OK; v++) {
        if (all[v].data) {
            const clq_value *value = &graph->values[v];
            const bool is_signed = clq_qtype_get(value->q.type)->is_signed;
            clq_shape shape = value->shape;
            shape.dim[0] = images;
            status = clq_tensors_lend(tensors, value->name, is_signed ? CLQ_FILE_I8 : CLQ_FILE_U8,
                                      shape.rank, shape.dim, all[v].data);
        }
    }
    if (status == CLQ_OK) {
        status = clq_tensors_save(tensors, path);
    }
    clq_tensors_destroy(tensors);
    return status;
}

clq_status clq_dump_codes(clq_device *device, const clq_graph *graph, clq_dataset *dataset,
                          const char *path) {
    const int64_t images = clq_dataset_get_info(dataset)->count;
    const int batch = clq_eval_batch(graph, images);
    const clq_exec_options options = {.mode = CLQ_EXEC_INT8, .batch = batch, .keep_all = true};
    clq_status status = CLQ_OK;
    clq_exec *exec = NULL;
    clq_feed *feed = NULL;
    codes *all = clq_calloc((size_t)graph->value_count, sizeof *all);
    if (!all) {
        return CLQ_NO_MEMORY;
    }
    CLQ_GOTO(status, cleanup, clq_exec_create(device, graph, &options, &exec));
    CLQ_GOTO(status, cleanup, clq_data_feed(device, graph, dataset, batch, &feed));
    for (int v = 0; v < graph->value_count; v++) {
        const clq_tensor *tensor = clq_exec_value(exec, v);
        if (tensor && tensor->dtype == CLQ_U8) {
            all[v].per_image = (size_t)clq_shape_count(&graph->values[v].shape);
            all[v].data = clq_calloc((size_t)images, all[v].per_image);
            if (!all[v].data) {
                status = CLQ_NO_MEMORY;
                goto cleanup;
            }
        }
    }
    for (int64_t first = 0;;) {
        clq_feed_batch data;
        CLQ_GOTO(status, cleanup, clq_feed_next(feed, clq_exec_input(exec)->buffer, &data));
        const int count = data.count;
        if (count == 0) {
            break;
        }
        CLQ_GOTO(status, cleanup, clq_exec_forward(exec));
        for (int v = 0; v < graph->value_count; v++) {
            if (all[v].data) {
                CLQ_GOTO(status, cleanup,
                         take_codes(clq_exec_value(exec, v), first, count, &all[v]));
            }
        }
        first += count;
    }
    CLQ_GOTO(status, cleanup, save_codes(graph, all, images, path));
cleanup:
    for (int v = 0; v < graph->value_count; v++) {
        clq_free(all[v].data);
    }
    clq_free(all);
    clq_feed_destroy(feed);
    clq_exec_destroy(exec);
    return status;
}
