/* How sure a share of a sample is. */
#ifndef CLQ_BASE_INTERVAL_H
#define CLQ_BASE_INTERVAL_H

#include <stdint.h>

/* Wilson's score interval, 95 %, of a share (0..1) that was seen in `count` samples. NaN for a NaN
 * or without samples. */
void clq_wilson_interval(double share, int64_t count, double *low, double *high);

/* The exact two-sided sign test: how likely so uneven a pair of counts is, or one more uneven, when
 * either side is as likely. 1 for two zeros. */
double clq_sign_test(int64_t a, int64_t b);

#endif
