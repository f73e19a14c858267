/* Sessions: what they hold, and running them. */
#include "session/session.h"

#include <string.h>

#include <clquant/formats.h>
#include <clquant/passes.h>

#include "formats/layout.h"
#include "graph/ends.h"

/* ---- life ---- */

clq_status clq_session_take(clq_device *device, clq_graph **graph, clq_session **out) {
    *out = NULL;
    clq_session *session = clq_calloc(1, sizeof *session);
    if (!session) {
        clq_graph_destroy(*graph);
        *graph = NULL;
        return CLQ_NO_MEMORY;
    }
    clq_device_share(device);
    session->device = device;
    session->graph = *graph;
    *graph = NULL;
    *out = session;
    return CLQ_OK;
}

clq_status clq_session_create(clq_device *device, const clq_graph *graph, clq_session **session) {
    CLQ_NEEDS(device, graph, session);
    CLQ_NEEDS_ENDS(graph);
    clq_graph *copy = NULL;
    *session = NULL;
    CLQ_TRY(clq_graph_validate(graph));
    CLQ_TRY(clq_graph_clone(graph, &copy));
    return clq_session_take(device, &copy, session);
}

clq_status clq_session_load(clq_device *device, const char *path, clq_session **session) {
    CLQ_NEEDS(device, path, session);
    clq_graph *graph = NULL;
    *session = NULL;
    CLQ_TRY(clq_onnx_load(path, &graph));
    return clq_session_take(device, &graph, session);
}

void clq_session_destroy(clq_session *session) {
    if (!session) {
        return;
    }
    for (int i = 0; i < CLQ_SESSION_EXECS; i++) {
        clq_exec_destroy(session->execs[i].exec);
    }
    clq_graph_destroy(session->folded);
    clq_graph_destroy(session->graph);
    clq_free(session->staging);
    clq_device_close(session->device);
    clq_free(session);
}

const clq_graph *clq_session_graph(const clq_session *session) {
    CLQ_NEEDS_OR(NULL, session);
    return session->graph;
}

clq_device *clq_session_device(const clq_session *session) {
    CLQ_NEEDS_OR(NULL, session);
    return session->device;
}

clq_status clq_session_input_shape(const clq_session *session, int input, clq_order order,
                                   clq_shape *shape) {
    CLQ_NEEDS(session, shape);
    const clq_graph *graph = session->graph;
    CLQ_REQUIRE((unsigned)order < CLQ_ORDER_COUNT, "order is not known");
    CLQ_REQUIRE(input >= 0 && input < graph->input_count, "the network has no such input");
    *shape = order == CLQ_ORDER_NHWC ? graph->values[graph->inputs[input]].shape
                                     : clq_input_file_shape(graph, input);
    return CLQ_OK;
}

clq_status clq_session_output_shape(const clq_session *session, int output, clq_order order,
                                    clq_shape *shape) {
    CLQ_NEEDS(session, shape);
    const clq_graph *graph = session->graph;
    CLQ_REQUIRE((unsigned)order < CLQ_ORDER_COUNT, "order is not known");
    CLQ_REQUIRE(output >= 0 && output < graph->output_count, "the network has no such output");
    *shape = order == CLQ_ORDER_NHWC ? graph->values[graph->outputs[output].value].shape
                                     : clq_output_file_shape(graph, output);
    return CLQ_OK;
}

/* ---- executors ---- */

int clq_eval_batch(const clq_graph *graph, int64_t samples) {
    const clq_shape *shape = &graph->values[clq_graph_input(graph)].shape;
    const int64_t pixels = clq_shape_count(shape) / shape->dim[shape->rank - 1];
    const int64_t batch = clq_graph_has_fixed_batch(graph) ? 1 : pixels <= 64 * 64 ? 64 : 8;
    return (int)(samples > 0 && samples < batch ? samples : batch);
}

