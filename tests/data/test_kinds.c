/* Data sets without labels, gzipped ones, and what people give instead of a data set. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/files.h"
#include "data/dataset_case.h"
#include "support/clq_test.h"
#include "support/image_files.h"

/* The scratch folder's path of `name`, which stays valid. */
static char *scratch(const char *name) {
    char *path = clq_strdup(clq_test_temp_path(name));
    assert_non_null(path);
    return path;
}

static void put(const char *name, const void *data, size_t size) {
    const char *path = clq_test_temp_path(name);
    char *folder = clq_path_folder(path);
    assert_ok(clq_make_dirs(folder));
    clq_free(folder);
    test_file_write(path, data, size);
}

/* ---- images without labels ---- */

static char *flat_folder(void) {
    char *root = scratch("flat");
    test_put_image(clq_test_temp_path("flat/b.png"), 8, 6, 3);
    test_put_image(clq_test_temp_path("flat/a.JPG"), 8, 6, 3);
    test_put_image(clq_test_temp_path("flat/c.jpeg"), 8, 6, 1);
    put("flat/notes.txt", "x", 1);
    return root;
}

static void a_folder_of_images_has_no_labels(void **state) {
    (void)state;
    char *root = flat_folder();
    for (int split = 0; split < 2; split++) { /* both are all of them */
        clq_dataset *dataset = open_ok(root, split ? test : train);
        const clq_dataset_info *info = clq_dataset_get_info(dataset);
        assert_string_equal(info->kind, "images");
        assert_int_equal(info->count, 3);
        assert_int_equal(info->height, 8);
        assert_int_equal(info->width, 6);
        assert_int_equal(info->channels, 3);
        assert_int_equal(info->class_count, 0);
        assert_null(info->labels);
        assert_null(info->class_names);
        uint8_t expected[8 * 6 * 3], image[8 * 6 * 3];
        test_smooth_pixels(expected, 8, 6, 3);
        assert_ok(clq_dataset_read(dataset, 1, image)); /* b.png, in the order of names */
        assert_memory_equal(image, expected, sizeof image);
        assert_status(clq_dataset_require_labels(dataset), CLQ_BAD_DATA);
        assert_error_has("flat: its images have no labels");
        assert_error_has("--labels");
        clq_dataset_close(dataset);
    }
    assert_fails(root, (clq_dataset_options){.needs_labels = true}, CLQ_BAD_DATA,
                 "flat: its images have no labels");
    clq_free(root);
}

/* Folders that hold images, and nothing but one level of them, are classes; both splits are all. */
static char warned[1024];

static void keep_warning(void *context, clq_log_level level, const char *line) {
    (void)context;
    if (level == CLQ_LOG_WARN) {
        snprintf(warned, sizeof warned, "%s", line);
    }
}

static void what_is_left_out_is_named(void **state) {
    (void)state;
    char *root = flat_folder();
    clq_set_log(keep_warning, NULL, CLQ_LOG_WARN);
    clq_dataset_close(open_ok(root, train));
    assert_non_null(strstr(warned, "flat: \"notes.txt\" is no .jpg, .jpeg or .png file"));
    put("flat/audio.wav", "x", 1);
    clq_dataset_close(open_ok(root, train));
    assert_non_null(strstr(warned, "flat: \"audio.wav\" and 1 more are no .jpg"));
    test_put_image(clq_test_temp_path("left/a/1.png"), 8, 6, 3);
    test_put_image(clq_test_temp_path("left/b/1.png"), 8, 6, 3);
    put("left/b/2.gif", "x", 1);
    char *left = scratch("left");
    clq_dataset_close(open_ok(left, train));
    assert_non_null(strstr(warned, "left: \"b/2.gif\" is no .jpg"));
    put("left/3.bmp", "x", 1);
    clq_dataset_close(open_ok(left, (clq_dataset_options){.no_classes = true}));
    assert_non_null(strstr(warned, "left: \"3.bmp\" and 1 more are no .jpg"));
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    clq_free(left);
    clq_free(root);
}

