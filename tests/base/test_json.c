/* JSON: strictness, the checked reader's errors, overriding, output. */
#define _XOPEN_SOURCE 700 /* fileno */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "support/clq_test.h"

static json_t *parse(const char *text) {
    json_t *json = NULL;
    assert_ok(clq_json_parse("r.json", text, strlen(text), &json));
    return json;
}

static void assert_refused(const char *text, const char *error) {
    json_t *json = NULL;
    assert_status(clq_json_parse("r.json", text, strlen(text), &json), CLQ_BAD_DATA);
    assert_null(json);
    assert_error_has(error);
}

/* ---- loading ---- */

static void strict(void **state) {
    (void)state;
    assert_refused("{\"a\": 1,\n \"a\": 2}", "r.json:2:");
    assert_refused("{\"a\": 1,\n \"a\": 2}", "duplicate");
    assert_refused("{\"a\": 1} x", "r.json:1:");
    assert_refused("{\"a\": 01}", "r.json:1:");
    assert_refused("{\"a\": 1,}", "r.json:1:");
    assert_refused("{'a': 1}", "r.json:1:");
    assert_refused("{\"a\": NaN}", "r.json:1:");
    assert_refused("{\"a\": 1e999}", "r.json:1:");
    assert_refused("{\"a\": 9223372036854775808}", "r.json:1:");
    assert_refused("{\"a\": \"\xff\"}", "r.json:1:");
    assert_refused("", "r.json:1:");
    assert_refused("3", "r.json:1:");
    assert_refused("[\"\\u0000\"]", "r.json:1:");
    json_t *json = NULL;
    assert_status(clq_json_parse("r.json", "{}\0", 3, &json), CLQ_BAD_DATA);
}

