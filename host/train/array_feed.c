#include "train/array_feed.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "data/draws.h"
#include "formats/layout.h"

struct clq_array_feed {
    clq_arrays *arrays;
    const clq_graph *graph;
    int source[CLQ_MAX_ENDS]; /* the array of each input */
    int batch;
    int64_t each[CLQ_MAX_ENDS]; /* rows of an input's array that are one sample */
    int64_t rows;               /* that are fed */
    int64_t stored;
    int64_t next;        /* row that comes next, of `rows` */
    float *read, *image; /* one batch of the largest input; one image */
    int labels;          /* array of the rows' classes; -1: there are none */
    int64_t label_size;  /* labels of a sample: 1, or those of its pixels */
    int classes;         /* training: of the network; else 0 */
    int32_t *numbers; /* (batch, label_size): of the latest batch, the last repeated to the end */
    /* training: */
    bool training;
    uint64_t seed;
    int shard, shards;         /* this feed's part of each batch of batch * shards rows */
    float *held[CLQ_MAX_ENDS]; /* (rows, ...): each input, in the graph's order */
    int32_t *held_labels;      /* (rows, label_size); NULL: there are none */
    uint32_t *order;           /* (rows): of the epoch `ordered` */
    int64_t epoch, ordered;
};

/* ---- which array is which input ---- */

/* "left (N, 3, 6, 5)" */
static void describe(clq_text *text, const char *name, const char *count, int rank,
                     const int64_t *dims) {
    clq_text_printf(text, "%.100s%s(%s", name, *name ? " " : "", count);
    for (int d = 1; d < rank; d++) {
        clq_text_printf(text, ", %lld", (long long)dims[d]);
    }
    clq_text_printf(text, "%s)", rank == 1 ? "," : "");
}

/* As the arrays have it. */
static clq_shape input_shape(const clq_array_feed *feed, int input) {
    return clq_arrays_order(feed->arrays) == CLQ_ORDER_NHWC
               ? feed->graph->values[feed->graph->inputs[input]].shape
               : clq_input_file_shape(feed->graph, input);
}

static void describe_input(clq_text *text, const clq_array_feed *feed, int input) {
    const clq_shape shape = input_shape(feed, input);
    describe(text, clq_graph_input_name(feed->graph, input), "N", shape.rank, shape.dim);
}

static void describe_array(clq_text *text, const clq_array *array) {
    char count[24];
    snprintf(count, sizeof count, "%lld", (long long)array->dims[0]);
    describe(text, array->name, count, array->rank, array->dims);
}

/* Says what the file has and what the network takes. */
static clq_status refuse(const clq_array_feed *feed, const char *rule) {
    clq_text text = {0};
    for (int i = 0; i < clq_arrays_count(feed->arrays); i++) {
        clq_text_printf(&text, "%s", i ? ", " : "");
        describe_array(&text, clq_arrays_at(feed->arrays, i));
    }
    clq_text_printf(&text, "; the network takes ");
    for (int i = 0; i < feed->graph->input_count; i++) {
        clq_text_printf(&text, "%s", i ? ", " : "");
        describe_input(&text, feed, i);
    }
    const clq_status status =
        clq_fail(CLQ_BAD_DATA, "%s: %s: the file has %s", clq_arrays_path(feed->arrays), rule,
                 text.data ? text.data : "other arrays");
    clq_text_free(&text);
    return status;
}

/* Rows of the array that are one sample; 0: it does not fit. A network that takes a whole batch as
 * one sample, (1, 8, 3, 6, 5), takes arrays of the file's shape too, (8, 3, 6, 5). */
static int64_t fits(const clq_array_feed *feed, int input, const clq_array *array) {
    const clq_shape shape = input_shape(feed, input);
    const int first = array->rank == shape.rank ? 1 : 2;
    const int64_t each = first == 1 ? 1 : shape.dim[1];
    bool same =
        array->rank == shape.rank - first + 1 && shape.rank >= first && array->dims[0] % each == 0;
    for (int d = first; same && d < shape.rank; d++) {
        same = array->dims[d - first + 1] == shape.dim[d];
    }
    return same ? each : 0;
}

