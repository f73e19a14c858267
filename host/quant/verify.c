/* Does the integer network compute what the fake-quantized one promised? Three executors run side
 * by side on the same batches:
 *
 *   fake      FAKE_QUANT: FP32 convolutions on codes, every value kept
 *   integer   INT8, every value kept
 *   fused     INT8 as it runs in use, additions in the convolutions' epilogues: only its output
 *
 * Then the integer network runs alone on every other dot path. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/arguments.h"
#include "base/hash.h"
#include "base/numbers.h"
#include "base/progress.h"
#include "graph/ends.h"
#include "ops/quantized_run.h"
#include "quant/internal.h"

typedef struct verifier {
    clq_device *device;
    const clq_graph *graph;
    clq_feed *feed;
    int batch;
    int64_t limit;
    clq_exec *fake, *integer, *fused;
    clq_kernel *compare;
    clq_buffer *results; /* S32 (value_count, 2): compare.cl */
    int32_t *counts;     /* the same on the host */
    float *outputs[3];   /* of the three executors, one batch: all of the first, then the next */
    clq_verification *v;
} verifier;

/* ---- the table of layers ---- */

static clq_layer_path *find_layer(clq_verification *v, const clq_node *node) {
    for (int i = 0; i < v->layer_count; i++) {
        if (v->layers[i].name == node->name) {
            return &v->layers[i];
        }
    }
    v->layers[v->layer_count] =
        (clq_layer_path){node->name, node->op->name, "int8", "", .float_exact = true};
    return &v->layers[v->layer_count++];
}

static clq_status note_float(void *context, const clq_op_run *run) {
    clq_layer_path *layer = find_layer(context, run->node);
    layer->float_exact = clq_layer_is_float_exact(run);
    layer->precision =
        run->mode == CLQ_EXEC_FLOAT ? clq_real_precision(run->graph, run->node) : "int8";
    return CLQ_OK;
}

static bool is_depthwise(const clq_op_run *run) {
    const clq_shape *w = &run->in[CLQ_LAYER_W].shape;
    return w->rank == 4 && w->dim[3] == 1 && run->in[CLQ_LAYER_X].shape.dim[3] > 1;
}

static clq_status note_dot(void *context, const clq_op_run *run) {
    clq_dot dot;
    if (clq_layer_dot(run, &dot) && !is_depthwise(run)) {
        find_layer(context, run->node)->dot_path = clq_dot_name(dot);
    }
    return CLQ_OK;
}

/* ---- set-up ---- */

static clq_status open_exec(const verifier *s, clq_exec_mode mode, bool keep_all, clq_exec **exec) {
    const clq_exec_options options = {.mode = mode, .batch = s->batch, .keep_all = keep_all};
    return clq_exec_create(s->device, s->graph, &options, exec);
}

static size_t result_bytes(const verifier *s) {
    return 2 * (size_t)s->graph->value_count * sizeof(int32_t);
}

/* Elements of one image's output `index`. */
static size_t output_size(const verifier *s, int index) {
    return (size_t)clq_shape_count(&s->graph->values[s->graph->outputs[index].value].shape);
}

/* The same of all outputs before `index`; of all when it is their number. */
static size_t outputs_before(const verifier *s, int index) {
    size_t size = 0;
    for (int i = 0; i < index; i++) {
        size += output_size(s, i);
    }
    return size;
}

static size_t outputs_size(const verifier *s) {
    return outputs_before(s, s->graph->output_count);
}

static clq_status open_verifier(verifier *s) {
    s->v->unit = clq_feed_unit(s->feed);
    CLQ_TRY(open_exec(s, CLQ_EXEC_FAKE_QUANT, true, &s->fake));
    CLQ_TRY(open_exec(s, CLQ_EXEC_INT8, true, &s->integer));
    CLQ_TRY(open_exec(s, CLQ_EXEC_INT8, false, &s->fused));
    CLQ_TRY(clq_kernel_get(s->device, "compare_codes", NULL, &s->compare));
    CLQ_TRY(clq_buffer_create(s->device, result_bytes(s), &s->results));
    s->counts = clq_calloc(2 * (size_t)s->graph->value_count, sizeof *s->counts);
    s->v->layers = clq_calloc((size_t)s->graph->node_count, sizeof *s->v->layers);
    if (!s->counts || !s->v->layers) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < 3; i++) {
        s->outputs[i] = clq_calloc((size_t)s->batch * outputs_size(s), sizeof(float));
        if (!s->outputs[i]) {
            return CLQ_NO_MEMORY;
        }
    }
    clq_exec_set_hook(s->fake, note_float, s->v);
    clq_exec_set_hook(s->integer, note_dot, s->v);
    return CLQ_OK;
}

