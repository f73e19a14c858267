/* What ptq, qat and convert say they did. */
#include <clquant/formats.h>

#include "base/files.h"
#include "cli/command.h"
#include "support/npy_file.h"

#define DATA "synthetic:train=64,test=32,size=8"

static const char *network(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s", clq_test_temp_path("m.onnx"));
    assert_exit(0, "convert --network %s --size 8 --input-channels 3 --seed 3 -o %s", name, path);
    assert_printed("m.onnx: trained network, ");
    return path;
}

/* For what layers have nothing to do with. */
static const char *small(void) {
    return network("mlp");
}

/* With convolutions, batch norms and additions. */
static const char *model(void) {
    return network("resnet20");
}

static void ptq_says_what_it_did(void **state) {
    (void)state;
    const char *fp32 = small();
    assert_exit(0, "ptq %s --data " DATA " -o %s", fp32, clq_test_temp_path("q.onnx"));
    assert_printed("q.onnx: integer network, 25994 parameters in 26.41 kB (FP32 103.98 kB, 3.94x "
                   "smaller); the file has 3");
    assert_printed("ptq: calibrated on 64 images, observer minmax; activations affine, weights "
                   "per_channel, scales float, requantizer float\n");
    assert_printed("top-1 on 32 images of the test split: FP32 ");
    assert_exit(0, "ptq %s --data " DATA " --test-images 5 --json -o %s 2>/dev/null", fp32,
                clq_test_temp_path("q.onnx"));
    assert_printed("\"images\": 64");
    assert_printed("\"fp32_top1\": ");
    assert_exit(0, "ptq %s --data " DATA " --test-images 0 --json -o %s", fp32,
                clq_test_temp_path("q.onnx"));
    assert_printed("\"accuracy\": null");
}

static void forms_of_files(void **state) {
    (void)state;
    const char *fp32 = model(), *q = clq_test_temp_path("q.onnx");
    const char *other = clq_test_temp_path("qoperator.onnx");
    assert_exit(0, "ptq %s --data " DATA " --test-images 0 --onnx-form qoperator-ort -o %s", fp32,
                q);
    assert_printed("QOperator form: 30 nodes on codes; 2 between");
    assert_exit(0, "verify %s --data " DATA " -n 8", q);
    assert_printed("\n0 of ");
    assert_exit(0, "convert %s --onnx-form qoperator --opset 19 -o %s", q, other);
    assert_printed("QOperator form: 19 nodes on codes; 13 between DequantizeLinear and "
                   "QuantizeLinear: layer1.0.add (Add), ");
    assert_exit(CLQ_USAGE, "convert %s --onnx-form qoperator -o %s", fp32, other);
    assert_printed("qoperator form is for networks with integer weights");
    assert_exit(CLQ_USAGE, "convert %s --onnx-form int8 -o %s", fp32, other);
    assert_printed("--onnx-form: must be one of qdq, qoperator, qoperator-ort");
}

/* Every number of two networks' files but for metadata. */
static void assert_same_codes(const char *path, const char *other) {
    clq_graph *a, *b;
    assert_ok(clq_onnx_load(path, &a));
    assert_ok(clq_onnx_load(other, &b));
    assert_int_equal(a->value_count, b->value_count);
    for (int v = 0; v < a->value_count; v++) {
        const clq_value *x = &a->values[v], *y = &b->values[v];
        assert_int_equal(x->q.count, y->q.count);
        assert_int_equal(x->q.zero_point, y->q.zero_point);
        assert_int_equal(x->q.type, y->q.type);
        for (int64_t i = 0; i < x->q.count; i++) {
            assert_true(x->q.scale[i] == y->q.scale[i]);
        }
        if (x->data) {
            assert_memory_equal(x->data, y->data,
                                (size_t)clq_dtype_bytes(x->dtype, clq_shape_count(&x->shape)));
        }
    }
    clq_graph_destroy(a);
    clq_graph_destroy(b);
}

