/* Observers: how the range of a value's reals is estimated. A new one is a name and a row in
 * observer.c, and its kernel. */
#ifndef CLQUANT_QUANT_OBSERVER_H
#define CLQUANT_QUANT_OBSERVER_H

#include <clquant/quant.h>

typedef struct clq_observer {
    size_t state_floats; /* of a value, on the device; zeros before it has seen anything */
    /* (reals, states, value, count): takes `count` reals into the state of a value. */
    const char *kernel;
    /* NULL: a state sees all batches. Else it begins anew with every batch, and this takes what it
     * saw into what is kept, which starts as zeros: `weight` is 1 for the first batch and
     * config->averaging for the others. */
    void (*merge)(float *kept, const float *seen, float weight);
    /* The range [-low, high] that a state, or what was kept of it, stands for. */
    void (*finish)(const float *state, float *low, float *high);
} clq_observer;

const clq_observer *clq_observer_get(clq_observer_kind kind);

#endif