static void close_verifier(verifier *s) {
    clq_exec_destroy(s->fake);
    clq_exec_destroy(s->integer);
    clq_exec_destroy(s->fused);
    clq_buffer_release(s->results);
    clq_free(s->counts);
    for (int i = 0; i < 3; i++) {
        clq_free(s->outputs[i]);
    }
}

/* ---- a batch ---- */

static bool is_code(const verifier *s, int value) {
    return !s->graph->values[value].data && s->graph->values[value].q.count > 0;
}

/* "3, 0, 17": where element `place` of one image is, all dimensions but N. */
static void format_place(const clq_shape *shape, int64_t place, char *text, size_t size) {
    int64_t inner = clq_shape_count(shape) / shape->dim[0];
    size_t used = 0;
    text[0] = '\0';
    for (int d = 1; d < shape->rank && used < size; d++) {
        inner /= shape->dim[d];
        used += (size_t)snprintf(text + used, size - used, "%s%lld", d > 1 ? ", " : "",
                                 (long long)(place / inner % shape->dim[d]));
    }
}

/* Reads both codes at element `place` of the batch. */
static clq_status describe(verifier *s, int value, int place) {
    const clq_tensor *fake = clq_exec_value(s->fake, value);
    const clq_tensor *integer = clq_exec_value(s->integer, value);
    const clq_value *of = &s->graph->values[value];
    const int channels = clq_channels(fake), each = (int)clq_shape_count(&of->shape);
    const size_t at = (size_t)(place / channels * integer->pitch + place % channels);
    char index[64];
    float code = 0;
    uint8_t q = 0;
    CLQ_TRY(clq_buffer_read(fake->buffer, (size_t)place * sizeof code, sizeof code, &code));
    CLQ_TRY(clq_buffer_read(integer->buffer, at, sizeof q, &q));
    format_place(&of->shape, place % each, index, sizeof index);
    clq_snprintf(s->v->first_mismatch, sizeof s->v->first_mismatch,
                 "value %.100s, image %lld, element [%s]: code %g fake-quantized, %d integer",
                 of->name, (long long)(s->v->images + place / each), index,
                 (double)code + (double)of->q.zero_point, q - clq_code_byte(of, 0));
    return CLQ_OK;
}

static clq_status compare_value(verifier *s, int value, int count) {
    const clq_tensor *fake = clq_exec_value(s->fake, value);
    const clq_tensor *integer = clq_exec_value(s->integer, value);
    const clq_value *of = &s->graph->values[value];
    const int64_t pixels = clq_pixels(fake) / s->batch * count;
    const int channels = clq_channels(fake);
    s->v->compared_codes += pixels * channels;
    return CLQ_LAUNCH(
        s->device, s->compare, CLQ_RANGE1(clq_work_items(s->device, pixels, 1 + 4096 / channels)),
        CLQ_BUF(fake->buffer), CLQ_BUF(integer->buffer),
        CLQ_I32(clq_code_byte(of, of->q.zero_point)), CLQ_I32(value), CLQ_BUF(s->results),
        CLQ_I32(pixels), CLQ_I32(channels), CLQ_I32(integer->pitch));
}

/* The activations in the order in which they come to be: inputs, then the nodes' outputs. */
static int made_count(const verifier *s) {
    return s->graph->input_count + s->graph->node_count;
}

static int made_value(const verifier *s, int i) {
    const int inputs = s->graph->input_count;
    return i < inputs ? s->graph->inputs[i] : s->graph->nodes[i - inputs].output;
}

/* All values' codes, in the order in which the network makes them. */
static clq_status compare_codes(verifier *s, int count) {
    CLQ_TRY(clq_buffer_fill(s->results, 0, result_bytes(s), 0));
    for (int i = 0; i < made_count(s); i++) {
        const int value = made_value(s, i);
        if (is_code(s, value)) {
            CLQ_TRY(compare_value(s, value, count));
        }
    }
    CLQ_TRY(clq_buffer_read(s->results, 0, result_bytes(s), s->counts));
    for (int i = 0; i < made_count(s); i++) {
        const int value = made_value(s, i);
        const int32_t *result = s->counts + 2 * value;
        if (result[0] > 0 && !s->v->first_mismatch[0]) {
            CLQ_TRY(describe(s, value, INT_MAX - result[1]));
        }
        s->v->mismatched_codes += result[0];
    }
    return CLQ_OK;
}

