/* Devices as JSON. */
#include <stdio.h>

#include "base/json.h"
#include "session/results.h"

static void add_failed(void *array, const char *family, const char *how) {
    json_array_append_new(array, json_pack("{s:s, s:s}", "kernels", family, "reason", how));
}

json_t *clq_device_to_json(clq_device *device, const clq_device_info *info) {
    json_t *json = json_object(), *dots = json_array(), *failed = json_array();
    char id[32];
    snprintf(id, sizeof id, "%d:%d", info->platform_index, info->device_index);
    json_object_set_new(json, "id", clq_json_string(id));
    json_object_set_new(json, "name", clq_json_string(info->name));
    json_object_set_new(json, "vendor", clq_json_string(info->vendor));
    json_object_set_new(json, "platform", clq_json_string(info->platform));
    json_object_set_new(json, "version", clq_json_string(info->version));
    json_object_set_new(json, "driver", clq_json_string(info->driver));
    json_object_set_new(json, "type",
                        clq_json_string(info->is_gpu   ? "gpu"
                                        : info->is_cpu ? "cpu"
                                                       : "other"));
    json_object_set_new(json, "compute_units", json_integer(info->compute_units));
    json_object_set_new(json, "simd_bytes", json_integer(info->simd_bytes));
    json_object_set_new(json, "global_memory", json_integer((json_int_t)info->global_memory));
    json_object_set_new(json, "max_allocation", json_integer((json_int_t)info->max_allocation));
    json_object_set_new(json, "local_memory", json_integer((json_int_t)info->local_memory));
    json_object_set_new(json, "schedule",
                        clq_json_string(info->schedule == CLQ_SCHEDULE_CPU ? "cpu" : "gpu"));
    for (int d = 0; d < CLQ_DOT_COUNT; d++) {
        if (info->dots & (1u << d)) {
            json_array_append_new(dots, clq_json_string(clq_dot_name((clq_dot)d)));
        }
    }
    json_object_set_new(json, "dot_path",
                        device ? clq_json_string(clq_dot_name(info->dot)) : json_null());
    json_object_set_new(json, "dot_paths", dots);
    if (device) {
        clq_device_failed_kernels(device, add_failed, failed);
    }
    json_object_set_new(json, "failed_self_tests", failed);
    return json;
}
