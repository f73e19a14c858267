/* What a report reads: run.json, eval-ptq.json, verify-qat.json, bench.json, train/history.json,
 * log.jsonl, origin.json, qat/steps.json and analysis.json, in this order in the input, with a form
 * feed between them. */
#include <stdio.h>
#include <string.h>

#include "fuzz.h"
#include "report/run_data.h"

static const char *const files[] = {"run.json",    "eval-ptq.json",      "verify-qat.json",
                                    "bench.json",  "train/history.json", "log.jsonl",
                                    "origin.json", "qat/steps.json",     "analysis.json"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    clq_run_data run = {0};
    const uint8_t *end = data + size;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const uint8_t *at = data < end ? memchr(data, '\f', (size_t)(end - data)) : NULL;
        const size_t length = at ? (size_t)(at - data) : (size_t)(end - data);
        const char *path = fuzz_put(files[i], data, length);
        if (length == 0) {
            remove(path);
        }
        data += length + (at != NULL);
    }
    if (clq_run_data_read(&run, fuzz_folder()) == CLQ_OK) {
        for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
            const clq_run_evaluation *e = &run.evaluations[v];
            for (int c = 0; e->confusion && c < e->classes * e->classes; c++) {
                fuzz_check(e->confusion[c] >= 0, "is a count");
            }
        }
    }
    clq_run_data_clear(&run);
    return 0;
}

void fuzz_seeds(void) {
    static const char run[] =
        "{\"schema\":1,\"name\":\"x\",\"device\":\"d\",\"created\":\"now\",\"fp32\":{\"top1\":0.5,"
        "\"loss\":1,\"size_bytes\":4,\"latency_ms\":2,\"speedup\":1},\"ptq\":{\"top1\":null,"
        "\"mismatched_codes\":0}}";
    static const char eval[] =
        "{\"schema\":1,\"top1\":0.5,\"top5\":1,\"loss\":0.1,\"images\":4,\"classes\":[\"a\",\"b\"],"
        "\"confusion\":[[1,1],[0,2]],\"logits_sha256\":\"00\"}";
    static const char verify[] =
        "{\"schema\":1,\"images\":4,\"compared_codes\":9,\"mismatched_codes\":0,"
        "\"first_mismatch\":null,\"logits_sha256\":\"00\",\"paths\":{\"portable\":\"00\"}}";
    static const char bench[] =
        "{\"schema\":1,\"results\":[{\"model\":\"m\",\"device\":\"d\",\"batch\":1,\"precision\":"
        "\"fp32\","
        "\"dot_path\":\"\",\"iterations\":3,\"latency_ms\":{\"min\":1,\"mean\":1,\"median\":1,"
        "\"p90\":1,\"p95\":1,\"p99\":1},\"layers\":[]}]}";
    static const char history[] =
        "[{\"epoch\":1,\"lr\":0.1,\"train_loss\":1,\"test_top1\":null,\"seconds\":2}]";
    static const char log[] =
        "{\"event\":\"step\",\"phase\":\"train\",\"step\":3,\"loss\":0.5}\n{\"event\":\"sto";
    static const char origin[] =
        "{\"schema\":1,\"commit\":\"a\",\"command\":\"c\",\"seconds\":{\"train\":1},\"device\":{"
        "\"dot_paths\":[\"portable\"],\"failed_self_tests\":[{}]},\"data\":{\"train\":{"
        "\"count\":1,\"hash\":\"0\"}},\"seeds\":{\"qat\":1},\"recipe\":{\"name\":\"r\"}}";
    static const char curve[] = "[{\"step\":1,\"epoch\":1,\"lr\":0.1,\"loss\":null,\"top1\":0.5}]";
    static const char analysis[] =
        "{\"schema\":1,\"ladder\":[{\"stage\":\"fp32\",\"top1\":0.5,\"interval\":[0,1]}],"
        "\"layers\":[{"
        "\"name\":\"a\",\"place\":0,\"range\":[0,1],\"histogram\":{\"low\":0,\"bin_width\":1,"
        "\"counts\":[1,2]}}]}";
    const char *const parts[] = {run, eval, verify, bench, history, log, origin, curve, analysis};
    char text[8192] = "";
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char one[2048];
        snprintf(one, sizeof one, "%.*s%s", (int)i, "\f\f\f\f\f\f\f\f\f", parts[i]);
        fuzz_add_text(one);
        strcat(strcat(text, i ? "\f" : ""), parts[i]);
    }
    fuzz_add_text(text);
}
