/* The report of hostile and unreadable runs, and with every operation failing in turn. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "report/report_case.h"

/* ---- hostile ---- */

/* A file's text and a part of the error it must give. */
typedef struct hostile {
    const char *file, *text, *error;
} hostile;

static void hostile_files_are_refused_with_their_place(void **state) {
    static const hostile files[] = {
        {"run.json", "", "run.json"},
        {"run.json", "[]", "must be a JSON object"},
        {"run.json", "{\"schema\":2}", "schema: must be an integer in 1..1, is 2"},
        {"run.json", "{}", "schema: is missing"},
        {"run.json", "{\"schema\":1,\"name\":3}", "name: must be a string"},
        {"run.json", "{\"schema\":1,\"ptq\":[]}", "ptq: must be an object"},
        {"run.json", "{\"schema\":1,\"qat\":{\"top1\":1.5}}", "qat.top1: must be a number in 0..1"},
        {"run.json", "{\"schema\":1,\"ptq\":{\"mismatched_codes\":-1}}", "ptq.mismatched_codes"},
        {"run.json", "{\"schema\":1,\"fp32\":{\"size_bytes\":-5}}", "fp32.size_bytes"},
        {"train/history.json", "{}", "must be an array"},
        {"train/history.json", "[3]", "[0]: must be an object"},
        {"train/history.json", "[{\"lr\":0.1}]", "[0].epoch: is missing"},
        {"train/history.json", "[{\"epoch\":2},{\"epoch\":2}]", "[1].epoch: must be more"},
        {"qat/history.json", "[{\"epoch\":1,\"test_loss\":\"low\"}]", "[0].test_loss"},
        {"qat/history.json", "[{\"epoch\":1,\"train_loss\":1e300}]", "[0].train_loss"},
        {"eval-fp32.json", "{\"schema\":1,\"images\":-1}", "images: must be an integer"},
        {"eval-fp32.json", "{\"schema\":1,\"images\":2,\"confusion\":[[1,1]", "eval-fp32.json:1:"},
        {"eval-fp32.json", "{\"schema\":1,\"images\":2,\"confusion\":[[1,1],[0]]}", "confusion[1]"},
        {"eval-fp32.json", "{\"schema\":1,\"images\":2,\"confusion\":[[3,-1],[0,0]]}",
         "confusion[0][0]"},
        {"eval-fp32.json", "{\"schema\":1,\"images\":2,\"confusion\":[[1,-1],[0,0]]}",
         "confusion[0][1]: must be an integer of at least 0"},
        {"eval-fp32.json", "{\"schema\":1,\"images\":3,\"confusion\":[[1,1],[0,0]]}",
         "confusion: counts 2 images"},
        {"eval-fp32.json", "{\"schema\":1,\"images\":1,\"confusion\":[[1]],\"classes\":[7]}",
         "classes[0]: must be a string"},
        {"eval-fp32.json",
         "{\"schema\":1,\"images\":1,\"confusion\":[[1]],\"classes\":[\"a\","
         "\"b\"]}",
         "classes: has 2 names"},
        {"eval-qat.json",
         "{\"schema\":1,\"images\":9223372036854775807,\"confusion\":[[9223372036854775807,"
         "9223372036854775807],[1,1]]}",
         "confusion[0][1]: brings the counts"},
        {"verify-qat.json", "{\"schema\":1,\"images\":1}", "mismatched_codes: is missing"},
        {"verify-qat.json",
         "{\"schema\":1,\"images\":1,\"compared_codes\":4,\"mismatched_codes\":5}",
         "mismatched_codes: 5 is more"},
        {"verify-ptq.json",
         "{\"schema\":1,\"images\":1,\"mismatched_codes\":0,\"dot_paths\":{\"avx2\":1}}",
         "dot_paths.avx2"},
        {"train/steps.json", "{}", "must be an array"},
        {"qat/steps.json", "[{\"step\":2},{\"step\":2}]", "[1].step: must be more"},
        {"origin.json", "[]", "must be a JSON object"},
        {"origin.json", "{\"schema\":1,\"commit\":3}", "commit: must be a string"},
        {"origin.json", "{\"schema\":1,\"seconds\":{\"train\":-1}}", "seconds.train"},
        {"origin.json", "{\"schema\":1,\"device\":{\"dot_paths\":[1]}}", "device.dot_paths"},
        {"origin.json", "{\"schema\":1,\"recipe\":[]}", "recipe: must be an object"},
        {"analysis.json", "{\"schema\":1,\"ladder\":[]}", "layers: is missing"},
        {"analysis.json", "{\"schema\":1,\"ladder\":[{}],\"layers\":[]}",
         "ladder[0].stage: is missing"},
        {"analysis.json", "{\"schema\":1,\"ladder\":[{\"stage\":\"a\",\"interval\":[2,1]}]}",
         "ladder[0].interval: must be two numbers that rise"},
        {"analysis.json",
         "{\"schema\":1,\"ladder\":[],\"layers\":[{\"name\":\"a\",\"cosine\":-3}]}",
         "layers[0].cosine"},
        {"analysis.json",
         "{\"schema\":1,\"ladder\":[],\"layers\":[{\"name\":\"a\",\"histogram\":{\"counts\":[1,-1]}"
         "}"
         "]}",
         "layers[0].histogram.counts[1]: must be an integer of at least 0"},
        {"bench.json", "{\"schema\":1}", "results: is missing"},
        {"bench.json", "{\"schema\":1,\"results\":[{\"model\":\"m\"}]}",
         "results[0].latency_ms: is missing"},
        {"bench.json", "{\"schema\":1,\"results\":[{\"model\":\"m\",\"latency_ms\":{\"min\":-1}}]}",
         "results[0].latency_ms.min"},
        {"bench.json",
         "{\"schema\":1,\"results\":[{\"model\":\"m\",\"latency_ms\":{},\"layers\":[{\"name\":"
         "\"a\","
         "\"ms\":true}]}]}",
         "results[0].layers[0].ms"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        fresh_folder();
        put(files[i].file, files[i].text);
        assert_status(write_report(NULL), CLQ_BAD_DATA);
        assert_error_has(files[i].file);
        assert_error_has(files[i].error);
        assert_false(exists("report"));
    }
}

static void too_many_classes_are_refused(void **state) {
    clq_text text = {0};
    (void)state;
    clq_text_puts(&text, "{\"schema\":1,\"images\":0,\"confusion\":[[]");
    for (int i = 0; i < 5000; i++) {
        clq_text_puts(&text, ",[]");
    }
    clq_text_puts(&text, "]}");
    put("eval-fp32.json", text.data);
    clq_text_free(&text);
    assert_status(write_report(NULL), CLQ_BAD_DATA);
    assert_error_has("confusion: must have at most 4096 elements, has 5001");
}

/* Any prefix of any file is refused, not half-read. */
static void truncated_files_are_refused(void **state) {
    static const char *const files[] = {"run.json", "eval-fp32.json", "bench.json"};
    static const char *const texts[] = {run, evaluation, bench};
    (void)state;
    for (int f = 0; f < 3; f++) {
        fresh_folder();
        for (size_t length = 1; length < strlen(texts[f]); length += 41) {
            char *cut = clq_format("%.*s", (int)length, texts[f]);
            put(files[f], cut);
            clq_free(cut);
            assert_status(write_report(NULL), CLQ_BAD_DATA);
        }
    }
}

/* ---- faults ---- */

static void failing_file_operations_are_reported(void **state) {
    (void)state;
    put("eval-ptq.json", evaluation);
    clq_test_fail_file_op(0, 0);
    assert_ok(write_report(NULL));
    const long total = clq_test_file_ops();
    assert_true(total > 20);
    for (long nth = 1; nth <= total; nth++) {
        char *path = NULL;
        clq_test_fail_file_op(nth, EIO);
        const clq_status status = write_report(&path);
        assert_int_equal(clq_test_open_files(), 0);
        if (status == CLQ_OK) { /* an operation that may fail, such as closing what was read */
            clq_free(path);
        } else {
            assert_null(path);
            assert_true(clq_last_error()[0] != '\0');
        }
    }
    clq_test_restore_file_ops();
}

static void interrupted_file_operations_are_continued(void **state) {
    (void)state;
    put("train/history.json", history);
    clq_test_interrupt_file_ops();
    assert_ok(write_report(NULL));
    clq_test_restore_file_ops();
    assert_png_decodes("report/train-loss.png");
}

static void failing_allocations_are_reported(void **state) {
    (void)state;
    put("eval-ptq.json", evaluation);
    put("verify-ptq.json", verification);
    put("origin.json", origin);
    clq_test_fail_allocation(0);
    assert_ok(write_report(NULL));
    const long total = clq_test_allocations();
    for (long nth = 1; nth <= total; nth += 1 + total / 60) {
        char *path = NULL;
        clq_test_fail_allocation(nth);
        const clq_status status = write_report(&path);
        if (status == CLQ_OK) {
            clq_free(path);
        } else {
            assert_int_equal(status, CLQ_NO_MEMORY);
            assert_null(path);
        }
        assert_int_equal(clq_test_live_allocations(), 0);
    }
    clq_test_restore_allocator();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        REPORT_TEST(hostile_files_are_refused_with_their_place),
        REPORT_TEST(too_many_classes_are_refused),
        REPORT_TEST(truncated_files_are_refused),
        REPORT_TEST(failing_file_operations_are_reported),
        REPORT_TEST(interrupted_file_operations_are_continued),
        REPORT_TEST(failing_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
