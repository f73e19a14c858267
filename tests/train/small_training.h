/* A small training that takes milliseconds: what the tests of the training loop share. */
#ifndef CLQ_TEST_SMALL_TRAINING_H
#define CLQ_TEST_SMALL_TRAINING_H

#include <string.h>

#include <clquant/models.h>
#include <clquant/train.h>

#include "base/files.h"
#include "base/hash.h"
#include "exec/small_net.h"
#include "support/device.h"
#include "support/graph_hash.h"

static clq_device *device;
static clq_dataset *train_set, *test_set;

enum { EPOCHS = 3, BATCH = 16, STEPS_PER_EPOCH = 192 / BATCH };

/* Of the network on images of size x size. */
static inline clq_graph *build(const char *network, int size, int classes, uint64_t seed) {
    const int hidden[] = {32};
    const bool mlp = strcmp(network, "mlp") == 0;
    const clq_network_options options = {.network = network,
                                         .size = size,
                                         .channels = 3,
                                         .classes = classes,
                                         .hidden = mlp ? hidden : NULL,
                                         .hidden_count = mlp,
                                         .seed = seed};
    clq_graph *graph = NULL;
    assert_ok(clq_network_build(&options, &graph));
    return graph;
}

static inline clq_graph *new_graph(void) {
    return build("mlp", 12, 10, 5);
}

/* Batch norms, a residual and dropout on 12x12 images. */
static inline clq_graph *conv_net(void) {
    const clq_dropout_attrs dropout = {0.2f};
    net n = net_begin((clq_shape){4, {1, 12, 12, 3}});
    net_conv(&n, "stem", n.at, 8, 3, 2, false);
    net_norm(&n, "stem_bn", n.at);
    const int x = net_unary(&n, "relu", "stem_act", n.at);
    net_conv(&n, "conv", x, 8, 3, 1, false);
    net_norm(&n, "bn", n.at);
    net_add(&n, "add", n.at, x);
    net_unary(&n, "relu", "act", n.at);
    net_unary(&n, "global_avg_pool", "pool", n.at);
    net_node(&n, "dropout", "dropout", &dropout, &n.at, 1);
    net_linear(&n, "fc", n.at, 10);
    return net_end(&n);
}

static inline clq_train_job job_of(clq_graph *graph, const char *out) {
    clq_train_job job = {.device = device,
                         .graph = graph,
                         .train = train_set,
                         .test = test_set,
                         .mode = CLQ_EXEC_TRAIN,
                         .out = out,
                         .phase = "train"};
    clq_train_config_init(&job.config);
    job.config.epochs = EPOCHS;
    job.config.batch = BATCH;
    job.config.schedule.lr = 0.02;
    job.config.augment.crop_padding = 1;
    for (int c = 0; c < 3; c++) {
        job.normalization.mean[c] = 0.5f;
        job.normalization.std[c] = 0.25f;
    }
    return job;
}

static inline clq_status run(clq_train_job *job, clq_epoch_record *last) {
    clq_epoch_record *history = NULL;
    int count = 0;
    const clq_status status = clq_train(job, &history, &count);
    if (status == CLQ_OK && last && count) {
        *last = history[count - 1];
    }
    clq_free(history);
    return status;
}

/* The bytes of the newest checkpoint in `folder`. */
static inline uint64_t checkpoint_hash(const char *folder) {
    char **names = NULL;
    size_t count = 0, size = 0;
    void *data = NULL;
    uint64_t hash = 0;
    assert_ok(clq_folder_list(folder, &names, &count));
    for (size_t i = count; i-- > 0 && !data;) {
        if (strstr(names[i], "checkpoint")) {
            char *path = clq_path_join(folder, names[i]);
            assert_ok(clq_file_read(path, 1 << 26, &data, &size));
            hash = clq_hash64(data, size);
            clq_free(path);
        }
    }
    assert_non_null(data);
    clq_free(data);
    clq_folder_list_free(names, count);
    return hash;
}

static inline int open_all(void **state) {
    clq_dataset_options options = {.split = CLQ_SPLIT_TRAIN};
    assert_ok(clq_test_open(NULL, &device));
    assert_ok(clq_dataset_open("synthetic:train=192,test=48,size=12", &options, &train_set));
    options.split = CLQ_SPLIT_TEST;
    assert_ok(clq_dataset_open("synthetic:train=192,test=48,size=12", &options, &test_set));
    return clq_test_setup_temp_dir(state);
}

static inline int close_all(void **state) {
    clq_dataset_close(train_set);
    clq_dataset_close(test_set);
    clq_device_close(device);
    return clq_test_teardown_temp_dir(state);
}

#endif