/* Out of one network and into another, without data. */
static void scales_from_files(void **state) {
    (void)state;
    const char *fp32 = model(), *q = clq_test_temp_path("q.onnx");
    const char *again = clq_test_temp_path("again.onnx");
    const char *aimet = clq_test_temp_path("q.encodings"), *ncnn = clq_test_temp_path("q.table");
    assert_exit(0, "ptq %s --data " DATA " --test-images 0 -o %s", fp32, q);
    assert_exit(0, "convert %s --encodings-out %s --encodings-format aimet-1.0.0", q, aimet);
    assert_exit(0, "ptq %s --encodings %s -o %s", fp32, aimet, again);
    assert_printed("ptq: scales of ");
    assert_printed("scales of 52 tensors given\n");
    assert_same_codes(q, again);
    assert_exit(0, "info %s --json", again);
    assert_null(strstr(command_output, "\"observer\"")); /* nothing was observed */
    assert_printed("\"weight_observer\"");
    assert_exit(CLQ_USAGE, "ptq %s --encodings %s --adaround -o %s", fp32, aimet, again);
    assert_printed("look at images: give --data or --inputs beside the encodings");
    assert_exit(0, "convert %s --encodings-out %s", q, ncnn);
    assert_printed("ncnn's activations have codes -127..127 around 0: of 20 of 20 layers");
    assert_exit(CLQ_USAGE, "ptq %s --encodings %s -o %s", fp32, ncnn, again);
    assert_printed("no scale for 10 activations, layer1.0.conv2, ");
    assert_exit(0, "ptq %s --encodings %s --data " DATA " -o %s", fp32, ncnn, again);
    assert_printed("scales of 42 tensors given\n");
    assert_exit(0, "verify %s --data " DATA " -n 8", again);
    assert_printed("\n0 of ");
}

static void all_observers_are_tried(void **state) {
    (void)state;
    const char *fp32 = small(), *q = clq_test_temp_path("q.onnx");
    assert_exit(0, "ptq %s --data " DATA " --observer all --weight-observer mse -o %s", fp32, q);
    assert_printed("observers on the 64 images that calibrated (FP32 top-1 ");
    assert_printed("  minmax             top-1 ");
    assert_printed("  percentile:99.99   top-1 ");
    assert_printed("kept\n");
    assert_printed("weights per_channel by mse");
    assert_exit(0, "ptq %s --data " DATA " --observer percentile:99.5 -o %s", fp32, q);
    assert_printed("observer percentile:99.5;");
    assert_exit(0, "info %s", q);
    assert_printed("observer percentile:99.5");
    assert_exit(0, "ptq %s --data " DATA " --observer all --json -o %s 2>/dev/null", fp32, q);
    assert_printed("\"output_error\": ");
    assert_printed("\"kept\": true");
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " --observer kl -o %s", fp32, q);
    assert_printed("--observer: must be minmax, ");
}

/* One real of 1e9 among others around 1. */
static void a_far_outlier_is_a_warning(void **state) {
    (void)state;
    enum { COUNT = 3 * 8 * 8 };
    float x[COUNT];
    const char *fp32 = small();
    clq_test_fill_normal(x, COUNT, 1, 1);
    x[100] = 1e9f;
    const char *npy =
        test_put_npy("x.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 8, 8), }\n",
                     x, sizeof x);
    assert_exit(0, "ptq %s -i %s --observer percentile:97 --test-images 0 -o %s", fp32, npy,
                clq_test_temp_path("q.onnx"));
    assert_printed("warning: input: its largest magnitude, 1e+09, is too far from the others");
}

static void clamped_scales_are_a_warning(void **state) {
    (void)state;
    const char *fp32 = small();
    assert_exit(0, "ptq %s --data " DATA " --scale pow2 --max-shift 3 --test-images 0 -o %s", fp32,
                clq_test_temp_path("p.onnx"));
    assert_printed("warning: max_shift 3 clamped ");
    assert_printed("in input, fc1");
    assert_printed("scales pow2 within 2^-3..2^3");
    const char *enough = strstr(command_output, "lost; max_shift ");
    assert_non_null(enough);
    const int max_shift = atoi(enough + strlen("lost; max_shift "));
    assert_exit(0, "ptq %s --data " DATA " --scale pow2 --max-shift %d --test-images 0 -o %s", fp32,
                max_shift, clq_test_temp_path("p.onnx"));
    assert_printed(", 0 clamped by max_shift");
    assert_exit(0, "ptq %s --data " DATA " --scale pow2 --max-shift %d --test-images 0 -o %s", fp32,
                max_shift - 1, clq_test_temp_path("p.onnx"));
    assert_printed("warning: max_shift");
    assert_exit(0, "ptq %s --data " DATA " --scale pow2 --max-shift 0 --test-images 0 -o %s", fp32,
                clq_test_temp_path("p.onnx"));
    assert_printed("scales pow2, 2^0 only");
}

