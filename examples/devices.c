/* Lists the OpenCL devices here, and of the one that clquant takes by itself how it multiplies. */
#include <stdio.h>

#include <clquant/clquant.h>

enum { MOST = 64 };

static clq_status list(void) {
    static clq_device_info infos[MOST];
    size_t count = 0;
    CLQ_TRY(clq_device_list(infos, MOST, &count));
    for (size_t i = 0; i < count && i < MOST; i++) {
        printf("%d:%d  %s, %s\n", infos[i].platform_index, infos[i].device_index, infos[i].name,
               infos[i].platform);
    }
    return CLQ_OK;
}

static clq_status show(clq_device *device) {
    const clq_device_info *info = clq_device_get_info(device);
    double fp32 = 0, int8 = 0;
    CLQ_TRY(clq_device_peak(device, &fp32, &int8));
    printf("taken: %s, dot products by %s, %.0f GFLOPS in FP32, %.0f GOPS in int8\n", info->name,
           clq_dot_name(info->dot), fp32, int8);
    return CLQ_OK;
}

int main(void) {
    clq_device *device = NULL;
    clq_status status = list();
    status = status == CLQ_OK ? clq_device_open(NULL, &device) : status;
    status = status == CLQ_OK ? show(device) : status;
    if (status != CLQ_OK) {
        fprintf(stderr, "devices: %s\n", clq_last_error());
    }
    clq_device_close(device);
    return (int)status;
}
