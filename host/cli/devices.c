#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "clquant/train.h"

enum { MAX_DEVICES = 64 };

typedef struct options {
    clq_common common;
    bool no_peak;
} options;

enum { NO_PEAK = CLQ_KEY_LONG };

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    (void)argument;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case NO_PEAK:
        o->no_peak = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"no-peak", NO_PEAK, NULL, 0,
     "Do not measure the peaks, nor test the kernels that were not tested yet", 0},
    {0},
};
static const struct argp_child children[] = {{&clq_host_argp, 0, "Common options:", 90}, {0}};
static const struct argp argp = {
    argp_options,
    parse,
    NULL,
    "Lists the OpenCL devices, their int8 dot-product paths and measured peaks."
    "\vExamples:\n"
    "  clquant devices\n"
    "  clquant devices --no-peak --json",
    children,
    NULL,
    NULL};

/* ---- kernels that are left out ---- */

static void print_failed(void *unused, const char *family, const char *how) {
    (void)unused;
    printf("     left out: %s failed the self-test (%s)\n", family, how);
}

/* ---- devices ---- */

/* `limits`: launch_us 0 when not measured. `device` NULL: it did not open. */
static json_t *to_json(clq_device *device, const clq_device_info *info,
                       const clq_device_limits *limits, const char *error) {
    const bool measured = limits->launch_us > 0;
    json_t *json = clq_device_to_json(device, info);
    const struct {
        const char *key;
        double value;
    } rates[] = {{"fp32_gflops", limits->fp32_gflops},
                 {"int8_gops", limits->int8_gops},
                 {"requantize_gcodes", limits->requantize_gcodes},
                 {"bandwidth_gbs", limits->memory_gbs},
                 {"cache_bandwidth_gbs", limits->cache_gbs},
                 {"launch_us", limits->launch_us}};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        json_object_set_new(json, rates[i].key,
                            measured ? clq_json_real(rates[i].value) : json_null());
    }
    if (error) {
        json_object_set_new(json, "error", clq_json_string(error));
    }
    return json;
}

static void print(clq_device *device, const clq_device_info *info, const clq_device_limits *limits,
                  const char *error) {
    printf("%d:%d  %s\n", info->platform_index, info->device_index, info->name);
    printf("     %s, %s, driver %s\n", info->platform, info->version, info->driver);
    printf(
        "     %s, %u compute unit%s, %.1f GiB memory (%.1f GiB at once), %" PRIu64 " KiB local\n",
        info->is_gpu   ? "GPU"
        : info->is_cpu ? "CPU"
                       : "other",
        info->compute_units, clq_plural(info->compute_units), (double)info->global_memory / 0x1p30,
        (double)info->max_allocation / 0x1p30, info->local_memory / 1024);
    if (error) {
        printf("     cannot be used: %s\n", error);
        return;
    }
    printf("     %s schedule", info->schedule == CLQ_SCHEDULE_CPU ? "CPU" : "GPU");
    if (info->simd_bytes) {
        printf(", %u-bit SIMD", info->simd_bytes * 8);
    }
    printf(", int8 dot paths:");
    for (int d = 0; d < CLQ_DOT_COUNT; d++) {
        if (info->dots & (1u << d)) {
            printf(" %s%s", clq_dot_name((clq_dot)d), (clq_dot)d == info->dot ? "*" : "");
        }
    }
    putchar('\n');
    clq_device_failed_kernels(device, print_failed, NULL);
    if (limits->launch_us > 0) {
        printf("     measured peaks: %.0f GFLOPS fp32, %.0f GOPS int8 (%.2fx)\n",
               limits->fp32_gflops, limits->int8_gops, limits->int8_gops / limits->fp32_gflops);
        printf("     measured: memory %.1f GB/s, cache %.1f GB/s, a launch %.1f us\n",
               limits->memory_gbs, limits->cache_gbs, limits->launch_us);
    }
}

/* Opens one listed device, measures it, and prints it or adds it to `array`. A device that does not
 * open is listed with its error. */
static clq_status show(const options *o, const clq_device_info *listed, json_t *array) {
    clq_device *device = NULL;
    clq_device_info info = *listed;
    clq_device_limits limits = {0};
    char selector[32];
    snprintf(selector, sizeof selector, "%d:%d", listed->platform_index, listed->device_index);
    clq_status status = clq_device_open(selector, &device);
    if (status == CLQ_OK) {
        info = *clq_device_get_info(device);
        status = o->no_peak ? CLQ_OK : clq_self_test_device(device);
        if (status == CLQ_OK && !o->no_peak) {
            status = clq_device_measure_limits(device, &limits);
        }
    }
    const char *error = status == CLQ_OK ? NULL : clq_last_error();
    if (array) {
        json_array_append_new(array, to_json(device, &info, &limits, error));
    } else {
        print(device, &info, &limits, error);
    }
    clq_device_close(device);
    return CLQ_OK;
}

static clq_status run(int argc, char **argv) {
    static clq_device_info infos[MAX_DEVICES];
    options o = {0};
    size_t count = 0;
    bool done;
    CLQ_TRY(clq_parse(&argp, "devices", argc, argv, &o, &done));
    CLQ_TRY(clq_device_list(infos, MAX_DEVICES, &count));
    json_t *array = o.common.json ? json_array() : NULL;
    for (size_t i = 0; i < count && i < MAX_DEVICES; i++) {
        CLQ_TRY(show(&o, &infos[i], array));
    }
    if (!array) {
        return CLQ_OK;
    }
    json_t *json = clq_json_result();
    json_object_set_new(json, "devices", array);
    const clq_status status = clq_json_dump_stdout(json);
    json_decref(json);
    return status;
}

const clq_command clq_command_devices = {"devices", "what is here: dot paths and measured peaks",
                                         run};