/* A limit of exponents says nothing of other scales. */
static void max_shift_needs_powers_of_two(void **state) {
    (void)state;
    const char *fp32 = small(), *q = clq_test_temp_path("q.onnx");
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " --max-shift 8 -o %s", fp32, q);
    assert_printed("needs --scale pow2");
    assert_exit(0, "ptq %s --data " DATA " --max-shift 8 --scale pow2 -o %s", fp32, q);
    assert_exit(CLQ_USAGE, "qat %s --data " DATA " --set qat.max_shift=5 -o %s", fp32, q);
    assert_printed("qat.max_shift: is for powers of two");
    const char *recipe = text_file("shift.json", "{\"ptq\": {\"max_shift\": 5}}");
    assert_exit(CLQ_BAD_DATA, "qat %s --data " DATA " --recipe %s -o %s", fp32, recipe, q);
    assert_printed("shift.json: ptq.max_shift: is for powers of two");
}

/* Chosen, kept, told and used. */
static void the_requantizer_is_the_models(void **state) {
    (void)state;
    const char *fp32 = small(), *q = clq_test_temp_path("q.onnx");
    assert_exit(0, "ptq %s --data " DATA " --requantizer shift --max-shift 12 -o %s", fp32, q);
    assert_printed("scales pow2 within 2^-12..2^12, requantizer shift\n");
    assert_exit(0, "info %s", q);
    assert_printed("requantizer shift");
    assert_exit(0, "verify %s --data " DATA " -n 8", q);
    assert_printed("\n0 of ");
    assert_exit(0, "convert %s -o %s", q, clq_test_temp_path("again.onnx"));
    assert_printed(", requantizer shift");
    assert_exit(0, "info %s --json", clq_test_temp_path("again.onnx"));
    assert_printed("\"clquant.requantizer\": \"shift\"");
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " --requantizer shift --scale float -o %s", fp32,
                q);
    assert_printed("--requantizer shift takes powers of two: --scale pow2, or leave it out");
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " --requantizer fast -o %s", fp32, q);
    assert_printed("--requantizer: must be one of float, fixed, shift");
    assert_exit(CLQ_USAGE,
                "qat %s --data " DATA " --set qat.requantizer=shift --set qat.scale=float -o %s",
                fp32, q);
    assert_printed("qat.scale: must be \"pow2\" for the requantizer \"shift\"");
    assert_exit(0,
                "qat %s --data " DATA
                " --set qat.batch=32 --set qat.requantizer=fixed -o %s --test-images 0",
                fp32, q);
    assert_exit(0, "info %s", q);
    assert_printed("requantizer fixed");
}

static void settings_travel_with_the_model(void **state) {
    (void)state;
    const char *fp32 = small();
    assert_exit(0,
                "qat %s --data " DATA " --set qat.batch=32 --set qat.activations=symmetric -o %s",
                fp32, clq_test_temp_path("a.onnx"));
    assert_printed("qat: calibrated on 64 images, observer moving_average; activations symmetric");
    assert_exit(0, "convert %s -o %s", clq_test_temp_path("a.onnx"), clq_test_temp_path("b.onnx"));
    assert_printed("integer network");
    assert_printed("quantized earlier: method qat, images 64, ");
    assert_printed(", activations symmetric");
    assert_exit(0, "convert %s -o %s --json", clq_test_temp_path("b.onnx"),
                clq_test_temp_path("c.onnx"));
    assert_printed("\"method\": \"qat\"");
    char line[2048];
    snprintf(line, sizeof line, "cmp %s %s", clq_test_temp_path("a.onnx"),
             clq_test_temp_path("c.onnx"));
    assert_int_equal(system(line), 0);
}

/* Four bits, trained on integers, verified; what is learned is recorded. */
static void scales_are_learned(void **state) {
    (void)state;
    const char *fp32 = small(), *q = clq_test_temp_path("learned.onnx");
    assert_exit(0,
                "qat %s --data " DATA " --set qat.batch=32 --learn-scales lsq --int8-forward --set "
                "'qat.policy=[{\"op\":\"input\"},{\"layer\":\"last\"},{\"weights\":\"s4\","
                "\"activations\":\"u4\"}]' -o %s",
                fp32, q);
    assert_printed("scales float, learned (lsq)");
    assert_exit(0, "verify %s --data " DATA " --json", q);
    assert_printed("\"mismatched_codes\": 0");
    assert_exit(0, "convert %s -o %s", q, clq_test_temp_path("learned2.onnx"));
    assert_printed(", learn_scales lsq, int8_forward true");
    assert_exit(CLQ_USAGE, "qat %s --data " DATA " --learn-scales lsqq -o %s", fp32, q);
    assert_printed("qat.learn_scales: ");
    assert_exit(CLQ_USAGE, "qat %s --data " DATA " --learn-scales lsq+ --int8-forward -o %s", fp32,
                q);
    assert_printed("int8_forward needs zero points that stay");
}

