/* Every kind of data set, whole and broken: CIFAR-10 and -100, idx, image folders. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/files.h"
#include "data/dataset_case.h"
#include "data/image.h"
#include "support/clq_test.h"
#include "support/image_files.h"

enum { RECORD10 = 1 + 3 * 1024, RECORD100 = 2 + 3 * 1024 };

static char *folder(const char *name) {
    char *path = clq_strdup(clq_test_temp_path(name));
    assert_non_null(path);
    assert_ok(clq_make_dirs(path));
    return path;
}

static void put(const char *root, const char *name, const void *data, size_t size) {
    char *path = clq_path_join(root, name);
    assert_non_null(path);
    test_file_write(path, data, size);
    clq_free(path);
}

static void drop(const char *root, const char *name) {
    char *path = clq_path_join(root, name);
    assert_ok(clq_file_remove(path));
    clq_free(path);
}

/* ---- CIFAR ---- */

/* `count` records; labels first, first + 1, ...; pixels from `stream`. */
static void make_records(uint8_t *records, int count, int label_bytes, int first, uint64_t stream) {
    const size_t record = (size_t)label_bytes + 3 * 1024;
    clq_test_fill_u8(records, (size_t)count * record, 0, 9, stream);
    for (int i = 0; i < count; i++) {
        records[(size_t)i * record + (size_t)label_bytes - 1] = (uint8_t)(first + i);
    }
}

static char *cifar10_folder(void) {
    char *root = folder("cifar10");
    uint8_t records[2 * RECORD10];
    for (int i = 1; i <= 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        make_records(records, 2, 1, 2 * (i - 1), (uint64_t)i);
        put(root, name, records, sizeof records);
    }
    make_records(records, 1, 1, 7, 6);
    put(root, "test_batch.bin", records, RECORD10);
    return root;
}

static void cifar10_is_read(void **state) {
    (void)state;
    char *root = cifar10_folder();
    clq_dataset *dataset = open_ok(root, train);
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    assert_string_equal(info->kind, "cifar10");
    assert_int_equal(info->count, 10);
    assert_int_equal(info->height, 32);
    assert_int_equal(info->width, 32);
    assert_int_equal(info->channels, 3);
    assert_int_equal(info->class_count, 10);
    assert_string_equal(info->class_names[9], "truck");
    assert_true(info->in_memory);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(info->labels[i], i);
    }
    uint8_t records[2 * RECORD10], image[3072];
    make_records(records, 2, 1, 4, 3); /* images 4 and 5 */
    assert_ok(clq_dataset_read(dataset, 5, image));
    const uint8_t *planes = records + RECORD10 + 1;
    for (int k = 0; k < 1024; k++) {
        for (int c = 0; c < 3; c++) {
            assert_int_equal(image[3 * k + c], planes[1024 * c + k]);
        }
    }
    assert_status(clq_dataset_read(dataset, 10, image), CLQ_INTERNAL);
    clq_dataset_close(dataset);

    put(root, "batches.meta.txt", "a\nb\r\nc\nd\ne\nf\ng\nh\ni\nj\n\n", 22);
    dataset = open_ok(root, test);
    info = clq_dataset_get_info(dataset);
    assert_int_equal(info->count, 1);
    assert_int_equal(info->labels[0], 7);
    assert_string_equal(info->class_names[1], "b");
    assert_string_equal(info->class_names[9], "j");
    clq_dataset_close(dataset);
    clq_free(root);
}