static void depth_is_limited(void **state) {
    (void)state;
    char text[300];
    for (int depth = 64; depth <= 65; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        if (depth == 64) {
            json_decref(parse(text));
        } else {
            assert_refused(text, "deeper than 64");
        }
    }
    memset(text, '[', 100);
    memcpy(text + 100, "", 1);
    assert_refused(text, "deeper than 64");
    /* Brackets inside strings do not count. */
    json_decref(
        parse("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"]"));
}

static void load_names_the_file(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("r.json");
    json_t *json = NULL;
    assert_status(clq_json_load(path, &json), CLQ_NO_INPUT);
    assert_error_has("r.json");
    assert_ok(clq_file_write_atomic(path, "{\n\"a\" 1}", 8));
    assert_status(clq_json_load(path, &json), CLQ_BAD_DATA);
    assert_error_has("r.json:2:5: ");
    assert_ok(clq_file_write_atomic(path, "{\"a\": 1}", 8));
    assert_ok(clq_json_load(path, &json));
    assert_int_equal(json_integer_value(json_object_get(json, "a")), 1);
    json_decref(json);
}

static void parsing_survives_out_of_memory(void **state) {
    (void)state;
    const char *text = "{\"a\": [1, 2.5, \"text\", {\"b\": null}]}";
    for (long n = 1;; n++) {
        json_t *json = NULL;
        clq_test_fail_allocation(n);
        clq_status status = clq_json_parse("r.json", text, strlen(text), &json);
        bool reached = clq_test_allocations() >= n;
        json_decref(json);
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
        if (!reached) {
            assert_int_equal(status, CLQ_OK);
            assert_true(n > 5);
            break;
        }
        assert_int_not_equal(status, CLQ_OK);
    }
}

/* Writers look at no failed setting: the output does. */
static void nothing_is_missing_when_memory_runs_out(void **state) {
    (void)state;
    for (long n = 1;; n++) {
        char *text = NULL;
        clq_test_fail_allocation(n);
        json_t *json = clq_json_result(), *list = json_array();
        for (int i = 0; i < 10; i++) {
            json_array_append_new(list, json_integer(i));
        }
        json_object_set_new(json, "list", list);
        json_object_set_new(json, "name", clq_json_string("caf\xe9"));
        const clq_status status = clq_json_dump_line(json, &text);
        const bool reached = clq_test_allocations() >= n;
        if (status == CLQ_OK) {
            assert_non_null(strstr(text, "\"schema\": 1, \"version\": "));
            assert_non_null(strstr(text, "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], \"name\": \"caf\xef"));
        } else {
            assert_int_equal(status, CLQ_NO_MEMORY);
        }
        clq_free(text);
        json_decref(json);
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
        assert_ok(clq_json_dump_line(json_true(), &text)); /* it is told once */
        clq_free(text);
        if (!reached) {
            assert_int_equal(status, CLQ_OK);
            assert_true(n > 20);
            break;
        }
    }
}

/* ---- the reader ---- */

static void values_and_defaults(void **state) {
    (void)state;
    json_t *json = parse("{\"i\": -3, \"big\": 9007199254740993, \"f\": 0.5, \"whole\": 2,"
                         " \"b\": true, \"s\": \"text\", \"e\": \"sgd\", \"v\": [1, 2.5],"
                         " \"w\": [3, 4]}");
    clq_json_reader reader;
    int i = 1, absent = 42, choice = -1;
    int64_t big = 0, w[2] = {0};
    size_t size = 0, count = 9, w_count = 9;
    double f = 0, v[3] = {0};
    float whole = 0;
    bool b = false;
    const char *s = NULL;
    static const char *const names[] = {"adam", "sgd"};
    assert_ok(clq_json_reader_init(&reader, "r.json", json));
    assert_ok(clq_json_read_int(&reader, "i", -10, 10, &i));
    assert_ok(clq_json_read_int(&reader, "absent", 0, 1, &absent));
    assert_ok(clq_json_read_i64(&reader, "big", 0, INT64_MAX, &big));
    assert_ok(clq_json_read_size(&reader, "big", 0, SIZE_MAX, &size));
    assert_ok(clq_json_read_f64(&reader, "f", 0, 1, &f));
    assert_ok(clq_json_read_f32(&reader, "whole", 0, 10, &whole));
    assert_ok(clq_json_read_bool(&reader, "b", &b));
    assert_ok(clq_json_read_string(&reader, "s", &s));
    assert_ok(clq_json_read_enum(&reader, "e", names, 2, &choice));
    assert_ok(clq_json_read_f64_array(&reader, "v", 0, 10, v, 3, &count));
    assert_ok(clq_json_read_i64_array(&reader, "w", 0, 10, w, 2, &w_count));
    assert_ok(clq_json_reader_finish(&reader));
    assert_int_equal(i, -3);
    assert_int_equal(absent, 42);
    assert_true(big == INT64_C(9007199254740993));
    assert_true(size == 9007199254740993u);
    assert_true(f == 0.5 && whole == 2.0f && b);
    assert_string_equal(s, "text");
    assert_int_equal(choice, 1);
    assert_int_equal(count, 2);
    assert_true(v[0] == 1.0 && v[1] == 2.5 && v[2] == 0.0);
    assert_int_equal(w_count, 2);
    assert_true(w[1] == 4);
    assert_true(clq_json_has(&reader, "i"));
    assert_false(clq_json_has(&reader, "absent"));
    assert_ok(clq_json_require(&reader, "i"));
    assert_status(clq_json_require(&reader, "absent"), CLQ_BAD_DATA);
    assert_string_equal(clq_last_error(), "r.json: absent: is missing");
    json_decref(json);
}

static void errors_name_place_rule_and_value(void **state) {
    (void)state;
    json_t *json = parse("{\"training\": {\"epochs\": -3, \"lr\": 1.5, \"name\": 1, \"opt\": "
                         "\"sgt\", \"on\": 1, \"real\": 1.0,"
                         " \"steps\": [1, \"x\"], \"long\": [1, 2, 3], \"sub\": null}}");
    clq_json_reader top, reader, sub;
    int i = 7;
    double f = 7, values[2];
    size_t size = 7, count = 7;
    bool b = true;
    const char *s = "kept";
    const json_t *array = NULL;
    static const char *const names[] = {"adam", "sgd"};
    assert_ok(clq_json_reader_init(&top, "recipe.json", json));
    assert_ok(clq_json_read_object(&top, "training", &reader));
#define assert_error(call, text)                                                                   \
    assert_status(call, CLQ_BAD_DATA);                                                             \
    assert_string_equal(clq_last_error(), "recipe.json: training." text)
    assert_error(clq_json_read_int(&reader, "epochs", 1, 100000, &i),
                 "epochs: must be an integer in 1..100000, is -3");
    assert_error(clq_json_read_size(&reader, "epochs", 1, SIZE_MAX, &size),
                 "epochs: must be an integer of at least 1, is -3");
    assert_error(clq_json_read_int(&reader, "real", 0, 9, &i),
                 "real: must be an integer in 0..9, is 1");
    assert_error(clq_json_read_f64(&reader, "lr", 0, 1, &f),
                 "lr: must be a number in 0..1, is 1.5");
    assert_error(clq_json_read_string(&reader, "name", &s), "name: must be a string, is 1");
    assert_error(clq_json_read_enum(&reader, "opt", names, 2, &i),
                 "opt: must be one of \"adam\", \"sgd\", is \"sgt\"");
    assert_error(clq_json_read_enum(&reader, "on", names, 2, &i),
                 "on: must be one of \"adam\", \"sgd\", is 1");
    assert_error(clq_json_read_bool(&reader, "on", &b), "on: must be true or false, is 1");
    assert_error(clq_json_read_f64_array(&reader, "steps", 0, 9, values, 2, &count),
                 "steps[1]: must be a number in 0..9, is \"x\"");
    assert_error(clq_json_read_f64_array(&reader, "long", 0, 9, values, 2, &count),
                 "long: must be an array of at most 2, is an array of 3");
    assert_error(clq_json_read_array(&reader, "lr", &array), "lr: must be an array, is 1.5");
    assert_error(clq_json_read_object(&reader, "sub", &sub), "sub: must be an object, is null");
    assert_error(clq_json_fail(&reader, "lr", "may not exceed %d", 1), "lr: may not exceed 1");
#undef assert_error
    assert_true(i == 7 && f == 7 && size == 7 && count == 7 && b);
    assert_string_equal(s, "kept");
    assert_status(clq_json_reader_init(&top, "recipe.json", json_object_get(json, "x")), CLQ_OK);
    json_t *list = parse("[]");
    assert_status(clq_json_reader_init(&top, "recipe.json", list), CLQ_BAD_DATA);
    json_decref(list);
    json_decref(json);
}

static void unknown_keys_get_a_suggestion(void **state) {
    (void)state;
    json_t *json = parse("{\"training\": {\"epocs\": 3}}");
    clq_json_reader top, reader;
    int epochs = 1;
    bool freeze = false;
    assert_ok(clq_json_reader_init(&top, "r.json", json));
    assert_ok(clq_json_read_object(&top, "training", &reader));
    assert_ok(clq_json_reader_finish(&top));
    assert_ok(clq_json_read_bool(&reader, "freeze", &freeze));
    assert_ok(clq_json_read_int(&reader, "epochs", 1, 9, &epochs));
    assert_status(clq_json_reader_finish(&reader), CLQ_BAD_DATA);
    assert_string_equal(clq_last_error(),
                        "r.json: training.epocs: unknown key; did you mean \"epochs\"?");
    json_decref(json);
    json = parse("{\"zzzzzzzzzz\": 3}");
    assert_ok(clq_json_reader_init(&reader, "r.json", json));
    assert_ok(clq_json_read_int(&reader, "epochs", 1, 9, &epochs));
    assert_status(clq_json_reader_finish(&reader), CLQ_BAD_DATA);
    assert_string_equal(clq_last_error(), "r.json: zzzzzzzzzz: unknown key");
    json_decref(json);
}

static void check_suggestion(const char *text, const char *suggestion) {
    json_t *json = parse(text);
    clq_text places = {0};
    for (int turn = 0; turn < 2; turn++) { /* the first one has no keys, and is good */
        static const char *const names[] = {"train", "qat"};
        clq_json_reader top, section, schedule;
        double lr = 0;
        int epochs = 1;
        clq_status status = CLQ_OK;
        assert_ok(clq_json_reader_init(&top, "r.json", turn == 0 ? NULL : json));
        top.places = &places;
        for (int i = 0; i < 2; i++) {
            assert_ok(clq_json_read_object(&top, names[i], &section));
            assert_ok(clq_json_read_object(&section, "schedule", &schedule));
            assert_ok(clq_json_read_int(&section, "epochs", 1, 9, &epochs));
            assert_ok(clq_json_read_f64(&schedule, "lr", 0, 1, &lr));
            status = status == CLQ_OK ? clq_json_reader_finish(&schedule) : status;
            status = status == CLQ_OK ? clq_json_reader_finish(&section) : status;
        }
        status = status == CLQ_OK ? clq_json_reader_finish(&top) : status;
        assert_status(status, turn == 0 ? CLQ_OK : CLQ_BAD_DATA);
    }
    assert_string_equal(clq_last_error(), suggestion);
    clq_text_free(&places);
    json_decref(json);
}

/* A key that belongs elsewhere. */
static void unknown_keys_get_their_place(void **state) {
    (void)state;
    check_suggestion("{\"epochs\": 1}", "r.json: epochs: unknown key; did you mean "
                                        "\"train.epochs\" or \"qat.epochs\"?");
    check_suggestion("{\"epcohs\": 1}", "r.json: epcohs: unknown key; did you mean "
                                        "\"train.epochs\" or \"qat.epochs\"?");
    check_suggestion("{\"train\": {\"lr\": 1}}",
                     "r.json: train.lr: unknown key; did you mean \"train.schedule.lr\"?");
    check_suggestion("{\"qat\": {\"lr\": 1}}",
                     "r.json: qat.lr: unknown key; did you mean \"qat.schedule.lr\"?");
    check_suggestion("{\"trian\": {}}", "r.json: trian: unknown key; did you mean \"train\"?");
    check_suggestion("{\"zzzzzz\": 1}", "r.json: zzzzzz: unknown key");
}

static void a_missing_object_reads_as_defaults(void **state) {
    (void)state;
    json_t *json = parse("{}");
    clq_json_reader top, reader;
    int epochs = 5;
    assert_ok(clq_json_reader_init(&top, "r.json", json));
    assert_ok(clq_json_read_object(&top, "training", &reader));
    assert_ok(clq_json_read_int(&reader, "epochs", 1, 9, &epochs));
    assert_int_equal(epochs, 5);
    assert_status(clq_json_require(&reader, "epochs"), CLQ_BAD_DATA);
    assert_string_equal(clq_last_error(), "r.json: training.epochs: is missing");
    assert_ok(clq_json_reader_finish(&reader));
    json_decref(json);
}

static void elements_of_arrays(void **state) {
    (void)state;
    json_t *json = parse("{\"layers\": [{\"n\": 1}, {\"n\": 0}, 3]}");
    clq_json_reader top, element;
    const json_t *array = NULL;
    int n = 0;
    assert_ok(clq_json_reader_init(&top, "r.json", json));
    assert_ok(clq_json_read_array(&top, "layers", &array));
    assert_ok(clq_json_read_element(&top, "layers", array, 0, &element));
    assert_ok(clq_json_read_int(&element, "n", 1, 9, &n));
    assert_ok(clq_json_read_element(&top, "layers", array, 1, &element));
    assert_status(clq_json_read_int(&element, "n", 1, 9, &n), CLQ_BAD_DATA);
    assert_error_has("r.json: layers[1].n: must be an integer in 1..9, is 0");
    assert_status(clq_json_read_element(&top, "layers", array, 2, &element), CLQ_BAD_DATA);
    assert_error_has("layers[2]: must be an object, is 3");
    assert_status(clq_json_read_element(&top, "layers", array, 3, &element), CLQ_BAD_DATA);
    json_decref(json);
}

static void too_many_keys_are_a_bug(void **state) {
    (void)state;
    static char names[CLQ_JSON_MAX_KEYS + 1][8];
    clq_json_reader reader;
    int value = 0;
    assert_ok(clq_json_reader_init(&reader, "r.json", NULL));
    for (int round = 0; round < 2; round++) { /* asking again costs nothing */
        for (int i = 0; i < CLQ_JSON_MAX_KEYS; i++) {
            snprintf(names[i], sizeof names[i], "k%d", i);
            assert_ok(clq_json_read_int(&reader, names[i], 0, 1, &value));
        }
    }
    assert_status(clq_json_read_int(&reader, "more", 0, 1, &value), CLQ_INTERNAL);
}

static void deep_paths_are_cut_not_overrun(void **state) {
    (void)state;
    char name[200];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    clq_json_reader a, b, c, d;
    assert_ok(clq_json_reader_init(&a, "r.json", NULL));
    assert_ok(clq_json_read_object(&a, name, &b));
    assert_ok(clq_json_read_object(&b, name, &c));
    assert_ok(clq_json_read_object(&c, name, &d));
    assert_int_equal(strlen(d.path), sizeof d.path - 1);
    assert_status(clq_json_require(&d, "key"), CLQ_BAD_DATA);
}

/* ---- overriding ---- */

static void overrides_by_path(void **state) {
    (void)state;
    json_t *json = parse("{\"training\": {\"epochs\": 1}, \"name\": \"x\"}");
    assert_ok(clq_json_override(json, "training.epochs", "30"));
    assert_ok(clq_json_override(json, "training.optimizer.lr", "0.5"));
    assert_ok(clq_json_override(json, "name", "resnet50"));
    assert_ok(clq_json_override(json, "steps", "[1, 2]"));
    assert_ok(clq_json_override(json, "odd", "{not json"));
    char *text = NULL;
    assert_ok(clq_json_dump_exact(json, &text));
    assert_string_equal(text, "{\"training\":{\"epochs\":30,\"optimizer\":{\"lr\":0.5}},"
                              "\"name\":\"resnet50\",\"steps\":[1,2],\"odd\":\"{not json\"}");
    clq_free(text);
    assert_status(clq_json_override(json, "name.x", "1"), CLQ_USAGE);
    assert_status(clq_json_override(json, "", "1"), CLQ_USAGE);
    assert_status(clq_json_override(json, "a..b", "1"), CLQ_USAGE);
    assert_status(clq_json_override(json, "a.", "1"), CLQ_USAGE);
    assert_status(clq_json_override(json, "a", "\xff"), CLQ_USAGE);
    json_decref(json);
}

/* ---- writing ---- */

static void texts_of_any_origin_are_written(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"plain", "plain"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"m\xfcll", "m\xef\xbf\xbdll"},                             /* Latin-1 */
        {"\xc3", "\xef\xbf\xbd"},                                   /* cut off */
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},                   /* longer than it must be */
        {"\xed\xa0\x80x", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx"}, /* half of a pair */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *json = clq_json_string(cases[i][0]), *object = json_object();
        assert_non_null(json);
        assert_string_equal(json_string_value(json), cases[i][1]);
        const bool valid = strcmp(cases[i][0], cases[i][1]) == 0;
        assert_status(clq_json_put_text(object, "key", cases[i][0]), valid ? CLQ_OK : CLQ_USAGE);
        assert_status(clq_json_put(object, cases[i][0], json_true()), valid ? CLQ_OK : CLQ_USAGE);
        json_decref(json);
        json_decref(object);
    }
    assert_null(clq_json_string(NULL));
}

