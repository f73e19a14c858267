/* From data to a verified integer network, on the synthetic images that are built in:
 *
 *     quantize [Q.onnx]        where to write the network, quantize-int8.onnx by default
 *
 * Trains a small network, quantizes it after training (PTQ), writes it as ONNX and proves that it
 * computes what the fake-quantized evaluation promised. With files of one's own, clq_onnx_load
 * takes the place of clq_network_build and clq_train, and a folder that of DATA. */
#include <stdio.h>

#include <clquant/clquant.h>

#define DATA "synthetic:train=1024,test=128,size=12"
enum { SIZE = 12, BATCH = 32 };

/* Everything that is opened on the way. */
typedef struct objects {
    clq_device *device;
    clq_dataset *train, *test;
    clq_graph *network, *folded, *integer;
    clq_epoch_record *history;
    clq_feed *feed;
    clq_verification verification;
} objects;

/* An untrained network that knows how its images are prepared and what its classes are called, so
 * that every later command reads images as training did. */
static clq_status build(objects *o, clq_normalization *normalization) {
    const clq_network_options options = {
        .network = "resnet20", .size = SIZE, .classes = 10, .seed = 1};
    clq_preprocessing preprocessing;
    CLQ_TRY(clq_network_build(&options, &o->network));

    const clq_value *input = &o->network->values[o->network->inputs[0]];
    clq_preprocessing_usual(&input->shape, &preprocessing);
    clq_normalization_usual(o->train, false, &preprocessing.normalization);
    preprocessing.normalization_count = 3;
    preprocessing.known |= CLQ_PART_NORMALISATION;
    *normalization = preprocessing.normalization;
    CLQ_TRY(clq_graph_set_preprocessing(o->network, &preprocessing));
    return clq_graph_set_classes(o->network, o->train);
}

static clq_status train(objects *o, const clq_normalization *normalization) {
    clq_train_job job = {
        .device = o->device,
        .graph = o->network,
        .train = o->train,
        .test = o->test,
        .normalization = *normalization,
        .mode = CLQ_EXEC_TRAIN,
        .phase = "train",
    };
    int epochs = 0;
    clq_train_config_init(&job.config);
    job.config.epochs = 5;
    job.config.batch = BATCH;
    job.config.seed = 1;
    CLQ_TRY(clq_train(&job, &o->history, &epochs));
    printf("trained: %.0f %% of the test images right\n", 100 * o->history[epochs - 1].test_top1);
    return CLQ_OK;
}

static clq_status quantize(objects *o, const clq_normalization *normalization) {
    const clq_feed_options options = {
        .batch = BATCH, .shuffle = true, .seed = 1, .normalization = *normalization};
    clq_quant_config config;
    clq_quant_config_init(&config);
    CLQ_TRY(clq_graph_fold(o->network, &o->folded)); /* batch norms into convolutions */
    CLQ_TRY(clq_feed_create(o->device, o->train, &options, &o->feed));
    CLQ_TRY(clq_calibrate(o->device, o->folded, o->feed, BATCH, &config, NULL));
    return clq_convert(o->folded, &o->integer); /* s8 weights, s32 biases */
}

static clq_status run(objects *o, const char *output) {
    const clq_dataset_options testing = {.split = CLQ_SPLIT_TEST};
    clq_normalization normalization;
    CLQ_TRY(clq_device_open(NULL, &o->device)); /* CLQUANT_DEVICE, else the first GPU or the CPU */
    CLQ_TRY(clq_dataset_open(DATA, NULL, &o->train));
    CLQ_TRY(clq_dataset_open(DATA, &testing, &o->test));
    CLQ_TRY(build(o, &normalization));
    CLQ_TRY(train(o, &normalization));
    CLQ_TRY(quantize(o, &normalization));
    CLQ_TRY(clq_onnx_save(o->integer, output)); /* QDQ: opens in Netron and ONNX Runtime */
    printf("written: %s\n", output);

    CLQ_TRY(clq_verify(o->device, o->integer, o->test, BATCH, 0, &o->verification));
    const clq_verification *v = &o->verification;
    printf("verified: %lld of %lld codes differ, %d dot-product paths\n",
           (long long)v->mismatched_codes, (long long)v->compared_codes, v->path_count);
    return v->mismatched_codes == 0
               ? CLQ_OK
               : clq_fail(CLQ_GATE_FAILED, "not exact, first at %s", v->first_mismatch);
}

static void close_all(objects *o) {
    clq_verification_clear(&o->verification);
    clq_feed_destroy(o->feed);
    clq_free(o->history);
    clq_graph_destroy(o->integer);
    clq_graph_destroy(o->folded);
    clq_graph_destroy(o->network);
    clq_dataset_close(o->test);
    clq_dataset_close(o->train);
    clq_device_close(o->device);
}

int main(int argc, char **argv) {
    objects o = {0};
    const clq_status status = run(&o, argc > 1 ? argv[1] : "quantize-int8.onnx");
    if (status != CLQ_OK) {
        fprintf(stderr, "quantize: %s\n", clq_last_error());
    }
    close_all(&o);
    return (int)status; /* the library's statuses are exit codes */
}