static void broken_cifar10_is_refused(void **state) {
    (void)state;
    char *root = cifar10_folder();
    uint8_t records[2 * RECORD10];
    make_records(records, 2, 1, 9, 1); /* the second label is 10 */
    put(root, "data_batch_4.bin", records, sizeof records);
    assert_fails(root, train, CLQ_BAD_DATA, "data_batch_4.bin: record 1: label 10");
    put(root, "data_batch_4.bin", records, sizeof records - 1);
    assert_fails(root, train, CLQ_BAD_DATA, "data_batch_4.bin: 6145 bytes");
    put(root, "data_batch_4.bin", records, 0);
    assert_fails(root, train, CLQ_BAD_DATA, "data_batch_4.bin: 0 bytes");
    drop(root, "data_batch_4.bin");
    assert_fails(root, train, CLQ_NO_INPUT, "data_batch_4.bin");
    put(root, "batches.meta.txt", "a\nb\n", 4);
    assert_fails(root, test, CLQ_BAD_DATA, "batches.meta.txt: 2 class names");
    clq_free(root);
}

static void cifar100_is_read(void **state) {
    (void)state;
    char *root = folder("cifar100");
    uint8_t records[3 * RECORD100];
    make_records(records, 3, 2, 97, 1);
    put(root, "train.bin", records, sizeof records);
    clq_dataset *dataset = open_ok(root, train);
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    assert_string_equal(info->kind, "cifar100");
    assert_int_equal(info->class_count, 100);
    assert_string_equal(info->class_names[42], "42");
    assert_int_equal(info->labels[2], 99);
    uint8_t image[3072];
    assert_ok(clq_dataset_read(dataset, 1, image));
    assert_int_equal(image[3 * 17 + 2], records[RECORD100 + 2 + 2048 + 17]);
    clq_dataset_close(dataset);
    make_records(records, 1, 2, 100, 1);
    put(root, "train.bin", records, RECORD100);
    assert_fails(root, train, CLQ_BAD_DATA, "label 100, must be 0..99");
    assert_fails(root, test, CLQ_NO_INPUT, "test.bin");
    clq_free(root);
}

/* ---- idx ---- */

static void put_idx(const char *root, const char *name, const uint32_t *dims, int rank,
                    const uint8_t *data, size_t size) {
    uint8_t file[4096] = {0, 0, 8, (uint8_t)rank};
    for (int i = 0; i < rank; i++) {
        for (int k = 0; k < 4; k++) {
            file[4 + 4 * i + k] = (uint8_t)(dims[i] >> (24 - 8 * k));
        }
    }
    memcpy(file + 4 + 4 * rank, data, size);
    put(root, name, file, 4 + 4 * (size_t)rank + size);
}

static char *idx_folder(void) {
    char *root = folder("idx");
    uint8_t pixels[3 * 4 * 5];
    clq_test_fill_u8(pixels, sizeof pixels, 0, 255, 1);
    put_idx(root, "train-images-idx3-ubyte", (uint32_t[]){3, 4, 5}, 3, pixels, sizeof pixels);
    put_idx(root, "train-labels-idx1-ubyte", (uint32_t[]){3}, 1, (uint8_t[]){6, 0, 2}, 3);
    put_idx(root, "t10k-images-idx3-ubyte", (uint32_t[]){1, 4, 5}, 3, pixels, 20);
    put_idx(root, "t10k-labels-idx1-ubyte", (uint32_t[]){1}, 1, (uint8_t[]){3}, 1);
    return root;
}

static void idx_is_read(void **state) {
    (void)state;
    char *root = idx_folder();
    uint8_t pixels[3 * 4 * 5], image[20 * 3];
    clq_test_fill_u8(pixels, sizeof pixels, 0, 255, 1);
    clq_dataset *dataset = open_ok(root, train);
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    assert_string_equal(info->kind, "idx");
    assert_int_equal(info->count, 3);
    assert_int_equal(info->height, 4);
    assert_int_equal(info->width, 5);
    assert_int_equal(info->channels, 1);
    assert_int_equal(info->class_count, 7);
    assert_int_equal(info->labels[2], 2);
    assert_ok(clq_dataset_read(dataset, 2, image));
    assert_memory_equal(image, pixels + 40, 20);
    clq_dataset_close(dataset);
    /* The other split's labels decide on the number of classes, too. */
    dataset = open_ok(root, test);
    assert_int_equal(clq_dataset_get_info(dataset)->class_count, 7);
    clq_dataset_close(dataset);
    /* Three channels on demand. */
    dataset = open_ok(root, (clq_dataset_options){.channels = 3});
    assert_int_equal(clq_dataset_get_info(dataset)->channels, 3);
    assert_ok(clq_dataset_read(dataset, 0, image));
    assert_int_equal(image[3 * 19 + 1], pixels[19]);
    clq_dataset_close(dataset);
    clq_free(root);
}

