#include "report/tables.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- cells ---- */

static void put_text(clq_text *out, const char *text) {
    if (!strpbrk(text, ",\"\r\n")) {
        clq_text_puts(out, text);
        return;
    }
    clq_text_puts(out, "\"");
    for (const char *c = text; *c; c++) {
        clq_text_append(out, c, 1);
        if (*c == '"') {
            clq_text_puts(out, "\"");
        }
    }
    clq_text_puts(out, "\"");
}

/* A comma and the number; nothing behind the comma when it is not known. */
static void put_number(clq_text *out, double value) {
    clq_text_puts(out, ",");
    if (isfinite(value)) {
        clq_text_printf(out, "%.9g", value);
    }
}

/* ---- tables: each leaves `out` empty when there is nothing to tell ---- */

static void comparison(const clq_run_data *data, int unused, clq_text *out) {
    const clq_run_summary *fp32 = &data->summaries[CLQ_RUN_FP32];
    (void)unused;
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        const clq_run_summary *s = &data->summaries[v];
        double low, high;
        if (!s->present || s->in_training) { /* train.csv and qat.csv have what they found */
            continue;
        }
        if (out->size == 0) {
            clq_text_puts(out, "network,top1,drop_points,loss,size_bytes,compression,latency_ms,"
                               "speedup,mismatched_codes,r2,top1_low,top1_high\n");
        }
        clq_run_interval(data, v, &low, &high);
        put_text(out, clq_run_keys[v]);
        put_number(out, s->top1);
        put_number(out, 100 * (fp32->top1 - s->top1));
        put_number(out, s->loss);
        put_number(out, s->size_bytes);
        put_number(out, fp32->size_bytes / s->size_bytes);
        put_number(out, s->latency_ms);
        put_number(out, s->speedup);
        clq_text_puts(out, ",");
        if (s->mismatched_codes >= 0) {
            clq_text_printf(out, "%" PRId64, s->mismatched_codes);
        }
        put_number(out, s->r2);
        put_number(out, low);
        put_number(out, high);
        clq_text_puts(out, "\n");
    }
}

static void epochs(const clq_run_data *data, int qat, clq_text *out) {
    const clq_history *history = qat ? &data->qat.history : &data->train.history;
    for (int i = 0; i < history->count; i++) {
        const clq_epoch_record *r = &history->records[i];
        if (i == 0) {
            clq_text_puts(out, "epoch,lr,train_loss,train_top1,test_loss,test_top1,skipped_steps,"
                               "test_output_error,images_per_second,seconds\n");
        }
        clq_text_printf(out, "%d", r->epoch);
        put_number(out, r->lr);
        put_number(out, r->train_loss);
        put_number(out, r->train_top1);
        put_number(out, r->test_loss);
        put_number(out, r->test_top1);
        put_number(out, r->skipped_steps);
        put_number(out, r->test_output_error);
        put_number(out, r->images_per_second);
        put_number(out, r->seconds);
        clq_text_puts(out, "\n");
    }
}

static void steps(const clq_run_data *data, int qat, clq_text *out) {
    const clq_steps *curve = qat ? &data->qat.steps : &data->train.steps;
    for (size_t i = 0; i < curve->count; i++) {
        const clq_step_record *r = &curve->records[i];
        clq_text_puts(out, i ? "" : "step,epoch,lr,loss,top1\n");
        clq_text_printf(out, "%" PRId64 ",%d", r->step, r->epoch);
        put_number(out, r->lr);
        put_number(out, r->loss);
        put_number(out, r->top1);
        clq_text_puts(out, "\n");
    }
}

static void put_class(const clq_run_evaluation *evaluation, int c, clq_text *out) {
    if (evaluation->names && evaluation->names[c]) {
        put_text(out, evaluation->names[c]);
    } else {
        clq_text_printf(out, "%d", c);
    }
}

static void confusion(const clq_run_data *data, int v, clq_text *out) {
    const clq_run_evaluation *evaluation = &data->evaluations[v];
    const int classes = evaluation->classes;
    if (classes == 0) {
        return;
    }
    clq_text_puts(out, "true\\predicted");
    for (int c = 0; c < classes; c++) {
        clq_text_puts(out, ",");
        put_class(evaluation, c, out);
    }
    for (int r = 0; r < classes; r++) {
        clq_text_puts(out, "\n");
        put_class(evaluation, r, out);
        for (int c = 0; c < classes; c++) {
            clq_text_printf(out, ",%" PRId64,
                            evaluation->confusion[(size_t)r * (size_t)classes + (size_t)c]);
        }
    }
    clq_text_puts(out, "\n");
}

