/* FP32 matrix products by CLBlast, where the build has it. */
#include "base/arguments.h"
#include "device/cl_status.h"
#include "device/recording.h"

#ifdef CLQ_HAVE_CLBLAST

#include <clblast_c.h>

bool clq_has_gemm_f32(void) {
    return true;
}

/* CLBlast's parameters for devices that its tables lack suit none in particular. These describe the
 * tile of kernels/f32/conv2d_block.cl: 16 x 16 work-items with 8 x 8 sums each, vectors of 4, both
 * operands in local memory, 16 KB of it. */
static clq_status set_parameters(clq_device *device) {
    static const struct {
        const char *name;
        size_t value;
    } xgemm[] = {
        {"GEMMK", 0}, {"KREG", 1},   {"KWG", 16},   {"KWI", 2},   {"MDIMA", 16}, {"MDIMC", 16},
        {"MWG", 128}, {"NDIMB", 16}, {"NDIMC", 16}, {"NWG", 128}, {"SA", 1},     {"SB", 1},
        {"STRM", 0},  {"STRN", 0},   {"VWM", 4},    {"VWN", 4},
    };
    enum { COUNT = sizeof xgemm / sizeof *xgemm };
    const char *names[COUNT];
    size_t values[COUNT];
    if (device->info.max_work_group < 256 || device->gemm_used) {
        return CLQ_OK;
    }
    for (int i = 0; i < COUNT; i++) {
        names[i] = xgemm[i].name;
        values[i] = xgemm[i].value;
    }
    CLBlastStatusCode code = CLBlastOverrideParameters(device->id, "Xgemm", CLBlastPrecisionSingle,
                                                       COUNT, names, values);
    return code == CLBlastSuccess
               ? CLQ_OK
               : clq_cl_fail((cl_int)code, "giving CLBlast parameters for %s", device->info.name);
}

clq_status clq_gemm_f32(clq_device *device, size_t m, size_t n, size_t k, clq_buffer *a,
                        clq_buffer *b, bool accumulate, clq_buffer *c) {
    CLQ_NEEDS(device, a, b, c);
    cl_event slot, *event = clq_profile_event(device, &slot);
    CLQ_TRY(clq_recorder_refuse(device, "a product by CLBlast"));
    CLQ_TRY(set_parameters(device));
    device->gemm_used = true;
    CLBlastStatusCode code = CLBlastSgemm(
        CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, m, n, k, 1.0f, a->memory, 0,
        k, b->memory, 0, k, accumulate ? 1.0f : 0.0f, c->memory, 0, n, &device->queue, event);
    if (code != CLBlastSuccess) {
        return clq_cl_fail((cl_int)code, "CLBlast product %zux%zux%zu on %s", m, n, k,
                           device->info.name);
    }
    if (event) {
        clq_profile_add(device, "clblast_gemm", NULL, *event);
    }
    device->profile.work = 0;
    return CLQ_OK;
}

/* Its programs belong to this device's context, which would otherwise outlive the device. */
void clq_gemm_forget(clq_device *device) {
    if (device->gemm_used) {
        CLBlastClearCache();
    }
}

#else

bool clq_has_gemm_f32(void) {
    return false;
}

clq_status clq_gemm_f32(clq_device *device, size_t m, size_t n, size_t k, clq_buffer *a,
                        clq_buffer *b, bool accumulate, clq_buffer *c) {
    (void)m, (void)n, (void)k, (void)a, (void)b, (void)accumulate, (void)c;
    return clq_fail(CLQ_USAGE, "%s: this build has no CLBlast", device->info.name);
}

void clq_gemm_forget(clq_device *device) {
    (void)device;
}

#endif
