/* Options and results, which are JSON inside. */
#ifndef CLQUANT_SESSION_OPTIONS_H
#define CLQUANT_SESSION_OPTIONS_H

#include <jansson.h>

#include <clquant/session.h>

#include "base/json.h"
#include "base/numbers.h"
#include "session/data.h"

struct clq_options {
    json_t *json; /* an object */
};

struct clq_result {
    json_t *json;
    char *text;
};

/* Takes the JSON over, NULL: memory ran out, whatever comes of it. */
clq_status clq_result_take(json_t *json, clq_result **result);

#endif
