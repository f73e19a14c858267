/* This run against an earlier one's JSON: the way there and back, matching, hostile files. */
#include "bench/compare.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "bench/bench_json.h"
#include "support/clq_test.h"

static double slow[] = {2.0, 2.1, 2.0, 1.9}, fast[] = {1.0, 1.1, 1.0, 0.9};

static clq_bench_result row(const char *model, int batch, const char *precision, double *samples) {
    return (clq_bench_result){.model = (char *)model,
                              .device = "device",
                              .batch = batch,
                              .precision = precision,
                              .dot_path = "",
                              .latency = {1, 1, 1, 1, 1, 1},
                              .samples = samples,
                              .sample_count = 4};
}

static const char *write_base(const clq_bench_result *results, size_t count) {
    const char *path = clq_test_temp_path("base.json");
    json_t *json = clq_bench_to_json(results, count);
    assert_ok(clq_json_dump_file(path, json));
    json_decref(json);
    return path;
}

static void read_base(const clq_bench_result *results, size_t count, clq_bench_base *base) {
    *base = (clq_bench_base){0};
    assert_ok(clq_bench_base_read(write_base(results, count), base));
}

static void samples_come_back_as_written(void **state) {
    double odd[] = {0.123456789, 1234.5, 1e-3, 7};
    const clq_bench_result results[] = {row("a \"b\"", 8, "int8", odd)};
    clq_bench_base base;
    (void)state;
    read_base(results, 1, &base);
    assert_int_equal(base.row_count, 1);
    assert_string_equal(base.rows[0].model, "a \"b\"");
    assert_string_equal(base.rows[0].device, "device");
    assert_string_equal(base.rows[0].precision, "int8");
    assert_int_equal(base.rows[0].batch, 8);
    assert_int_equal(base.rows[0].sample_count, 4);
    for (int i = 0; i < 4; i++) {
        assert_float_equal(base.rows[0].samples[i] / odd[i], 1, 1e-8); /* 9 digits */
    }
    clq_bench_base_clear(&base);
}

static void rows_are_matched_by_all_four(void **state) {
    const clq_bench_result before[] = {row("m", 1, "fp32", slow), row("m", 1, "int8", fast),
                                       row("m", 8, "fp32", fast), row("gone", 1, "fp32", fast)};
    const clq_bench_result now[] = {row("m", 8, "fp32", slow), row("new", 1, "fp32", slow),
                                    row("m", 1, "int8", fast), row("m", 1, "fp32", fast)};
    clq_bench_base base;
    clq_comparison comparison;
    (void)state;
    read_base(before, 4, &base);
    assert_ok(clq_bench_compare(&base, NULL, now, 4, 0.05, &comparison));
    assert_ptr_equal(comparison.changes[0].row, &base.rows[2]);
    assert_null(comparison.changes[1].row);
    assert_ptr_equal(comparison.changes[2].row, &base.rows[1]);
    assert_ptr_equal(comparison.changes[3].row, &base.rows[0]);
    assert_float_equal(comparison.changes[0].ratio.value, 2, 1e-12);
    assert_true(comparison.changes[0].failed);
    assert_false(comparison.changes[2].failed);
    assert_false(comparison.changes[3].failed); /* faster */
    assert_int_equal(comparison.failed, 1);
    assert_false(base.rows[3].used);
    assert_status(clq_comparison_gate(&comparison), CLQ_GATE_FAILED);
    assert_error_has("1 of 4 results are more than 5 % slower");
    assert_error_has("worst: m, batch 8, 100.0 % slower");
    json_t *json = clq_comparison_to_json(&comparison);
    assert_int_equal(json_array_size(json_object_get(json, "rows")), 3);
    assert_int_equal(json_array_size(json_object_get(json, "missing")), 1);
    assert_int_equal(json_array_size(json_object_get(json, "added")), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "failed")), 1);
    json_decref(json);
    clq_comparison_clear(&comparison);
    /* Twice as slow is accepted when that much was asked for. */
    for (size_t i = 0; i < base.row_count; i++) {
        base.rows[i].used = false;
    }
    assert_ok(clq_bench_compare(&base, NULL, now, 4, 1.5, &comparison));
    assert_int_equal(comparison.failed, 0);
    assert_ok(clq_comparison_gate(&comparison));
    clq_comparison_clear(&comparison);
    clq_bench_base_clear(&base);
}

static void equal_rows_are_matched_in_order(void **state) {
    const clq_bench_result before[] = {row("m", 1, "fp32", fast), row("m", 1, "fp32", slow)};
    const clq_bench_result now[] = {row("m", 1, "fp32", fast), row("m", 1, "fp32", slow)};
    clq_bench_base base;
    clq_comparison comparison;
    (void)state;
    read_base(before, 2, &base);
    assert_ok(clq_bench_compare(&base, NULL, now, 2, 0.05, &comparison));
    assert_int_equal(comparison.failed, 0);
    assert_ptr_equal(comparison.changes[1].row, &base.rows[1]);
    clq_comparison_clear(&comparison);
    clq_bench_base_clear(&base);
}