static void class_folders_need_no_split(void **state) {
    (void)state;
    char *root = scratch("classes");
    static const char *const files[] = {"classes/dog/b.png", "classes/cat/a.png",
                                        "classes/dog/a.png"};
    for (int f = 0; f < 3; f++) {
        test_put_image(clq_test_temp_path(files[f]), 8, 6, 3);
    }
    for (int split = 0; split < 2; split++) {
        clq_dataset *dataset = open_ok(root, split ? test : train);
        const clq_dataset_info *info = clq_dataset_get_info(dataset);
        assert_string_equal(info->kind, "folder");
        assert_true(info->unsplit);
        assert_int_equal(info->count, 3);
        assert_int_equal(info->class_count, 2);
        assert_string_equal(info->class_names[0], "cat");
        assert_int_equal(info->labels[0], 0);
        assert_int_equal(info->labels[2], 1);
        clq_dataset_close(dataset);
    }
    /* Who wants no classes sees folders of images. */
    clq_dataset *dataset = open_ok(root, (clq_dataset_options){.no_classes = true});
    assert_string_equal(clq_dataset_get_info(dataset)->kind, "images");
    assert_int_equal(clq_dataset_get_info(dataset)->count, 3);
    clq_dataset_close(dataset);
    /* A part of a split set is a set. */
    test_put_image(clq_test_temp_path("half/test/cat/a.png"), 8, 6, 3);
    test_put_image(clq_test_temp_path("half/test/dog/a.png"), 8, 6, 3);
    char *half = scratch("half"), *part = scratch("half/test");
    assert_fails(half, train, CLQ_NO_INPUT, "half: holds no train/ folder; give ");
    assert_fails(half, train, CLQ_NO_INPUT, "half/test itself");
    dataset = open_ok(half, test);
    assert_false(clq_dataset_get_info(dataset)->unsplit);
    clq_dataset_close(dataset);
    dataset = open_ok(part, train);
    assert_true(clq_dataset_get_info(dataset)->unsplit);
    clq_dataset_close(dataset);
    /* Another level, and a folder without images, leave no classes. */
    test_put_image(clq_test_temp_path("classes/dog/more/c.png"), 8, 6, 3);
    assert_fails(root, (clq_dataset_options){.needs_labels = true}, CLQ_NO_INPUT,
                 "what it has is folders, cat/, dog/: if these are classes");
    test_put_image(clq_test_temp_path("one/dog/c.png"), 8, 6, 3);
    char *one = scratch("one");
    assert_fails(one, (clq_dataset_options){.needs_labels = true}, CLQ_BAD_DATA, "no labels");
    clq_free(half);
    clq_free(part);
    clq_free(one);
    clq_free(root);
}

static void a_limit_and_a_hash_need_no_labels(void **state) {
    (void)state;
    char *root = flat_folder();
    uint64_t hashes[3];
    for (int i = 0; i < 3; i++) {
        clq_dataset *dataset = open_ok(root, (clq_dataset_options){.limit = i == 1 ? 2 : 0});
        assert_int_equal(clq_dataset_get_info(dataset)->count, i == 1 ? 2 : 3);
        assert_null(clq_dataset_get_info(dataset)->labels);
        assert_ok(clq_dataset_hash(dataset, &hashes[i]));
        clq_dataset_close(dataset);
    }
    assert_true(hashes[0] == hashes[2] && hashes[0] != hashes[1]);
    clq_free(root);
}

static void a_loader_gives_no_labels(void **state) {
    (void)state;
    char *root = flat_folder();
    clq_dataset *dataset = open_ok(root, train);
    clq_loader *loader = NULL;
    const clq_batch *batch = NULL;
    assert_ok(clq_loader_create(dataset, &(clq_loader_options){.batch = 3}, &loader));
    assert_ok(clq_loader_next(loader, &batch));
    assert_int_equal(batch->count, 3);
    assert_null(batch->labels);
    clq_loader_destroy(loader);
    clq_dataset_close(dataset);
    clq_free(root);
}

static void an_image_is_a_data_set(void **state) {
    (void)state;
    char *root = flat_folder(), *image = scratch("flat/b.png");
    clq_dataset *dataset = open_ok(image, (clq_dataset_options){.max_memory = 1});
    uint64_t hash;
    assert_int_equal(clq_dataset_get_info(dataset)->count, 1);
    assert_null(clq_dataset_get_info(dataset)->labels);
    assert_ok(clq_dataset_hash(dataset, &hash));
    clq_dataset_close(dataset);
    put("flat/b.png", "oops", 4);
    assert_fails(image, train, CLQ_BAD_DATA, "flat/b.png: neither a JPEG nor a PNG");
    clq_free(image);
    clq_free(root);
}

