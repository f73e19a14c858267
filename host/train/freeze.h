/* Which parameters of a network do not learn. */
#ifndef CLQUANT_TRAIN_FREEZE_H
#define CLQUANT_TRAIN_FREEZE_H

#include <clquant/graph.h>

/* Marks as frozen the parameters whose names begin with one of prefixes[count], and no others.
 * CLQ_USAGE for a prefix that fits none (the text lists the layers), for one that fits only some of
 * a layer's parameters, and when nothing is left to learn. */
clq_status clq_freeze(clq_graph *graph, const char *const *prefixes, int count);

#endif