/* The arrays that are no input's. */
static clq_status say_left_out(const clq_array_feed *feed) {
    clq_text text = {0};
    for (int a = 0; a < clq_arrays_count(feed->arrays); a++) {
        bool used = a == feed->labels;
        for (int i = 0; i < feed->graph->input_count; i++) {
            used = used || feed->source[i] == a;
        }
        if (!used) {
            clq_text_puts(&text, text.size ? ", " : "");
            describe_array(&text, clq_arrays_at(feed->arrays, a));
        }
    }
    const clq_status status = clq_text_status(&text);
    if (status == CLQ_OK && text.size) {
        clq_log_info("%s: left out, for no input has the name: %s", clq_arrays_path(feed->arrays),
                     text.data);
    }
    clq_text_free(&text);
    return status;
}

/* Labels of a sample: one, or (H, W) of the output's pixels; 0: neither. */
static int64_t label_size(const clq_array_feed *feed) {
    const clq_array *labels = clq_arrays_at(feed->arrays, feed->labels);
    const clq_shape *output = &feed->graph->values[feed->graph->outputs[0].value].shape;
    if (labels->rank == 1) {
        return 1;
    }
    return labels->rank == 3 && output->rank == 4 && labels->dims[1] == output->dim[1] &&
                   labels->dims[2] == output->dim[2]
               ? labels->dims[1] * labels->dims[2]
               : 0;
}

static int64_t output_pixels(const clq_graph *graph) {
    const clq_shape *output = &graph->values[graph->outputs[0].value].shape;
    return output->rank == 4 ? output->dim[1] * output->dim[2] : 1;
}

/* The array that alone has the shape of the only input; -1: there is none, or several. */
static int only_fitting(const clq_array_feed *feed) {
    const int rank = input_shape(feed, 0).rank;
    int found = -1;
    for (int a = 0; a < clq_arrays_count(feed->arrays); a++) {
        const clq_array *array = clq_arrays_at(feed->arrays, a);
        if (a != feed->labels && array->rank == rank && fits(feed, 0, array) > 0) {
            if (found >= 0) {
                return -1;
            }
            found = a;
        }
    }
    return found;
}

/* The rule that is broken; NULL: none is. */
static const char *match(clq_array_feed *feed) {
    const clq_graph *graph = feed->graph;
    const int count = clq_arrays_count(feed->arrays);
    for (int i = 0; i < graph->input_count; i++) {
        /* A single one may have any name. */
        const int others = feed->labels >= 0;
        feed->source[i] = count == 1 + others && graph->input_count == 1 ? feed->labels == 0 : -1;
        for (int a = 0; a < count; a++) { /* labels are never an input's */
            if (a != feed->labels &&
                strcmp(clq_arrays_at(feed->arrays, a)->name, clq_graph_input_name(graph, i)) == 0) {
                feed->source[i] = a;
            }
        }
        if (feed->source[i] < 0 && graph->input_count == 1) {
            feed->source[i] = only_fitting(feed);
        }
        if (feed->source[i] < 0) {
            return "every input needs an array of its name";
        }
        const clq_array *array = clq_arrays_at(feed->arrays, feed->source[i]);
        feed->each[i] = fits(feed, i, array);
        if (feed->each[i] == 0) {
            return "shapes must fit";
        }
        if (i > 0 && array->dims[0] / feed->each[i] != feed->stored) {
            return "all arrays must have the same number of rows";
        }
        feed->stored = array->dims[0] / feed->each[i];
    }
    if (feed->labels < 0) {
        return NULL; /* room for zeros is that of the output's */
    }
    feed->label_size = label_size(feed);
    return clq_arrays_at(feed->arrays, feed->labels)->dims[0] != feed->stored ||
                   feed->label_size == 0
               ? "each row must have one label, or one for each pixel of the output (N, H, W)"
               : NULL;
}

int64_t clq_array_samples(const clq_graph *graph, clq_arrays *arrays) {
    clq_array_feed feed = {.graph = graph, .arrays = arrays, .labels = clq_arrays_labels(arrays)};
    return match(&feed) == NULL ? feed.stored : 0;
}