/* What only looks like an image is named; nobody is waited for. */
static void what_is_no_image_is_named(void **state) {
    (void)state;
    char *root = flat_folder(), *odd = scratch("flat/odd.png");
    assert_int_equal(mkfifo(odd, 0600), 0);
    assert_fails(root, train, CLQ_BAD_DATA, "flat/odd.png: is a pipe");
    assert_fails(odd, train, CLQ_BAD_DATA, "flat/odd.png: is a pipe");
    assert_int_equal(unlink(odd), 0);
    assert_int_equal(symlink("nowhere", odd), 0);
    assert_fails(root, train, CLQ_NO_INPUT, "flat/odd.png: cannot open: No such file");
    assert_int_equal(unlink(odd), 0);
    assert_int_equal(symlink("/dev/zero", odd), 0);
    assert_fails(root, train, CLQ_BAD_DATA, "flat/odd.png: is a device");
    assert_int_equal(unlink(odd), 0);
    assert_ok(clq_make_dirs(odd));
    assert_fails(root, train, CLQ_BAD_DATA, "flat/odd.png: is a folder");
    clq_free(odd);
    clq_free(root);
}

/* ---- gzipped idx files ---- */

/* An idx file, gzipped, in `count` streams one after the other. */
static size_t pack(const uint8_t *data, size_t size, int count, uint8_t *out, size_t room) {
    size_t used = 0, from = 0;
    for (int i = 0; i < count; i++) {
        const size_t bytes = i == count - 1 ? size - from : size / (size_t)count;
        z_stream z = {.next_in = (Bytef *)data + from,
                      .avail_in = (uInt)bytes,
                      .next_out = out + used,
                      .avail_out = (uInt)(room - used)};
        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
                         Z_OK);
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        used = room - z.avail_out;
        deflateEnd(&z);
        from += bytes;
    }
    return used;
}

enum { IMAGES = 16 + 3 * 20, LABELS = 8 + 3 };

static void make_idx(uint8_t images[IMAGES], uint8_t labels[LABELS]) {
    static const uint8_t image_head[16] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5};
    static const uint8_t label_file[LABELS] = {0, 0, 8, 1, 0, 0, 0, 3, 6, 0, 2};
    clq_test_fill_u8(images, IMAGES, 0, 255, 1);
    memcpy(images, image_head, sizeof image_head);
    memcpy(labels, label_file, LABELS);
}

static void gzipped_idx_is_read(void **state) {
    (void)state;
    uint8_t images[IMAGES], labels[LABELS], packed[512], image[20];
    make_idx(images, labels);
    for (int streams = 1; streams <= 3; streams++) {
        put("idx/train-images-idx3-ubyte.gz", packed,
            pack(images, sizeof images, streams, packed, sizeof packed));
        /* A gzipped file is one whatever its name. */
        put(streams == 1 ? "idx/train-labels-idx1-ubyte.gz" : "idx/train-labels-idx1-ubyte", packed,
            pack(labels, sizeof labels, 1, packed, sizeof packed));
        clq_dataset *dataset = open_ok(clq_test_temp_path("idx"), train);
        const clq_dataset_info *info = clq_dataset_get_info(dataset);
        assert_string_equal(info->kind, "idx");
        assert_int_equal(info->count, 3);
        assert_int_equal(info->class_count, 7);
        assert_int_equal(info->labels[2], 2);
        assert_ok(clq_dataset_read(dataset, 2, image));
        assert_memory_equal(image, images + 16 + 40, sizeof image);
        clq_dataset_close(dataset);
    }
}

static void broken_gzip_is_refused(void **state) {
    (void)state;
    uint8_t images[IMAGES + 1] = {0}, labels[LABELS], packed[512];
    char *root = scratch("idx");
    make_idx(images, labels);
    put("idx/train-labels-idx1-ubyte", labels, sizeof labels);
    const size_t size = pack(images, IMAGES, 1, packed, sizeof packed);
    for (size_t cut = 0; cut < size; cut++) {
        put("idx/train-images-idx3-ubyte.gz", packed, cut);
        assert_fails(root, train, CLQ_BAD_DATA, "train-images-idx3-ubyte.gz: ");
    }
    put("idx/train-images-idx3-ubyte.gz", packed, size - 9);
    assert_fails(root, train, CLQ_BAD_DATA, "the gzip file is cut off");
    packed[size - 8] ^= 1; /* the checksum */
    put("idx/train-images-idx3-ubyte.gz", packed, size);
    assert_fails(root, train, CLQ_BAD_DATA, "the gzip file is damaged");
    put("idx/train-images-idx3-ubyte.gz", packed,
        pack(images, IMAGES - 1, 1, packed, sizeof packed));
    assert_fails(root, train, CLQ_BAD_DATA, "75 bytes; its header asks for 16 + 60");
    put("idx/train-images-idx3-ubyte.gz", packed,
        pack(images, IMAGES + 1, 1, packed, sizeof packed));
    assert_fails(root, train, CLQ_BAD_DATA, "77 bytes; its header asks for 16 + 60");
    images[5] = 0xff; /* 16,711,683 images */
    put("idx/train-images-idx3-ubyte.gz", packed, pack(images, IMAGES, 1, packed, sizeof packed));
    assert_fails(root, train, CLQ_BAD_DATA, "asks for 334233660 bytes, more than it can hold");
    put("idx/train-images-idx3-ubyte.gz", packed, pack(packed, 9, 1, packed + 64, 256));
    assert_fails(root, train, CLQ_BAD_DATA, "train-images-idx3-ubyte.gz: ");
    clq_free(root);
}

