/* What went into a network and what came out of every layer, for comparison with other runtimes. */
#ifndef CLQUANT_CLI_DUMP_H
#define CLQUANT_CLI_DUMP_H

#include <clquant/clquant.h>

/* Writes the normalized inputs as the model's ONNX input expects them: .npy, float32 (images, C, H,
 * W) or (rows, features). */
clq_status clq_dump_inputs(clq_device *device, const clq_graph *graph, clq_dataset *dataset,
                           const char *path);

/* Writes the images' labels in the same order: .npy, float32 (images). CLQ_USAGE for a data set
 * without classes. */
clq_status clq_dump_labels(const clq_dataset *dataset, const char *path);

/* Writes the codes of every quantized activation of an integer network: safetensors, one U8 tensor
 * a value, (images, H, W, C) or (images, C), named like the value. CLQ_USAGE for a network that is
 * not quantized. */
clq_status clq_dump_codes(clq_device *device, const clq_graph *graph, clq_dataset *dataset,
                          const char *path);

#endif