static void idx_may_have_channels(void **state) {
    (void)state;
    char *root = folder("idx4");
    uint8_t pixels[2 * 2 * 2 * 3];
    clq_test_fill_u8(pixels, sizeof pixels, 0, 255, 1);
    put_idx(root, "train-images-idx4-ubyte", (uint32_t[]){2, 2, 2, 3}, 4, pixels, sizeof pixels);
    put_idx(root, "train-labels-idx1-ubyte", (uint32_t[]){2}, 1, (uint8_t[]){0, 1}, 2);
    clq_dataset *dataset = open_ok(root, train);
    uint8_t image[12];
    assert_int_equal(clq_dataset_get_info(dataset)->channels, 3);
    assert_ok(clq_dataset_read(dataset, 1, image));
    assert_memory_equal(image, pixels + 12, 12);
    clq_dataset_close(dataset);
    clq_free(root);
}

static void broken_idx_is_refused(void **state) {
    (void)state;
    char *root = idx_folder();
    const char *const images = "train-images-idx3-ubyte", *const labels = "train-labels-idx1-ubyte";
    const uint8_t pixels[60] = {0};
    put_idx(root, labels, (uint32_t[]){4}, 1, pixels, 4);
    assert_fails(root, train, CLQ_BAD_DATA, "4 labels for 3 images");
    drop(root, labels);
    assert_fails(root, train, CLQ_NO_INPUT, labels);
    put_idx(root, images, (uint32_t[]){3, 4, 5}, 3, pixels, 59);
    put_idx(root, labels, (uint32_t[]){3}, 1, pixels, 3);
    assert_fails(root, train, CLQ_BAD_DATA, "its header asks for 16 + 60");
    put_idx(root, images, (uint32_t[]){3, 4, 5}, 3, pixels, 60);
    put(root, labels, "\0\0\x08", 3);
    assert_fails(root, train, CLQ_BAD_DATA, "not an idx file");
    put(root, labels, "\0\0\x08\x01\0\0", 6);
    assert_fails(root, train, CLQ_BAD_DATA, labels);
    put_idx(root, images, (uint32_t[]){0xffffffff, 0xffffffff, 0xffffffff}, 3, pixels, 60);
    assert_fails(root, train, CLQ_BAD_DATA, images);
    put_idx(root, images, (uint32_t[]){0, 4, 5}, 3, pixels, 0);
    assert_fails(root, train, CLQ_BAD_DATA, "dimension 0 is 0");
    put_idx(root, images, (uint32_t[]){60}, 1, pixels, 60);
    assert_fails(root, train, CLQ_BAD_DATA, "1 dimension, must be ");
    put_idx(root, images, (uint32_t[]){6, 1, 2, 5}, 4, pixels, 60);
    assert_fails(root, train, CLQ_BAD_DATA, "5 channels");
    clq_free(root);
}

/* ---- image folders ---- */

static void put_image(const char *root, const char *name, int height, int width, int channels) {
    char *path = clq_path_join(root, name);
    test_put_image(path, height, width, channels);
    clq_free(path);
}

/* Classes "bee" (3 images) and "ant" (2), and a test split with ants only. */
static char *image_folder(const char *name) {
    char *root = folder(name);
    put_image(root, "train/bee/3.png", 8, 8, 3);
    put_image(root, "train/bee/1.jpg", 8, 8, 3);
    put_image(root, "train/bee/2.PNG.jpeg", 8, 8, 1);
    put_image(root, "train/ant/x.png", 8, 8, 4);
    put_image(root, "train/ant/y.png", 8, 8, 1);
    put_image(root, "test/bee/z.png", 8, 8, 3);
    return root;
}

