#include "quant/observers/histogram.h"

#include "ops/elementwise.h"
#include "ops/quantized_run.h"

enum {
    COUNTS = 2 * CLQ_BINS,
    ROW = COUNTS + 16, /* kernels/quant/histogram.cl */
    ROW_GRAIN = 16384, /* reals that are worth a row of their own */
    MOST_GROUPS = 256, /* GPU schedule: each adds its counts to those of all */
    GROUP = 128,
};

/* ---- adding up ---- */

/* Doubles the range until the first bin is `first`: bins below it join it. */
static void raise_first(clq_histogram *h, int first) {
    const int moved = first - h->first;
    uint64_t lowest = 0;
    if (moved <= 0) {
        return;
    }
    for (int bin = 0; bin <= moved && bin < CLQ_BINS; bin++) {
        lowest += h->count[bin];
    }
    for (int bin = 1; bin < CLQ_BINS; bin++) {
        h->count[bin] = bin + moved < CLQ_BINS ? h->count[bin + moved] : 0;
    }
    h->count[0] = lowest;
    h->first = first;
}

void clq_histogram_add(clq_histogram *h, const uint32_t *counts, int first) {
    raise_first(h, first);
    const int below = h->first - first; /* bins that belong into the lowest, besides its own */
    for (int bin = 0; bin <= below && bin < CLQ_BINS; bin++) {
        h->count[0] += counts[bin];
    }
    for (int bin = below + 1; bin < CLQ_BINS; bin++) {
        h->count[bin - below] += counts[bin];
    }
}

void clq_histogram_merge(clq_histogram *h, const clq_histogram *other) {
    raise_first(h, other->first);
    const int below = h->first - other->first;
    for (int bin = 0; bin <= below && bin < CLQ_BINS; bin++) {
        h->count[0] += other->count[bin];
    }
    for (int bin = below + 1; bin < CLQ_BINS; bin++) {
        h->count[bin - below] += other->count[bin];
    }
}

double clq_histogram_edge(const clq_histogram *h, int bin) {
    return bin == 0 ? 0 : (double)clq_bits_float((h->first + bin) << CLQ_BIN_SHIFT);
}

/* ---- the device's part ---- */

struct clq_histogram_counter {
    clq_device *device;
    clq_kernel *count, *join;
    clq_buffer *rows;   /* U32 (row_count, ROW) */
    clq_buffer *counts; /* U32 (slots, COUNTS) */
    uint32_t *host;     /* the same */
    int64_t row_count, slots;
};

clq_status clq_histogram_counter_create(clq_device *device, int slots,
                                        clq_histogram_counter **out) {
    clq_status status = CLQ_NO_MEMORY;
    clq_histogram_counter *c = clq_calloc(1, sizeof *c);
    *out = NULL;
    if (!c) {
        return status;
    }
    *c = (clq_histogram_counter){.device = device, .slots = slots, .row_count = 1};
    if (clq_device_get_info(device)->schedule == CLQ_SCHEDULE_CPU) {
        c->row_count = 2 * (int64_t)clq_device_get_info(device)->compute_units;
    }
    const size_t row_bytes = (size_t)c->row_count * ROW * sizeof *c->host;
    const size_t bytes = (size_t)slots * COUNTS * sizeof *c->host;
    c->host = clq_calloc((size_t)slots * COUNTS, sizeof *c->host);
    if (!c->host) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_kernel_get(device, "histogram_count", NULL, &c->count));
    CLQ_GOTO(status, cleanup, clq_kernel_get(device, "histogram_join", NULL, &c->join));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, row_bytes, &c->rows));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, bytes, &c->counts));
    CLQ_GOTO(status, cleanup, clq_buffer_fill(c->rows, 0, row_bytes, 0));
    CLQ_GOTO(status, cleanup, clq_buffer_fill(c->counts, 0, bytes, 0));
    *out = c;
    c = NULL;
cleanup:
    clq_histogram_counter_destroy(c);
    return status;
}

clq_status clq_histogram_counter_take(clq_histogram_counter *c, int slot, clq_buffer *x,
                                      int64_t count, clq_buffer *range, int value) {
    const bool gpu = clq_device_get_info(c->device)->schedule == CLQ_SCHEDULE_GPU;
    const int64_t grain = gpu ? GROUP : ROW_GRAIN, most = gpu ? MOST_GROUPS : c->row_count;
    const int64_t needed = (count + grain - 1) / grain, rows = needed < most ? needed : most;
    const size_t local = gpu ? GROUP : 0;
    const clq_range items = {1, {(size_t)rows * (gpu ? GROUP : 1), 1, 1}, {local, 0, 0}};
    CLQ_TRY(CLQ_LAUNCH(c->device, c->count, items, CLQ_BUF(x), CLQ_BUF(range), CLQ_BUF(c->rows),
                       CLQ_I32(value), CLQ_I32(count)));
    return CLQ_LAUNCH(c->device, c->join, CLQ_RANGE1(clq_work_items(c->device, COUNTS, 1024)),
                      CLQ_BUF(c->rows), CLQ_BUF(c->counts), CLQ_I32(slot), CLQ_I32(gpu ? 1 : rows));
}

clq_status clq_histogram_counter_read(clq_histogram_counter *c, const uint32_t **counts) {
    const size_t bytes = (size_t)c->slots * COUNTS * sizeof *c->host;
    CLQ_TRY(clq_buffer_read(c->counts, 0, bytes, c->host));
    *counts = c->host;
    return CLQ_OK;
}

void clq_histogram_counter_destroy(clq_histogram_counter *c) {
    if (!c) {
        return;
    }
    clq_buffer_release(c->rows);
    clq_buffer_release(c->counts);
    clq_free(c->host);
    clq_free(c);
}
