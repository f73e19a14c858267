/* Proves that a quantized network computes what its simulation promised, on all that a path names:
 *
 *     verify Q.onnx DATA
 *
 * with a line for every tenth of a second. Returning false there would end the work. */
#include <stdio.h>

#include <clquant/clquant.h>

static bool show(void *context, const clq_progress_state *state) {
    (void)context;
    fprintf(stderr, "%s: %lld of %lld %s\n", state->label, (long long)state->done,
            (long long)state->total, state->unit);
    return true;
}

static clq_status verify(const clq_session *session, const char *path) {
    clq_result *result = NULL;
    CLQ_TRY(clq_session_verify(session, path, NULL, NULL, &result));
    const double differ = clq_result_number(result, "mismatched_codes");
    printf("%.0f of %.0f codes differ\nlogits %s\n", differ,
           clq_result_number(result, "compared_codes"), clq_result_text(result, "logits_sha256"));
    const clq_status status = differ == 0 ? CLQ_OK
                                          : clq_fail(CLQ_GATE_FAILED, "not exact, first at %s",
                                                     clq_result_text(result, "first_mismatch"));
    clq_result_free(result);
    return status;
}

int main(int argc, char **argv) {
    clq_device *device = NULL;
    clq_session *session = NULL;
    clq_set_progress(show, NULL);
    clq_status s = argc == 3 ? clq_device_open(NULL, &device)
                             : clq_fail(CLQ_USAGE, "give a quantized model and data");
    s = s == CLQ_OK ? clq_session_load(device, argv[1], &session) : s;
    s = s == CLQ_OK ? verify(session, argv[2]) : s;
    if (s != CLQ_OK) {
        fprintf(stderr, "verify: %s\n", clq_last_error());
    }
    clq_session_destroy(session);
    clq_device_close(device);
    return (int)s;
}
