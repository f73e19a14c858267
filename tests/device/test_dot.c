/* The integer dot-product ladder: every path that works on this machine gives exact values, on its
 * own and as a vector step, and can be forced. */
#include "support/clq_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "clquant/device.h"
#include "device/cpuid.h"
#include "device/internal.h"

/* K inputs (a multiple of 16) times LANES channels through the header's widen and step. */
static const char vector_text[] =
    "__kernel void test_lanes(__global int *out) {\n"
    "    out[0] = DOTV_LANES;\n"
    "    out[1] = DOTV_STEP;\n"
    "    out[2] = sizeof(dotv_element);\n"
    "}\n"
    "__kernel void test_dot4(__global const uint *a, __global const uint *w, __global int *out) {\n"
    "    int i = (int)get_global_id(0);\n"
    "    out[i] = dot4_us(a[i], w[i], i * 1000 - 5);\n"
    "}\n"
    "__kernel void test_vector(__global const uchar *a, __global const dotv_acc *w,\n"
    "                          __global int *out, int k) {\n"
    "    dotv_acc acc = 5;\n"
    "    for (int i = 0; i < k; i += 16) {\n"
    "        int words[16 / DOTV_STEP];\n"
    "        dotv_widen16(a + i, words);\n"
    "        for (int s = 0; s < 16 / DOTV_STEP; s++) {\n"
    "            acc = dotv_step(acc, words[s], w[i / DOTV_STEP + s]);\n"
    "        }\n"
    "    }\n"
    "    DOTV_CAT(vstore, DOTV_LANES)(acc, 0, out);\n"
    "}\n";

enum { WORDS = 4096, K = 16 * 40, MAX_LANES = 16 };

static char *source;
static clq_device *device;

static int setup(void **state) {
    (void)state;
    void *header = NULL;
    size_t size;
    if (clq_file_read(CLQ_SOURCE_DIR "/kernels/include/dot4.h", 1 << 20, &header, &size)) {
        return -1;
    }
    source = clq_format("%s\n%s", (char *)header, vector_text);
    clq_free(header);
    return clq_device_open(NULL, &device) == CLQ_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    clq_device_close(device);
    clq_free(source);
    return 0;
}

static clq_kernel *get(const char *name, clq_dot dot) {
    static clq_kernel_entry entries[8];
    static int count;
    clq_kernel_entry *entry = &entries[0];
    while (entry < entries + count && strcmp(entry->name, name) != 0) {
        entry++;
    }
    if (entry == entries + count) {
        count++;
        *entry = (clq_kernel_entry){name, "test_dot.cl", source};
    }
    clq_kernel *kernel = NULL;
    assert_ok(clq_kernel_get_entry(device, entry, NULL, dot, &kernel));
    return kernel;
}

/* Random bytes among which the extremes are frequent. */
static void fill_awkward(uint8_t *acts, int8_t *weights, size_t count, uint64_t stream) {
    uint8_t *kind = malloc(count);
    clq_test_fill_u8(acts, count, 0, 255, stream);
    clq_test_fill_s8(weights, count, -128, 127, stream + 1);
    clq_test_fill_u8(kind, count, 0, 255, stream + 2);
    for (size_t i = 0; i < count; i++) {
        acts[i] = kind[i] & 1 ? acts[i] : kind[i] & 2 ? 255 : 0;
        weights[i] = kind[i] & 4 ? weights[i] : kind[i] & 8 ? 127 : -128;
        if (i < 64) { /* pairs that saturate 16 bits in both directions */
            acts[i] = 255;
            weights[i] = i < 32 ? 127 : -128;
        }
    }
    free(kind);
}

static void check_words(clq_dot dot) {
    static uint8_t acts[4 * WORDS];
    static int8_t weights[4 * WORDS];
    static int32_t got[WORDS], expected[WORDS];
    clq_buffer *a = NULL, *w = NULL, *out = NULL;
    fill_awkward(acts, weights, 4 * WORDS, 10);
    for (int i = 0; i < WORDS; i++) {
        expected[i] = i * 1000 - 5;
        for (int k = 0; k < 4; k++) {
            expected[i] += acts[4 * i + k] * weights[4 * i + k];
        }
    }
    assert_ok(clq_buffer_create(device, sizeof acts, &a));
    assert_ok(clq_buffer_create(device, sizeof weights, &w));
    assert_ok(clq_buffer_create(device, sizeof got, &out));
    assert_ok(clq_buffer_write(a, 0, sizeof acts, acts));
    assert_ok(clq_buffer_write(w, 0, sizeof weights, weights));
    assert_ok(CLQ_LAUNCH(device, get("test_dot4", dot), CLQ_RANGE1(WORDS), CLQ_BUF(a), CLQ_BUF(w),
                         CLQ_BUF(out)));
    assert_ok(clq_buffer_read(out, 0, sizeof got, got));
    assert_equal_s32(got, expected, clq_test_shape_of(WORDS));
    clq_buffer_release(a);
    clq_buffer_release(w);
    clq_buffer_release(out);
}

