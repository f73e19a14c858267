/* Verification of integer networks in tests of other things. */
#ifndef CLQ_TEST_VERIFY_H
#define CLQ_TEST_VERIFY_H

#include "clquant/quant.h"
#include "support/clq_test.h"

/* clq_verify on the device's own dot path, and on all of them in an exhaustive test: each has
 * kernels of its own to compile. quant/verify always takes all. */
static inline unsigned set_dots(clq_device *device, unsigned dots) {
    clq_device_info *info = (clq_device_info *)clq_device_get_info(device);
    const unsigned before = info->dots;
    info->dots = dots;
    return before;
}

static inline unsigned own_dot(const clq_device *device) {
    const clq_device_info *info = clq_device_get_info(device);
    return clq_test_all() ? info->dots : 1u << info->dot;
}

static inline clq_status net_verify_feed(clq_device *device, const clq_graph *integer,
                                         clq_feed *feed, int batch,
                                         clq_verification *verification) {
    const unsigned all = set_dots(device, own_dot(device));
    const clq_status status = clq_verify_feed(device, integer, feed, batch, 0, verification);
    set_dots(device, all);
    return status;
}

static inline clq_status net_verify(clq_device *device, const clq_graph *integer, clq_dataset *data,
                                    int batch, clq_verification *verification) {
    const unsigned all = set_dots(device, own_dot(device));
    const clq_status status = clq_verify(device, integer, data, batch, 0, verification);
    set_dots(device, all);
    return status;
}

#endif
