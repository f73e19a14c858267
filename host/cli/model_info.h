/* What is in a model, in words (session/model_info.h). */
#ifndef CLQUANT_CLI_MODEL_INFO_H
#define CLQUANT_CLI_MODEL_INFO_H

#include "session/model_info.h"

clq_status clq_model_info_print(const clq_model_info *info); /* on stdout */

#endif