/* weights (lane, K) into the header's packed form: [K / step][lane][step] elements. */
static void pack(const int8_t *weights, int lanes, int step, int element, uint8_t *packed) {
    for (int k = 0; k < K; k++) {
        for (int lane = 0; lane < lanes; lane++) {
            int16_t value = weights[lane * K + k];
            size_t at = (size_t)((k / step * lanes + lane) * step + k % step) * (size_t)element;
            memcpy(packed + at, &value, (size_t)element); /* little endian */
        }
    }
}

static void check_vector(clq_dot dot) {
    static uint8_t acts[K * MAX_LANES], packed[K * MAX_LANES * 2];
    static int8_t weights[K * MAX_LANES];
    int32_t form[3], got[MAX_LANES], expected[MAX_LANES];
    clq_buffer *a = NULL, *w = NULL, *out = NULL;
    assert_ok(clq_buffer_create(device, K, &a));
    assert_ok(clq_buffer_create(device, sizeof packed, &w));
    assert_ok(clq_buffer_create(device, sizeof got, &out));
    assert_ok(CLQ_LAUNCH(device, get("test_lanes", dot), CLQ_RANGE1(1), CLQ_BUF(out)));
    assert_ok(clq_buffer_read(out, 0, sizeof form, form));
    int lanes = form[0], step = form[1], element = form[2];
    assert_true(lanes >= 4 && lanes <= MAX_LANES);
    fill_awkward(acts, weights, K * (size_t)lanes, 20);
    pack(weights, lanes, step, element, packed);
    for (int lane = 0; lane < lanes; lane++) {
        expected[lane] = 5;
        for (int k = 0; k < K; k++) {
            expected[lane] += acts[k] * weights[lane * K + k];
        }
    }
    assert_ok(clq_buffer_write(a, 0, K, acts));
    assert_ok(clq_buffer_write(w, 0, sizeof packed, packed));
    assert_ok(CLQ_LAUNCH(device, get("test_vector", dot), CLQ_RANGE1(1), CLQ_BUF(a), CLQ_BUF(w),
                         CLQ_BUF(out), CLQ_I32(K)));
    assert_ok(clq_buffer_read(out, 0, (size_t)lanes * sizeof got[0], got));
    assert_equal_s32(got, expected, clq_test_shape_of((size_t)lanes));
    clq_buffer_release(a);
    clq_buffer_release(w);
    clq_buffer_release(out);
}

static void test_every_path(void **state) {
    (void)state;
    const clq_device_info *info = clq_device_get_info(device);
    assert_true(info->dots & 1u << CLQ_DOT_PORTABLE);
    assert_true(info->dots & 1u << info->dot);
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        if (info->dots >> dot & 1) {
            print_message("dot path %s\n", clq_dot_name((clq_dot)dot));
            check_words((clq_dot)dot);
            check_vector((clq_dot)dot);
        }
    }
}

/* What the processor has is found, where kernels run on it and the compiler knows it. */
static void test_host_cpu(void **state) {
    (void)state;
    const clq_device_info *info = clq_device_get_info(device);
    clq_host_cpu cpu = clq_read_host_cpu();
    if (!info->is_host_cpu) {
        clq_test_skip("the device is not the processor of this machine");
    }
    assert_true(info->is_cpu);
    assert_true(info->simd_bytes >= 16 && info->simd_bytes <= cpu.simd_bytes);
    if (info->simd_bytes == cpu.simd_bytes) {
        assert_int_equal(info->dots >> CLQ_DOT_AVX2 & 1, cpu.avx2);
        assert_int_equal(info->dots >> CLQ_DOT_AVXVNNI & 1, cpu.avxvnni);
        assert_int_equal(info->dots >> CLQ_DOT_AVX512VNNI & 1, cpu.avx512vnni);
    }
}

