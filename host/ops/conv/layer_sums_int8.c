#include "ops/conv/layer_sums_int8.h"

#include "base/checked.h"
#include "ops/conv/conv2d_int8_plan.h"
#include "ops/quantized_run.h"
#include "ops/self_test.h"

struct clq_layer_sums {
    clq_device *device;
    clq_conv_geometry geometry;
    clq_conv2d_int8 *conv; /* its weights and starts of sums are written by each load */
    int32_t zero_point;    /* of the bytes: less the type's lowest code */
    int32_t most;          /* the largest |q_x - z_x| */
    int packed, pitch;     /* packed weights; bytes of a pixel of x */
    bool wide;             /* packed weights of 16 bits */
    clq_buffer *map;     /* S32 (packed): the number of the weight that lies there, from 1; or 0 */
    int places;          /* for starts of sums in the convolution's table */
    clq_buffer *numbers; /* S32 (places): of the channels that are there, from 1; or 0 */
    clq_buffer *reach;   /* S32 (1) */
};

/* ---- where weights and channels go ---- */

static size_t weight_count(const clq_conv_geometry *g) {
    return (size_t)g->oc * (size_t)(g->kh * g->kw) * (size_t)(g->ic / g->groups);
}

/* The packing is asked: it packs the numbers of the weights, byte by byte. */
static clq_status make_map(clq_layer_sums *s, const clq_int8_plan *plan) {
    const size_t weights = weight_count(&s->geometry), bytes = clq_int8_weight_bytes(plan);
    const size_t count = bytes / (size_t)plan->element_bytes;
    clq_status status = CLQ_NO_MEMORY;
    int8_t *numbers = clq_calloc(weights, 1);
    void *packed = clq_calloc(bytes, 1);
    int32_t *map = clq_calloc(count, sizeof *map);
    if (!numbers || !packed || !map) {
        goto cleanup;
    }
    for (int byte = 0; byte < 4; byte++) {
        for (size_t i = 0; i < weights; i++) {
            numbers[i] = (int8_t)((i + 1) >> (8 * byte) & 0xff);
        }
        clq_int8_pack_weights(plan, &s->geometry, numbers, packed);
        for (size_t i = 0; i < count; i++) {
            const int element =
                s->wide ? ((const int16_t *)packed)[i] : ((const int8_t *)packed)[i];
            map[i] |= (element & 0xff) << (8 * byte);
        }
    }
    s->packed = (int)count;
    CLQ_GOTO(status, cleanup, clq_buffer_create(s->device, count * sizeof *map, &s->map));
    CLQ_GOTO(status, cleanup, clq_buffer_write(s->map, 0, count * sizeof *map, map));
cleanup:
    clq_free(numbers);
    clq_free(packed);
    clq_free(map);
    return status;
}

/* Sums that start with the channel's number, from 1, show where starts go. */
static clq_status make_numbers(clq_layer_sums *s, const clq_int8_plan *plan,
                               clq_conv2d_int8_params params) {
    const size_t oc = (size_t)s->geometry.oc, bytes = clq_int8_channel_bytes(plan);
    const size_t places = (size_t)plan->shape.blocks * (size_t)plan->nr;
    clq_status status = CLQ_NO_MEMORY;
    int32_t *numbers = clq_calloc(oc, sizeof *numbers), *channels = clq_calloc(bytes, 1);
    if (!numbers || !channels) {
        goto cleanup;
    }
    for (size_t c = 0; c < oc; c++) {
        numbers[c] = (int32_t)c + 1;
    }
    params.bias = numbers;
    s->places = (int)places;
    CLQ_GOTO(status, cleanup, clq_int8_pack_channels(plan, &s->geometry, &params, channels));
    CLQ_GOTO(status, cleanup, clq_buffer_create(s->device, places * sizeof *channels, &s->numbers));
    CLQ_GOTO(status, cleanup, clq_buffer_write(s->numbers, 0, places * sizeof *channels, channels));
cleanup:
    clq_free(numbers);
    clq_free(channels);
    return status;
}

/* ---- which kernel ---- */

/* Weights that are transformed or listed besides are not packed here. */
static bool packs(const clq_int8_plan *plan) {
    return plan->kernel != CLQ_CONV_INT8_WINOGRAD && plan->kernel != CLQ_CONV_SPLIT;
}

static clq_status choose_plan(const clq_layer_sums *s, clq_int8_plan *plan, bool *works) {
    static const clq_conv_choice plainest = {.kernel = CLQ_CONV_TILE};
    const clq_conv_choice *const choices[] = {NULL, &plainest};
    *works = false;
    for (int i = 0; i < 2 && !*works; i++) {
        *works = clq_int8_make_plan(clq_device_get_info(s->device), &s->geometry, CLQ_REQUANT_FLOAT,
                                    s->zero_point, false, choices[i], plan) &&
                 packs(plan);
        if (*works) {
            CLQ_TRY(clq_int8_plan_works(s->device, plan, CLQ_REQUANT_FLOAT, works));
        }
    }
    return CLQ_OK;
}

