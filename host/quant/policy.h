/* Policies as JSON. */
#ifndef CLQ_QUANT_POLICY_H
#define CLQ_QUANT_POLICY_H

#include <clquant/quant.h>

#include "base/json.h"

/* Adds the rules in the array under `key`; nothing when it is missing. */
clq_status clq_policy_read(clq_json_reader *reader, const char *key, clq_policy *policy);
/* The array again; NULL when memory ran out. */
json_t *clq_policy_to_json(const clq_policy *policy);

/* Of a graph whose values are codes as codes (value_count) says: CLQ_USAGE names a rule for names
 * that only chooses a type for activations, and chooses none. */
clq_status clq_policy_check_codes(const clq_policy *policy, const clq_graph *graph,
                                  const bool *codes);

#endif