static void test_switching(void **state) {
    (void)state;
    const clq_device_info *info = clq_device_get_info(device);
    clq_dot before = info->dot;
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        bool works = info->dots >> dot & 1;
        assert_status(clq_device_set_dot(device, (clq_dot)dot), works ? CLQ_OK : CLQ_DEVICE);
        if (works) {
            assert_int_equal(info->dot, dot);
        } else {
            assert_error_has(clq_dot_name((clq_dot)dot));
        }
    }
    assert_status(clq_device_set_dot(device, CLQ_DOT_COUNT), CLQ_DEVICE);
    assert_ok(clq_device_set_dot(device, before));
}

static void test_forced(void **state) {
    (void)state;
    uint32_t dots = clq_device_get_info(device)->dots;
    for (int dot = 0; dot < CLQ_DOT_COUNT; dot++) {
        clq_device *own = NULL;
        setenv("CLQUANT_DOT", clq_dot_name((clq_dot)dot), 1);
        clq_status status = clq_device_open(NULL, &own);
        assert_int_equal(status, dots >> dot & 1 ? CLQ_OK : CLQ_DEVICE);
        if (status == CLQ_OK) {
            assert_int_equal(clq_device_get_info(own)->dot, dot);
        } else {
            assert_error_has("CLQUANT_DOT");
        }
        clq_device_close(own);
    }
    clq_device *own = NULL;
    setenv("CLQUANT_DOT", "fastest", 1);
    assert_status(clq_device_open(NULL, &own), CLQ_USAGE);
    assert_error_has("fastest");
    unsetenv("CLQUANT_DOT");
}

static void test_peak(void **state) {
    (void)state;
    double fp32 = 0, int8 = 0, again = 0;
    uint64_t live, after, peak;
    clq_device_memory(device, &live, &peak);
    assert_ok(clq_device_peak(device, &fp32, &int8));
    print_message("%.1f GFLOPS, %.1f GOPS with %s\n", fp32, int8,
                  clq_dot_name(clq_device_get_info(device)->dot));
    assert_true(fp32 > 0.1 && fp32 < 1e6);
    assert_true(int8 > 0.1 && int8 < 1e7);
    assert_ok(clq_device_peak(device, &again, &int8)); /* remembered */
    assert_true(again == fp32);
    clq_device_memory(device, &after, &peak);
    assert_int_equal(live, after);
}

static void test_limits(void **state) {
    (void)state;
    clq_device_limits limits = {0}, again = {0};
    uint64_t live, after, peak;
    double fp32 = 0, int8 = 0;
    clq_device_memory(device, &live, &peak);
    assert_ok(clq_device_measure_limits(device, &limits));
    print_message("%.1f Gcodes/s, memory %.1f GB/s, cache %.1f GB/s, launch %.2f us\n",
                  limits.requantize_gcodes, limits.memory_gbs, limits.cache_gbs, limits.launch_us);
    assert_ok(clq_device_peak(device, &fp32, &int8));
    assert_true(limits.fp32_gflops == fp32 && limits.int8_gops == int8);
    assert_true(limits.requantize_gcodes > 0.01 && limits.requantize_gcodes < 1e6);
    assert_true(limits.memory_gbs > 0.1 && limits.memory_gbs < 1e5);
    assert_true(limits.cache_gbs >= limits.memory_gbs && limits.cache_gbs < 1e6);
    assert_true(limits.launch_us > 0.01 && limits.launch_us < 1e5);
    assert_ok(clq_device_measure_limits(device, &again)); /* remembered */
    assert_memory_equal(&limits, &again, sizeof limits);
    assert_ok(clq_device_remeasure_limits(device)); /* never gets worse */
    assert_ok(clq_device_measure_limits(device, &again));
    assert_true(again.fp32_gflops >= limits.fp32_gflops && again.int8_gops >= limits.int8_gops);
    assert_true(again.requantize_gcodes >= limits.requantize_gcodes);
    assert_true(again.memory_gbs >= limits.memory_gbs && again.cache_gbs >= limits.cache_gbs);
    assert_true(again.launch_us <= limits.launch_us);
    clq_device_memory(device, &after, &peak);
    assert_int_equal(live, after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_path), cmocka_unit_test(test_host_cpu),
        cmocka_unit_test(test_switching),  cmocka_unit_test(test_forced),
        cmocka_unit_test(test_peak),       cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests_name("dot", tests, setup, teardown);
}
