/* Policies as JSON. */
#ifndef CLQ_QUANT_POLICY_H
#define CLQ_QUANT_POLICY_H

#include <clquant/quant.h>

#include "base/json.h"

/* Adds the rules in the array under `key`; nothing when it is missing. */
clq_status clq_policy_read(clq_json_reader *reader, const char *key, clq_policy *policy);
/* The array again; NULL when memory ran out. */
json_t *clq_policy_to_json(const clq_policy *policy);

#endif