/* What is fed in another way than it is stored, and what is not fed. */
static clq_status say_how(const clq_array_feed *feed) {
    for (int i = 0; i < feed->graph->input_count; i++) {
        const clq_array *array = clq_arrays_at(feed->arrays, feed->source[i]);
        if (strcmp(array->type, "f4") != 0) {
            clq_log_info("%s: %s%snumbers of type %s are fed as float32, as they are",
                         clq_arrays_path(feed->arrays), array->name, *array->name ? ": " : "",
                         array->type);
        }
    }
    return say_left_out(feed);
}

/* ---- rows ---- */

static size_t input_size(const clq_graph *graph, int input) {
    return (size_t)clq_shape_count(&graph->values[graph->inputs[input]].shape);
}

/* The array's row that is fed as number `row`: all are spread evenly. */
static int64_t stored_row(const clq_array_feed *feed, int64_t row) {
    const int64_t whole = feed->stored / feed->rows, rest = feed->stored % feed->rows;
    return row * whole + row * rest / feed->rows; /* row * stored / rows, without overflow */
}

/* `count` samples of an array, from feed->next on: `each` rows of it, `size` numbers, make one. */
static clq_status read_rows(const clq_array_feed *feed, int array, int64_t each, size_t size,
                            int count, float *values) {
    if (feed->rows == feed->stored) {
        return clq_arrays_read(feed->arrays, array, feed->next * each, count * each, values);
    }
    for (int i = 0; i < count; i++) {
        CLQ_TRY(clq_arrays_read(feed->arrays, array, stored_row(feed, feed->next + i) * each, each,
                                values + (size_t)i * size));
    }
    return CLQ_OK;
}

/* `count` samples of input `input` into feed->read, in the graph's order. */
static clq_status read_input(const clq_array_feed *feed, int input, int count) {
    const size_t size = input_size(feed->graph, input);
    CLQ_TRY(read_rows(feed, feed->source[input], feed->each[input], size, count, feed->read));
    for (int i = 0; clq_arrays_order(feed->arrays) == CLQ_ORDER_MODEL && i < count; i++) {
        float *sample = feed->read + (size_t)i * size;
        clq_input_from_file(feed->graph, input, 1, sample, feed->image);
        memcpy(sample, feed->image, size * sizeof *sample);
    }
    for (int i = count; i < feed->batch; i++) { /* the rest repeat the last */
        memcpy(feed->read + (size_t)i * size, feed->read + (size_t)(count - 1) * size,
               size * sizeof *feed->read);
    }
    return CLQ_OK;
}

/* The classes of `count` samples into feed->numbers. */
static clq_status read_labels(const clq_array_feed *feed, int count) {
    const int64_t each = feed->label_size;
    CLQ_TRY(read_rows(feed, feed->labels, 1, (size_t)each, count, feed->read));
    for (int64_t i = 0; i < feed->batch * each; i++) {
        const float value = feed->read[i < count * each ? i : (count - 1) * each + i % each];
        if (!(value >= 0 && value <= 0x1p24f) || value != (float)(int32_t)value) {
            return clq_fail(CLQ_BAD_DATA, "%s: label %lld must be the number of a class, is %g",
                            clq_arrays_path(feed->arrays), (long long)(feed->next * each + i),
                            (double)value);
        }
        const bool none = each > 1 && value == (float)CLQ_NO_CLASS;
        if (feed->classes > 0 && value >= (float)feed->classes && !none) {
            return clq_fail(CLQ_BAD_DATA,
                            "%s: label %lld is class %g, and the network has %d class%s",
                            clq_arrays_path(feed->arrays), (long long)(feed->next * each + i),
                            (double)value, feed->classes, feed->classes == 1 ? "" : "es");
        }
        feed->numbers[i] = (int32_t)value;
    }
    return CLQ_OK;
}

/* ---- life ---- */

/* Of pixels without a class nothing is learned. */
static clq_status check_held_labels(const clq_array_feed *feed) {
    const int64_t count = feed->held_labels ? feed->rows * feed->label_size : 0;
    bool any = feed->label_size == 1 || count == 0 || feed->classes > CLQ_NO_CLASS;
    for (int64_t i = 0; !any && i < count; i++) {
        any = feed->held_labels[i] != CLQ_NO_CLASS;
    }
    return any ? CLQ_OK
               : clq_fail(CLQ_BAD_DATA, "%s: no pixel to learn from: all labels are %d, none",
                          clq_arrays_path(feed->arrays), CLQ_NO_CLASS);
}

