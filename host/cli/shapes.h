/* Shapes of inputs that a model leaves open, given on the command line. */
#ifndef CLQUANT_CLI_SHAPES_H
#define CLQUANT_CLI_SHAPES_H

#include "cli/cli.h"

/* --shape, of commands that read models. What it says holds for every model that the command opens;
 * no file keeps it. The child takes no input. */
extern const struct argp clq_shape_argp;

/* What was given. */
const clq_onnx_shape *clq_shapes_given(size_t *count);

#endif