static void image_folder_is_read(void **state) {
    (void)state;
    char *root = image_folder("images");
    put_image(root, "train/.hidden/a.png", 8, 8, 3);
    put(root, "train/notes.txt", "x", 1);
    put(root, "train/ant/.DS_Store", "x", 1);
    clq_dataset *dataset = open_ok(root, train);
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    assert_string_equal(info->kind, "folder");
    assert_int_equal(info->count, 5);
    assert_int_equal(info->height, 8);
    assert_int_equal(info->class_count, 2);
    assert_string_equal(info->class_names[0], "ant");
    assert_int_equal(info->labels[1], 0);
    assert_int_equal(info->labels[2], 1);
    uint8_t expected[8 * 8 * 3], image[8 * 8 * 3];
    test_smooth_pixels(expected, 8, 8, 3);
    assert_ok(clq_dataset_read(dataset, 4, image)); /* bee/3.png */
    assert_memory_equal(image, expected, sizeof image);
    clq_dataset_close(dataset);
    /* Numbers of the classes are those of train/. */
    dataset = open_ok(root, test);
    assert_int_equal(clq_dataset_get_info(dataset)->class_count, 2);
    assert_int_equal(clq_dataset_get_info(dataset)->labels[0], 1);
    clq_dataset_close(dataset);
    clq_free(root);
}

static void an_only_folder_stands_for_what_is_in_it(void **state) {
    (void)state;
    char *outer = folder("outer"), *root = image_folder("outer/inner");
    clq_dataset *dataset = open_ok(outer, train);
    assert_int_equal(clq_dataset_get_info(dataset)->count, 5);
    clq_dataset_close(dataset);
    clq_free(outer);
    clq_free(root);
}

static void val_is_a_test_split(void **state) {
    (void)state;
    char *root = folder("val-only");
    put_image(root, "val/cat/a.png", 8, 8, 3);
    clq_dataset *dataset = open_ok(root, test);
    assert_int_equal(clq_dataset_get_info(dataset)->count, 1);
    clq_dataset_close(dataset);
    assert_fails(root, train, CLQ_NO_INPUT, "holds no train/");
    clq_free(root);
}

static void sizes_are_made_equal(void **state) {
    (void)state;
    char *root = image_folder("sizes");
    put_image(root, "train/bee/4.png", 10, 14, 3);
    assert_fails(root, train, CLQ_BAD_DATA, "train/bee/4.png: 14 x 10 pixels");
    const clq_dataset_options options[] = {{.height = 8},
                                           {.height = 6, .resize = {.shorter = 9}, .channels = 1}};
    for (int i = 0; i < 2; i++) {
        const int size = options[i].height, channels = options[i].channels ? 1 : 3;
        clq_dataset *dataset = open_ok(root, options[i]);
        const clq_dataset_info *info = clq_dataset_get_info(dataset);
        assert_int_equal(info->height, size);
        assert_int_equal(info->width, size);
        assert_int_equal(info->channels, channels);
        clq_image image;
        char *path = clq_path_join(root, "train/bee/4.png");
        assert_ok(clq_image_read(path, channels, &image));
        clq_free(path);
        uint8_t expected[8 * 8 * 3], actual[8 * 8 * 3];
        const clq_resize resize = {.shorter = i ? 9 : 8};
        assert_ok(clq_image_fit(&image, &resize, size, size, expected));
        assert_ok(clq_dataset_read(dataset, 5, actual));
        assert_memory_equal(actual, expected, (size_t)(size * size * channels));
        clq_image_free(&image);
        clq_dataset_close(dataset);
    }
    clq_free(root);
}