static json_t *sample(void) {
    return json_pack("{s:o, s:o, s:o, s:s}", "lr", clq_json_real(0.1), "third",
                     clq_json_real(1.0 / 3), "loss", clq_json_real(NAN), "name", "x");
}

static const char sample_text[] =
    "{\n  \"lr\": 0.1,\n  \"third\": 0.333333333,\n  \"loss\": null,\n  \"name\": \"x\"\n}\n";

static void dumps_to_a_file(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("out.json");
    json_t *json = sample();
    void *data = NULL;
    size_t size = 0;
    assert_ok(clq_json_dump_file(path, json));
    assert_ok(clq_file_read(path, 1000, &data, &size));
    assert_string_equal(data, sample_text);
    clq_free(data);
    for (long n = 1; n <= 6; n++) { /* open, write, fsync, close, open folder, rename */
        clq_test_fail_file_op(n, ENOSPC);
        assert_status(clq_json_dump_file(path, json), n == 1 ? CLQ_CANNOT_CREATE : CLQ_IO);
        assert_error_has("No space left");
        clq_test_restore_file_ops();
    }
    json_decref(json);
    json = json_real(INFINITY); /* NULL: jansson has no infinities */
    assert_null(json);
}

static void dumps_to_stdout(void **state) {
    (void)state;
    json_t *json = sample();
    int ends[2];
    char out[1000];
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    clq_status status = clq_json_dump_stdout(json);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t size = read(ends[0], out, sizeof out - 1);
    close(ends[0]);
    assert_int_equal(status, CLQ_OK);
    assert_true(size > 0);
    out[size] = '\0';
    assert_string_equal(out, sample_text);
    json_decref(json);
}

