/* What tests of the report share: a run in a temporary folder, and its report. */
#ifndef CLQ_TEST_REPORT_CASE_H
#define CLQ_TEST_REPORT_CASE_H

#include <clquant/report.h>

#include <png.h>
#include <string.h>

#include "base/files.h"
#include "base/text.h"
#include "support/clq_test.h"

static const char history[] =
    "[{\"epoch\":1,\"lr\":0.1,\"train_loss\":1.5,\"train_top1\":0.4,\"test_loss\":1.6,"
    "\"test_top1\":0.38,\"images_per_second\":900.0,\"seconds\":55.0},"
    "{\"epoch\":2,\"lr\":0.01,\"train_loss\":0.9,\"train_top1\":0.7,\"test_loss\":null,"
    "\"test_top1\":null,\"skipped_steps\":2,\"images_per_second\":900.0,\"seconds\":55.0}]";
static const char evaluation[] =
    "{\"schema\":1,\"top1\":0.75,\"top5\":1.0,\"loss\":0.5,\"images\":8,"
    "\"confusion\":[[3,1],[1,3]],\"logits_sha256\":\"ab\",\"classes\":[\"<i>cat</"
    "i>\",\"a,\\\"b\"]}";
static const char verification[] =
    "{\"schema\":1,\"images\":8,\"compared_codes\":1234567,\"mismatched_codes\":0,"
    "\"first_mismatch\":null,\"logits_sha256\":\"cd\",\"dot_paths\":{\"avx2\":\"cd\","
    "\"portable\":\"ef\"},\"layers\":[]}";
static const char run[] =
    "{\"schema\":1,\"name\":\"<script>alert(1)</script>\",\"device\":\"A \\\"CPU\\\"\","
    "\"dot_path\":\"avx2\",\"created\":\"2030-01-31T23:59:59Z\","
    "\"fp32\":{\"top1\":0.75,\"loss\":0.5,\"size_bytes\":4000000,\"latency_ms\":8.0,"
    "\"speedup\":1.0},\"ptq\":{\"top1\":0.7,\"loss\":0.55,\"size_bytes\":1000000,"
    "\"latency_ms\":2.0,\"speedup\":4.0,\"mismatched_codes\":0}}";
static const char bench[] =
    "{\"schema\":1,\"results\":[{\"model\":\"fp32\",\"device\":\"CPU\",\"batch\":1,"
    "\"precision\":\"fp32\",\"dot_path\":\"\",\"iterations\":10,\"latency_ms\":{\"min\":7.0,"
    "\"mean\":8.1,\"median\":8.0,\"p90\":9.0,\"p95\":9.5,\"p99\":9.9},\"images_per_second\":125.0,"
    "\"gops\":100.0,\"peak_gops\":200.0,\"peak_fraction\":0.5,\"bytes\":4000000,\"h2d_ms\":0.1,"
    "\"d2h_ms\":0.1,\"layers\":[{\"name\":\"conv<1>\",\"op\":\"conv2d\",\"ms\":6.0,\"gops\":120.0,"
    "\"peak_fraction\":0.6,\"precision\":\"fp32\",\"dot_path\":\"\"},{\"name\":\"fc\",\"op\":"
    "\"linear\",\"ms\":2.0,\"gops\":null,\"peak_fraction\":null,\"precision\":\"fp32\","
    "\"dot_path\":\"\"}]}]}";

static const char analysis[] =
    "{\"schema\":1,\"model\":\"m.onnx\",\"device\":\"CPU\",\"images\":8,\"advice\":\"fc<2> costs "
    "most\",\"ladder\":[{\"stage\":\"fp32\",\"top1\":0.75,\"interval\":[0.41,0.93],\"flips\":0,"
    "\"lost\":0,\"gained\":0,\"error\":0},{\"stage\":\"integer\",\"top1\":0.5,\"interval\":"
    "[0.2,0.8],\"flips\":2,\"lost\":2,\"gained\":0,\"error\":0.125}],\"layers\":[{\"name\":"
    "\"fc<2>\",\"op\":\"linear\",\"type\":\"u8 x s4\",\"place\":1,\"sqnr_db\":12.5,"
    "\"sqnr_accumulated_db\":11,\"cosine\":0.97,\"clipped\":null,\"error_only\":0.11,"
    "\"error_without\":0.02,\"top1_only\":0.5,\"top1_without\":0.75,\"bytes\":40,\"fp32_ms\":0.2,"
    "\"int8_ms\":0.1,\"range\":[-1,3],\"code_range\":null,\"histogram\":{\"low\":-1,\"bin_width\":"
    "2,\"counts\":[7,1]}},{\"name\":\"conv\",\"op\":\"conv2d\",\"type\":\"u8 x s8\",\"place\":0,"
    "\"sqnr_db\":40,\"sqnr_accumulated_db\":40,\"cosine\":0.999,\"clipped\":0.01,\"error_only\":"
    "0.01,\"error_without\":0.12,\"top1_only\":0.75,\"top1_without\":0.5,\"bytes\":400,"
    "\"fp32_ms\":0.4,\"int8_ms\":null,\"range\":[0,6],\"code_range\":[0,5.5],\"histogram\":{"
    "\"low\":0,\"bin_width\":3,\"counts\":[5,3]}}]}";

