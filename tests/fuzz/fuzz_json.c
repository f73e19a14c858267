/* JSON: any bytes give a tree or an error with its place; what is written reads back the same. The
 * first line is also taken as a flag that sets a key. */
#include <string.h>

#include "base/json.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *json = NULL, *again = NULL;
    char *written = NULL, *text = fuzz_text(data, size), *value = strchr(text, '=');
    if (clq_json_parse("fuzz", data, size, &json) == CLQ_OK) {
        fuzz_check(clq_json_dump_exact(json, &written) == CLQ_OK, "writes");
        fuzz_check(clq_json_parse("again", written, strlen(written), &again) == CLQ_OK, "reads");
        fuzz_check(json_equal(json, again), "equal");
    }
    if (value) {
        json_t *root = json_object();
        *value = '\0';
        (void)clq_json_override(root, text, value + 1);
        json_decref(root);
    }
    json_decref(clq_json_string(text));
    json_decref(json);
    json_decref(again);
    clq_free(written);
    clq_free(text);
    return 0;
}

void fuzz_seeds(void) {
    fuzz_add_text("{\"a\": 1, \"b\": [0.5, true, null, \"\\u00e4\\n\"], \"c\": {\"d\": -1e-9}}");
    fuzz_add_text("train.optimizer.lr=0.1");
    fuzz_add_text("data.mean=[0.1, 0.2]");
    fuzz_add_text("[[[[[[{\"x\":[]}]]]]]]");
}
