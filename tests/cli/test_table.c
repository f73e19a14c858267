/* Networks on tables through the command: train, PTQ, QAT, verification, report, errors. */
#include <math.h>

#include "base/files.h"
#include "base/json.h"
#include "cli/command.h"
#include "data/csv.h"
#include "data/npy.h"

#include <clquant/formats.h>

#define TABLES CLQ_SOURCE_DIR "/tests/data/tables/"
#define RECIPE CLQ_SOURCE_DIR "/models/recipes/mlp-regression.json"
#define QUICK                                                                                      \
    " --set train.epochs=20 --set qat.epochs=2 --set bench.iterations=5 --set bench.peaks=false"

static double number_of(const json_t *json, const char *first, const char *second) {
    return json_number_value(json_object_get(json_object_get(json, first), second));
}

static void a_regression_goes_the_whole_way(void **state) {
    (void)state;
    static const char *const files[] = {"fp32.onnx", "ptq.onnx", "qat.onnx", "eval-qat.json",
                                        "report/index.html"};
    assert_exit(0, "run " RECIPE " --data " TABLES "smooth.csv --out %s" QUICK,
                clq_test_temp_path("out"));
    assert_printed("R2");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[64];
        snprintf(name, sizeof name, "out/%s", files[i]);
        assert_true(clq_file_exists(clq_test_temp_path(name)));
    }
    json_t *json = NULL;
    assert_ok(clq_json_load(clq_test_temp_path("out/run.json"), &json));
    assert_true(number_of(json, "fp32", "r2") > 0.9);
    assert_true(number_of(json, "qat", "r2") > 0.9);
    assert_true(json_is_null(json_object_get(json_object_get(json, "fp32"), "top1")));
    assert_int_equal(number_of(json, "ptq", "mismatched_codes"), 0);
    assert_int_equal(number_of(json, "qat", "mismatched_codes"), 0);
    json_decref(json);
    assert_ok(clq_json_load(clq_test_temp_path("out/bench.json"), &json));
    const json_t *result = json_array_get(json_object_get(json, "results"), 0);
    assert_true(json_is_real(json_object_get(result, "gops")));
    assert_true(json_is_null(json_object_get(result, "peak_gops"))); /* bench.peaks */
    json_decref(json);
}

/* With powers of two alone: R2 loses less than 0.05 by calibration, 0.01 by training. */
static void a_regression_runs_on_shifts(void **state) {
    (void)state;
    json_t *json = NULL;
    assert_exit(0,
                "run " CLQ_SOURCE_DIR "/models/recipes/mlp-regression-shift.json --data " TABLES
                "smooth.csv --out %s" QUICK,
                clq_test_temp_path("shift"));
    assert_ok(clq_json_load(clq_test_temp_path("shift/run.json"), &json));
    const double fp32 = number_of(json, "fp32", "r2");
    assert_true(number_of(json, "ptq", "r2") > fp32 - 0.05);
    assert_true(number_of(json, "qat", "r2") > fp32 - 0.01);
    assert_int_equal(number_of(json, "ptq", "mismatched_codes"), 0);
    assert_int_equal(number_of(json, "qat", "mismatched_codes"), 0);
    json_decref(json);
    assert_exit(0, "info %s", clq_test_temp_path("shift/qat.onnx"));
    assert_printed("requantizer shift");
}

/* The network of the first test in the other schemes: R2 stays near its 0.99. */
static void a_regression_keeps_its_error_in_every_scheme(void **state) {
    (void)state;
    static const struct {
        const char *options, *least;
    } schemes[] = {
        {"--scale pow2 --max-shift 12", "0.94"},
        {"--requantizer fixed", "0.98"},
        {"--requantizer fixed --activations symmetric --weight-scales per_tensor", "0.98"},
        {"--requantizer fixed --scale pow2 --max-shift 12", "0.94"},
    };
    const char *fp32 = clq_test_temp_path("out/fp32.onnx"), *q = clq_test_temp_path("scheme.onnx");
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        assert_exit(0, "ptq %s --data " TABLES "smooth.csv %s --test-images 0 -o %s", fp32,
                    schemes[i].options, q);
        assert_exit(0, "verify %s --data " TABLES "smooth.csv", q);
        assert_printed("0 of ");
        assert_exit(0, "eval %s --data " TABLES "smooth.csv --min-r2 %s", q, schemes[i].least);
    }
    assert_exit(0,
                "qat %s --data " TABLES "smooth.csv --recipe " RECIPE
                " -e 2 --set qat.requantizer=fixed --test-images 0 -o %s",
                fp32, q);
    assert_exit(0, "verify %s --data " TABLES "smooth.csv", q);
    assert_printed("0 of ");
    assert_exit(0, "eval %s --data " TABLES "smooth.csv --min-r2 0.98", q);
}