static void exact_text_keeps_every_bit(void **state) {
    (void)state;
    const double values[] = {
        0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 123456789.123456789};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        json_t *json = json_pack("[f]", values[i]);
        char *text = NULL;
        assert_ok(clq_json_dump_exact(json, &text));
        json_t *again = parse(text);
        double value = json_real_value(json_array_get(again, 0));
        assert_memory_equal(&value, &values[i], sizeof value);
        json_decref(again);
        json_decref(json);
        clq_free(text);
    }
}

static void a_line_has_nine_digits(void **state) {
    (void)state;
    json_t *json = parse("{\"event\": \"step\", \"lr\": 0.1, \"loss\": [2.123456789012, null]}");
    char *text = NULL;
    assert_ok(clq_json_dump_line(json, &text));
    assert_string_equal(text, "{\"event\": \"step\", \"lr\": 0.1, \"loss\": [2.12345679, null]}");
    clq_free(text);
    json_decref(json);
}

#define file_test(name)                                                                            \
    cmocka_unit_test_setup_teardown(name, clq_test_setup_temp_dir, clq_test_teardown_temp_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_any_origin_are_written),
        cmocka_unit_test(strict),
        cmocka_unit_test(nothing_is_missing_when_memory_runs_out),
        cmocka_unit_test(depth_is_limited),
        file_test(load_names_the_file),
        file_test(parsing_survives_out_of_memory),
        cmocka_unit_test(values_and_defaults),
        cmocka_unit_test(errors_name_place_rule_and_value),
        cmocka_unit_test(unknown_keys_get_a_suggestion),
        cmocka_unit_test(unknown_keys_get_their_place),
        cmocka_unit_test(a_missing_object_reads_as_defaults),
        cmocka_unit_test(elements_of_arrays),
        cmocka_unit_test(too_many_keys_are_a_bug),
        cmocka_unit_test(deep_paths_are_cut_not_overrun),
        cmocka_unit_test(overrides_by_path),
        file_test(dumps_to_a_file),
        cmocka_unit_test(dumps_to_stdout),
        cmocka_unit_test(exact_text_keeps_every_bit),
        cmocka_unit_test(a_line_has_nine_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
