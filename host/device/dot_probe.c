#include "device/internal.h"

clq_status clq_probe(clq_device *device) {
    device->info.dot = CLQ_DOT_PORTABLE;
    device->info.dots = 1u << CLQ_DOT_PORTABLE;
    return CLQ_OK;
}
