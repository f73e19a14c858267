/* Fine-tunes an FP32 network quantization-aware, on labelled data that a path names:
 *
 *     qat MODEL.onnx DATA Q.onnx [FOLDER]
 *
 * With a folder Ctrl-C stops it behind a checkpoint there, from which the same call goes on. */
#include <signal.h>
#include <stdio.h>

#include <clquant/clquant.h>

static volatile sig_atomic_t pressed;

static void press(int signal) {
    (void)signal;
    pressed = 1;
}

static bool go_on(void *context, const clq_progress_state *state) {
    (void)context;
    fprintf(stderr, "%s: %lld of %lld %s, %s\n", state->label, (long long)state->done,
            (long long)state->total, state->unit, state->text);
    return !pressed;
}

static clq_status tune(const clq_session *fp32, const char *data, const char *folder,
                       clq_session **int8) {
    clq_options *options = NULL;
    clq_result *result = NULL;
    CLQ_TRY(clq_options_create(&options));
    clq_status s = clq_options_set(options, "epochs", "1");
    s = s == CLQ_OK ? clq_options_set(options, "schedule.lr", "0.001") : s;
    s = s == CLQ_OK && folder ? clq_options_set_text(options, "out", folder) : s;
    s = s == CLQ_OK && folder ? clq_options_set(options, "resume", "true") : s;
    s = s == CLQ_OK ? clq_session_qat(fp32, data, NULL, options, int8, &result) : s;
    if (s == CLQ_OK) {
        printf("%s, calibrated on %.0f\n", clq_result_text(result, "quantization.method"),
               clq_result_number(result, "quantization.images"));
    }
    clq_result_free(result);
    clq_options_destroy(options);
    return s;
}

int main(int argc, char **argv) {
    clq_device *device = NULL;
    clq_session *fp32 = NULL, *int8 = NULL;
    signal(SIGINT, press);
    clq_set_progress(go_on, NULL);
    clq_status s = argc >= 4 ? clq_device_open(NULL, &device) : clq_fail(CLQ_USAGE, "give 3 names");
    s = s == CLQ_OK ? clq_session_load(device, argv[1], &fp32) : s;
    s = s == CLQ_OK ? tune(fp32, argv[2], argc > 4 ? argv[4] : NULL, &int8) : s;
    s = s == CLQ_OK ? clq_session_save(int8, argv[3], NULL) : s;
    s == CLQ_OK ? printf("written: %s\n", argv[3]) : fprintf(stderr, "qat: %s\n", clq_last_error());
    clq_session_destroy(int8), clq_session_destroy(fp32);
    clq_device_close(device);
    return (int)s;
}
