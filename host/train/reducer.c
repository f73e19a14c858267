#include "train/reducer.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/ranks.h"
#include "base/text.h"

/* A bucket is 4 MB, or as much more as makes a rank's piece 16 KB, whose bytes cost about what a
 * message does; but always small enough that eight of them, or nearly so, fill a backward pass. */
enum { BUCKET_FLOATS = 1 << 20, PIECE_FLOATS = 1 << 12, LEAST_FLOATS = 1 << 14, BUCKETS = 8 };

typedef struct bucket {
    clq_buffer *view; /* its window on the device's buffer */
    size_t begin;     /* first float in the flat gradient; the states' bucket: past its end */
    size_t count;     /* floats */
    size_t chunk;     /* one rank's piece: count / ranks, rounded up */
    float *values;    /* (ranks, chunk) on the host */
    clq_transfer transfer;
} bucket;

struct clq_reducer {
    clq_ranks *ranks;
    clq_params *params;
    int *order;  /* (parameter_count): PARAMETER values as they lie in the flat buffer */
    bool *ready; /* (value_count): the gradient is queued */
    int parameter_count, value_count;
    int unready; /* parameters before the tail that is ready */
    bucket *buckets;
    int bucket_count;
    float *parts; /* (ranks, chunk): the exchange's, of the largest bucket */
    /* Buckets go through the stages in order; these many have passed: */
    int started, exchanged, gathered;
    bool exchanging, gathering; /* the next one is in this stage */
    int64_t steps;
    double busy_since;
    double busy;    /* seconds in which a bucket was under way between ranks */
    double exposed; /* seconds for which steps waited after their last gradient was read */
};

/* ---- set-up ---- */

static clq_status add_bucket(clq_reducer *r, clq_buffer *parent, size_t begin, size_t count,
                             size_t position) {
    bucket *b = &r->buckets[r->bucket_count++];
    const size_t ranks = (size_t)clq_ranks_size(r->ranks);
    b->begin = position;
    b->count = count;
    b->chunk = clq_ceil_div(count, ranks);
    b->values = clq_calloc(ranks * b->chunk, sizeof *b->values);
    return b->values
               ? clq_buffer_view(parent, begin * sizeof(float), count * sizeof(float), &b->view)
               : CLQ_NO_MEMORY;
}

/* From the end of the gradients to their start, behind the states. */
static clq_status cut_buckets(clq_reducer *r, clq_device *device, bool states) {
    const size_t unit = clq_device_get_info(device)->base_alignment / sizeof(float);
    const size_t count = clq_params_count(r->params);
    clq_buffer *flat_states = states ? clq_params_flat_states(r->params) : NULL;
    const size_t pieces = (size_t)clq_ranks_size(r->ranks) * PIECE_FLOATS;
    const size_t most = pieces > BUCKET_FLOATS ? pieces : BUCKET_FLOATS;
    size_t floats = count / BUCKETS;
    size_t largest = 0;
    floats = floats < LEAST_FLOATS ? LEAST_FLOATS : floats > most ? most : floats;
    floats = clq_round_up(floats, unit);
    r->buckets = clq_calloc(clq_ceil_div(count, floats) + 1, sizeof *r->buckets);
    if (!r->buckets) {
        return CLQ_NO_MEMORY;
    }
    if (flat_states) {
        CLQ_TRY(add_bucket(r, flat_states, 0, clq_buffer_size(flat_states) / sizeof(float), count));
    }
    for (size_t end = count; end > 0;) {
        const size_t begin = end > floats ? end - floats : 0; /* all multiples of unit */
        CLQ_TRY(add_bucket(r, clq_params_flat_gradient(r->params), begin, end - begin, begin));
        end = begin;
    }
    for (int i = 0; i < r->bucket_count; i++) {
        largest = r->buckets[i].chunk > largest ? r->buckets[i].chunk : largest;
    }
    r->parts = clq_calloc((size_t)clq_ranks_size(r->ranks) * largest, sizeof *r->parts);
    return r->parts ? CLQ_OK : CLQ_NO_MEMORY;
}

static clq_status list_parameters(clq_reducer *r, const clq_graph *graph) {
    r->value_count = graph->value_count;
    r->order = clq_calloc((size_t)graph->value_count, sizeof *r->order);
    r->ready = clq_calloc((size_t)graph->value_count, sizeof *r->ready);
    if (!r->order || !r->ready) {
        return CLQ_NO_MEMORY;
    }
    for (int v = 0; v < graph->value_count; v++) {
        if (graph->values[v].kind == CLQ_VALUE_PARAMETER && clq_params_gradient(r->params, v)) {
            r->order[r->parameter_count++] = v;
        }
    }
    return CLQ_OK;
}

static clq_status after_node(void *context, const clq_op_run *run);

clq_status clq_reducer_create(clq_device *device, const clq_graph *graph, clq_params *params,
                              clq_exec *exec, clq_ranks *ranks, bool states, clq_reducer **out) {
    clq_status status = CLQ_OK;
    clq_reducer *r = clq_calloc(1, sizeof *r);
    *out = NULL;
    if (!r) {
        return CLQ_NO_MEMORY;
    }
    r->ranks = ranks;
    r->params = params;
    CLQ_GOTO(status, cleanup, list_parameters(r, graph));
    CLQ_GOTO(status, cleanup, cut_buckets(r, device, states));
    clq_exec_set_backward_hook(exec, after_node, r);
    *out = r;
    r = NULL;
cleanup:
    clq_reducer_destroy(r);
    return status;
}

