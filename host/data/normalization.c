/* Channel means and standard deviations: the usual constants, and measuring a data set. */
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/arguments.h"
#include "data/dataset.h"
#include "data/parallel.h"

typedef struct constants {
    const char *kind, *title;
    float mean[3], std[3];
} constants;

static const constants known[] = {
    {"imagenet", "ImageNet", {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}},
    {"cifar10", "CIFAR-10", {0.4914f, 0.4822f, 0.4465f}, {0.2470f, 0.2435f, 0.2616f}},
    {"cifar100", "CIFAR-100", {0.5071f, 0.4865f, 0.4409f}, {0.2673f, 0.2564f, 0.2762f}},
    {"mnist", "MNIST", {0.1307f, 0.1307f, 0.1307f}, {0.3081f, 0.3081f, 0.3081f}},
    {"synthetic", "the synthetic images", {0.412f, 0.412f, 0.412f}, {0.216f, 0.216f, 0.216f}},
};

const char *clq_normalization_constants(const char *kind, int channels,
                                        float mean[CLQ_MAX_CHANNELS], float std[CLQ_MAX_CHANNELS]) {
    const constants *k = &known[0];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].kind, kind) == 0) {
            k = &known[i];
        }
    }
    for (int c = 0; c < CLQ_MAX_CHANNELS; c++) {
        mean[c] = c < 3 ? k->mean[c] : 0;
        std[c] = c < 3 ? k->std[c] : 1;
    }
    if (channels == 1) {
        mean[0] = (k->mean[0] + k->mean[1] + k->mean[2]) / 3;
        std[0] = (k->std[0] + k->std[1] + k->std[2]) / 3;
    }
    return k->title;
}

typedef struct sums {
    const clq_dataset *dataset;
    pthread_mutex_t lock;
    uint64_t sum[CLQ_MAX_CHANNELS], squares[CLQ_MAX_CHANNELS];
} sums;

/* Integer sums: 2^64 holds the squares of 2.8e14 bytes, so their order cannot matter. */
static clq_status add_image(void *context, int64_t index) {
    sums *s = context;
    const clq_dataset_info *info = clq_dataset_get_info(s->dataset);
    const size_t channels = (size_t)info->channels;
    const size_t bytes = (size_t)info->height * (size_t)info->width * channels;
    uint64_t sum[CLQ_MAX_CHANNELS] = {0}, squares[CLQ_MAX_CHANNELS] = {0};
    uint8_t *image = clq_calloc(bytes, 1);
    if (!image) {
        return CLQ_NO_MEMORY;
    }
    clq_status status = clq_dataset_read(s->dataset, index, image);
    for (size_t i = 0; status == CLQ_OK && i < bytes; i += channels) {
        for (size_t c = 0; c < channels; c++) {
            const uint32_t v = image[i + c];
            sum[c] += v;
            squares[c] += v * v;
        }
    }
    clq_free(image);
    pthread_mutex_lock(&s->lock);
    for (size_t c = 0; c < channels; c++) {
        s->sum[c] += sum[c];
        s->squares[c] += squares[c];
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

clq_status clq_dataset_measure(const clq_dataset *dataset, float mean[CLQ_MAX_CHANNELS],
                               float std[CLQ_MAX_CHANNELS]) {
    CLQ_NEEDS(dataset, mean, std);
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    sums s = {.dataset = dataset};
    pthread_mutex_init(&s.lock, NULL);
    clq_progress progress;
    clq_progress_begin(&progress, "Measuring images", "images", info->count);
    clq_status status = clq_parallel_for(0, info->count, add_image, &s, &progress);
    clq_progress_end(&progress);
    pthread_mutex_destroy(&s.lock);
    CLQ_TRY(status);
    const double n = (double)info->count * info->height * info->width;
    for (int c = 0; c < CLQ_MAX_CHANNELS; c++) {
        mean[c] = 0;
        std[c] = 1;
        if (c < info->channels) {
            const double m = (double)s.sum[c] / n;
            const double variance = (double)s.squares[c] / n - m * m;
            mean[c] = (float)(m / 255);
            std[c] = variance > 0 ? (float)(sqrt(variance) / 255) : 1;
        }
    }
    return CLQ_OK;
}
