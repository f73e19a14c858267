/* Which scales QAT learns, and where they start: LSQ, LSQ+, PACT. */
#ifndef CLQUANT_QUANT_LEARNED_SCALES_H
#define CLQUANT_QUANT_LEARNED_SCALES_H

#include <clquant/quant.h>

#include "ops/learned_scales.h"

/* Makes config->learn_scales' of a quantized graph, with the graph's scales to start from, and
 * `params`, the graph's parameters behind them. `groups`: clq_find_groups. *learned stays NULL when
 * nothing is to be learned; CLQ_USAGE when there is nothing that could be. */
clq_status clq_learned_create(clq_device *device, clq_graph *graph, const clq_quant_config *config,
                              const int *groups, clq_params **params, clq_learned_scales **learned);
void clq_learned_destroy(clq_learned_scales *learned); /* NULL ok */

/* The learned scales of layers' weights into the graph, whose activations have theirs already.
 * Warns of scales that training drove against their least value. */
clq_status clq_learned_store(const clq_learned_scales *learned, const clq_quant_config *config,
                             clq_graph *graph);

#endif