static void nothing_in_common_is_an_error(void **state) {
    const clq_bench_result before[] = {row("m", 1, "fp32", fast)};
    const clq_bench_result now[] = {row("m", 2, "fp32", fast)};
    clq_bench_base base;
    clq_comparison comparison;
    (void)state;
    read_base(before, 1, &base);
    assert_status(clq_bench_compare(&base, NULL, now, 1, 0.05, &comparison), CLQ_BAD_DATA);
    assert_error_has("base.json: none of its 1 results");
    clq_comparison_clear(&comparison);
    clq_bench_base_clear(&base);
}

static void bad_bases_name_the_place(void **state) {
#define ROW "\"model\":\"m\",\"device\":\"d\",\"batch\":1,\"precision\":\"fp32\""
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "base.json"},
        {"{", "base.json:1"},
        {"[]", "base.json"},
        {"{}", "schema"},
        {"{\"schema\":2,\"results\":[]}", "schema: must be an integer in 1..1, is 2"},
        {"{\"schema\":1}", "results"},
        {"{\"schema\":1,\"results\":{}}", "results"},
        {"{\"schema\":1,\"results\":[3]}", "results[0]"},
        {"{\"schema\":1,\"results\":[{}]}", "results[0].model"},
        {"{\"schema\":1,\"results\":[{" ROW "}]}", "results[0].samples_ms"},
        {"{\"schema\":1,\"results\":[{" ROW ",\"samples_ms\":[]}]}", "must have 1..65536 elements"},
        {"{\"schema\":1,\"results\":[{" ROW ",\"samples_ms\":3}]}", "samples_ms"},
        {"{\"schema\":1,\"results\":[{" ROW ",\"samples_ms\":[1,\"2\"]}]}", "samples_ms[1]"},
        {"{\"schema\":1,\"results\":[{" ROW ",\"samples_ms\":[0]}]}", "samples_ms[0]"},
        {"{\"schema\":1,\"results\":[{" ROW ",\"samples_ms\":[-1]}]}", "samples_ms[0]"},
        {"{\"schema\":1,\"results\":[{" ROW ",\"samples_ms\":[1e300]}]}", "samples_ms[0]"},
        {"{\"schema\":1,\"results\":[{" ROW ",\"samples_ms\":[null]}]}", "samples_ms[0]"},
        {"{\"schema\":1,\"results\":[{\"model\":1,\"device\":\"d\",\"batch\":1,"
         "\"precision\":\"fp32\",\"samples_ms\":[1]}]}",
         "results[0].model"},
        {"{\"schema\":1,\"results\":[{\"model\":\"m\",\"device\":\"d\",\"batch\":0,"
         "\"precision\":\"fp32\",\"samples_ms\":[1]}]}",
         "results[0].batch"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = clq_test_temp_path("base.json");
        clq_bench_base base = {0};
        FILE *file = fopen(path, "wb");
        fputs(cases[i].text, file);
        fclose(file);
        assert_status(clq_bench_base_read(path, &base), CLQ_BAD_DATA);
        assert_error_has(cases[i].part);
        clq_bench_base_clear(&base);
    }
    clq_bench_base base = {0};
    assert_status(clq_bench_base_read(clq_test_temp_path("absent.json"), &base), CLQ_NO_INPUT);
    assert_error_has("absent.json");
    clq_bench_base_clear(&base);
}

static void training_steps_in_a_base_are_passed_over(void **state) {
    const char *path = clq_test_temp_path("base.json");
    clq_bench_base base = {0};
    (void)state;
    FILE *file = fopen(path, "wb");
    fputs("{\"schema\":1,\"results\":[{\"mode\":\"train\"},{" ROW ",\"samples_ms\":[1]}]}", file);
    fclose(file);
    assert_ok(clq_bench_base_read(path, &base));
    assert_int_equal(base.row_count, 1);
    clq_bench_base_clear(&base);
}

static void failing_allocations_are_survived(void **state) {
    const clq_bench_result results[] = {row("m", 1, "fp32", fast)};
    char path[512];
    (void)state;
    snprintf(path, sizeof path, "%s", write_base(results, 1));
    clq_status status = CLQ_NO_MEMORY;
    for (long n = 1; status != CLQ_OK; n++) {
        clq_bench_base base = {0};
        clq_comparison comparison = {0};
        clq_test_fail_allocation(n);
        status = clq_bench_base_read(path, &base);
        if (status == CLQ_OK) {
            status = clq_bench_compare(&base, NULL, results, 1, 0.05, &comparison);
        }
        clq_comparison_clear(&comparison);
        clq_bench_base_clear(&base);
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
        assert_int_equal(clq_test_live_allocations(), 0);
    }
    clq_test_restore_allocator();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_come_back_as_written),
        cmocka_unit_test(rows_are_matched_by_all_four),
        cmocka_unit_test(equal_rows_are_matched_in_order),
        cmocka_unit_test(nothing_in_common_is_an_error),
        cmocka_unit_test(bad_bases_name_the_place),
        cmocka_unit_test(training_steps_in_a_base_are_passed_over),
        cmocka_unit_test(failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