static clq_exec_mode inference_mode(const clq_graph *graph) {
    switch (clq_graph_form(graph)) {
    case CLQ_FORM_INTEGER:
        return CLQ_EXEC_INT8;
    case CLQ_FORM_QUANTIZED:
        return CLQ_EXEC_FAKE_QUANT;
    default:
        return CLQ_EXEC_FLOAT;
    }
}

clq_status clq_inference_open(clq_device *device, const clq_graph *graph,
                              const clq_exec_options *wanted, clq_graph **folded, clq_exec **exec) {
    if (clq_graph_form(graph) == CLQ_FORM_FLOAT && !*folded) {
        CLQ_TRY(clq_graph_fold(graph, folded));
    }
    const clq_graph *inference = *folded ? *folded : graph;
    clq_exec_options options = *wanted;
    options.mode = inference_mode(inference);
    if (options.mode != CLQ_EXEC_INT8) {
        options.consumed = NULL;
    }
    return clq_exec_create(device, inference, &options, exec);
}

/* The executor for a number of samples; the one that was longest not used makes room for it. */
static clq_status find_exec(clq_session *s, int batch, clq_exec **exec) {
    int oldest = 0;
    s->runs++;
    for (int i = 0; i < CLQ_SESSION_EXECS; i++) {
        if (s->execs[i].exec && s->execs[i].batch == batch) {
            s->execs[i].used = s->runs;
            *exec = s->execs[i].exec;
            return CLQ_OK;
        }
        oldest = s->execs[i].used < s->execs[oldest].used ? i : oldest;
    }
    clq_exec_destroy(s->execs[oldest].exec);
    s->execs[oldest].exec = NULL;
    s->execs[oldest].used = 0;
    const clq_exec_options options = {.batch = batch, .expected_runs = s->expected_runs};
    CLQ_TRY(clq_inference_open(s->device, s->graph, &options, &s->folded, exec));
    s->execs[oldest].exec = *exec;
    s->execs[oldest].batch = batch;
    s->execs[oldest].used = s->runs;
    return CLQ_OK;
}

clq_status clq_session_expect(clq_session *session, uint64_t runs) {
    CLQ_NEEDS(session);
    session->expected_runs = runs;
    return CLQ_OK;
}

/* ---- running ---- */

static size_t sample_size(const clq_graph *graph, int value) {
    return (size_t)clq_shape_count(&graph->values[value].shape);
}

static bool input_is_turned(const clq_graph *graph, clq_order order, int i) {
    return order == CLQ_ORDER_MODEL && !clq_input_is_in_order(graph, i);
}

static bool output_is_turned(const clq_graph *graph, clq_order order, int i) {
    return order == CLQ_ORDER_MODEL && !clq_output_is_in_order(graph, i);
}

/* For a batch of all inputs, which are read until the network has run, or of one output then. */
static clq_status take_staging(clq_session *s, clq_order order, int batch) {
    const clq_graph *graph = s->graph;
    size_t inputs = 0, output = 0;
    for (int i = 0; i < graph->input_count; i++) {
        inputs += input_is_turned(graph, order, i) ? sample_size(graph, graph->inputs[i]) : 0;
    }
    for (int i = 0; i < graph->output_count; i++) {
        const size_t size = sample_size(graph, graph->outputs[i].value);
        output = output_is_turned(graph, order, i) && size > output ? size : output;
    }
    const size_t size = (inputs > output ? inputs : output) * (size_t)batch;
    if (size > s->staging_size) {
        float *staging = clq_realloc(s->staging, size, sizeof *staging);
        if (!staging) {
            return CLQ_NO_MEMORY;
        }
        s->staging = staging;
        s->staging_size = size;
    }
    return CLQ_OK;
}

/* Codes have no place for infinities. */
static clq_status check_finite(const clq_graph *graph, int input, int64_t first, int count,
                               const float *x) {
    const size_t each = sample_size(graph, graph->inputs[input]), size = each * (size_t)count;
    uint32_t largest = 0;
    for (size_t i = 0; i < size; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffffu;
        largest = bits > largest ? bits : largest;
    }
    for (size_t i = 0; largest >= 0x7f800000u && i < size; i++) {
        if (!(x[i] - x[i] == 0)) {
            return clq_fail(CLQ_BAD_DATA, "input %s: sample %lld has a number that is not finite",
                            clq_graph_input_name(graph, input),
                            (long long)first + (long long)(i / each));
        }
    }
    return CLQ_OK;
}