/* All rows, in the order of the file. */
static clq_status hold_rows(clq_array_feed *feed) {
    const size_t rows = (size_t)feed->rows;
    feed->order = clq_calloc(rows, sizeof *feed->order);
    const size_t each = (size_t)feed->label_size;
    feed->held_labels =
        feed->labels < 0 ? NULL : clq_calloc(rows, each * sizeof *feed->held_labels);
    if (!feed->order || (feed->labels >= 0 && !feed->held_labels)) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < feed->graph->input_count; i++) {
        feed->held[i] = clq_calloc(rows, input_size(feed->graph, i) * sizeof **feed->held);
        if (!feed->held[i]) {
            return CLQ_NO_MEMORY;
        }
    }
    for (feed->next = 0; feed->next < feed->rows;) {
        const int64_t left = feed->rows - feed->next;
        const size_t count = (size_t)(left < feed->batch ? left : feed->batch);
        for (int i = 0; i < feed->graph->input_count; i++) {
            const size_t size = input_size(feed->graph, i);
            CLQ_TRY(read_input(feed, i, (int)count));
            memcpy(feed->held[i] + (size_t)feed->next * size, feed->read,
                   count * size * sizeof *feed->read);
        }
        if (feed->held_labels) {
            CLQ_TRY(read_labels(feed, (int)count));
            memcpy(feed->held_labels + (size_t)feed->next * each, feed->numbers,
                   count * each * sizeof *feed->numbers);
        }
        feed->next += (int64_t)count;
    }
    feed->next = 0;
    return check_held_labels(feed);
}

static clq_status open_training(clq_array_feed *feed, const clq_feed_options *options) {
    feed->training = true;
    feed->classes = options->classes;
    feed->seed = options->seed;
    feed->shards = options->shards > 1 ? options->shards : 1;
    feed->shard = options->shards > 1 ? options->shard : 0;
    feed->ordered = -1;
    const int64_t step = (int64_t)feed->batch * feed->shards;
    if (feed->rows < step || feed->rows > UINT32_MAX) {
        return clq_fail(CLQ_USAGE, "%s: has %lld row%s, and training takes %lld or more",
                        clq_arrays_path(feed->arrays), (long long)feed->rows,
                        clq_plural(feed->rows), (long long)step);
    }
    return hold_rows(feed);
}

clq_status clq_array_feed_create(const clq_graph *graph, clq_arrays *arrays, int batch,
                                 int64_t limit, const clq_feed_options *training,
                                 clq_array_feed **out) {
    clq_status status = CLQ_OK;
    size_t largest = 0;
    clq_array_feed *feed = clq_calloc(1, sizeof *feed);
    if (!feed) {
        return CLQ_NO_MEMORY;
    }
    *feed = (clq_array_feed){.arrays = arrays,
                             .graph = graph,
                             .batch = batch,
                             .labels = clq_arrays_labels(arrays),
                             .label_size = output_pixels(graph)};
    const char *broken = match(feed);
    CLQ_GOTO(status, cleanup, broken ? refuse(feed, broken) : say_how(feed));
    feed->rows = limit > 0 && limit < feed->stored ? limit : feed->stored;
    for (int i = 0; i < graph->input_count; i++) {
        largest = input_size(graph, i) > largest ? input_size(graph, i) : largest;
    }
    largest = (size_t)feed->label_size > largest ? (size_t)feed->label_size : largest;
    feed->read = clq_calloc((size_t)batch * largest, sizeof *feed->read);
    feed->image = clq_calloc(largest, sizeof *feed->image);
    feed->numbers = clq_calloc((size_t)batch * (size_t)feed->label_size, sizeof *feed->numbers);
    if (!feed->read || !feed->image || !feed->numbers) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, training ? open_training(feed, training) : CLQ_OK);
    *out = feed;
    feed = NULL;
cleanup:
    clq_array_feed_destroy(feed);
    return status;
}

