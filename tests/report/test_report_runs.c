/* The report of several runs, side by side. */
#include <stdio.h>
#include <string.h>

#include "report/report_case.h"

static void several_runs_share_a_page(void **state) {
    (void)state;
    char *a = clq_path_join(folder, "a run"), *b = clq_path_join(folder, "b"), *path = NULL;
    char *out = clq_path_join(folder, "report");
    put("a run/run.json", run);
    put("a run/origin.json", origin);
    put("b/run.json", "{\"schema\":1,\"data\":\"other\",\"device\":\"GPU\",\"fp32\":{\"r2\":0.5}}");
    const char *const both[] = {a, b};
    clq_report_options options = {0};
    assert_status(clq_report_write(both, 2, &options, NULL), CLQ_USAGE);
    options.out = out;
    assert_ok(clq_report_write(both, 2, &options, &path));
    static const char *const parts[] = {"2 runs compared",
                                        "id=run-2",
                                        "href=\"#run-1\"",
                                        "rowspan=2",
                                        "0.5000 R\u00b2",
                                        "left no fingerprint",
                                        "on different devices",
                                        "href=\"../a%20run/run.json\"",
                                        "href=\"1--script-alert-1---script--comparison.csv\""};
    assert_page_has(parts, sizeof parts / sizeof *parts);
    put("b/origin.json", "{\"schema\":1,\"version\":\"1\",\"data\":{\"test\":{\"hash\":\"77\"}}}");
    assert_ok(clq_report_write(both, 2, &options, NULL));
    static const char *const known[] = {"tested on different data", "by different versions"};
    assert_page_has(known, 2);
    assert_true(exists("report/2-b-comparison.csv"));

    /* The report of other runs is not lost, nor a file that is no report's. */
    const char *const one[] = {b};
    assert_status(clq_report_write(one, 1, &options, NULL), CLQ_CANNOT_CREATE);
    assert_error_has("holds the report of other runs (../a%20run/, ../b/)");
    assert_true(exists("report/2-b-comparison.csv"));
    assert_ok(clq_report_write(both, 2, &options, NULL)); /* the same again */
    options.overwrite = true;
    assert_ok(clq_report_write(one, 1, &options, NULL));
    assert_true(exists("report/comparison.csv"));
    assert_false(exists("report/2-b-comparison.csv"));

    options.overwrite = false;
    options.out = folder;
    put("index.html", "mine");
    assert_status(clq_report_write(both, 2, &options, NULL), CLQ_CANNOT_CREATE);
    assert_error_has("holds index.html");
    char *mine = get("index.html");
    assert_string_equal(mine, "mine");
    clq_free(mine);
    for (long nth = 1; nth < 4000; nth += nth / 8 + 1) { /* whatever fails on the way */
        clq_test_fail_allocation(nth);
        const clq_status status = clq_report_write(both, 2, &options, NULL);
        assert_true(status == CLQ_NO_MEMORY || status == CLQ_CANNOT_CREATE);
        clq_test_restore_allocator();
        mine = get("index.html");
        assert_string_equal(mine, "mine");
        clq_free(mine);
    }
    clq_free(path);
    clq_free(out);
    clq_free(a);
    clq_free(b);
}

/* What a training found of the test set stands where nobody evaluated its network, and the recipes
 * of runs that may have one name tell them apart. */
