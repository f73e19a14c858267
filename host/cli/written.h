/* How the models that a command writes are written. */
#ifndef CLQUANT_CLI_WRITTEN_H
#define CLQUANT_CLI_WRITTEN_H

#include "cli/cli.h"

/* --onnx-form and --opset; they hold for every model that the command writes. The child takes no
 * input. */
extern const struct argp clq_written_argp;

/* clq_onnx_save_as what was given. */
clq_status clq_written_save(const clq_graph *graph, const char *path);
/* The same of a network that the form, of networks on codes, does not concern. */
clq_status clq_written_save_float(const clq_graph *graph, const char *path);

#endif