void clq_array_feed_destroy(clq_array_feed *feed) {
    if (!feed) {
        return;
    }
    for (int i = 0; i < CLQ_MAX_ENDS; i++) {
        clq_free(feed->held[i]);
    }
    clq_free(feed->held_labels);
    clq_free(feed->order);
    clq_free(feed->read);
    clq_free(feed->image);
    clq_free(feed->numbers);
    clq_free(feed);
}

clq_arrays *clq_array_feed_arrays(const clq_array_feed *feed) {
    return feed->arrays;
}

int64_t clq_array_feed_count(const clq_array_feed *feed) {
    return feed->rows;
}

int64_t clq_array_feed_batches(const clq_array_feed *feed) {
    return feed->training ? feed->rows / ((int64_t)feed->batch * feed->shards)
                          : (feed->rows + feed->batch - 1) / feed->batch;
}

int64_t clq_array_feed_label_size(const clq_array_feed *feed) {
    return feed->label_size;
}

uint64_t clq_array_feed_hash(const clq_array_feed *feed) {
    const size_t rows = (size_t)feed->rows;
    uint64_t hash = 0;
    for (int i = 0; feed->training && i < feed->graph->input_count; i++) {
        hash = clq_hash64_seeded(feed->held[i], rows * input_size(feed->graph, i) * sizeof(float),
                                 hash);
    }
    return feed->held_labels
               ? clq_hash64_seeded(feed->held_labels,
                                   rows * (size_t)feed->label_size * sizeof(int32_t), hash)
               : hash;
}

void clq_array_feed_seek(clq_array_feed *feed, int64_t epoch, int64_t batch) {
    feed->epoch = epoch;
    feed->next = batch * feed->batch * (feed->training ? feed->shards : 1);
}

/* ---- batches ---- */

/* The next batch of training, which goes from epoch to epoch. */
static clq_status fill_training(clq_array_feed *feed, clq_exec *exec, clq_feed_batch *batch) {
    const int64_t step = (int64_t)feed->batch * feed->shards;
    if (feed->next + step > feed->rows) {
        feed->next = 0;
        feed->epoch++;
    }
    if (feed->ordered != feed->epoch) {
        clq_permutation(feed->seed, clq_draw_stream(CLQ_DRAW_ORDER, feed->epoch),
                        (uint32_t)feed->rows, feed->order);
        feed->ordered = feed->epoch;
    }
    const uint32_t *rows = feed->order + feed->next + (int64_t)feed->shard * feed->batch;
    for (int i = 0; i < feed->graph->input_count; i++) {
        const size_t size = input_size(feed->graph, i);
        for (int r = 0; r < feed->batch; r++) {
            memcpy(feed->read + (size_t)r * size, feed->held[i] + (size_t)rows[r] * size,
                   size * sizeof *feed->read);
        }
        CLQ_TRY(clq_buffer_write(clq_exec_input_at(exec, i)->buffer, 0,
                                 (size_t)feed->batch * size * sizeof *feed->read, feed->read));
    }
    const size_t each = (size_t)feed->label_size;
    for (int r = 0; feed->held_labels && r < feed->batch; r++) {
        memcpy(feed->numbers + (size_t)r * each, feed->held_labels + (size_t)rows[r] * each,
               each * sizeof *feed->numbers);
    }
    batch->labels = feed->held_labels ? feed->numbers : NULL;
    feed->next += step;
    batch->count = feed->batch;
    return CLQ_OK;
}

clq_status clq_array_feed_fill(clq_array_feed *feed, clq_exec *exec, clq_feed_batch *batch) {
    if (feed->training) {
        return fill_training(feed, exec, batch);
    }
    const int64_t left = feed->rows - feed->next;
    const int count = (int)(left < feed->batch ? left : feed->batch);
    if (count <= 0) {
        feed->next = 0;
        return CLQ_OK;
    }
    if (feed->labels >= 0) {
        CLQ_TRY(read_labels(feed, count));
        batch->labels = feed->numbers;
    }
    for (int i = 0; i < feed->graph->input_count; i++) {
        CLQ_TRY(read_input(feed, i, count));
        CLQ_TRY(clq_buffer_write(
            clq_exec_input_at(exec, i)->buffer, 0,
            (size_t)feed->batch * input_size(feed->graph, i) * sizeof *feed->read, feed->read));
    }
    feed->next += count;
    batch->count = count;
    return CLQ_OK;
}
