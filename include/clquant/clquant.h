/* clquant: int8 quantization of neural networks on any OpenCL device.
 *
 * The programs in examples/, installed in share/doc/clquant/examples, are short and complete;
 * quantize.c goes from data to a verified integer network.
 *
 * Headers, each usable alone:
 *     base.h     status codes, last error, allocator, file operations, log
 *     ranks.h    the processes of a data-parallel training
 *     device.h   OpenCL devices, buffers, kernels, profiling
 *     data.h     data sets and the prefetching loader
 *     graph.h    networks as graphs
 *     ops.h      operators and their attributes
 *     passes.h   folding and other rewriting of graphs
 *     models.h   network builders: resnet, mobilenet_v2, mlp
 *     exec.h     running a graph on a device
 *     formats.h  ONNX and safetensors
 *     train.h    training, evaluation
 *     quant.h    PTQ, QAT, conversion, verification
 *     analyze.h  which layer loses accuracy
 *     bench.h    latency, throughput, layers against the device's limits
 *     tune.h     the fastest kernels for a device
 *     report.h   tables, pictures, the HTML page
 *     session.h  networks run, quantized, verified and timed on a program's own arrays
 *
 * Objects are made by *_create, *_open or *_load and given back by *_destroy, *_close or *_free,
 * all of which accept NULL. Functions return a clq_status; clq_last_error() has the text. */
#ifndef CLQUANT_H
#define CLQUANT_H

#include <clquant/analyze.h>
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
#include <clquant/session.h>
#include <clquant/train.h>
#include <clquant/tune.h>

#endif
