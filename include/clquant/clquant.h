/* clquant: int8 quantization of neural networks on any OpenCL device.
 *
 * A complete example, from data to a verified integer network (error handling by CLQ_TRY):
 *
 *     clq_device *device;
 *     clq_graph *trained, *folded, *integer;
 *     clq_dataset *images;
 *     clq_feed *feed;
 *     clq_feed_options options = {.batch = 32, .shuffle = true, .seed = 1};
 *     clq_quant_config config;
 *     clq_verification result;
 *     clq_quant_config_init(&config);
 *     CLQ_TRY(clq_device_open(NULL, &device));                    // first GPU, else the CPU
 *     CLQ_TRY(clq_dataset_open("cifar-10-batches-bin", NULL, &images));
 *     CLQ_TRY(clq_onnx_load("resnet20.onnx", &trained));
 *     CLQ_TRY(clq_graph_fold(trained, &folded));                  // batch norm into convolutions
 *     CLQ_TRY(clq_graph_normalisation(folded, images, &options.normalisation));
 *     CLQ_TRY(clq_feed_create(device, images, &options, &feed));
 *     CLQ_TRY(clq_calibrate(device, folded, feed, 32, &config, NULL)); // PTQ: observe activations
 *     CLQ_TRY(clq_convert(folded, &config, &integer));            // s8 weights, s32 biases
 *     CLQ_TRY(clq_onnx_save(integer, "resnet20-int8.onnx"));      // QDQ, opens in ONNX Runtime
 *     CLQ_TRY(clq_verify(device, integer, images, 64, 0, &result)); // 0 mismatched codes
 *
 * Headers, each usable alone:
 *     base.h     status codes, last error, allocator, file operations, log
 *     ranks.h    the processes of a data-parallel training
 *     device.h   OpenCL devices, buffers, kernels, profiling
 *     data.h     data sets and the prefetching loader
 *     graph.h    networks as graphs, folding
 *     ops.h      operators and their attributes
 *     models.h   network builders: resnet, mobilenet_v2, mlp
 *     exec.h     running a graph on a device
 *     formats.h  ONNX and safetensors
 *     train.h    training, evaluation
 *     quant.h    PTQ, QAT, conversion, verification
 *     bench.h    latency, throughput, layers against the device's limits
 *     report.h   tables, pictures, the HTML page
 *
 * Objects are made by *_create, *_open or *_load and given back by *_destroy, *_close or *_free,
 * all of which accept NULL. Functions return a clq_status; clq_last_error() has the text. */
#ifndef CLQUANT_H
#define CLQUANT_H

#include <clquant/base.h>
#include <clquant/bench.h>
#include <clquant/data.h>
#include <clquant/device.h>
#include <clquant/exec.h>
#include <clquant/formats.h>
#include <clquant/graph.h>
#include <clquant/models.h>
#include <clquant/ops.h>
#include <clquant/passes.h>
#include <clquant/quant.h>
#include <clquant/ranks.h>
#include <clquant/report.h>
#include <clquant/train.h>
#include <clquant/tune.h>

#endif
