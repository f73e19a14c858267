/* The command line's flags of images (session/data.h). */
#ifndef CLQUANT_CLI_DATA_H
#define CLQUANT_CLI_DATA_H

#include <argp.h>

#include "cli/recipe.h"
#include "session/data.h"

/* --mean, --std, --range, --channels, --resize, --crop, --interpolation: a child of the commands
 * that say how images are read. */
extern const struct argp clq_preprocessing_argp;
/* The same and --labels: of those that run a model on images. */
extern const struct argp clq_images_argp;

/* The flags as overrides of a recipe's "data" section, behind `count` others. */
clq_status clq_image_flags_override(const clq_image_flags *flags, const char **overrides,
                                    size_t *count);

#endif
