#include "device/internal.h"

clq_status clq_device_peak(clq_device *device, double *fp32_gflops, double *int8_gops) {
    (void)device;
    *fp32_gflops = *int8_gops = 0;
    return clq_fail(CLQ_INTERNAL, "not measured");
}
