/* Finding and picking devices. */
#ifndef CLQ_DEVICE_CHOOSE_H
#define CLQ_DEVICE_CHOOSE_H

#include "device/internal.h"

/* Applies clq_device_open_nth's rules to what is on this machine. */
clq_status clq_choose_device(const char *selector, int index, clq_found_device *chosen);

#endif
