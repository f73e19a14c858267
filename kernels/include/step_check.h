/* The floats in which a training step is checked on the device: the same on the host
 * (host/train/health.c), in kernels/optim/health.cl, which checks, and in optimizer.cl, which follows. */
#ifndef CLQ_STEP_CHECK_H
#define CLQ_STEP_CHECK_H

#define STEP_SCALE 0  /* what gradients are multiplied by; 0: nothing of the step may be kept */
#define STEP_NORM 1   /* L2 norm of all gradients before that */
#define STEP_BROKEN 2 /* not 0: the optimizer met a parameter that is not finite */
#define STEP_FIELDS 3

#define INFINITY_BITS 0x7f800000u /* what |x| has at least when x is infinite or NaN */

#endif