static clq_status read_outputs(const verifier *s, clq_exec *exec, int count, float *outputs) {
    for (int i = 0; i < s->graph->output_count; i++) {
        CLQ_TRY(clq_buffer_read(clq_exec_output_at(exec, i)->buffer, 0,
                                output_size(s, i) * (size_t)count * sizeof(float),
                                outputs + (size_t)s->batch * outputs_before(s, i)));
    }
    return CLQ_OK;
}

/* Image by image, its outputs one after the other, so that the batch does not matter. */
static void hash_images(const verifier *s, int count, const float *outputs, clq_sha256 *hash) {
    for (int image = 0; image < count; image++) {
        for (int i = 0; i < s->graph->output_count; i++) {
            const size_t each = output_size(s, i);
            clq_sha256_update(
                hash, outputs + (size_t)s->batch * outputs_before(s, i) + (size_t)image * each,
                each * sizeof(float));
        }
    }
}

/* The bits of one output of the three executors. */
static void compare_output(verifier *s, int index, int count) {
    const size_t each = output_size(s, index), total = each * (size_t)count;
    const size_t start = (size_t)s->batch * outputs_before(s, index);
    for (size_t i = 0; i < total; i++) {
        const float *fake = &s->outputs[0][start + i], *integer = &s->outputs[1][start + i],
                    *fused = &s->outputs[2][start + i];
        if (memcmp(fake, integer, sizeof *fake) == 0 &&
            memcmp(integer, fused, sizeof *fused) == 0) {
            continue;
        }
        s->v->mismatched_codes++;
        if (!s->v->first_mismatch[0]) {
            clq_snprintf(
                s->v->first_mismatch, sizeof s->v->first_mismatch,
                "output %.100s, image %lld, element [%zu]: %.9g fake-quantized, %.9g integer, %.9g "
                "integer with fused additions",
                clq_graph_output_name(s->graph, index),
                (long long)s->v->images + (long long)(i / each), i % each, (double)*fake,
                (double)*integer, (double)*fused);
        }
    }
    s->v->compared_codes += (int64_t)total;
}

static clq_status compare_outputs(verifier *s, int count) {
    clq_exec *const execs[] = {s->fake, s->integer, s->fused};
    for (int i = 0; i < 3; i++) {
        CLQ_TRY(read_outputs(s, execs[i], count, s->outputs[i]));
    }
    for (int i = 0; i < s->graph->output_count; i++) {
        compare_output(s, i, count);
    }
    return CLQ_OK;
}

/* The feed's next images; *count 0 at the end or when `limit` is reached. */
static clq_status next_images(verifier *s, int64_t done, clq_exec *exec, int *count) {
    clq_feed_batch batch;
    *count = 0;
    if (s->limit > 0 && done >= s->limit) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_feed_fill(s->feed, exec, &batch));
    *count = batch.count;
    if (s->limit > 0 && *count > s->limit - done) {
        *count = (int)(s->limit - done);
    }
    return CLQ_OK;
}

/* From `fake`, which was fed. */
static clq_status copy_inputs(const verifier *s, clq_exec *to) {
    for (int i = 0; i < s->graph->input_count; i++) {
        const clq_tensor *input = clq_exec_input_at(s->fake, i);
        CLQ_TRY(clq_buffer_copy(clq_exec_input_at(to, i)->buffer, 0, input->buffer, 0,
                                (size_t)clq_shape_count(&input->shape) * sizeof(float)));
    }
    return CLQ_OK;
}

static clq_status compare_all(verifier *s) {
    clq_status status = CLQ_OK;
    clq_progress progress;
    clq_sha256 hash;
    clq_sha256_init(&hash);
    clq_progress_begin(&progress, "verify", s->v->unit,
                       s->limit > 0 ? s->limit : clq_feed_batches(s->feed) * s->batch);
    for (;;) {
        int count = 0;
        CLQ_GOTO(status, cleanup, next_images(s, s->v->images, s->fake, &count));
        if (count == 0) {
            break;
        }
        CLQ_GOTO(status, cleanup, copy_inputs(s, s->integer));
        CLQ_GOTO(status, cleanup, copy_inputs(s, s->fused));
        CLQ_GOTO(status, cleanup, clq_exec_forward(s->fake));
        CLQ_GOTO(status, cleanup, clq_exec_forward(s->integer));
        CLQ_GOTO(status, cleanup, clq_exec_forward(s->fused));
        CLQ_GOTO(status, cleanup, compare_codes(s, count));
        CLQ_GOTO(status, cleanup, compare_outputs(s, count));
        hash_images(s, count, s->outputs[2], &hash);
        s->v->images += count;
        clq_progress_update(&progress, s->v->images, "%lld codes differ",
                            (long long)s->v->mismatched_codes);
    }
    if (s->v->images == 0) {
        status = clq_fail(CLQ_BAD_DATA, "no %s to verify with", s->v->unit);
    }
    clq_sha256_hex(&hash, s->v->logits_sha256);
cleanup:
    clq_progress_end(&progress);
    return status;
}

