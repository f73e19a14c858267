/* Which tensor of a state dict is which weight of a network: by name, without what wrappers put in
 * front. */
#ifndef CLQ_FORMATS_STATE_NAMES_H
#define CLQ_FORMATS_STATE_NAMES_H

#include <clquant/formats.h>

#include "formats/names.h"

typedef struct clq_state_names {
    const clq_tensors *tensors;
    clq_names found;      /* name without prefixes -> index in tensors */
    clq_names wanted;     /* the graph's weights -> value */
    int strips;           /* prefixes that are taken off a name, at most */
    size_t shared_length; /* of the part "NAME." with which all begin; 0: there is none */
} clq_state_names;        /* starts zeroed */

/* Takes off as many prefixes as lets most of the graph's weights be found: wrappers that are known
 * ("module.", "_orig_mod.", "model.", ...), and a first part that all names share. */
clq_status clq_state_names_match(clq_state_names *names, const clq_graph *graph,
                                 const clq_tensors *tensors);
/* The name of tensor `index` without prefixes; NULL for what no network has
 * (num_batches_tracked). */
const char *clq_state_name(const clq_state_names *names, int index);
/* Says in the log what was taken off, if anything was. */
void clq_state_names_log(const clq_state_names *names, const char *file);
/* A tensor that the graph does not want and that may be meant by `wanted`: its name ends so, or is
 * a slip of it. -1: there is none. */
int clq_state_names_nearest(const clq_state_names *names, const char *wanted);
void clq_state_names_free(clq_state_names *names);

#endif