/* A convolution whose output is the sum itself: all scales are 1. */
static clq_status create_convolution(clq_layer_sums *s, clq_int8_plan *plan) {
    const size_t oc = (size_t)s->geometry.oc;
    clq_status status = CLQ_NO_MEMORY;
    int8_t *w = clq_calloc(weight_count(&s->geometry), 1);
    float *ones = clq_calloc(oc, sizeof *ones);
    if (!w || !ones) {
        goto cleanup;
    }
    for (size_t c = 0; c < oc; c++) {
        ones[c] = 1;
    }
    const clq_conv2d_int8_params params = {.w = w,
                                           .w_scale = ones,
                                           .x_scale = 1,
                                           .x_zero_point = s->zero_point,
                                           .float_output = true,
                                           .requantizer = CLQ_REQUANT_FLOAT};
    CLQ_GOTO(status, cleanup,
             clq_int8_create_planned(s->device, &s->geometry, &params, plan, &s->conv));
    status = make_numbers(s, plan, params);
cleanup:
    clq_free(w);
    clq_free(ones);
    return status;
}

static size_t byte_count(const clq_layer_sums *s) {
    const clq_conv_geometry *g = &s->geometry;
    return (size_t)g->n * (size_t)g->ih * (size_t)g->iw * (size_t)s->pitch;
}

clq_status clq_layer_sums_create(clq_device *device, const clq_conv_geometry *geometry,
                                 const clq_qtype_info *type, int32_t x_zero_point,
                                 clq_layer_sums **result) {
    clq_status status = CLQ_OK;
    clq_int8_plan plan;
    bool works = false;
    *result = NULL;
    if (geometry->transposed) {
        return CLQ_OK;
    }
    clq_layer_sums *s = clq_calloc(1, sizeof *s);
    if (!s) {
        return CLQ_NO_MEMORY;
    }
    *s = (clq_layer_sums){.device = device,
                          .geometry = *geometry,
                          .zero_point = x_zero_point - type->lowest,
                          .most = type->highest - type->lowest,
                          .pitch = (int)clq_round_up((size_t)geometry->ic, 4)};
    CLQ_GOTO(status, cleanup, choose_plan(s, &plan, &works));
    if (!works) {
        goto cleanup;
    }
    s->wide = plan.element_bytes == 2;
    CLQ_GOTO(status, cleanup, make_map(s, &plan));
    CLQ_GOTO(status, cleanup, create_convolution(s, &plan));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, sizeof(int32_t), &s->reach));
    CLQ_GOTO(status, cleanup, clq_scratch_reserve(device, byte_count(s)));
    *result = s;
    s = NULL;
cleanup:
    clq_layer_sums_destroy(s);
    return status;
}

void clq_layer_sums_destroy(clq_layer_sums *s) {
    if (!s) {
        return;
    }
    clq_conv2d_int8_destroy(s->conv);
    clq_buffer_release(s->map);
    clq_buffer_release(s->numbers);
    clq_buffer_release(s->reach);
    clq_free(s);
}

/* ---- a step ---- */

clq_status clq_layer_sums_load(clq_layer_sums *s, clq_buffer *codes, clq_buffer *bias_codes,
                               bool *exact) {
    const size_t oc = (size_t)s->geometry.oc, k = weight_count(&s->geometry) / oc;
    clq_buffer *weights, *channels;
    clq_kernel *kernel = NULL;
    int32_t reach = 0;
    clq_conv2d_int8_constants(s->conv, &weights, &channels);
    CLQ_TRY(clq_kernel_get(s->device, "pack_codes", NULL, &kernel));
    CLQ_TRY(CLQ_LAUNCH(s->device, kernel, clq_codes_range(s->device, s->packed), CLQ_BUF(codes),
                       CLQ_BUF(s->map), CLQ_BUF(weights), CLQ_I32(s->wide), CLQ_I32(s->packed)));
    CLQ_TRY(clq_buffer_fill(s->reach, 0, sizeof reach, 0));
    CLQ_TRY(clq_kernel_get(s->device, "sum_starts", NULL, &kernel));
    CLQ_TRY(CLQ_LAUNCH(s->device, kernel, CLQ_RANGE1((size_t)s->places), CLQ_BUF(codes),
                       CLQ_BUF(bias_codes), CLQ_BUF(s->numbers), CLQ_BUF(channels),
                       CLQ_BUF(s->reach), CLQ_I32(s->zero_point), CLQ_I32(s->most),
                       CLQ_I32(s->places), CLQ_I32(k)));
    CLQ_TRY(clq_buffer_read(s->reach, 0, sizeof reach, &reach));
    *exact = reach < 1 << 24;
    return CLQ_OK;
}

clq_status clq_layer_sums_forward(clq_layer_sums *s, clq_buffer *x, clq_buffer *y) {
    const clq_conv_geometry *g = &s->geometry;
    const int pixels = g->n * g->ih * g->iw;
    clq_buffer *bytes = NULL;
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(s->device, "codes_to_bytes", NULL, &kernel));
    CLQ_TRY(clq_scratch_take(s->device, byte_count(s), &bytes));
    clq_device_set_work(s->device, 0); /* bytes are none of the convolution's */
    clq_status status = CLQ_LAUNCH(
        s->device, kernel, clq_codes_range(s->device, (int64_t)pixels * g->ic), CLQ_BUF(x),
        CLQ_BUF(bytes), CLQ_I32(s->zero_point), CLQ_I32(pixels), CLQ_I32(g->ic), CLQ_I32(s->pitch));
    if (status == CLQ_OK) {
        const size_t sums = (size_t)g->n * (size_t)g->oh * (size_t)g->ow;
        clq_device_set_work(s->device, 2.0 * (double)sums * (double)weight_count(g));
        status = clq_conv2d_int8_forward(s->conv, bytes, NULL, y);
    }
    clq_buffer_release(bytes);
    return status;
}
