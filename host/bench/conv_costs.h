/* What an integer convolution takes beside its multiplications, measured on the device. */
#ifndef CLQUANT_BENCH_CONV_COSTS_H
#define CLQUANT_BENCH_CONV_COSTS_H

#include <clquant/device.h>

/* All compute units together; zeroed: not measured. */
typedef struct clq_conv_costs {
    double sum_ns;       /* a sum, however short: its start, its end, the code made of it */
    double tap_ns;       /* fetching a tap's inputs for an output pixel, however few; */
    double input_ns;     /* and each of them */
    double depthwise_ns; /* a product of a depthwise convolution, whose sums are short */
} clq_conv_costs;

/* Runs four convolutions in which these weigh differently, some milliseconds each. `peak_gops` is
 * that of the device's dot path. What does not run leaves 0. */
clq_status clq_conv_costs_measure(clq_device *device, double peak_gops, double launch_us,
                                  clq_conv_costs *costs);

#endif
