/* Tuning tables: any file is taken or ignored; every choice in a table, and any text, is one that
 * is understood or not. */
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"
#include "device/tuning.h"
#include "fuzz.h"
#include "ops/conv/conv_choice.h"

static void parse(const char *text) {
    clq_conv_choice choice, again;
    char written[CLQ_CHOICE_TEXT];
    if (text && clq_conv_choice_parse(text, &choice)) {
        clq_conv_choice_text(&choice, written);
        fuzz_check(clq_conv_choice_parse(written, &again), "is understood again");
        fuzz_check(memcmp(&choice, &again, sizeof choice) == 0, "is the same");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    clq_device device = {0};
    const char *path = fuzz_put("tune.json", data, size), *key;
    char *text = fuzz_text(data, size);
    json_t *choice;
    setenv("CLQUANT_TUNE", path, 1);
    parse(text);
    fuzz_check(clq_tuning_open(&device) == CLQ_OK, "opens");
    json_object_foreach(device.tuning, key, choice) {
        parse(clq_tuning_find(&device, key));
    }
    clq_tuning_close(&device);
    clq_free(text);
    return 0;
}

void fuzz_seeds(void) {
    fuzz_add_text(
        "{\"schema\": 1, \"identity\": \"0000000000000000-0\", \"device\": \"x\", \"choices\": "
        "{\"int8 1x8x8x8 8x1x1 s1x1 p0x0 d1x1 g1 avx2\": \"kernel=tile tile=4x2 order=1\", "
        "\"f32 x\": \"default\"}}");
    fuzz_add_text("default");
    fuzz_add_text("kernel=tile tile=4x2 items=1x2 block=2x2 cols=3 order=1 shares=8 group=2");
    fuzz_add_text("kernel=group group=3");
}