static clq_status queue_inputs(clq_session *s, clq_exec *exec, clq_order order, int64_t first,
                               int count, const float *const *inputs) {
    const clq_graph *graph = s->graph;
    float *turned = s->staging;
    for (int i = 0; i < graph->input_count; i++) {
        const clq_value *value = &graph->values[graph->inputs[i]];
        const size_t size = sample_size(graph, graph->inputs[i]);
        const float *x = inputs[i] + (size_t)first * size;
        if (value->q.count > 0) {
            CLQ_TRY(check_finite(graph, i, first, count, x));
        }
        if (input_is_turned(graph, order, i)) {
            clq_input_from_file(graph, i, count, x, turned);
            x = turned;
            turned += (size_t)count * size;
        }
        CLQ_TRY(clq_buffer_queue_write(clq_exec_input_at(exec, i)->buffer, 0,
                                       (size_t)count * size * sizeof *x, x));
    }
    return CLQ_OK;
}

static clq_status read_outputs(clq_session *s, clq_exec *exec, clq_order order, int64_t first,
                               int count, float *const *outputs) {
    const clq_graph *graph = s->graph;
    for (int i = 0; i < graph->output_count; i++) {
        const size_t size = sample_size(graph, graph->outputs[i].value);
        float *y = outputs[i] + (size_t)first * size;
        const bool turned = output_is_turned(graph, order, i);
        float *to = turned ? s->staging : y;
        CLQ_TRY(clq_buffer_read(clq_exec_output_at(exec, i)->buffer, 0,
                                (size_t)count * size * sizeof *to, to));
        if (turned) {
            clq_output_to_file(graph, i, count, to, y);
        }
    }
    return CLQ_OK;
}

/* Inputs are queued with the network behind them, so that only the outputs are waited for. */
static clq_status run_batch(clq_session *s, clq_exec *exec, clq_order order, int64_t first,
                            int count, const float *const *inputs, float *const *outputs) {
    clq_status status = queue_inputs(s, exec, order, first, count, inputs);
    if (status == CLQ_OK) {
        status = clq_exec_forward(exec);
    }
    if (status == CLQ_OK) {
        status = read_outputs(s, exec, order, first, count, outputs);
    }
    if (status != CLQ_OK) {
        (void)clq_device_finish(s->device); /* the caller's memory may still be read */
    }
    return status;
}

clq_status clq_session_run(clq_session *s, clq_order order, int64_t count,
                           const float *const *inputs, float *const *outputs) {
    CLQ_NEEDS(s, inputs, outputs);
    CLQ_REQUIRE((unsigned)order < CLQ_ORDER_COUNT, "order is not known");
    CLQ_REQUIRE(count >= 0, "count must be at least 0");
    for (int i = 0; i < s->graph->input_count; i++) {
        CLQ_REQUIRE(inputs[i], "an input is NULL");
    }
    for (int i = 0; i < s->graph->output_count; i++) {
        CLQ_REQUIRE(outputs[i], "an output is NULL");
    }
    if (count == 0) {
        return CLQ_OK;
    }
    const int batch = clq_eval_batch(s->graph, count);
    clq_exec *exec = NULL;
    CLQ_TRY(find_exec(s, batch, &exec));
    CLQ_TRY(take_staging(s, order, batch));
    for (int64_t first = 0; first < count; first += batch) {
        /* Behind the last samples lie those of the batch before, of which nothing is read. */
        const int n = count - first < batch ? (int)(count - first) : batch;
        CLQ_TRY(run_batch(s, exec, order, first, n, inputs, outputs));
    }
    return CLQ_OK;
}