static void decoding_on_demand_gives_the_same(void **state) {
    (void)state;
    char *root = image_folder("demand");
    clq_dataset *kept = open_ok(root, train);
    clq_dataset *read = open_ok(root, (clq_dataset_options){.max_memory = 1});
    assert_false(clq_dataset_get_info(read)->in_memory);
    float mean[2][CLQ_MAX_CHANNELS], std[2][CLQ_MAX_CHANNELS];
    for (int i = 0; i < 5; i++) {
        uint8_t a[192], b[192];
        assert_ok(clq_dataset_read(kept, i, a));
        assert_ok(clq_dataset_read(read, i, b));
        assert_memory_equal(a, b, sizeof a);
    }
    assert_ok(clq_dataset_measure(kept, mean[0], std[0]));
    assert_ok(clq_dataset_measure(read, mean[1], std[1]));
    assert_memory_equal(mean[0], mean[1], sizeof mean[0]);
    assert_memory_equal(std[0], std[1], sizeof std[0]);
    assert_true(mean[0][0] > 0.3f && mean[0][0] < 0.5f && std[0][0] > 0.1f && std[0][0] < 0.3f);
    /* A file that goes bad later is told when it is read. */
    put(root, "train/ant/x.png", "oops", 4);
    uint8_t image[192];
    assert_status(clq_dataset_read(read, 0, image), CLQ_BAD_DATA);
    assert_error_has("train/ant/x.png");
    clq_dataset_close(kept);
    clq_dataset_close(read);
    clq_free(root);
}

static uint64_t hash_of(const char *root, uint64_t max_memory) {
    uint64_t hash = 0;
    clq_dataset *dataset = open_ok(root, (clq_dataset_options){.max_memory = max_memory});
    assert_ok(clq_dataset_hash(dataset, &hash));
    clq_dataset_close(dataset);
    return hash;
}

/* In memory by what the pixels are, else by what the files are. */
static void a_hash_tells_contents_apart(void **state) {
    (void)state;
    char *root = image_folder("hash"), *moved = image_folder("moved");
    char from[1024], to[1024];
    for (uint64_t memory = 0; memory < 2; memory++) { /* 0: as usual */
        const uint64_t first = hash_of(root, memory);
        assert_true(hash_of(moved, memory) == first); /* wherever it lies */
        put_image(root, "train/ant/y.png", 8, 8, 3);  /* was grey */
        const uint64_t second = hash_of(root, memory);
        assert_true(second != first);
        snprintf(from, sizeof from, "%s/train/bee", root);
        snprintf(to, sizeof to, "%s/train/wasp", root);
        assert_int_equal(rename(from, to), 0);
        const uint64_t third = hash_of(root, memory);
        assert_true(third != second);
        assert_int_equal(rename(to, from), 0);
        put_image(root, "train/ant/y.png", 8, 8, 1);
        assert_true(hash_of(root, memory) == first);
    }
    put(root, "t.csv", "a,b,y\n1,2,x\n3,4,z\n5,6,x\n7,8,z\n9,1,x\n", 36);
    snprintf(from, sizeof from, "%s/t.csv", root);
    const uint64_t table = hash_of(from, 0);
    put(root, "t.csv", "a,b,y\n1,2,x\n3,4,z\n5,6,x\n7,8,z\n9,2,x\n", 36);
    const uint64_t value = hash_of(from, 0);
    put(root, "t.csv", "a,b,y\n1,2,x\n3,4,z\n5,6,x\n7,8,z\n9,2,z\n", 36);
    assert_true(table != value && value != hash_of(from, 0));
    clq_free(root);
    clq_free(moved);
}

static void a_limit_is_spread_over_the_classes(void **state) {
    (void)state;
    char *root = image_folder("limit");
    clq_dataset *dataset = open_ok(root, (clq_dataset_options){.limit = 3});
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    assert_int_equal(info->count, 3); /* of 5: images 0, 1 and 3 */
    assert_int_equal(info->labels[0], 0);
    assert_int_equal(info->labels[2], 1);
    clq_dataset_close(dataset);
    dataset = open_ok(root, (clq_dataset_options){.limit = 100});
    assert_int_equal(clq_dataset_get_info(dataset)->count, 5);
    clq_dataset_close(dataset);
    clq_free(root);
}

