/* Self-tests before anything asks for them. */
#include "base/arguments.h"
#include "clquant/train.h"
#include "data/self_test.h"
#include "ops/conv/conv2d_f32.h"
#include "ops/self_test.h"
#include "train/self_test.h"

/* What networks consist of: 3x3 on colours, on many features and on few, 1x1 on one pixel,
 * depthwise. */
static const clq_conv_geometry shapes[] = {
    {1, 14, 14, 3, 32, 3, 3, 14, 14, 1, 1, 1, 1, 1, 1, 1, false},
    {1, 14, 14, 64, 64, 3, 3, 14, 14, 1, 1, 1, 1, 1, 1, 1, false},
    {1, 14, 14, 16, 16, 3, 3, 14, 14, 1, 1, 1, 1, 1, 1, 1, false},
    {1, 1, 1, 64, 10, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, false},
    {1, 14, 14, 64, 64, 3, 3, 14, 14, 1, 1, 1, 1, 1, 1, 64, false},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, MOST_WEIGHTS = 64 * 9 * 64, MOST_CHANNELS = 64 };

/* An integer convolution whose values do not matter. */
static clq_status make_int8(clq_device *device, const clq_conv_geometry *g, const int8_t *w) {
    float w_scale[MOST_CHANNELS];
    clq_conv2d_int8 *conv = NULL;
    for (int i = 0; i < MOST_CHANNELS; i++) {
        w_scale[i] = 0.01f;
    }
    const clq_conv2d_int8_params params = {
        .w = w, .w_scale = w_scale, .x_scale = 0.01f, .y_scale = 0.1f, .y_hi = 255};
    CLQ_TRY(clq_conv2d_int8_create(device, g, &params, &conv));
    clq_conv2d_int8_destroy(conv);
    return CLQ_OK;
}

/* By sums over taps, or as Winograd has them. */
static clq_status make_f32(clq_device *device, const clq_conv_geometry *g, bool winograd) {
    const int all = CLQ_CONV_FORWARD | CLQ_CONV_BACKWARD_DATA | CLQ_CONV_BACKWARD_WEIGHTS;
    const int by_winograd = CLQ_CONV_WINOGRAD | CLQ_CONV_WINOGRAD_WEIGHTS;
    clq_conv2d_f32 *conv = NULL;
    CLQ_TRY(clq_conv2d_f32_create(device, g, all | (winograd ? by_winograd : 0), &conv));
    clq_conv2d_f32_destroy(conv);
    return CLQ_OK;
}

/* CLQ_DEVICE here means that a family is left with nothing; that is in the list already. */
static clq_status unless_device(clq_status status) {
    return status == CLQ_DEVICE ? CLQ_OK : status;
}

clq_status clq_self_test_convolutions(clq_device *device) {
    clq_status status = CLQ_OK;
    bool works;
    int8_t *w = clq_calloc(MOST_WEIGHTS, 1);
    if (!w) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < SHAPES; i++) {
        CLQ_GOTO(status, cleanup, unless_device(make_int8(device, &shapes[i], w)));
        for (int winograd = 0; winograd < 2; winograd++) {
            CLQ_GOTO(status, cleanup, unless_device(make_f32(device, &shapes[i], winograd)));
        }
    }
    if (clq_has_gemm_f32()) {
        CLQ_GOTO(status, cleanup, clq_f32_gemm_works(device, &works));
    }
cleanup:
    clq_free(w);
    return status;
}

clq_status clq_self_test_device(clq_device *device) {
    CLQ_NEEDS(device);
    CLQ_TRY(clq_self_test_convolutions(device));
    for (int i = 0; i < 4; i++) { /* grey and coloured images */
        const clq_augment_variant variant =
            clq_augment_variant_of(device, i & 1 ? 3 : 1, i & 2, false);
        CLQ_TRY(unless_device(clq_augment_works(device, &variant)));
    }
    clq_op_self_tests_add();
    clq_train_self_tests_add();
    return clq_self_test_files(device);
}