static void policies_say_who_is_quantized(void **state) {
    (void)state;
    const char *fp32 = model(), *q = clq_test_temp_path("policy.onnx");
    const char *rules =
        text_file("rules.json", "{\"rules\": [{\"layer\": \"last\", \"float\": true},"
                                "{\"op\": \"conv2d\", \"weights\": \"s3\"}]}");
    assert_exit(
        0, "ptq %s --data " DATA " --keep-float conv1 --weight-bits layer1*=4 --policy %s -o %s",
        fp32, rules, q);
    assert_exit(0, "verify %s --data " DATA " --json", q);
    assert_printed("\"mismatched_codes\": 0");
    assert_printed("\"precision\": \"fp32\"");
    assert_exit(CLQ_GATE_FAILED, "verify %s --data " DATA " --require-int8", q);
    assert_printed("layer conv1 (conv2d) runs as fp32");
    assert_exit(0, "convert %s -o %s", q, clq_test_temp_path("policy2.onnx"));
    const char *said = "policy conv1: float; layer1*: weights s4; *, last layer: float; * of "
                       "operator conv2d: weights s3";
    assert_printed(said);
    assert_exit(0, "info %s", q);
    assert_printed("conv1: float; layer1*: ");
    char line[2048];
    snprintf(line, sizeof line, "cmp %s %s", q, clq_test_temp_path("policy2.onnx"));
    assert_int_equal(system(line), 0);
    assert_exit(0,
                "ptq %s --data " DATA " --activation-bits input=s8 --activation-bits *=4 "
                "--weight-bits *=4 -o %s",
                fp32, q);
    assert_exit(0, "verify %s --data " DATA " --json --require-int8", q);
    assert_printed("\"mismatched_codes\": 0");
    assert_exit(0, "info %s", q);
    assert_printed("u4");
    const char *codes = clq_test_temp_path("codes.safetensors");
    clq_tensors *tensors = NULL;
    assert_exit(0, "eval %s --data " DATA " --codes %s", q, codes);
    assert_ok(clq_tensors_load(codes, &tensors));
    assert_int_equal(clq_tensors_find(tensors, "input")->dtype, CLQ_FILE_I8);
    const clq_file_tensor *narrow = clq_tensors_find(tensors, "conv1");
    assert_int_equal(narrow->dtype, CLQ_FILE_U8);
    uint8_t largest = 0;
    for (size_t i = 0; i < narrow->size; i++) {
        largest = ((const uint8_t *)narrow->data)[i] > largest ? ((const uint8_t *)narrow->data)[i]
                                                               : largest;
    }
    assert_in_range(largest, 8, 15);
    clq_tensors_destroy(tensors);
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " --activation-bits *=s16 -o %s", fp32, q);
    assert_printed("--activation-bits: activations of type s16 cannot be executed");
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " --weight-bits *=u4 -o %s", fp32, q);
    assert_printed("--weight-bits: weights of type u4 cannot be executed");
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " --keep-float conv9 -o %s", fp32, q);
    assert_printed("no node is meant by the rule for conv9");
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " --activation-bits fc=4 -o %s", fp32, q);
    assert_printed("the rule for fc has no effect: what \"fc\" makes stays real");
    assert_exit(CLQ_NO_INPUT, "ptq %s --data " DATA " --policy %s -o %s", fp32,
                clq_test_temp_path("absent.json"), q);
    assert_exit(CLQ_BAD_DATA, "ptq %s --data " DATA " --policy %s -o %s", fp32,
                text_file("wrong.json", "{\"rules\": [{\"nmae\": \"conv1\"}]}"), q);
    assert_printed("wrong.json: rules[0].nmae: unknown key");
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " --weight-bits fc=1 -o %s", fp32, q);
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " --weight-bits fc -o %s", fp32, q);
    assert_printed("must be PATTERN=BITS");
    assert_exit(0,
                "ptq %s --data " DATA " --images 8 --test-images 0 --weight-bits fc=8 "
                "--weight-bits '*=4' --weight-steps apot --activations float --json -o %s",
                fp32, q);
    assert_printed("\"weights\": \"s8_narrow\"");
    assert_exit(0, "ptq %s --data " DATA " --activations float --test-images 0 -o %s", fp32, q);
    assert_printed("ptq: nothing to calibrate, as no activation is quantized; activations float");
    /* Also what QDQ cannot say comes back from a file. */
    assert_exit(0, "ptq %s --data " DATA " --keep-float avgpool -o %s", fp32, q);
    assert_exit(0, "verify %s --data " DATA " --json", q);
    assert_printed("\"precision\": \"fp32\"");
    /* A job says so before it trains. */
    const char *recipe = text_file("job.json", "{\"network\": {\"name\": \"resnet20\"}, \"ptq\": "
                                               "{\"policy\": [{\"name\": \"conv9\", \"float\": "
                                               "true}]}, \"qat\": {\"epochs\": 0}}");
    const char *out = clq_test_temp_path("job");
    assert_exit(CLQ_BAD_DATA, "run %s --data " DATA " --out %s", recipe, out);
    assert_printed("ptq: policy: no node is meant by the rule for conv9");
    assert_false(clq_file_exists(out));
}