static void broken_image_folders_are_refused(void **state) {
    (void)state;
    char *root = image_folder("broken");
    put(root, "train/ant/y.png", "\x89PNG\r\n\x1a\n", 8);
    assert_fails(root, train, CLQ_BAD_DATA, "train/ant/y.png: PNG");
    /* Two bad files: the first in order is named, whatever the threads do. */
    put(root, "train/bee/1.jpg", "\xff\xd8\xff", 3);
    for (int threads = 1; threads <= 4; threads++) {
        assert_fails(root, (clq_dataset_options){.threads = threads}, CLQ_BAD_DATA,
                     "train/ant/y.png");
    }
    put_image(root, "test/wasp/a.png", 8, 8, 3);
    assert_fails(root, test, CLQ_BAD_DATA, "class \"wasp\" is not among the 2 of train/");
    char *empty = clq_path_join(root, "train/cow");
    assert_ok(clq_make_dirs(empty));
    assert_fails(root, train, CLQ_BAD_DATA, "train/cow: an empty class");
    clq_free(empty);
    clq_free(root);
    static const char *const names[] = {"a\nb", "a\r", "\xff\xfe", "caf\xe9"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char file[32];
        snprintf(file, sizeof file, "named%zu", i);
        root = folder(file);
        snprintf(file, sizeof file, "train/%s/a.png", names[i]);
        put_image(root, file, 8, 8, 3);
        assert_fails(root, train, CLQ_BAD_DATA, "/train: class \"");
        assert_error_has("must be UTF-8 without line breaks");
        clq_free(root);
    }
    char *classless = folder("classless");
    empty = clq_path_join(classless, "train");
    assert_ok(clq_make_dirs(empty));
    assert_fails(classless, train, CLQ_BAD_DATA, "no classes");
    clq_free(empty);
    clq_free(classless);
}

/* ---- in general ---- */

static void what_is_no_data_set_is_refused(void **state) {
    (void)state;
    char *root = folder("nothing");
    assert_fails(root, train, CLQ_NO_INPUT, "no data set in it");
    put(root, "readme.txt", "x", 1);
    assert_fails(root, train, CLQ_NO_INPUT, "no data set in it");
    assert_fails(clq_test_temp_path("nothing/readme.txt"), train, CLQ_BAD_DATA, "is a file");
    assert_fails(clq_test_temp_path("missing"), train, CLQ_NO_INPUT, "no such folder");
    assert_fails("synthetic", (clq_dataset_options){.height = -1}, CLQ_USAGE, "-1");
    const clq_dataset_options bad[] = {{.height = 8, .resize = {.shorter = 7}},
                                       {.width = 8},
                                       {.height = 8, .resize = {.height = 8}},
                                       {.height = 8, .resize = {.height = 8, .width = 7}},
                                       {.height = 8, .resize = {8, 8, 8, CLQ_BILINEAR}},
                                       {.height = 8, .resize = {.shorter = 5000}}};
    assert_fails("synthetic", (clq_dataset_options){.resize = {.shorter = 31}}, CLQ_USAGE,
                 "a crop of 32 x 32 behind scaling to 31");
    clq_dataset *cut =
        open_ok("synthetic:train=2,test=2", (clq_dataset_options){.resize = {.shorter = 40}});
    assert_int_equal(clq_dataset_get_info(cut)->height, 32); /* the size of all images */
    clq_dataset_close(cut);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_fails("synthetic", bad[i], CLQ_USAGE, "all must be 0..4096");
    }
    assert_fails("synthetic", (clq_dataset_options){.channels = 2}, CLQ_USAGE, "2 channels");
    assert_fails("synthetic", (clq_dataset_options){.limit = -1}, CLQ_USAGE, "limit");
    clq_free(root);
}