static void stages_read_the_table_as_the_network_says(void **state) {
    (void)state;
    const char *fp32 = clq_test_temp_path("out/fp32.onnx"), *ptq = clq_test_temp_path("p.onnx");
    assert_exit(0, "ptq %s --data " TABLES "smooth.csv --scale pow2 -o %s", fp32, ptq);
    assert_exit(0, "eval %s --data " TABLES "smooth.csv --json --min-r2 0.8 --save-inputs %s", ptq,
                clq_test_temp_path("x.npy"));
    assert_printed("\"name\": \"y\"");
    assert_printed("\"top1\": null");
    assert_printed("\"rmse\"");
    clq_npy inputs;
    assert_ok(clq_npy_read(clq_test_temp_path("x.npy"), &inputs));
    assert_int_equal(inputs.rank, 2);
    assert_int_equal(inputs.dims[0], 100); /* a fifth of the rows */
    assert_int_equal(inputs.dims[1], 3);
    clq_npy_free(&inputs);
    assert_exit(CLQ_GATE_FAILED, "eval %s --data " TABLES "smooth.csv --min-r2 1", ptq);
    assert_exit(CLQ_USAGE, "eval %s --data " TABLES "smooth.csv --min-top1 0", ptq);
    assert_printed("predicts numbers, it has no top-1");
    assert_exit(0, "verify %s --data " TABLES "smooth.csv", ptq);
    assert_printed("0 of ");
    assert_printed("on 100 rows");
    assert_exit(0, "qat %s --data " TABLES "smooth.csv --recipe " RECIPE " -e 1 -o %s", fp32, ptq);
    assert_exit(0, "bench %s %s --iterations 3 --no-peak", fp32, ptq);
}

static void classes_may_be_words(void **state) {
    (void)state;
    assert_exit(
        0,
        "train " CLQ_SOURCE_DIR "/models/recipes/mlp-classification.json --data " TABLES
        "rings.csv --out %s"
        " -e 20 --set train.batch=16 --set train.schedule.lr=0.03 --set data.test_fraction=0.25",
        clq_test_temp_path("rings"));
    assert_exit(0, "eval %s --data " TABLES "rings.csv --min-top1 0.8 --json",
                clq_test_temp_path("rings/model.onnx"));
    assert_printed("\"middle\"");
    assert_exit(CLQ_USAGE, "eval %s --data " TABLES "rings.csv --min-r2 0.8",
                clq_test_temp_path("rings/model.onnx"));
    assert_printed("--min-r2: ");
    assert_exit(0, "eval %s --data " TABLES "rings.csv --json",
                clq_test_temp_path("rings/model.onnx"));
    assert_printed("\"images\": 100"); /* the split travels with the model */
}

