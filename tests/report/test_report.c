/* The report of whole and partial runs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/pictures.h"
#include "report/report_case.h"

/* ---- whole and partial ---- */

static void whole_run_gives_page_pictures_and_tables(void **state) {
    static const char *const pngs[] = {"report/comparison.png",     "report/train-loss.png",
                                       "report/train-accuracy.png", "report/qat-loss.png",
                                       "report/qat-accuracy.png",   "report/confusion-fp32.png",
                                       "report/confusion-ptq.png",  "report/confusion-qat.png"};
    char *path = NULL;
    (void)state;
    put_run();
    assert_ok(write_report(&path));
    assert_string_equal(clq_path_basename(path), "index.html");
    for (size_t i = 0; i < sizeof pngs / sizeof *pngs; i++) {
        assert_png_decodes(pngs[i]);
    }
    char *html = get("report/index.html");
    assert_sound_page(html);
    assert_non_null(strstr(html, "&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert_non_null(strstr(html, "A &quot;CPU&quot;"));
    assert_non_null(strstr(html, "conv&lt;1&gt;"));
    assert_non_null(strstr(html, "4.00\u00d7"));             /* compression and speed-up */
    assert_non_null(strstr(html, "75.0 %"));                 /* the first layer's share */
    assert_non_null(strstr(html, "1\u202f234\u202f567"));    /* compared codes */
    assert_non_null(strstr(html, "portable <b class=bad>")); /* its logits differ */
    clq_free(html);
    clq_free(path);
}

static void tables_hold_the_values(void **state) {
    (void)state;
    put_run();
    assert_ok(write_report(NULL));
    char *csv = get("report/comparison.csv");
    assert_non_null(strstr(csv, "\nptq,0.7,5,0.55,1000000,4,2,4,0,,0.366166"));
    clq_free(csv);
    csv = get("report/confusion-qat.csv");
    assert_string_equal(csv, "true\\predicted,<i>cat</i>,\"a,\"\"b\"\n"
                             "<i>cat</i>,3,1\n\"a,\"\"b\",1,3\n");
    clq_free(csv);
    csv = get("report/train.csv");
    assert_non_null(strstr(csv, "\n2,0.01,0.9,0.7,,,2,,900,55\n"));
    clq_free(csv);
    csv = get("report/layers.csv");
    assert_non_null(strstr(csv, "\nfp32,CPU,conv<1>,conv2d,fp32,,6,0.75,120,0.6\n"));
    clq_free(csv);
}

/* R2 takes the place of the accuracy, which is not known. */
static void a_regression_is_compared_by_r2(void **state) {
    (void)state;
    put("run.json", "{\"schema\":1,\"fp32\":{\"top1\":null,\"r2\":0.98765,\"loss\":0.0125},"
                    "\"ptq\":{\"top1\":null,\"r2\":0.98,\"loss\":0.02}}");
    put("eval-fp32.json", "{\"schema\":1,\"top1\":null,\"top5\":null,\"loss\":0.0125,\"images\":8,"
                          "\"confusion\":[],\"r2\":0.98765,\"fits\":[{\"name\":\"y\",\"rmse\":2.5,"
                          "\"r2\":0.98765}],\"classes\":[]}");
    put("train/history.json", "[{\"epoch\":1,\"train_loss\":1.5,\"train_top1\":null,"
                              "\"test_loss\":1.25,\"test_top1\":null}]");
    assert_ok(write_report(NULL));
    assert_true(exists("report/train-loss.png"));
    assert_true(exists("report/comparison.png"));
    assert_false(exists("report/train-accuracy.png"));
    char *text = get("report/index.html");
    assert_non_null(strstr(text, "R\u00b2"));
    assert_non_null(strstr(text, "0.9877"));
    assert_null(strstr(text, "Top-1"));
    clq_free(text);
    text = get("report/comparison.csv");
    assert_non_null(strstr(text, "\nptq,,,0.02,,,,,,0.98,,\n"));
    clq_free(text);
}

static void each_part_alone_is_enough(void **state) {
    static const struct {
        const char *file, *text, *made, *not_made;
    } parts[] = {
        {"run.json", run, "comparison.csv", "train.csv"},
        {"train/history.json", history, "train.csv", "comparison.csv"},
        {"qat/history.json", history, "qat-loss.png", "train.csv"},
        {"eval-ptq.json", evaluation, "confusion-ptq.png", "confusion-fp32.png"},
        {"verify-qat.json", verification, "comparison.csv", "bench.csv"},
        {"bench.json", bench, "layers.csv", "train.csv"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *name = clq_path_join("report", parts[i].made);
        char *other = clq_path_join("report", parts[i].not_made);
        fresh_folder();
        put(parts[i].file, parts[i].text);
        assert_ok(write_report(NULL));
        assert_true(exists("report/index.html"));
        assert_true(exists(name));
        assert_false(exists(other));
        clq_free(name);
        clq_free(other);
    }
}

/* `clquant train` leaves its history in the folder itself, `clquant qat` too. */
static void a_single_stage_is_enough(void **state) {
    (void)state;
    put("history.json", history);
    assert_ok(write_report(NULL));
    assert_true(exists("report/train-loss.png"));
    fresh_folder();
    put("history.json", history);
    put("qat-checkpoint-000000010.safetensors", "");
    assert_ok(write_report(NULL));
    assert_true(exists("report/qat-loss.png"));
    assert_false(exists("report/train-loss.png"));
}

/* A training that was killed twice before its first epoch ended, once within a line. */
static const char steps[] =
    "{\"event\": \"start\", \"phase\": \"train\", \"step\": 0}\n"
    "{\"event\": \"step\", \"phase\": \"train\", \"step\": 10, \"lr\": 0.1, \"loss\": 2.5, "
    "\"top1\": 0.1, \"images_per_second\": 100}\n"
    "{\"event\": \"step\", \"phase\": \"train\", \"step\": 20, \"loss\": 9}\n"
    "{\"event\": \"step\", \"phase\": \"tr\n"
    "{\"event\": \"start\", \"phase\": \"train\", \"step\": 0}\n"
    "{\"event\": \"resume\", \"phase\": \"train\", \"step\": 15}\n"
    "{\"event\": \"step\", \"phase\": \"train\", \"step\": 20, \"loss\": null, \"top1\": 0.5}\n"
    "{\"event\": \"step\", \"phase\": \"train\", \"step\": 30, \"loss\": 1.5, \"top1\": 0.6}\n"
    "{\"event\": \"step\", \"phase\": \"train\", \"step\": 40, \"lo";

static void the_log_has_the_steps_of_a_training_that_left_none(void **state) {
    (void)state;
    put("log.jsonl", steps);
    assert_ok(write_report(NULL));
    assert_png_decodes("report/train-loss.png");
    char *csv = get("report/train-steps.csv");
    assert_string_equal(csv, "step,epoch,lr,loss,top1\n10,0,0.1,2.5,0.1\n20,0,,,0.5\n"
                             "30,0,,1.5,0.6\n");
    clq_free(csv);
    put("train/steps.json", "[{\"step\":1,\"epoch\":1,\"lr\":0.5,\"loss\":4,\"top1\":0}]");
    assert_ok(write_report(NULL));
    csv = get("report/train-steps.csv");
    assert_string_equal(csv, "step,epoch,lr,loss,top1\n1,1,0.5,4,0\n");
    clq_free(csv);
    put("log.jsonl", "{\"event\": \"step\", \"phase\": \"train\", \"step\": -1}\n");
    assert_status(write_report(NULL), CLQ_BAD_DATA);
    assert_error_has("log.jsonl: step");
}

/* A training of few epochs is shown by its steps, with the test set behind an epoch's last one. */
static void few_epochs_are_shown_by_step(void **state) {
    clq_run_data data = {0};
    clq_pictures pictures = {0};
    (void)state;
    put("qat/history.json", "[{\"epoch\":1,\"lr\":0.1,\"train_loss\":3,\"test_loss\":2,"
                            "\"test_top1\":0.5}]");
    put("qat/steps.json", "[{\"step\":1,\"epoch\":1,\"lr\":0.2,\"loss\":4,\"top1\":0.25},"
                          "{\"step\":2,\"epoch\":1,\"lr\":0.1,\"loss\":3,\"top1\":0.5}]");
    assert_ok(clq_run_data_read(&data, folder));
    assert_ok(clq_pictures_make(&pictures, &data));
    assert_int_equal(pictures.curve_count, 3);
    const clq_line_plot *loss = &pictures.curves[0], *rate = &pictures.curves[2];
    assert_string_equal(loss->x_label, "step (points: means since the one before)");
    assert_int_equal(loss->count, 2);
    assert_true(loss->series[0].y[0] == 4 && loss->series[0].y[1] == 3);
    assert_true(isnan(loss->series[1].y[0]) && loss->series[1].y[1] == 2);
    assert_string_equal(rate->title, "Quantization-aware training: learning rate");
    assert_true(rate->series[0].y[0] == 0.2 && rate->series[0].y[1] == 0.1);
    clq_pictures_clear(&pictures);
    clq_run_data_clear(&data);
}

/* Single batches scatter: a point of a picture is the mean of all since the one before. The
 * learning rate keeps its rows. */
static void points_are_means_of_steps(void **state) {
    enum { ROWS = 100, FIRST = 90 }; /* of the first epoch; a row is of 3 steps */
    clq_run_data data = {0};
    clq_pictures pictures = {0};
    clq_text text = {0};
    (void)state;
    put("qat/history.json", "[{\"epoch\":1,\"test_loss\":2,\"test_top1\":0.5},"
                            "{\"epoch\":2,\"test_loss\":1,\"test_top1\":0.75}]");
    for (int i = 0; i < ROWS; i++) {
        clq_text_printf(&text, "%s{\"step\":%d,\"epoch\":%d,\"lr\":%d,\"loss\":%s,\"top1\":%s}",
                        i ? "," : "[", 3 * i + 3, 1 + i / FIRST, i,
                        i == 5  ? "null"
                        : i % 2 ? "3"
                                : "1",
                        i % 2 ? "1" : "0.5");
    }
    clq_text_puts(&text, "]");
    put("qat/steps.json", text.data);
    clq_text_free(&text);
    assert_ok(clq_run_data_read(&data, folder));
    assert_ok(clq_pictures_make(&pictures, &data));
    const clq_line_plot *loss = &pictures.curves[0], *top1 = &pictures.curves[1];
    assert_int_equal(loss->count, 38); /* about 8 steps each, 34 and 4 */
    assert_int_equal(pictures.curves[2].count, ROWS);
    size_t row = 0;
    for (size_t p = 0; p < loss->count; p++) { /* by the plainest means */
        double sum = 0, accuracy = 0;
        int count = 0, rows = 0;
        for (; row < ROWS && 3.0 * (double)row + 3 <= loss->x[p]; row++, rows++) {
            if (row != 5) {
                sum += row % 2 ? 3 : 1;
                accuracy += row % 2 ? 100 : 50;
                count++;
            }
        }
        assert_in_range(rows, 2, 3);
        assert_float_equal(loss->series[0].y[p], sum / count, 1e-9);
        assert_float_equal(top1->series[0].y[p], accuracy / count, 1e-9);
        assert_int_equal(isfinite(loss->series[1].y[p]) != 0, row == FIRST || row == ROWS);
    }
    assert_int_equal(row, ROWS);
    assert_true(top1->series[1].y[37] == 75);
    clq_pictures_clear(&pictures);
    clq_run_data_clear(&data);
}

/* ---- where numbers come from ---- */

static void the_page_says_where_its_numbers_come_from(void **state) {
    static const char *const parts[] = {"9.8.7, commit abc123+",
                                        "clquant run &#39;a &lt;b&gt;&#39;",
                                        "PoCL 3.1 (OpenCL 3), 2 compute units",
                                        "avx2, portable",
                                        "f32/&lt;x&gt;",
                                        "/data/set (folder, 8\u00d78, 3 channels, 2 classes)",
                                        "50\u202f000",
                                        "<code>00ff</code>",
                                        "network 3, training 4, QAT 5",
                                        "train 30.0 s, qat 3.0 min; together 3.5 min",
                                        "it went on from a checkpoint",
                                        "It ran as 2 processes",
                                        "not yet, or it was ended on the way",
                                        "&quot;&lt;r&gt;&quot;",
                                        "href=\"../origin.json\"",
                                        "href=\"comparison.csv\"",
                                        "Not in this folder: history of an FP32 training"};
    (void)state;
    put("origin.json", origin);
    put("run.json", run);
    assert_ok(write_report(NULL));
    assert_page_has(parts, sizeof parts / sizeof *parts);
}

/* A run of an earlier version: what is not known is said. */
static void runs_without_origin_are_reported(void **state) {
    static const char *const parts[] = {"left no <code>origin.json</code>", "2030-01-31T23:59:59Z"};
    (void)state;
    put_run();
    assert_ok(write_report(NULL));
    assert_page_has(parts, 2);
}

/* Wilson's interval of 6 in 8, which is well known: 0.409 to 0.929. */
static void accuracies_have_intervals(void **state) {
    static const char *const parts[] = {"75.00 %<small>40.93 to 92.85</small>",
                                        "Wilson&#39;s score interval"};
    (void)state;
    clq_run_data data = {0};
    double low, high;
    put("eval-fp32.json", evaluation);
    put("eval-ptq.json", "{\"schema\":1,\"top1\":1,\"images\":8}");
    put("eval-qat.json", "{\"schema\":1,\"top1\":null,\"images\":8}");
    assert_ok(clq_run_data_read(&data, folder));
    clq_run_interval(&data, CLQ_RUN_PTQ, &low, &high);
    assert_true(low > 0.67 && low < 0.68 && high == 1);
    clq_run_interval(&data, CLQ_RUN_QAT, &low, &high);
    assert_true(isnan(low) && isnan(high));
    clq_run_data_clear(&data);
    assert_ok(write_report(NULL));
    assert_page_has(parts, 1);
}

/* The network that the page begins with, and what it says of QAT. */
static void the_headline_is_of_the_network_to_take(void **state) {
    static const struct {
        const char *fp32, *ptq, *qat;
        const char *has[4], *lacks;
    } runs[] = {
        /* PTQ is as good and its latency within noise: it is what to take. */
        {"0.9863",
         "0.9878,\"latency_ms\":2.05",
         "0.9863,\"latency_ms\":2.0",
         {"<b>98.78 %</b><span>PTQ top-1 accuracy", "<b>+0.15</b>",
          "training was not needed: PTQ alone has 98.78 %, QAT 98.63 %, at 2.050 and 2.000 ms."},
         "QAT top-1 accuracy"},
        {"0.9863",
         "0.9878,\"latency_ms\":4",
         "0.9863,\"latency_ms\":2.0", /* it is slower */
         {"<b>98.63 %</b><span>QAT top-1 accuracy", "<b>no</b><span>difference to",
          "top-1 accuracy stays at 98.63 %", "latency from 8.000 to 2.000 ms.</li>"},
         "+0.00"},
        {"0.9863",
         "0.95",
         "0.98633",
         {"<b>98.63 %</b><span>QAT top-1 accuracy", "<b>&lt; 0.01</b><span>points difference",
          "to QAT int8 the top-1 accuracy stays at 98.63 %", " PTQ alone has 95.00 %.</li>"},
         "+0.00"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        char *text = clq_format("{\"schema\":1,\"fp32\":{\"latency_ms\":8,\"top1\":%s},\"ptq\":{"
                                "\"top1\":%s},\"qat\":{\"top1\":%s}}",
                                runs[i].fp32, runs[i].ptq, runs[i].qat);
        fresh_folder();
        put("run.json", text);
        clq_free(text);
        assert_ok(write_report(NULL));
        char *html = get("report/index.html");
        for (int h = 0; h < 4 && runs[i].has[h]; h++) {
            if (!strstr(html, runs[i].has[h])) {
                fail_msg("%zu: the page lacks \"%s\"", i, runs[i].has[h]);
            }
        }
        assert_null(strstr(html, runs[i].lacks));
        clq_free(html);
    }
}

/* ---- layers side by side ---- */

static void layers_stand_side_by_side(void **state) {
    (void)state;
    char *both =
        clq_format("%.*s,{\"model\":\"ptq\",\"device\":\"CPU\",\"batch\":1,\"latency_ms\":{"
                   "},\"layers\":[{\"name\":\"conv<1>\",\"op\":\"conv2d\",\"ms\":2.0,"
                   "\"precision\":\"int8\",\"dot_path\":\"avx2\"},{\"name\":\"fc\",\"ms\":0.5,"
                   "\"precision\":\"fp32\"},{\"name\":\"input\",\"ms\":0.25,\"precision\":"
                   "\"int8\"}]}]}",
                   (int)strlen(bench) - 2, bench);
    put("bench.json", both);
    clq_free(both);
    static const char *const parts[] = {
        "Layers of FP32 and PTQ int8, batch 1",
        "3.00\u00d7</td><td>fp32 | int8 avx2</td>", /* 6 ms and 2 */
        "4.00\u00d7</td><td>fp32</td>",
        "<td class=n>\u2013</td><td>int8</td>", /* FP32 has no such layer */
        "2.91\u00d7</td><td></td></tr></tfoot>"};
    assert_ok(write_report(NULL));
    assert_page_has(parts, sizeof parts / sizeof *parts);
}

/* ---- several runs, and where reports go ---- */

/* What `clquant analyze --out` leaves is a report by itself, and a section of a run's. */
static void an_analysis_is_shown(void **state) {
    static const char *const pictures[] = {
        "report/analysis-sqnr.png",     "report/analysis-error.png",    "report/analysis-top1.png",
        "report/analysis-values-1.png", "report/analysis-values-2.png",
    };
    static const char *const parts[] = {
        "Which layer loses accuracy",
        "<p>fc&lt;2&gt; costs most.</p>",
        "50.00 %<small>20.00 to 80.00</small>",
        "<td>fc&lt;2&gt;</td><td>linear</td><td>u8 x s4</td><td class=n>12.5</td>",
        "<td class=n>11</td>", /* error, % */
        "On 8 samples.",
    };
    (void)state;
    put("analysis.json", analysis);
    assert_ok(write_report(NULL));
    char *html = get("report/index.html"), *csv = get("report/analysis-layers.csv");
    assert_sound_page(html);
    assert_page_has(parts, sizeof parts / sizeof *parts);
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        assert_png_decodes(pictures[i]);
    }
    assert_non_null(strstr(csv, "\nfc<2>,linear,u8 x s4,1,12.5,11,0.97,,,0.11,0.02,0.5,0.75,40,"));
    clq_free(html);
    clq_free(csv);
    put_run();
    assert_ok(write_report(NULL));
    assert_page_has(parts, sizeof parts / sizeof *parts);
}

/* What an earlier report left and this one has not, also where it left no list; but nothing else.
 */
static void old_pictures_go(void **state) {
    (void)state;
    put("run.json", run);
    put("report/index.html", "of an earlier version");
    put("report/qat-loss.png", "old");
    put("report/notes.csv", "mine");
    assert_ok(write_report(NULL));
    assert_false(exists("report/qat-loss.png"));
    assert_true(exists("report/notes.csv"));
    put("keep.csv", "mine");
    put("report/report.json", "{\"schema\":1,\"runs\":[\"../\"],\"files\":[\"../keep.csv\","
                              "\"notes.csv\",\"../run.json\",3]}");
    assert_ok(write_report(NULL));
    assert_true(exists("keep.csv"));
    assert_true(exists("run.json"));
    assert_false(exists("report/notes.csv"));
}

static void nothing_to_report_is_no_input(void **state) {
    (void)state;
    assert_status(write_report(NULL), CLQ_NO_INPUT);
    assert_error_has("run.json");
    const char *absent = clq_test_temp_path("absent");
    assert_status(clq_report_write(&absent, 1, NULL, NULL), CLQ_NO_INPUT);
    assert_false(exists("report"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        REPORT_TEST(whole_run_gives_page_pictures_and_tables),
        REPORT_TEST(tables_hold_the_values),
        REPORT_TEST(a_regression_is_compared_by_r2),
        REPORT_TEST(each_part_alone_is_enough),
        REPORT_TEST(a_single_stage_is_enough),
        REPORT_TEST(the_log_has_the_steps_of_a_training_that_left_none),
        REPORT_TEST(few_epochs_are_shown_by_step),
        REPORT_TEST(points_are_means_of_steps),
        REPORT_TEST(the_page_says_where_its_numbers_come_from),
        REPORT_TEST(runs_without_origin_are_reported),
        REPORT_TEST(accuracies_have_intervals),
        REPORT_TEST(the_headline_is_of_the_network_to_take),
        REPORT_TEST(layers_stand_side_by_side),
        REPORT_TEST(an_analysis_is_shown),
        REPORT_TEST(old_pictures_go),
        REPORT_TEST(nothing_to_report_is_no_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