/* Every allocation fails in turn: an error, and nothing left behind. */
static void assert_survives_out_of_memory(const char *path) {
    const clq_dataset_options options = {.threads = 1};
    clq_status status = CLQ_NO_MEMORY;
    for (long n = 1; n < 2000 && status != CLQ_OK; n++) {
        clq_dataset *dataset = NULL;
        clq_test_fail_allocation(n);
        status = clq_dataset_open(path, &options, &dataset);
        clq_dataset_close(dataset);
        const long live = clq_test_live_allocations();
        clq_test_restore_allocator();
        assert_int_equal(live, 0);
    }
    assert_int_equal(status, CLQ_OK);
}

static void out_of_memory_leaves_nothing(void **state) {
    (void)state;
    char *cifar = cifar10_folder(), *idx = idx_folder(), *images = image_folder("memory");
    assert_survives_out_of_memory(cifar);
    assert_survives_out_of_memory(idx);
    assert_survives_out_of_memory(images);
    assert_survives_out_of_memory("synthetic:train=20,size=8");
    clq_free(cifar);
    clq_free(idx);
    clq_free(images);
}

/* Large files that are something else are not read, and nobody is waited for. */
static void what_cannot_be_an_input_is_refused_unread(void **state) {
    (void)state;
    char *cifar = folder("cifar"), *idx = folder("idx"), *images = folder("images");
    const char *names[] = {"cifar/data_batch_1.bin", "idx/train-images-idx3-ubyte", "x.npy",
                           "x.csv", "images/train/a/x.png"};
    const char *paths[] = {cifar, idx, NULL, NULL, images};
    const char *rules[] = {"one or more records", "not an idx file", "not an npy file",
                           "holds a NUL", "neither a JPEG nor a PNG"};
    put(idx, "train-labels-idx1-ubyte", "", 0);
    clq_free(folder("images/train/a"));
    for (int i = 0; i < 5; i++) {
        char *path = clq_strdup(paths[i] ? paths[i] : clq_test_temp_path(names[i]));
        clq_test_put_zeros(clq_test_temp_path(names[i]), 100000001);
        clq_test_fail_file_op(0, 0);
        assert_fails(path, train, CLQ_BAD_DATA, rules[i]);
        assert_int_equal(clq_test_file_ops(), 3); /* open, read the head, close */
        clq_test_restore_file_ops();
        clq_free(path);
    }
    const char *image = clq_test_temp_path(names[4]);
    assert_ok(clq_file_remove(image));
    assert_int_equal(mkfifo(image, 0600), 0);
    assert_fails(images, train, CLQ_BAD_DATA, "x.png: is a pipe");
    assert_ok(clq_file_remove(image));
    assert_ok(clq_make_dirs(image));
    assert_fails(images, train, CLQ_BAD_DATA, "x.png: is a folder");
    clq_free(cifar);
    clq_free(idx);
    clq_free(images);
}

int main(void) {
#define WITH_FILES(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, clq_test_setup_temp_dir, clq_test_teardown_temp_dir)
    const struct CMUnitTest tests[] = {
        WITH_FILES(cifar10_is_read),
        WITH_FILES(broken_cifar10_is_refused),
        WITH_FILES(cifar100_is_read),
        WITH_FILES(idx_is_read),
        WITH_FILES(idx_may_have_channels),
        WITH_FILES(broken_idx_is_refused),
        WITH_FILES(image_folder_is_read),
        WITH_FILES(an_only_folder_stands_for_what_is_in_it),
        WITH_FILES(val_is_a_test_split),
        WITH_FILES(sizes_are_made_equal),
        WITH_FILES(decoding_on_demand_gives_the_same),
        WITH_FILES(a_hash_tells_contents_apart),
        WITH_FILES(a_limit_is_spread_over_the_classes),
        WITH_FILES(broken_image_folders_are_refused),
        WITH_FILES(what_is_no_data_set_is_refused),
        WITH_FILES(what_cannot_be_an_input_is_refused_unread),
        WITH_FILES(out_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests_name("data/dataset", tests, NULL, NULL);
}
