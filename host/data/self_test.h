/* Self-test (device/self_test.h) of the augmentation kernels. */
#ifndef CLQ_DATA_SELF_TEST_H
#define CLQ_DATA_SELF_TEST_H

#include <clquant/device.h>

/* How kernels/data/augment.cl is built. */
typedef struct clq_augment_variant {
    int channels;
    bool general, bgr;
    size_t group; /* work-items that sum an image's grey */
    char build[64];
} clq_augment_variant;

/* What `channels`, sampling and colours, and the order of channels need on the device. */
clq_augment_variant clq_augment_variant_of(clq_device *device, int channels, bool general,
                                           bool bgr);
/* CLQ_DEVICE when it gives wrong values here. */
clq_status clq_augment_works(clq_device *device, const clq_augment_variant *variant);

#endif
