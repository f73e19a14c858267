/* Runs a network of any form on numbers of the caller's:
 *
 *     infer MODEL.onnx
 *
 * Two samples of zeros go through it, and the first numbers of every output are printed. */
#include <stdio.h>
#include <stdlib.h>

#include <clquant/clquant.h>

enum { SAMPLES = 2, SHOWN = 5 };

static float *zeros(clq_shape shape) {
    return calloc((size_t)clq_shape_count(&shape) * SAMPLES, sizeof(float));
}

static clq_status run(clq_session *session, float **x, float **y) {
    const clq_graph *graph = clq_session_graph(session);
    clq_shape shape;
    for (int i = 0; i < graph->input_count; i++) {
        CLQ_TRY(clq_session_input_shape(session, i, CLQ_ORDER_MODEL, &shape));
        x[i] = zeros(shape);
    }
    for (int i = 0; i < graph->output_count; i++) {
        CLQ_TRY(clq_session_output_shape(session, i, CLQ_ORDER_MODEL, &shape));
        y[i] = zeros(shape);
    }
    CLQ_TRY(clq_session_run(session, CLQ_ORDER_MODEL, SAMPLES, (const float *const *)x, y));
    for (int i = 0; i < graph->output_count; i++) {
        CLQ_TRY(clq_session_output_shape(session, i, CLQ_ORDER_MODEL, &shape));
        printf("%s:", clq_graph_output_name(graph, i));
        for (int64_t k = 0; k < SHOWN && k < clq_shape_count(&shape); k++) {
            printf(" %g", (double)y[i][k]);
        }
        printf("\n");
    }
    return CLQ_OK;
}

int main(int argc, char **argv) {
    float *x[CLQ_MAX_ENDS] = {NULL}, *y[CLQ_MAX_ENDS] = {NULL};
    clq_device *device = NULL;
    clq_session *session = NULL;
    clq_status status = argc == 2 ? clq_device_open(NULL, &device) : CLQ_USAGE;
    status = status == CLQ_OK ? clq_session_load(device, argv[1], &session) : status;
    status = status == CLQ_OK ? run(session, x, y) : status;
    if (status != CLQ_OK) {
        fprintf(stderr, "infer: %s\n", argc == 2 ? clq_last_error() : "give a model");
    }
    for (int i = 0; i < CLQ_MAX_ENDS; i++) {
        free(x[i]), free(y[i]);
    }
    clq_session_destroy(session);
    clq_device_close(device);
    return (int)status; /* the library's statuses are exit codes */
}