static void trainings_are_compared(void **state) {
    static const char *const of[] = {
        "\"r\",\"train\":{\"epochs\":2,\"schedule\":{\"lr\":0.1}},\"a\":[1,2]",
        "\"r\",\"train\":{\"epochs\":3,\"schedule\":{\"lr\":0.1}},\"a\":[1,3],\"b\":\"<x>\""};
    static const char *const histories[] = {
        history, "[{\"epoch\":1,\"test_loss\":1,\"test_top1\":0.6},{\"epoch\":2,\"test_loss\":0.9,"
                 "\"test_top1\":0.7},{\"epoch\":3,\"test_loss\":0.8,\"test_top1\":0.65}]"};
    static const char *const names[] = {"a", "b"};
    static const char *const parts[] = {
        "FP32<small>in training, epoch 1</small></td><td class=n>38.00 %", /* the latest test */
        ("in training, epoch 3</small><small>best 70.00 % in epoch 2</small></td><td class=n>65.00 "
         "%<small>55.25 to 73.64</small>"),
        "0.8000</td>",
        "Results in training are those",
        "What differs in their recipes",
        "<code>train.epochs</code></td><td>2</td><td>3</td>",
        "<code>a</code></td><td>[1, 2]</td><td>[1, 3]</td>",
        "<code>b</code></td><td>\u2013</td><td>&lt;x&gt;</td>",
        "Not in this folder: history of a QAT, evaluation, verified"};
    char *folders[2], *out = clq_path_join(folder, "report");
    (void)state;
    for (int i = 0; i < 2; i++) {
        char *file = clq_path_join(names[i], "origin.json");
        char *text = clq_format("{\"schema\":1,\"data\":{\"test\":{\"count\":100,\"hash\":\"1\"}},"
                                "\"recipe\":{\"name\":%s}}",
                                of[i]);
        put(file, text);
        clq_free(file);
        file = clq_path_join(names[i], "history.json");
        put(file, histories[i]);
        clq_free(file);
        clq_free(text);
        folders[i] = clq_path_join(folder, names[i]);
    }
    const char *const both[] = {folders[0], folders[1]};
    const clq_report_options options = {.out = out};
    assert_ok(clq_report_write(both, 2, &options, NULL));
    assert_page_has(parts, sizeof parts / sizeof *parts);
    char *html = get("report/index.html");
    assert_null(strstr(html, "<code>train.schedule.lr</code>"));
    assert_null(strstr(html, "<code>name</code>"));
    clq_free(html);
    assert_false(exists("report/1-r-comparison.csv")); /* it is of networks that were evaluated */
    for (long nth = 1; nth < 3000; nth += nth / 2 + 1) {
        clq_test_fail_allocation(nth);
        const clq_status status = clq_report_write(both, 2, &options, NULL);
        clq_test_restore_allocator();
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
    }
    for (int i = 0; i < 2; i++) {
        clq_free(folders[i]);
    }
    clq_free(out);
}

/* A run's folder gets no report among its files, and no run stands beside itself. */
static void reports_and_runs_do_not_mix(void **state) {
    static const char *const files[] = {"run.json", "origin.json", "history.json", "log.jsonl",
                                        ".clquant.lock"};
    char *again = clq_path_join(folder, "."), *other = clq_path_join(folder, "other");
    const char *const twice[] = {folder, again};
    clq_report_options options = {.out = other, .overwrite = true};
    (void)state;
    put("run.json", run);
    assert_status(clq_report_write(twice, 2, &options, NULL), CLQ_USAGE);
    assert_error_has("are the same run");
    assert_false(exists("other"));
    options.out = again;
    assert_status(clq_report_write(&folder, 1, &options, NULL), CLQ_CANNOT_CREATE);
    assert_error_has("is the folder of a run (it holds run.json)");
    options.out = other;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *name = clq_path_join("other", files[i]), *path = clq_path_join(folder, name);
        put(name, "");
        assert_status(clq_report_write(&folder, 1, &options, NULL), CLQ_CANNOT_CREATE);
        assert_error_has(files[i]);
        assert_ok(clq_file_remove(path));
        clq_free(name);
        clq_free(path);
    }
    assert_ok(clq_report_write(&folder, 1, &options, NULL));
    assert_false(exists("index.html"));
    clq_free(again);
    clq_free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        REPORT_TEST(several_runs_share_a_page),
        REPORT_TEST(trainings_are_compared),
        REPORT_TEST(reports_and_runs_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
