/* What a device can do that its driver does not tell, or tells wrongly: found by compiling small
 * kernels and comparing the values they compute.
 *
 * First, whether kernels run on this process's own processor: an x86 kernel asks cpuid and the
 * answers must be ours. Only then may the x86 instructions of kernels/include/dot4.h be tried, and
 * only those that cpuid lists. Then each path of the ladder in turn. */
#include <string.h>

#include "base/log.h"
#include "device/cache_file.h"
#include "device/cpuid.h"
#include "device/internal.h"

enum { PROBE_WORDS = 40, MMA_WORDS = 16 * 8 };

/* ---- the processor ---- */

/* Runs cpu_probe at one register width. *built is false when it does not even compile. */
static clq_status run_cpu_probe(clq_device *device, unsigned simd, uint32_t words[17],
                                bool *built) {
    clq_status status = CLQ_OK;
    clq_buffer *buffer = NULL;
    clq_kernel *kernel = NULL;
    const char *options = simd == 64   ? "-DCLQ_PROBE_SIMD=64"
                          : simd == 32 ? "-DCLQ_PROBE_SIMD=32"
                                       : "-DCLQ_PROBE_SIMD=16";
    *built = clq_kernel_get_dot(device, "cpu_probe", options, CLQ_DOT_PORTABLE, &kernel) == CLQ_OK;
    if (!*built) {
        clq_log_debug("%s cannot be asked for cpuid: %s", device->info.name, clq_last_error());
        return CLQ_OK;
    }
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, 17 * sizeof words[0], &buffer));
    CLQ_GOTO(status, cleanup, clq_buffer_fill(buffer, 0, 17 * sizeof words[0], 0));
    CLQ_GOTO(status, cleanup, CLQ_LAUNCH(device, kernel, CLQ_RANGE1(1), CLQ_BUF(buffer)));
    CLQ_GOTO(status, cleanup, clq_buffer_read(buffer, 0, 17 * sizeof words[0], words));
cleanup:
    clq_buffer_release(buffer);
    return status;
}

static clq_status probe_cpu(clq_device *device, const clq_host_cpu *cpu) {
    if (!device->info.is_cpu) {
        return CLQ_OK;
    }
    for (unsigned simd = cpu->simd_bytes; simd >= 16; simd /= 2) {
        uint32_t words[17] = {0};
        bool built;
        CLQ_TRY(run_cpu_probe(device, simd, words, &built));
        if (!built || memcmp(words, cpu->identity, sizeof cpu->identity) != 0) {
            return CLQ_OK;
        }
        device->info.is_host_cpu = true;
        if (words[16] == simd) {
            device->info.simd_bytes = simd;
            return CLQ_OK;
        }
    }
    return CLQ_OK;
}

/* ---- the dot paths ---- */

typedef struct probe_data {
    uint32_t acts[MMA_WORDS], weights[MMA_WORDS];
    int32_t sums[MMA_WORDS];
} probe_data;

/* Awkward first: the extremes, alone and in pairs whose 16-bit sum would saturate; then every other
 * kind of byte. */
static void fill_probe_data(probe_data *data) {
    static const uint32_t acts[] = {0xffffffff, 0xffffffff, 0xff00ff00, 0x00ff00ff, 0x80808080,
                                    0x01010101, 0x7f80ff00, 0xffffffff, 0xfffefdfc, 0x00000000};
    static const uint32_t weights[] = {0x7f7f7f7f, 0x80808080, 0x7f7f7f7f, 0x80808080, 0x7f807f80,
                                       0x817f817f, 0xff01807f, 0x7f81ff01, 0x7e7d7c7b, 0x80818081};
    uint32_t state = 1;
    for (size_t i = 0; i < MMA_WORDS; i++) {
        for (int k = 0; k < 4; k++) {
            state = state * 1664525u + 1013904223u;
            data->acts[i] = data->acts[i] << 8 | state >> 24;
            state = state * 1664525u + 1013904223u;
            data->weights[i] = data->weights[i] << 8 | state >> 24;
        }
        data->sums[i] = (int32_t)(state % 2000000) - 1000000;
    }
    memcpy(data->acts, acts, sizeof acts);
    memcpy(data->weights, weights, sizeof weights);
}

