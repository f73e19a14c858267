/* Quantizes an FP32 network on images that the program makes:
 *
 *     ptq MODEL.onnx Q.onnx
 *
 * A function fills each batch as it is asked for, here with noise. */
#include <stdio.h>
#include <stdlib.h>

#include <clquant/clquant.h>

enum { IMAGES = 64 };

static clq_status fill(void *context, int64_t first, int64_t count, float *const *values) {
    const int64_t size = *(const int64_t *)context; /* numbers in an image (C, H, W) */
    srand((unsigned)first); /* the same images when they are asked for again */
    for (int64_t i = 0; i < count * size; i++) {
        values[0][i] = 2.0f * (float)rand() / (float)RAND_MAX - 1;
    }
    return CLQ_OK; /* or return clq_fail(CLQ_IO, "why"), which ends the work */
}

static clq_status quantize(const clq_session *fp32, clq_arrays *arrays, clq_session **int8) {
    clq_options *options = NULL;
    clq_result *result = NULL;
    CLQ_TRY(clq_options_create(&options));
    clq_status status = clq_options_set(options, "observer", "mse");
    status =
        status == CLQ_OK ? clq_session_ptq(fp32, NULL, arrays, options, int8, &result) : status;
    if (status == CLQ_OK) {
        printf("%.0f scales, weights %s\n", clq_result_number(result, "scales"),
               clq_result_text(result, "quantization.weights"));
    }
    clq_result_free(result);
    clq_options_destroy(options);
    return status;
}

int main(int argc, char **argv) {
    clq_device *device = NULL;
    clq_session *fp32 = NULL, *int8 = NULL;
    clq_arrays *arrays = NULL;
    clq_shape x = {0};
    int64_t size;
    clq_status s =
        argc == 3 ? clq_device_open(NULL, &device) : clq_fail(CLQ_USAGE, "give two files");
    s = s == CLQ_OK ? clq_session_load(device, argv[1], &fp32) : s;
    s = s == CLQ_OK ? clq_session_input_shape(fp32, 0, CLQ_ORDER_MODEL, &x) : s;
    size = clq_shape_count(&x);
    s = s == CLQ_OK ? clq_arrays_create(IMAGES, &arrays) : s;
    s = s == CLQ_OK ? clq_arrays_add(arrays, "x", x.dim + 1, x.rank - 1, NULL) : s;
    s = s == CLQ_OK ? clq_arrays_set_fill(arrays, fill, &size) : s;
    s = s == CLQ_OK ? quantize(fp32, arrays, &int8) : s;
    s = s == CLQ_OK ? clq_session_save(int8, argv[2], NULL) : s;
    s == CLQ_OK ? printf("written: %s\n", argv[2]) : fprintf(stderr, "ptq: %s\n", clq_last_error());
    clq_arrays_close(arrays);
    clq_session_destroy(int8), clq_session_destroy(fp32);
    clq_device_close(device);
    return (int)s;
}