/* The names of columns travel with the network: another order is not read in silence. */
static void columns_are_known_by_name(void **state) {
    (void)state;
    static const char *const headers[] = {"a,b,price", "b,a,price", "a,c,price", "a,b,cost", ""};
    char files[5][256], text[5][2048] = {{0}}, model[256];
    for (int f = 0; f < 5; f++) {
        char name[32];
        snprintf(name, sizeof name, "columns%d.csv", f);
        size_t used = (size_t)snprintf(text[f], sizeof text[f], "%s\n", headers[f]);
        for (int i = 0; i < 40; i++) {
            used += (size_t)snprintf(text[f] + used, sizeof text[f] - used, "%d,%d,%d.5\n", i,
                                     i * i % 17, 2 * i);
        }
        snprintf(files[f], sizeof files[f], "%s", text_file(name, text[f]));
    }
    snprintf(model, sizeof model, "%s", clq_test_temp_path("columns/model.onnx"));
    assert_exit(0, "train " RECIPE " --data %s --out %s -e 2", files[0],
                clq_test_temp_path("columns"));
    clq_graph *graph = NULL;
    assert_ok(clq_onnx_load(model, &graph));
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.features"), "a\nb");
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.targets"), "price");
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.test_fraction"), "0.2");
    clq_graph_destroy(graph);
    assert_exit(0, "eval %s --data %s", model, files[0]);
    assert_printed("  price: R2 ");
    const char *q = clq_test_temp_path("columns.onnx");
    static const char *const commands[] = {"eval %s --data %s", "ptq %s --data %s -o %s",
                                           "qat %s --data %s -o %s"};
    for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
        assert_exit(CLQ_BAD_DATA, commands[c], model, files[1], q);
        assert_printed("its features are \"b\", \"a\", in another order than the model's: \"a\", "
                       "\"b\"");
    }
    assert_exit(CLQ_BAD_DATA, "eval %s --data %s", model, files[2]);
    assert_printed("its features are \"a\", \"c\", the model's are others: \"a\", \"b\"");
    assert_exit(CLQ_BAD_DATA, "eval %s --data %s", model, files[3]);
    assert_printed("its targets are \"cost\"");
    assert_exit(0, "eval %s --data %s", model, files[4]);
    assert_printed("the table names no features: they are taken by their place");
    assert_printed("  price: R2 ");
    assert_exit(0, "ptq %s --data %s -o %s", model, files[0], q);
    assert_exit(CLQ_BAD_DATA, "verify %s --data %s", q, files[1]);
}

/* The number in column `column` of line `line` of a file of predictions, from 0. */
static double predicted(const char *path, int line, int column) {
    void *data = NULL;
    size_t size = 0;
    assert_ok(clq_file_read(path, 1 << 20, &data, &size));
    const char *at = data;
    for (; line > 0; line--) {
        at = strchr(at, '\n') + 1;
    }
    for (; column > 0; column--) {
        at = strchr(at, ',') + 1;
    }
    const double value = atof(at);
    clq_free(data);
    return value;
}