static void bench(const clq_run_data *data, int unused, clq_text *out) {
    (void)unused;
    for (size_t i = 0; i < data->bench_count; i++) {
        const clq_run_bench *b = &data->benches[i];
        if (i == 0) {
            clq_text_puts(out, "model,device,precision,dot_path,batch,iterations,min_ms,mean_ms,"
                               "median_ms,p90_ms,p95_ms,p99_ms,images_per_second,gops,peak_gops,"
                               "peak_fraction,bytes,h2d_ms,d2h_ms\n");
        }
        const char *const texts[] = {b->model, b->device, b->precision, b->dot_path};
        for (int t = 0; t < 4; t++) {
            clq_text_puts(out, t ? "," : "");
            put_text(out, texts[t]);
        }
        clq_text_printf(out, ",%d,%d", b->batch, b->iterations);
        const double numbers[] = {b->latency.min,
                                  b->latency.mean,
                                  b->latency.median,
                                  b->latency.p90,
                                  b->latency.p95,
                                  b->latency.p99,
                                  b->images_per_second,
                                  b->gops,
                                  b->peak_gops,
                                  b->peak_fraction,
                                  b->bytes,
                                  b->h2d_ms,
                                  b->d2h_ms};
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
            put_number(out, numbers[n]);
        }
        clq_text_puts(out, "\n");
    }
}

static void layers(const clq_run_data *data, int unused, clq_text *out) {
    (void)unused;
    for (size_t i = 0; i < data->bench_count; i++) {
        const clq_run_bench *b = &data->benches[i];
        for (size_t l = 0; l < b->layer_count; l++) {
            const clq_run_layer *layer = &b->layers[l];
            if (out->size == 0) {
                clq_text_puts(out, "model,device,layer,op,precision,dot_path,ms,share,gops,"
                                   "peak_fraction\n");
            }
            const char *const texts[] = {b->model,  b->device,        layer->name,
                                         layer->op, layer->precision, layer->dot_path};
            for (int t = 0; t < 6; t++) {
                clq_text_puts(out, t ? "," : "");
                put_text(out, texts[t]);
            }
            put_number(out, layer->ms);
            put_number(out, b->layers_ms > 0 ? layer->ms / b->layers_ms : NAN);
            put_number(out, layer->gops);
            put_number(out, layer->peak_fraction);
            clq_text_puts(out, "\n");
        }
    }
}

static void ladder(const clq_run_data *data, int unused, clq_text *out) {
    (void)unused;
    for (size_t i = 0; i < data->analysis.rung_count; i++) {
        const clq_run_rung *r = &data->analysis.ladder[i];
        const int64_t counts[] = {r->flips, r->lost, r->gained};
        clq_text_puts(out, i ? "" : "stage,top1,top1_low,top1_high,error,flips,lost,gained\n");
        put_text(out, r->stage);
        put_number(out, r->top1);
        put_number(out, r->low);
        put_number(out, r->high);
        put_number(out, r->error);
        for (int c = 0; c < 3; c++) {
            put_number(out, counts[c] < 0 ? NAN : (double)counts[c]);
        }
        clq_text_puts(out, "\n");
    }
}

static void analyzed_layers(const clq_run_data *data, int unused, clq_text *out) {
    (void)unused;
    for (size_t i = 0; i < data->analysis.layer_count; i++) {
        const clq_run_analyzed_layer *l = &data->analysis.layers[i];
        clq_text_puts(out, i ? ""
                             : "layer,op,type,place,sqnr_db,sqnr_accumulated_db,cosine,"
                               "cosine_accumulated,clipped,error_only,error_without,top1_only,"
                               "top1_without,bytes,fp32_ms,int8_ms,least,most,code_least,"
                               "code_most\n");
        put_text(out, l->name);
        clq_text_puts(out, ",");
        put_text(out, l->op);
        clq_text_puts(out, ",");
        put_text(out, l->type);
        const double numbers[] = {l->place,
                                  l->sqnr_db,
                                  l->sqnr_accumulated_db,
                                  l->cosine,
                                  l->cosine_accumulated,
                                  l->clipped,
                                  l->error_only,
                                  l->error_without,
                                  l->top1_only,
                                  l->top1_without,
                                  l->bytes,
                                  l->fp32_ms,
                                  l->int8_ms,
                                  l->least,
                                  l->most,
                                  l->code_least,
                                  l->code_most};
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
            put_number(out, numbers[n]);
        }
        clq_text_puts(out, "\n");
    }
}

static const struct {
    const char *name;
    void (*fill)(const clq_run_data *data, int which, clq_text *out);
    int which;
} tables[] = {
    {"comparison.csv", comparison, 0},
    {"train.csv", epochs, 0},
    {"train-steps.csv", steps, 0},
    {"qat.csv", epochs, 1},
    {"qat-steps.csv", steps, 1},
    {"confusion-fp32.csv", confusion, CLQ_RUN_FP32},
    {"confusion-ptq.csv", confusion, CLQ_RUN_PTQ},
    {"confusion-qat.csv", confusion, CLQ_RUN_QAT},
    {"analysis-ladder.csv", ladder, 0},
    {"analysis-layers.csv", analyzed_layers, 0},
    {"bench.csv", bench, 0},
    {"layers.csv", layers, 0},
};

clq_status clq_tables_make(const clq_run_data *data, const char *prefix, clq_report_files *files) {
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        clq_text text = {0};
        tables[i].fill(data, tables[i].which, &text);
        if (text.size > 0 || text.failed) {
            CLQ_TRY(clq_report_files_add(files, &text, "%s%s", prefix, tables[i].name));
        }
    }
    return CLQ_OK;
}
