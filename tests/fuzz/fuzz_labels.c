/* Lists of labelled images: any file gives labels in range of images that are there, or an error.
 */
#include <clquant/data.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const classes[] = {"cat", "dog", "a ship"};
    static char *images;
    if (!images) {
        images = clq_format("%s/images", fuzz_folder());
        fuzz_check(images != NULL, "images");
        fuzz_put("images/a.png", "", 0);
        fuzz_put("images/sub/b c.jpg", "", 0);
    }
    for (int named = 0; named < 2; named++) {
        clq_dataset *dataset = NULL;
        clq_dataset_options options = {.height = 8, .threads = 1, .max_memory = 1};
        options.list.file = fuzz_put("list.txt", data, size);
        options.list.classes = named ? classes : NULL;
        options.list.class_count = named ? 3 : 0;
        if (clq_dataset_open(images, &options, &dataset) == CLQ_OK) {
            const clq_dataset_info *info = clq_dataset_get_info(dataset);
            for (int64_t i = 0; i < info->count; i++) {
                fuzz_check(info->labels[i] >= 0 && info->labels[i] < info->class_count, "label");
            }
        }
        clq_dataset_close(dataset);
    }
    return 0;
}

void fuzz_seeds(void) {
    fuzz_add_text("a.png 3\nsub/b c.jpg\t0\n# note\n\n");
    fuzz_add_text("./a.png\tcat\r\nsub/b c.jpg\ta ship\r\n");
    fuzz_add_text("../a.png 1\n");
}