static int32_t dot4_host(uint32_t acts, uint32_t weights, int32_t sum) {
    for (int k = 0; k < 4; k++) {
        sum += (int32_t)(acts >> (8 * k) & 0xff) * (int8_t)(weights >> (8 * k) & 0xff);
    }
    return sum;
}

typedef struct probe_buffers {
    clq_buffer *acts, *weights, *sums, *packed, *out;
} probe_buffers;

static void release_buffers(probe_buffers *b) {
    clq_buffer_release(b->acts);
    clq_buffer_release(b->weights);
    clq_buffer_release(b->sums);
    clq_buffer_release(b->packed);
    clq_buffer_release(b->out);
}

enum { MAX_LANES = 16, OUT_WORDS = 1 + MMA_WORDS + MAX_LANES };

static clq_status create_buffers(clq_device *device, const probe_data *data, probe_buffers *b) {
    size_t bytes = sizeof data->acts;
    CLQ_TRY(clq_buffer_create(device, bytes, &b->acts));
    CLQ_TRY(clq_buffer_create(device, bytes, &b->weights));
    CLQ_TRY(clq_buffer_create(device, bytes, &b->sums));
    CLQ_TRY(clq_buffer_create(device, PROBE_WORDS * 4 * MAX_LANES * sizeof(int16_t), &b->packed));
    CLQ_TRY(clq_buffer_create(device, OUT_WORDS * sizeof(int32_t), &b->out));
    CLQ_TRY(clq_buffer_write(b->acts, 0, bytes, data->acts));
    CLQ_TRY(clq_buffer_write(b->weights, 0, bytes, data->weights));
    return clq_buffer_write(b->sums, 0, bytes, data->sums);
}

static clq_status compare_output(clq_buffer *out, const int32_t *expected, size_t count,
                                 bool *equal) {
    int32_t got[OUT_WORDS];
    CLQ_TRY(clq_buffer_read(out, 0, count * sizeof got[0], got));
    *equal = memcmp(got, expected, count * sizeof got[0]) == 0;
    return CLQ_OK;
}

/* Each probe sets *works; a status other than CLQ_OK means that it could not be found out. A kernel
 * that does not build is an answer, but for plain OpenCL C. */
static clq_status probe_lanes(clq_device *device, clq_dot dot, const probe_data *data,
                              const probe_buffers *b, bool *works) {
    clq_kernel *kernel = NULL;
    int32_t expected[OUT_WORDS] = {0}, lanes;
    *works = false;
    clq_status built = clq_kernel_get_dot(device, "dot_probe", NULL, dot, &kernel);
    if (built != CLQ_OK) {
        return dot == CLQ_DOT_PORTABLE ? built : CLQ_OK;
    }
    CLQ_TRY(clq_buffer_fill(b->out, 0, sizeof expected, 0));
    CLQ_TRY(CLQ_LAUNCH(device, kernel, CLQ_RANGE1(1), CLQ_BUF(b->acts), CLQ_BUF(b->weights),
                       CLQ_BUF(b->sums), CLQ_BUF(b->packed), CLQ_BUF(b->out),
                       CLQ_I32(PROBE_WORDS)));
    CLQ_TRY(clq_buffer_read(b->out, 0, sizeof lanes, &lanes));
    if (lanes != 4 && lanes != 8 && lanes != MAX_LANES) {
        return CLQ_OK; /* the compiler's target lacks the path */
    }
    expected[0] = lanes;
    for (int i = 0; i < PROBE_WORDS; i++) {
        expected[1 + i] = dot4_host(data->acts[i], data->weights[i], data->sums[i]);
        for (int lane = 0; lane < lanes; lane++) {
            int32_t *sum = &expected[1 + PROBE_WORDS + lane];
            *sum = dot4_host(data->acts[i], data->weights[(i + lane) % PROBE_WORDS], *sum);
        }
    }
    return compare_output(b->out, expected, 1 + PROBE_WORDS + (size_t)lanes, works);
}