/* ---- what is given instead ---- */

static void what_is_there_instead_is_named(void **state) {
    (void)state;
    static const struct {
        const char *files[3], *path;
        clq_status status;
        const char *text;
    } cases[] = {
        {{"ten/data_batch_1", "ten/test_batch", "ten/batches.meta"},
         "ten",
         CLQ_BAD_DATA,
         "ten: is the Python version of CIFAR-10; clquant reads the binary version"},
        {{"up/hundred/train", "up/hundred/test", "up/hundred/meta"},
         "up",
         CLQ_BAD_DATA,
         "hundred: is the Python version of CIFAR-100"},
        {{"packed/cifar-10-binary.tar.gz"},
         "packed",
         CLQ_BAD_DATA,
         "packed/cifar-10-binary.tar.gz: is an archive; unpack it"},
        {{"packed/cifar-10-binary.tar.gz"},
         "packed/cifar-10-binary.tar.gz",
         CLQ_BAD_DATA,
         "is an archive; unpack it and give its folder"},
        {{"split/a/1.txt", "split/b/2.txt", "split/d/2.txt"},
         "split",
         CLQ_NO_INPUT,
         "what it has is folders, a/, b/, d/: if these are classes, there must be at least two, "
         "each with "
         ".jpg or .png files"},
        {{"words/a.txt"}, "words", CLQ_NO_INPUT, "no data set in it"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int f = 0; f < 3 && cases[i].files[f]; f++) {
            put(cases[i].files[f], "x", 1);
        }
        char *path = scratch(cases[i].path);
        assert_fails(path, train, cases[i].status, cases[i].text);
        clq_free(path);
    }
    for (char name = 'e'; name <= 'g'; name++) {
        char file[32];
        snprintf(file, sizeof file, "split/%c/1.txt", name);
        put(file, "x", 1);
    }
    assert_fails(clq_test_temp_path("split"), train, CLQ_NO_INPUT, "a/, b/, d/ and 3 more: if");
}

/* ---- failures ---- */

static void out_of_memory_leaves_nothing(void **state) {
    (void)state;
    uint8_t images[IMAGES], labels[LABELS], packed[512];
    char *paths[] = {flat_folder(), scratch("idx"), scratch("flat/b.png")};
    make_idx(images, labels);
    put("idx/train-images-idx3-ubyte.gz", packed,
        pack(images, sizeof images, 1, packed, sizeof packed));
    put("idx/train-labels-idx1-ubyte.gz", packed,
        pack(labels, sizeof labels, 1, packed, sizeof packed));
    for (int i = 0; i < 3; i++) {
        const clq_dataset_options options = {.threads = 1, .limit = 1};
        clq_status status = CLQ_NO_MEMORY;
        for (long n = 1; n < 2000 && status != CLQ_OK; n++) {
            clq_dataset *dataset = NULL;
            clq_test_fail_allocation(n);
            status = clq_dataset_open(paths[i], &options, &dataset);
            clq_dataset_close(dataset);
            const long live = clq_test_live_allocations();
            clq_test_restore_allocator();
            assert_int_equal(live, 0);
        }
        assert_int_equal(status, CLQ_OK);
        clq_free(paths[i]);
    }
}

int main(void) {
#define WITH_FILES(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, clq_test_setup_temp_dir, clq_test_teardown_temp_dir)
    const struct CMUnitTest tests[] = {
        WITH_FILES(a_folder_of_images_has_no_labels), WITH_FILES(what_is_left_out_is_named),
        WITH_FILES(class_folders_need_no_split),      WITH_FILES(a_limit_and_a_hash_need_no_labels),
        WITH_FILES(a_loader_gives_no_labels),         WITH_FILES(an_image_is_a_data_set),
        WITH_FILES(what_is_no_image_is_named),        WITH_FILES(gzipped_idx_is_read),
        WITH_FILES(broken_gzip_is_refused),           WITH_FILES(what_is_there_instead_is_named),
        WITH_FILES(out_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests_name("data/kinds", tests, NULL, NULL);
}