/* Columns by name, without targets, in the targets' units. */
static void tables_are_predicted(void **state) {
    (void)state;
    char model[256], out[256], text[2048] = "id,c,b,a\n";
    clq_csv csv;
    snprintf(model, sizeof model, "%s", clq_test_temp_path("out/fp32.onnx"));
    snprintf(out, sizeof out, "%s", clq_test_temp_path("y.csv"));
    assert_exit(0, "predict %s -i " TABLES "smooth.csv -n 9 -o %s", model, out);
    assert_printed("column that the network does not read: \"y\"");
    assert_printed("500 rows of inputs, normalized as the model says");
    assert_printed("written in the units of its targets");
    assert_ok(clq_csv_read(TABLES "smooth.csv", &csv));
    double expected[9];
    for (int i = 0; i < 9; i++) {
        float y;
        expected[i] = predicted(out, 1 + i, 1);
        assert_true(clq_csv_number(clq_csv_cell(&csv, i, 3), &y));
        assert_true(fabs(expected[i] - (double)y) < 15); /* of numbers around 100 */
        snprintf(text + strlen(text), sizeof text - strlen(text), "row %d,%s,%s,%s\n", i,
                 clq_csv_cell(&csv, i, 2), clq_csv_cell(&csv, i, 1), clq_csv_cell(&csv, i, 0));
    }
    clq_csv_free(&csv);
    for (char *c = text; *c; c++) {
        *c = *c == ',' ? '\t' : *c;
    }
    assert_exit(0, "predict %s -i %s -o %s", model, text_file("mixed.tsv", text), out);
    assert_printed("column that the network does not read: \"id\"");
    for (int i = 0; i < 9; i++) {
        assert_true(predicted(out, 1 + i, 1) == expected[i]);
    }
    void *data = NULL;
    size_t size = 0;
    assert_ok(clq_file_read(out, 1 << 20, &data, &size));
    assert_int_equal(strncmp(data, "index,y\n0,", 10), 0);
    clq_free(data);
    static const struct {
        const char *text, *said;
    } bad[] = {{"a,b,y\n1,2,3\n1,2,3\n", "has no column called \"c\", which the network reads"},
               {"c,a,b,a\n1,2,3,4\n1,2,3,4\n", "has more than one column called \"a\""},
               {"1,2\n3,4\n", "has 2 columns; without names"},
               {"a,b,c\n1,2,3\n1,,3\n", "bad-inputs.csv:3: column 2: is empty"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_exit(CLQ_BAD_DATA, "predict %s -i %s -o %s", model,
                    text_file("bad-inputs.csv", bad[i].text), out);
        assert_printed(bad[i].said);
    }
    assert_exit(0, "predict %s -i %s -o %s", model, text_file("bare.csv", "1,0.5,3\n0,0,1\n"), out);
    assert_exit(CLQ_USAGE, "predict %s -i %s -o %s --mean 0 --std 1", model,
                clq_test_temp_path("bare.csv"), out);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    const char *fp32 = clq_test_temp_path("out/fp32.onnx"), *x = clq_test_temp_path("x");
    const char *table = text_file("bad.csv", "a,b,c,y\n1,2,3,4.5\n1,NaN,3,5.5\n");
    assert_exit(CLQ_BAD_DATA, "train " RECIPE " --data %s --out %s", table, x);
    assert_printed("bad.csv:3: column 2: \"NaN\" is not a number");
    assert_exit(CLQ_BAD_DATA, "eval %s --data " TABLES "rings.csv", fp32);
    assert_printed("column 3: \"outer\" is not a number");
    assert_exit(CLQ_BAD_DATA, "verify %s", clq_test_temp_path("out/ptq.onnx"));
    assert_printed("holds images, but the network's input is 1x3");
    assert_exit(CLQ_BAD_DATA,
                "train " RECIPE " --data " TABLES "smooth.csv --out %s"
                " --set network.inputs=2",
                x);
    assert_printed(
        "a table of 3 features, and the recipe's network reads 2: leave network.inputs out, "
        "or --set network.inputs=3");
    assert_exit(CLQ_BAD_DATA, "train " RECIPE " --data synthetic:size=8,train=4,test=4 --out %s",
                x);
    assert_printed("holds images, and the recipe is for tables");
    assert_exit(0, "convert --network mlp --size 8 --classes 3 -o %s",
                clq_test_temp_path("images.onnx"));
    assert_exit(CLQ_BAD_DATA, "eval %s --data " TABLES "smooth.csv",
                clq_test_temp_path("images.onnx"));
    assert_printed("smooth.csv: is a table, and the network reads images of 8 x 8");
    assert_exit(CLQ_BAD_DATA,
                "train " RECIPE " --data " TABLES "smooth.csv --out %s"
                " --set network.name=resnet20 --set data.target=auto",
                x);
    assert_printed("must be mlp, is resnet20");
    assert_exit(CLQ_BAD_DATA,
                "train " RECIPE " --data " TABLES "smooth.csv --out %s"
                " --set data.mean=[1] --set data.std=[1]",
                x);
    assert_printed("data.mean and data.std are for images");
    assert_exit(CLQ_USAGE,
                "train " RECIPE " --data synthetic --out %s"
                " --set data.target=sum",
                x);
    assert_printed("--set data.target=sum: ");
    assert_exit(CLQ_USAGE,
                "train " RECIPE " --data " TABLES "smooth.csv --out %s"
                " --set train.loss=cross_entropy",
                x);
    assert_exit(CLQ_NO_INPUT, "train " RECIPE " --data " TABLES "none.csv --out %s", x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_regression_goes_the_whole_way),
        cmocka_unit_test(a_regression_runs_on_shifts),
        cmocka_unit_test(a_regression_keeps_its_error_in_every_scheme),
        cmocka_unit_test(stages_read_the_table_as_the_network_says),
        cmocka_unit_test(tables_are_predicted),
        cmocka_unit_test(classes_may_be_words),
        cmocka_unit_test(columns_are_known_by_name),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests_name("cli/table", tests, clq_test_setup_temp_dir,
                                       clq_test_teardown_temp_dir);
}