static const char origin[] =
    "{\"schema\":1,\"version\":\"9.8.7\",\"commit\":\"abc123+\",\"command\":\"clquant run 'a "
    "<b>' \",\"started\":\"2030-01-31T23:00:00Z\",\"finished\":null,\"resumed\":true,"
    "\"ranks\":2,\"seconds\":{\"train\":30,\"qat\":180.5},\"system\":\"Linux 6\",\"device\":{"
    "\"name\":\"CPU\",\"platform\":\"PoCL\",\"version\":\"OpenCL 3\",\"driver\":\"3.1\","
    "\"compute_units\":2,\"dot_paths\":[\"avx2\",\"portable\"],\"failed_self_tests\":[{"
    "\"kernels\":\"f32/<x>\",\"reason\":\"wrong\"}]},\"data\":{\"kind\":\"folder\",\"path\":"
    "\"/data/set\",\"height\":8,\"width\":8,\"channels\":3,\"classes\":2,\"targets\":0,"
    "\"train\":{\"count\":50000,\"hash\":\"00ff\"},\"test\":{\"count\":8,\"hash\":\"11ee\"}},"
    "\"seeds\":{\"network\":3,\"train\":4,\"qat\":5},\"recipe\":{\"name\":\"<r>\"}}";

static const char *folder; /* of the run */

static inline void fresh_folder(void) {
    clq_test_remove_temp_dir();
    folder = clq_test_temp_dir();
}

static inline int setup(void **state) {
    (void)state;
    fresh_folder();
    return 0;
}

static inline void put(const char *name, const char *text) {
    char *path = clq_path_join(folder, name);
    char *parent = clq_path_folder(path);
    assert_ok(clq_make_dirs(parent));
    assert_ok(clq_file_write_atomic(path, text, strlen(text)));
    clq_free(parent);
    clq_free(path);
}

static inline void put_run(void) {
    put("run.json", run);
    put("train/history.json", history);
    put("qat/history.json", history);
    put("eval-fp32.json", evaluation);
    put("eval-ptq.json", evaluation);
    put("eval-qat.json", evaluation);
    put("verify-ptq.json", verification);
    put("bench.json", bench);
}

static inline clq_status write_report(char **html) {
    return clq_report_write(&folder, 1, NULL, html);
}

static inline char *get(const char *name) {
    void *data;
    size_t size;
    assert_ok(clq_file_read(clq_test_temp_path(name), 64 << 20, &data, &size));
    assert_int_equal(strlen(data), size);
    return data;
}

static inline bool exists(const char *name) {
    return clq_file_exists(clq_test_temp_path(name));
}

static inline void assert_png_decodes(const char *name) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&image, clq_test_temp_path(name)));
    assert_in_range(image.width, 400, 4000);
    assert_in_range(image.height, 400, 4000);
    image.format = PNG_FORMAT_GRAY;
    uint8_t *pixels = clq_calloc(PNG_IMAGE_SIZE(image), 1);
    assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL));
    size_t dark = 0;
    for (size_t i = 0; i < PNG_IMAGE_SIZE(image); i++) {
        dark += pixels[i] < 128;
    }
    assert_true(dark > 500); /* something is drawn */
    clq_free(pixels);
}

#define REPORT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, clq_test_teardown_temp_dir)

/* ---- pages ---- */

/* Tags that this page closes are closed, in order; pictures are inside; no script. */
static inline void assert_sound_page(const char *html) {
    static const char *const closed[] = {
        "html",    "head",  "body",    "main",   "table",  "thead", "tbody",   "tr",
        "td",      "th",    "div",     "figure", "h1",     "h2",    "details", "style",
        "picture", "h3",    "section", "ul",     "li",     "pre",   "code",    "p",
        "small",   "tfoot", "a",       "b",      "header", "span",  "summary"};
    char stack[64][16];
    int depth = 0;
    assert_null(strstr(html, "http:"));
    assert_null(strstr(html, "https:"));
    assert_null(strstr(html, "<script"));
    assert_null(strstr(html, "url("));
    for (const char *c = html; (c = strchr(c, '<')) != NULL; c++) {
        const bool end = c[1] == '/';
        char name[16] = "";
        sscanf(c + 1 + end, "%15[a-z0-9]", name);
        for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
            if (strcmp(name, closed[i]) != 0) {
                continue;
            }
            if (end) {
                assert_true(depth > 0);
                assert_string_equal(stack[--depth], name);
            } else {
                assert_true(depth < 64);
                strcpy(stack[depth++], name);
            }
        }
    }
    assert_int_equal(depth, 0);
}

static inline void assert_page_has(const char *const *parts, size_t count) {
    char *html = get("report/index.html");
    assert_sound_page(html);
    for (size_t i = 0; i < count; i++) {
        if (!strstr(html, parts[i])) {
            fail_msg("the page lacks \"%s\"", parts[i]);
        }
    }
    clq_free(html);
}

#endif