static clq_status probe_mma(clq_device *device, const probe_data *data, const probe_buffers *b,
                            bool *works) {
    clq_kernel *kernel = NULL;
    int32_t expected[MMA_WORDS];
    *works = false;
    if (clq_kernel_get_dot(device, "dot_probe_mma", NULL, CLQ_DOT_MMA, &kernel) != CLQ_OK) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_buffer_fill(b->out, 0, sizeof expected, 0));
    CLQ_TRY(clq_launch(
        device, kernel, (clq_range){1, {32, 1, 1}, {32, 1, 1}},
        (clq_arg[]){CLQ_BUF(b->acts), CLQ_BUF(b->weights), CLQ_BUF(b->sums), CLQ_BUF(b->out)}, 4));
    for (int row = 0; row < 16; row++) {
        for (int column = 0; column < 8; column++) {
            int32_t sum = data->sums[row * 8 + column];
            for (int i = 0; i < 8; i++) {
                sum = dot4_host(data->acts[row * 8 + i], data->weights[column * 8 + i], sum);
            }
            expected[row * 8 + column] = sum;
        }
    }
    return compare_output(b->out, expected, MMA_WORDS, works);
}

/* Whether trying a path is safe: the x86 instructions need a processor that has them, the others
 * a compiler that knows their spelling. */
static bool may_try(const clq_device *device, clq_dot dot, const clq_host_cpu *cpu) {
    bool has = false;
    switch (dot) {
    case CLQ_DOT_MMA:
    case CLQ_DOT_DP4A:
        return clq_has_extension(device->id, "cl_nv_", &has) == CLQ_OK && has;
    case CLQ_DOT_AVX512VNNI:
        return device->info.is_host_cpu && cpu->avx512vnni && device->info.simd_bytes == 64;
    case CLQ_DOT_AVXVNNI:
        return device->info.is_host_cpu && cpu->avxvnni && device->info.simd_bytes >= 32;
    case CLQ_DOT_AVX2:
        return device->info.is_host_cpu && cpu->avx2 && device->info.simd_bytes >= 32;
    case CLQ_DOT_KHR:
        return clq_has_extension(device->id, "cl_khr_integer_dot_product", &has) == CLQ_OK && has;
    case CLQ_DOT_AMD:
        return clq_has_extension(device->id, "cl_amd_", &has) == CLQ_OK && has;
    case CLQ_DOT_ARM:
        return clq_has_extension(device->id, "cl_arm_integer_dot_product", &has) == CLQ_OK && has;
    default:
        return true;
    }
}

static clq_status probe_dot(clq_device *device, clq_dot dot, const probe_data *data,
                            const probe_buffers *b) {
    bool works = false;
    CLQ_TRY(probe_lanes(device, dot, data, b, &works));
    if (works && dot == CLQ_DOT_MMA) {
        CLQ_TRY(probe_mma(device, data, b, &works));
    }
    if (works) {
        device->info.dots |= 1u << dot;
    } else {
        clq_log_debug("%s: the dot path %s does not work", device->info.name, clq_dot_name(dot));
    }
    return CLQ_OK;
}