/* ---- dot paths ---- */

/* The output's hash over all images, on the device's present dot path. */
static clq_status hash_outputs(verifier *s, char hex[CLQ_SHA256_HEX_SIZE]) {
    clq_sha256 hash;
    int64_t done = 0;
    CLQ_TRY(clq_feed_seek(s->feed, 0, 0));
    clq_exec_destroy(s->fused);
    s->fused = NULL;
    CLQ_TRY(open_exec(s, CLQ_EXEC_INT8, false, &s->fused));
    clq_sha256_init(&hash);
    for (;;) {
        int count = 0;
        CLQ_TRY(next_images(s, done, s->fused, &count));
        if (count == 0) {
            break;
        }
        CLQ_TRY(clq_exec_forward(s->fused));
        CLQ_TRY(read_outputs(s, s->fused, count, s->outputs[2]));
        hash_images(s, count, s->outputs[2], &hash);
        done += count;
    }
    clq_sha256_hex(&hash, hex);
    return CLQ_OK;
}

static clq_status run_paths(verifier *s) {
    const clq_device_info *info = clq_device_get_info(s->device);
    const clq_dot present = info->dot;
    clq_status status = CLQ_OK;
    for (int dot = 0; dot < CLQ_DOT_COUNT && status == CLQ_OK; dot++) {
        if (!(info->dots & (1u << dot))) {
            continue;
        }
        char *hex = s->v->paths[s->v->path_count].sha256;
        s->v->paths[s->v->path_count].dot = (clq_dot)dot;
        if (dot == (int)present) {
            memcpy(hex, s->v->logits_sha256, CLQ_SHA256_HEX_SIZE);
        } else {
            status = clq_device_set_dot(s->device, (clq_dot)dot);
            status = status == CLQ_OK ? hash_outputs(s, hex) : status;
        }
        s->v->path_count++;
    }
    const clq_status restored = clq_device_set_dot(s->device, present);
    return status == CLQ_OK ? restored : status;
}

clq_status clq_verify(clq_device *device, const clq_graph *integer, clq_dataset *dataset, int batch,
                      int64_t limit, clq_verification *verification) {
    CLQ_NEEDS(device, integer, dataset, verification);
    CLQ_NEEDS_ENDS(integer);
    clq_feed_options options = {.batch = batch};
    clq_feed *feed = NULL;
    *verification = (clq_verification){0};
    CLQ_TRY(clq_graph_check_data(integer, dataset));
    CLQ_TRY(clq_graph_normalization(integer, dataset, &options.normalization));
    CLQ_TRY(clq_feed_create(device, dataset, &options, &feed));
    const clq_status status = clq_verify_feed(device, integer, feed, batch, limit, verification);
    clq_feed_destroy(feed);
    return status;
}

clq_status clq_verify_feed(clq_device *device, const clq_graph *integer, clq_feed *feed, int batch,
                           int64_t limit, clq_verification *verification) {
    CLQ_NEEDS(device, integer, feed, verification);
    CLQ_NEEDS_ENDS(integer);
    clq_status status = CLQ_OK;
    verifier s = {.device = device,
                  .graph = integer,
                  .feed = feed,
                  .batch = batch,
                  .limit = limit,
                  .v = verification};
    *verification = (clq_verification){0};
    if (clq_graph_form(integer) != CLQ_FORM_INTEGER) {
        return clq_fail(CLQ_USAGE, "graph %s is not an integer network", integer->name);
    }
    CLQ_GOTO(status, cleanup, open_verifier(&s));
    CLQ_GOTO(status, cleanup, compare_all(&s));
    clq_exec_destroy(s.fake);
    clq_exec_destroy(s.integer);
    s.fake = s.integer = NULL;
    CLQ_GOTO(status, cleanup, run_paths(&s));
cleanup:
    close_verifier(&s);
    if (status != CLQ_OK) {
        clq_verification_clear(verification);
    }
    return status;
}

void clq_verification_clear(clq_verification *verification) {
    CLQ_NEEDS_OR(, verification);
    clq_free(verification->layers);
    verification->layers = NULL;
    verification->layer_count = 0;
}