void clq_reducer_destroy(clq_reducer *r) {
    if (!r) {
        return;
    }
    for (int i = 0; i < r->bucket_count; i++) {
        clq_transfer_join(&r->buckets[i].transfer);
        clq_buffer_release(r->buckets[i].view);
        clq_free(r->buckets[i].values);
    }
    clq_free(r->buckets);
    clq_free(r->order);
    clq_free(r->ready);
    clq_free(r->parts);
    clq_free(r);
}

/* ---- the stages ---- */

static clq_status step_exchange(clq_reducer *r, bool *moved) {
    bucket *b = &r->buckets[r->exchanged];
    bool done = false;
    if (!r->exchanging && r->exchanged < r->started) {
        CLQ_TRY(clq_transfer_done(&b->transfer, &done));
        if (done) {
            CLQ_TRY(clq_transfer_join(&b->transfer));
            CLQ_TRY(clq_ranks_begin_exchange(r->ranks, b->values, r->parts, b->chunk));
            r->exchanging = *moved = true;
        }
    } else if (r->exchanging) {
        CLQ_TRY(clq_ranks_poll(r->ranks, CLQ_LANE_EXCHANGE, &done));
        if (done) {
            float *own = b->values + (size_t)clq_ranks_rank(r->ranks) * b->chunk;
            clq_ranks_mean(r->ranks, r->parts, b->chunk, own);
            r->exchanging = false;
            r->exchanged++;
            *moved = true;
        }
    }
    return CLQ_OK;
}

static clq_status step_gather(clq_reducer *r, bool *moved) {
    bucket *b = &r->buckets[r->gathered];
    bool done = false;
    if (!r->gathering && r->gathered < r->exchanged) {
        CLQ_TRY(clq_ranks_begin_gather(r->ranks, b->values, b->chunk));
        r->gathering = *moved = true;
    } else if (r->gathering) {
        CLQ_TRY(clq_ranks_poll(r->ranks, CLQ_LANE_GATHER, &done));
        if (done) {
            CLQ_TRY(clq_transfer_write(b->view, b->count * sizeof(float), b->values, &b->transfer));
            r->gathering = false;
            r->gathered++;
            *moved = true;
        }
    }
    return CLQ_OK;
}

/* Takes every bucket as far as it goes without waiting. */
static clq_status advance(clq_reducer *r) {
    for (bool moved = true; moved;) {
        const bool was_busy = r->exchanging || r->gathering;
        moved = false;
        CLQ_TRY(step_gather(r, &moved));
        CLQ_TRY(step_exchange(r, &moved));
        const bool busy = r->exchanging || r->gathering;
        if (busy && !was_busy) {
            r->busy_since = clq_now_seconds();
        } else if (was_busy && !busy) {
            r->busy += clq_now_seconds() - r->busy_since;
        }
    }
    return CLQ_OK;
}

/* Starts the buckets that lie at `tail` or behind it. */
static clq_status start(clq_reducer *r, size_t tail) {
    while (r->started < r->bucket_count && r->buckets[r->started].begin >= tail) {
        bucket *b = &r->buckets[r->started++];
        CLQ_TRY(clq_transfer_read(b->view, b->count * sizeof(float), b->values, &b->transfer));
    }
    return advance(r);
}

static clq_status after_node(void *context, const clq_op_run *run) {
    clq_reducer *r = context;
    for (int i = 0; i < run->node->input_count; i++) {
        if (run->node->inputs[i] != CLQ_NO_VALUE) {
            r->ready[run->node->inputs[i]] = true;
        }
    }
    while (r->unready > 0 && r->ready[r->order[r->unready - 1]]) {
        r->unready--;
    }
    return start(r, r->unready < r->parameter_count
                        ? clq_params_offset(r->params, r->order[r->unready])
                        : clq_params_count(r->params));
}

clq_status clq_reducer_begin(clq_reducer *r) {
    if (!r) {
        return CLQ_OK;
    }
    r->started = r->exchanged = r->gathered = 0;
    r->unready = r->parameter_count;
    for (int v = 0; v < r->value_count; v++) {
        r->ready[v] = false;
    }
    return start(r, clq_params_count(r->params));
}

clq_status clq_reducer_finish(clq_reducer *r) {
    if (!r) {
        return CLQ_OK;
    }
    double all_read = 0;
    CLQ_TRY(start(r, 0));
    while (r->gathered < r->bucket_count) {
        bool done = false;
        CLQ_TRY(clq_transfer_done(&r->buckets[r->bucket_count - 1].transfer, &done));
        all_read = done && all_read == 0 ? clq_now_seconds() : all_read;
        clq_ranks_rest();
        CLQ_TRY(advance(r));
    }
    r->steps++;
    r->exposed += all_read > 0 ? clq_now_seconds() - all_read : 0;
    for (int i = 0; i < r->bucket_count; i++) {
        CLQ_TRY(clq_transfer_join(&r->buckets[i].transfer));
    }
    return CLQ_OK;
}

void clq_reducer_log(const clq_reducer *r, const char *name) {
    if (r && r->steps > 0) {
        const double ms = 1e3 / (double)r->steps;
        clq_log_info(
            "%s: gradients in %d bucket%s: %.2f ms a step between ranks, %.2f ms after the "
            "last was computed",
            name, r->bucket_count, clq_plural(r->bucket_count), ms * r->busy, ms * r->exposed);
    }
}