/* Where much is lost: what helps and was not used. */
static void a_large_loss_has_a_hint(void **state) {
    (void)state;
    /* Of fewer classes than the data has, so that outputs are compared, not accuracies. */
    const char *fp32 = clq_test_temp_path("three.onnx"), *q = clq_test_temp_path("lossy.onnx");
    assert_exit(0, "convert --network mlp --size 8 --input-channels 3 --classes 3 -o %s", fp32);
    assert_exit(0,
                "ptq %s --data " DATA " --activation-bits input=2 --activation-bits *=2 "
                "--weight-bits *=2 -o %s",
                fp32, q);
    assert_printed("warning: quantizing ");
    assert_printed("; --observer mse, --equalize, --adaround, --bias-correct usually help; ");
    assert_exit(0,
                "ptq %s --data " DATA " --activation-bits input=2 --activation-bits *=2 "
                "--weight-bits *=2 --observer mse --weight-scales per_tensor --bias-correct "
                "--scale pow2 -o %s",
                fp32, q);
    assert_printed("; --weight-scales per_channel, --equalize, --adaround, --scale float usually ");
    assert_exit(0,
                "ptq %s --data " DATA " --activation-bits input=2 --activation-bits *=2 "
                "--weight-bits *=2 --observer percentile --adaround=0 -o %s",
                fp32, q);
    assert_printed("; --observer mse, --equalize, ");
    assert_printed("--adaround=0: no steps, so weights are rounded to the nearest");
    assert_exit(0, "ptq %s --data " DATA " -o %s", fp32, q);
    assert_null(strstr(command_output, "usually help"));
}

static void methods_say_what_they_did(void **state) {
    (void)state;
    const char *fp32 = model(), *q = clq_test_temp_path("q.onnx");
    assert_exit(0, "ptq %s --data " DATA " --equalize --adaround=8 --bias-correct -o %s", fp32, q);
    assert_printed("equalized 9 pairs of layers: layer1.0.conv1 - layer1.0.conv2, ");
    assert_printed(" and 5 more\n");
    assert_printed("adaround on 64 images, 8 steps for each of 20 layers: error of their outputs ");
    assert_printed("biases of 20 layers corrected on 64 images: means were off by ");
    assert_exit(0, "verify %s --data " DATA " --json", q);
    assert_printed("\"mismatched_codes\": 0");
    assert_exit(0, "ptq %s --data " DATA " --bias-correct --images 8 --json -o %s", fp32, q);
    assert_printed("\"bias_correct\": true");
    assert_printed("\"adaround\": 0");
    assert_printed("\"done\": {");
    assert_printed("\"mean_shift\": ");
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " --adaround=-1 -o %s", fp32, q);
    assert_printed("--adaround");
    const char *recipe =
        text_file("methods.json", "{\"network\": {\"name\": \"resnet20\"}, "
                                  "\"ptq\": {\"equalize\": true, \"bias_correct\": "
                                  "true, \"adaround\": -1}}");
    assert_exit(CLQ_BAD_DATA, "run %s --data " DATA " --out %s", recipe, clq_test_temp_path("job"));
    assert_printed("ptq.adaround");
}

