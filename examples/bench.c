/* Times a network at two batch sizes, and prints the results as JSON (docs/json.md):
 *
 *     bench MODEL.onnx */
#include <stdio.h>

#include <clquant/clquant.h>

static clq_status bench(clq_session *session) {
    clq_options *options = NULL;
    clq_result *result = NULL;
    CLQ_TRY(clq_options_create(&options));
    clq_status s = clq_options_set(options, "batch", "[1,8]");
    s = s == CLQ_OK ? clq_options_set(options, "layers", "false") : s;
    s = s == CLQ_OK ? clq_options_set(options, "peak", "false") : s;
    s = s == CLQ_OK ? clq_session_bench(&session, 1, options, &result) : s;
    if (s == CLQ_OK) {
        printf("%s\n", clq_result_json(result));
    }
    clq_result_free(result);
    clq_options_destroy(options);
    return s;
}

int main(int argc, char **argv) {
    clq_device *device = NULL;
    clq_session *session = NULL;
    clq_status s = argc == 2 ? clq_device_open(NULL, &device) : clq_fail(CLQ_USAGE, "give a model");
    s = s == CLQ_OK ? clq_session_load(device, argv[1], &session) : s;
    s = s == CLQ_OK ? bench(session) : s;
    if (s != CLQ_OK) {
        fprintf(stderr, "bench: %s\n", clq_last_error());
    }
    clq_session_destroy(session);
    clq_device_close(device);
    return (int)s;
}
