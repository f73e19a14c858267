/* Data sets in binary files: CIFAR-10, CIFAR-100, idx and gzipped idx. The first byte chooses which
 * and the split; a data set that opens gives all its images, with labels in range. */
#include <clquant/data.h>
#include <string.h>

#include "fuzz.h"

static void read_all(const char *folder, clq_split split) {
    static uint8_t image[1 << 22];
    clq_dataset *dataset = NULL;
    const clq_dataset_options options = {.split = split, .threads = 1};
    char *path = clq_format("%s/%s", fuzz_folder(), folder);
    if (clq_dataset_open(path, &options, &dataset) == CLQ_OK) {
        const clq_dataset_info *info = clq_dataset_get_info(dataset);
        const size_t bytes = (size_t)info->height * (size_t)info->width * (size_t)info->channels;
        for (int64_t i = 0; i < info->count; i++) {
            fuzz_check(info->labels[i] >= 0 && info->labels[i] < info->class_count, "label");
            if (bytes <= sizeof image) {
                fuzz_check(clq_dataset_read(dataset, i, image) == CLQ_OK, "reads");
            }
        }
    }
    clq_dataset_close(dataset);
    clq_free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const int kind = size > 0 ? data[0] % 4 : 0;
    const size_t rest = size > 0 ? size - 1 : 0;
    data += size > 0;
    if (kind == 0) {
        fuzz_put("ten/test_batch.bin", data, rest);
        read_all("ten", CLQ_SPLIT_TEST);
    } else if (kind == 1) {
        fuzz_put("hundred/train.bin", data, rest);
        read_all("hundred", CLQ_SPLIT_TRAIN);
    } else if (kind == 3) {
        static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 0, 1};
        fuzz_put("gzip/train-labels-idx1-ubyte", labels, sizeof labels);
        fuzz_put("gzip/train-images-idx3-ubyte.gz", data, rest);
        read_all("gzip", CLQ_SPLIT_TRAIN);
    } else { /* labels in front, of as many bytes as the first says */
        const size_t labels = rest > 0 && data[0] < rest ? data[0] : 0;
        fuzz_put("idx/train-labels-idx1-ubyte", data, labels);
        fuzz_put("idx/train-images-idx3-ubyte", data + labels, rest - labels);
        read_all("idx", CLQ_SPLIT_TRAIN);
    }
    return 0;
}

void fuzz_seeds(void) {
    static uint8_t file[1 + 2 * 3074];
    file[0] = 0;
    file[1] = 7;
    fuzz_add(file, 1 + 2 * 3073);
    file[0] = 1;
    fuzz_add(file, sizeof file);
    /* Two images of 2x3. The labels' first byte is 0, as an idx file's is; so they are none. */
    static const uint8_t idx[] = {2, 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0,  2,  0, 0,
                                  0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    fuzz_add(idx, sizeof idx);
    /* The same, gzipped. */
    static const uint8_t gzip[] = {3,  31, 139, 8,  0,   0,   0,   0,  0,   2,  3,
                                   99, 96, 224, 96, 102, 96,  96,  96, 130, 98, 102,
                                   70, 38, 102, 22, 86,  54,  118, 14, 78,  46, 110,
                                   30, 0,  72,  17, 12,  132, 28,  0,  0,   0};
    fuzz_add(gzip, sizeof gzip);
}