/* What ptq takes, qat takes, beside a recipe's keys; the model keeps it. */
static void qat_takes_the_flags_of_ptq(void **state) {
    (void)state;
    const char *fp32 = model(), *q = clq_test_temp_path("flags.onnx");
    const char *recipe =
        text_file("flags.json",
                  "{\"network\": {\"name\": \"resnet20\"}, \"qat\": {\"batch\": 32, \"images\": "
                  "40, \"policy\": [{\"layer\": \"last\", \"float\": true}]}}");
    assert_exit(0, "qat %s --data " DATA " -r %s -o %s", fp32, recipe, q);
    assert_printed("calibrated on 40 images, observer moving_average");
    assert_exit(0, "verify %s --data " DATA " --json", q);
    assert_printed("\"mismatched_codes\": 0");
    assert_exit(0,
                "qat %s --data " DATA " -r %s --observer minmax --scale pow2 --max-shift 12 "
                "--activations symmetric --weight-bits layer1*=4 --keep-float conv1 "
                "--observer-epochs 0 -o %s",
                fp32, recipe, q);
    assert_printed("calibrated on 40 images, observer minmax; activations symmetric");
    assert_exit(0, "verify %s --data " DATA " --json", q);
    assert_printed("\"mismatched_codes\": 0");
    assert_printed("\"precision\": \"fp32\"");
    assert_exit(0, "convert %s -o %s", q, clq_test_temp_path("flags2.onnx"));
    assert_printed("policy layer1*: weights s4; conv1: float,"); /* in place of the recipe's */
    assert_printed("observer_epochs 0");
    assert_exit(CLQ_USAGE, "qat %s --data " DATA " --max-shift 4 -o %s", fp32, q);
    assert_printed("--max-shift is for powers of two, and needs --scale pow2");
}

/* In a folder of their own, and resumed as well as what follows. */
static void batch_norms_learn_before_they_freeze(void **state) {
    (void)state;
    const char *fp32 = model(), *q = clq_test_temp_path("norms.onnx");
    const char *out = clq_test_temp_path("norms");
    const char *const flags = "--epochs 3 --freeze-bn-epoch 2 --set qat.batch=32 --test-images 0";
    assert_exit(0, "qat %s --data " DATA " %s -O %s -o %s", fp32, flags, out, q);
    assert_printed("epoch 2/2");
    assert_printed("epoch 1/1");
    assert_true(clq_file_exists(clq_test_temp_path("norms/batch_norms/history.csv")));
    assert_exit(0, "verify %s --data " DATA " --json", q);
    assert_printed("\"mismatched_codes\": 0");
    char line[2048];
    const char *again = clq_test_temp_path("again.onnx");
    assert_exit(0, "qat %s --data " DATA " %s -O %s --resume -o %s", fp32, flags, out, again);
    assert_printed("was done, all 4 steps");
    snprintf(line, sizeof line, "cmp %s %s", q, again);
    assert_int_equal(system(line), 0);
    assert_exit(CLQ_CANNOT_CREATE, "qat %s --data " DATA " %s -O %s -o %s", fp32, flags, out,
                again);
    assert_printed("batch_norms/: ");
    assert_exit(CLQ_USAGE, "qat %s --data " DATA " --freeze-bn-epoch 2 --set qat.batch=32 -o %s",
                fp32, again);
    assert_printed("freeze_bn_epoch must be at most the number of epochs, 1, is 2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ptq_says_what_it_did),
        cmocka_unit_test(forms_of_files),
        cmocka_unit_test(scales_from_files),
        cmocka_unit_test(all_observers_are_tried),
        cmocka_unit_test(a_far_outlier_is_a_warning),
        cmocka_unit_test(clamped_scales_are_a_warning),
        cmocka_unit_test(max_shift_needs_powers_of_two),
        cmocka_unit_test(the_requantizer_is_the_models),
        cmocka_unit_test(settings_travel_with_the_model),
        cmocka_unit_test(scales_are_learned),
        cmocka_unit_test(policies_say_who_is_quantized),
        cmocka_unit_test(a_large_loss_has_a_hint),
        cmocka_unit_test(methods_say_what_they_did),
        cmocka_unit_test(qat_takes_the_flags_of_ptq),
        cmocka_unit_test(batch_norms_learn_before_they_freeze),
    };
    return cmocka_run_group_tests_name("cli/quantized", tests, clq_test_setup_temp_dir,
                                       clq_test_teardown_temp_dir);
}
