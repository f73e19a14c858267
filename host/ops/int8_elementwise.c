#include "ops/int8_elementwise.h"

#include "ops/elementwise.h"
#include "ops/multiplier.h"

enum {
    WORD_GRAIN = 1024, /* words of 4 codes that an item handles at least */
    POOL_GRAIN = 64    /* windows of up to 16 channels */
};

static int words_of(int channels) {
    return channels / 4 + (channels % 4 != 0);
}

static clq_range word_range(clq_device *device, int64_t words) {
    return CLQ_RANGE1(clq_work_items(device, words, WORD_GRAIN));
}

const char *clq_requantizer_option(clq_requantizer requantizer) {
    return requantizer == CLQ_REQUANT_FIXED   ? "-DCLQ_REQUANT=1"
           : requantizer == CLQ_REQUANT_SHIFT ? "-DCLQ_REQUANT=2"
                                              : NULL;
}

static clq_status check_scale(float scale) {
    float unused;
    return clq_multiplier_float(scale, 1.0f, 1.0f, &unused);
}

clq_status clq_int8_quantize(clq_device *device, clq_buffer *real, clq_buffer *codes,
                             int64_t pixels, int channels, clq_int8_range range) {
    clq_kernel *kernel;
    CLQ_TRY(check_scale(range.scale));
    CLQ_TRY(clq_kernel_get(device, "int8_quantize", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, word_range(device, pixels * words_of(channels)),
                      CLQ_BUF(real), CLQ_BUF(codes), CLQ_I32(pixels), CLQ_I32(channels),
                      CLQ_F32(range.scale), CLQ_F32(range.zero_point), CLQ_F32(range.lo),
                      CLQ_F32(range.hi));
}

clq_status clq_int8_dequantize(clq_device *device, clq_buffer *codes, clq_buffer *real,
                               int64_t pixels, int channels, float scale, int32_t zero_point) {
    clq_kernel *kernel;
    CLQ_TRY(check_scale(scale));
    CLQ_TRY(clq_kernel_get(device, "int8_dequantize", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, word_range(device, pixels * words_of(channels)),
                      CLQ_BUF(codes), CLQ_BUF(real), CLQ_I32(pixels), CLQ_I32(channels),
                      CLQ_F32(scale), CLQ_I32(zero_point));
}

clq_status clq_int8_add(clq_device *device, clq_requantizer requantizer, clq_buffer *a,
                        clq_int8_range a_range, clq_buffer *b, clq_int8_range b_range,
                        clq_buffer *y, clq_int8_range y_range, int64_t pixels, int channels) {
    clq_kernel *kernel;
    clq_add_factors f;
    CLQ_TRY(clq_multiplier_add(requantizer, a_range.scale, b_range.scale, y_range.scale, &f));
    CLQ_TRY(clq_kernel_get(device, "int8_add", clq_requantizer_option(requantizer), &kernel));
    return CLQ_LAUNCH(device, kernel, word_range(device, pixels * words_of(channels)), CLQ_BUF(a),
                      CLQ_BUF(b), CLQ_BUF(y), CLQ_I32(pixels), CLQ_I32(channels),
                      CLQ_I32(a_range.zero_point), CLQ_I32(f.a), CLQ_I32(b_range.zero_point),
                      CLQ_I32(f.b), CLQ_I32(f.shift), CLQ_I32(y_range.zero_point),
                      CLQ_I32(y_range.lo), CLQ_I32(y_range.hi));
}

static clq_status look_up(clq_device *device, const char *name, clq_buffer *x, clq_buffer *table,
                          clq_buffer *y, int64_t pixels, int channels) {
    clq_kernel *kernel;
    CLQ_TRY(clq_kernel_get(device, name, NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, word_range(device, pixels * words_of(channels)), CLQ_BUF(x),
                      CLQ_BUF(table), CLQ_BUF(y), CLQ_I32(pixels), CLQ_I32(channels));
}

clq_status clq_int8_lookup(clq_device *device, clq_buffer *x, clq_buffer *table, clq_buffer *y,
                           int64_t pixels, int channels) {
    return look_up(device, "int8_lookup", x, table, y, pixels, channels);
}

clq_status clq_int8_lookup_channels(clq_device *device, clq_buffer *x, clq_buffer *table,
                                    clq_buffer *y, int64_t pixels, int channels) {
    return look_up(device, "int8_lookup_channels", x, table, y, pixels, channels);
}

clq_status clq_int8_shortcut_a(clq_device *device, clq_buffer *x, clq_buffer *y,
                               const clq_int8_shortcut *s) {
    clq_kernel *kernel;
    int64_t words = (int64_t)s->n * s->oh * s->ow * words_of(s->oc);
    CLQ_TRY(clq_kernel_get(device, "int8_shortcut_a", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, word_range(device, words), CLQ_BUF(x), CLQ_BUF(y),
                      CLQ_I32(words), CLQ_I32(s->ih), CLQ_I32(s->iw), CLQ_I32(s->ic),
                      CLQ_I32(s->oh), CLQ_I32(s->ow), CLQ_I32(s->oc), CLQ_I32(s->stride),
                      CLQ_I32(s->front), CLQ_I32(s->zero_point));
}

/* ---- pools ---- */

/* Units of kernels/int8/pool.cl. */
static int64_t pool_units(clq_device *device, const clq_int8_pool *p) {
    int words = words_of(p->channels);
    bool wide = clq_device_get_info(device)->schedule == CLQ_SCHEDULE_CPU;
    return (int64_t)p->n * p->oh * p->ow * (wide ? (words + 3) / 4 : words);
}

/* The arguments both pools end with. */
#define POOL_ARGUMENTS(p, units)                                                                   \
    CLQ_I32(units), CLQ_I32((p)->ih), CLQ_I32((p)->iw), CLQ_I32((p)->channels), CLQ_I32((p)->oh),  \
        CLQ_I32((p)->ow), CLQ_I32((p)->kernel_h), CLQ_I32((p)->kernel_w), CLQ_I32((p)->stride_h),  \
        CLQ_I32((p)->stride_w), CLQ_I32((p)->pad_top), CLQ_I32((p)->pad_left),                     \
        CLQ_I32((p)->dilation_h), CLQ_I32((p)->dilation_w)

clq_status clq_int8_max_pool(clq_device *device, clq_buffer *x, clq_buffer *y,
                             const clq_int8_pool *pool) {
    clq_kernel *kernel;
    int64_t units = pool_units(device, pool);
    CLQ_TRY(clq_kernel_get(device, "int8_max_pool", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, CLQ_RANGE1(clq_work_items(device, units, POOL_GRAIN)),
                      CLQ_BUF(x), CLQ_BUF(y), POOL_ARGUMENTS(pool, units));
}

struct clq_int8_avg_pool {
    clq_device *device;
    clq_requantizer requantizer;
    clq_int8_pool pool;
    clq_buffer *factors; /* S32 (OH, OW, 2): clq_multiplier_mean for each place of the window */
    clq_int8_range x_range, y_range;
};

/* Pixels first, first + dilation, .. that lie in 0 .. size - 1, of `kernel` ones. */
static int overlap(int first, int kernel, int dilation, int size) {
    const int before = first < 0 ? (-first + dilation - 1) / dilation : 0;
    const int until = first < size ? (size - first + dilation - 1) / dilation : 0;
    const int end = until < kernel ? until : kernel;
    return end > before ? end - before : 0;
}

static clq_status window_factors(clq_requantizer requantizer, const clq_int8_pool *p,
                                 int pad_bottom, int pad_right, bool include_pad, float x_scale,
                                 float y_scale, int32_t *factors) {
    for (int oy = 0; oy < p->oh; oy++) {
        for (int ox = 0; ox < p->ow; ox++) {
            int y = oy * p->stride_h - p->pad_top, x = ox * p->stride_w - p->pad_left;
            int height = overlap(y, p->kernel_h, p->dilation_h, p->ih);
            int width = overlap(x, p->kernel_w, p->dilation_w, p->iw);
            if (include_pad) {
                height = overlap(y + p->pad_top, p->kernel_h, p->dilation_h,
                                 p->pad_top + p->ih + pad_bottom);
                width = overlap(x + p->pad_left, p->kernel_w, p->dilation_w,
                                p->pad_left + p->iw + pad_right);
            }
            CLQ_TRY(clq_multiplier_mean(requantizer, x_scale, y_scale, height * width,
                                        &factors[2 * (oy * p->ow + ox)]));
        }
    }
    return CLQ_OK;
}

clq_status clq_int8_avg_pool_create(clq_device *device, clq_requantizer requantizer,
                                    const clq_int8_pool *pool, int pad_bottom, int pad_right,
                                    bool include_pad, clq_int8_range x_range,
                                    clq_int8_range y_range, clq_int8_avg_pool **made) {
    clq_status status = CLQ_OK;
    size_t count = 2 * (size_t)pool->oh * (size_t)pool->ow;
    clq_int8_avg_pool *p = clq_calloc(1, sizeof *p);
    int32_t *factors = clq_calloc(count, sizeof *factors);
    *made = NULL;
    if (!p || !factors) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    p->device = device;
    p->requantizer = requantizer;
    p->pool = *pool;
    p->x_range = x_range;
    p->y_range = y_range;
    CLQ_GOTO(status, cleanup, check_scale(x_range.scale));
    CLQ_GOTO(status, cleanup, check_scale(y_range.scale));
    CLQ_GOTO(status, cleanup,
             window_factors(requantizer, pool, pad_bottom, pad_right, include_pad, x_range.scale,
                            y_range.scale, factors));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, count * sizeof *factors, &p->factors));
    CLQ_GOTO(status, cleanup, clq_buffer_write(p->factors, 0, count * sizeof *factors, factors));
    *made = p;
    p = NULL;
cleanup:
    clq_free(factors);
    clq_int8_avg_pool_destroy(p);
    return status;
}

void clq_int8_avg_pool_destroy(clq_int8_avg_pool *pool) {
    if (pool) {
        clq_buffer_release(pool->factors);
        clq_free(pool);
    }
}

clq_status clq_int8_avg_pool_forward(clq_int8_avg_pool *p, clq_buffer *x, clq_buffer *y) {
    clq_kernel *kernel;
    int64_t units = pool_units(p->device, &p->pool);
    CLQ_TRY(clq_kernel_get(p->device, "int8_avg_pool", clq_requantizer_option(p->requantizer),
                           &kernel));
    return CLQ_LAUNCH(p->device, kernel, CLQ_RANGE1(clq_work_items(p->device, units, POOL_GRAIN)),
                      CLQ_BUF(x), CLQ_BUF(y), CLQ_BUF(p->factors), CLQ_I32(p->x_range.zero_point),
                      CLQ_I32(p->y_range.zero_point), CLQ_I32(p->y_range.lo),
                      CLQ_I32(p->y_range.hi), POOL_ARGUMENTS(&p->pool, units));
}