/* *sure is cleared when a path was left out because the device failed, not because it answered. */
static clq_status probe_dots(clq_device *device, const clq_host_cpu *cpu, bool *sure) {
    probe_data data = {0};
    probe_buffers buffers = {0};
    fill_probe_data(&data);
    clq_status status = create_buffers(device, &data, &buffers);
    for (int dot = 0; dot < CLQ_DOT_COUNT && status == CLQ_OK; dot++) {
        if (!may_try(device, (clq_dot)dot, cpu)) {
            continue;
        }
        status = probe_dot(device, (clq_dot)dot, &data, &buffers);
        if (status != CLQ_OK && dot != CLQ_DOT_PORTABLE) {
            clq_log_warn("%s: trying the dot path %s failed: %s", device->info.name,
                         clq_dot_name((clq_dot)dot), clq_last_error());
            *sure = false;
            status = CLQ_OK;
        }
    }
    release_buffers(&buffers);
    CLQ_TRY(status);
    if (!(device->info.dots & (1u << CLQ_DOT_PORTABLE))) {
        return clq_fail(CLQ_DEVICE, "%s does not compute an integer dot product in plain OpenCL C",
                        device->info.name);
    }
    return CLQ_OK;
}

/* The ladder's choice. cl_khr_integer_dot_product may be emulated, slower than plain code: it is
 * only taken where the driver says that it is not. The vector steps of the CPU schedule know the
 * x86 instructions and plain code, so there the other paths would be that in name only. */
static clq_dot best_dot(const clq_device_info *info) {
    for (int dot = 0; dot < CLQ_DOT_PORTABLE; dot++) {
        bool has_steps = info->schedule == CLQ_SCHEDULE_GPU ||
                         (dot >= CLQ_DOT_AVX512VNNI && dot <= CLQ_DOT_AVX2);
        if (info->dots & (1u << dot) && has_steps &&
            (dot != CLQ_DOT_KHR || info->has_int8_dot_khr)) {
            return (clq_dot)dot;
        }
    }
    return CLQ_DOT_PORTABLE;
}

/* ---- remembering ---- */

enum { OUTCOME_WORDS = 3 };

/* What was found depends on the driver, the processor and what the probes try. */
static clq_cache_key outcome_key(const clq_device *device, const clq_host_cpu *cpu) {
    clq_cache_key key = clq_cache_key_start();
    uint8_t features[] = {(uint8_t)cpu->simd_bytes, cpu->avx2, cpu->avxvnni, cpu->avx512vnni};
    clq_cache_key_add(&key, &device->identity, sizeof device->identity);
    clq_cache_key_add(&key, cpu->identity, sizeof cpu->identity);
    clq_cache_key_add(&key, features, sizeof features);
    clq_cache_key_add_text(&key, clq_kernel_source("cpu_probe"));
    clq_cache_key_add_text(&key, clq_kernel_source("dot_probe"));
    return key;
}

static bool recall(clq_device *device, clq_cache_key key) {
    uint32_t *words = NULL;
    size_t size;
    if (!clq_cache_load("probe", key, (void **)&words, &size)) {
        return false;
    }
    bool sound = size == OUTCOME_WORDS * sizeof *words && words[2] < 1u << CLQ_DOT_COUNT &&
                 words[2] & (1u << CLQ_DOT_PORTABLE);
    if (sound) {
        device->info.is_host_cpu = words[0] != 0;
        device->info.simd_bytes = words[1];
        device->info.dots = words[2];
    }
    clq_free(words);
    return sound;
}

static void remember(const clq_device *device, clq_cache_key key) {
    const clq_device_info *info = &device->info;
    uint32_t words[OUTCOME_WORDS] = {info->is_host_cpu, info->simd_bytes, info->dots};
    clq_cache_store("probe", key, words, sizeof words);
}

clq_status clq_probe(clq_device *device) {
    clq_host_cpu cpu = clq_read_host_cpu();
    clq_cache_key key = outcome_key(device, &cpu);
    if (!recall(device, key)) {
        bool sure = true;
        if (probe_cpu(device, &cpu) != CLQ_OK) {
            clq_log_warn("%s: asking for the processor failed: %s", device->info.name,
                         clq_last_error());
            sure = false;
        }
        CLQ_TRY(probe_dots(device, &cpu, &sure));
        if (sure) {
            remember(device, key);
        }
    }
    device->info.dot = best_dot(&device->info);
    return CLQ_OK;
}
