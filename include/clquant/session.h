/* Sessions: a network on a device, run, quantized, evaluated, verified and measured on a program's
 * own arrays, or on what a path names.
 *
 * Threads: a device and the sessions on it are used by one thread at a time; which one may change,
 * and each thread may use a device of its own at the same time (two may be opened of one piece of
 * hardware). clq_last_error and the sink of clq_set_progress are the calling thread's own. What a
 * session lends (names, shapes, the graph) is valid until it is destroyed, and may be read from any
 * thread. */
#ifndef CLQUANT_SESSION_H
#define CLQUANT_SESSION_H

#include <clquant/data.h>
#include <clquant/device.h>
#include <clquant/graph.h>

CLQ_API_BEGIN

typedef struct clq_session clq_session;

/* A session with a copy of a graph of any form. The device stays open until it is closed and its
 * last session destroyed. CLQ_BAD_DATA for a graph that breaks a rule. */
clq_status clq_session_create(clq_device *device, const clq_graph *graph, clq_session **session);
/* The same of an .onnx file. CLQ_NO_INPUT, CLQ_BAD_DATA as clq_onnx_load. */
clq_status clq_session_load(clq_device *device, const char *path, clq_session **session);
void clq_session_destroy(clq_session *session); /* NULL ok */

const clq_graph *clq_session_graph(const clq_session *session);
clq_device *clq_session_device(const clq_session *session);

/* Inputs and outputs in the order of the model; their numbers are the graph's input_count and
 * output_count, their names clq_graph_input_name and clq_graph_output_name. dim[0] is that of one
 * sample: 1, but for networks that take a whole batch as one. CLQ_USAGE past them. */
clq_status clq_session_input_shape(const clq_session *session, int input, clq_order order,
                                   clq_shape *shape);
clq_status clq_session_output_shape(const clq_session *session, int output, clq_order order,
                                    clq_shape *shape);

/* Runs `count` samples, any number of them: inputs[i] (count, ...) is read, outputs[i] (count, ...)
 * written, both dense, in `order`. Kernels are built, and memory is taken, when a number of samples
 * is new; the latest few stay. The first `count` of more samples give the same numbers, in networks
 * on codes to the bit. CLQ_BAD_DATA for numbers that are not finite where the network rounds them
 * to codes. */
clq_status clq_session_run(clq_session *session, clq_order order, int64_t count,
                           const float *const *inputs, float *const *outputs);

/* That clq_session_run will be called about so often with each number of samples that is new from
 * now on (0, to begin with: seldom). Often is worth seconds of preparation, which make small
 * numbers of samples faster; no result changes. */
clq_status clq_session_expect(clq_session *session, uint64_t runs);

/* ---- options and results ---- */

/* Settings of a piece of work by their keys; each function names its own. NULL stands for none. */
typedef struct clq_options clq_options;

clq_status clq_options_create(clq_options **options);
void clq_options_destroy(clq_options *options); /* NULL ok */
/* Sets a key, or one within another ("schedule.lr"): a word, or JSON (3, 0.5, true, [1,8]). */
clq_status clq_options_set(clq_options *options, const char *key, const char *value);
clq_status clq_options_set_number(clq_options *options, const char *key, double value);
/* A text as it is, such as a path, whatever it looks like. */
clq_status clq_options_set_text(clq_options *options, const char *key, const char *text);

/* What a piece of work found, as JSON: docs/json.md. */
typedef struct clq_result clq_result;

void clq_result_free(clq_result *result); /* NULL ok */
const char *clq_result_json(const clq_result *result);
/* A member, or one within another ("accuracy.int8_top1"): NaN, or NULL, when there is none of that
 * kind. */
double clq_result_number(const clq_result *result, const char *key);
const char *clq_result_text(const clq_result *result, const char *key);

/* Writes the network as clq_onnx_save_as does; no file is there or it is replaced. Options: form
 * ("qdq", "qoperator" or "qoperator-ort" of an integer network), opset (13 to 21). Scales alone are
 * written by clq_encodings_save, of clq_session_graph. */
clq_status clq_session_save(const clq_session *session, const char *path,
                            const clq_options *options);

/* ---- work ---- */

/* What all of these have in common. Data is what `path` names (the command's --data: a data set, a
 * folder, "synthetic") or `arrays`, and the other is NULL. An object "data" among the options says
 * how images are prepared where the model does not: mean, std, range, channels, resize,
 * interpolation (docs/recipes.md), crop ("224" or "320x256"), and labels, a file (docs/data.md).
 * `result` may be NULL. CLQ_BAD_DATA names a key that is not known, or a value that is out of
 * range; CLQ_INTERRUPTED: the thread's progress sink asked to stop. */

/* PTQ of a float network, as `clquant ptq`: a session on the same device with the integer one.
 * Options: the keys of "ptq" (observer, images, equalize, ..., policy), seed (1), test_images (0):
 * so many images of the test split measure accuracy before and after; encodings: a file with
 * scales (clq_encodings_load), so that data finds only what it does not say: where it says all,
 * `path` and `arrays` may both be NULL. */
clq_status clq_session_ptq(const clq_session *session, const char *path, clq_arrays *arrays,
                           const clq_options *options, clq_session **quantized,
                           clq_result **result);
/* Fine-tunes a float network quantization-aware, as `clquant qat`: it begins with the network that
 * clq_session_ptq makes. Arrays are held in memory, and need labels unless no_labels. Options: the
 * keys of "qat" (epochs (1), batch, seed, schedule, optimizer, learn_scales, ...), no_labels (with
 * distill: to learn from a teacher alone), test_images (512): so many measure after each epoch, 0:
 * all; out: a folder for checkpoints and history; resume (true: goes on from the newest checkpoint
 * there, to the same bits), overwrite (an earlier run there is replaced), log_file. A sink that
 * stops it leaves a checkpoint in `out`. */
clq_status clq_session_qat(const clq_session *session, const char *path, clq_arrays *arrays,
                           const clq_options *options, clq_session **quantized,
                           clq_result **result);
/* Accuracy and loss on labelled data, as `clquant eval`. Options: split (test), limit (all), batch.
 */
clq_status clq_session_evaluate(const clq_session *session, const char *path, clq_arrays *arrays,
                                const clq_options *options, clq_result **result);
/* Compares every code of a quantized network with its simulation, as `clquant verify`; differences
 * are a result ("mismatched_codes"), not a failure. Options: limit (all). */
clq_status clq_session_verify(const clq_session *session, const char *path, clq_arrays *arrays,
                              const clq_options *options, clq_result **result);
/* Which layer loses accuracy, as `clquant analyze --json`: of a float network and what was made of
 * it. Options: limit (512, or fewer that take 1 GB), seed (1) of the calibration images. */
clq_status clq_session_analyze(const clq_session *session, const clq_session *quantized,
                               const char *path, clq_arrays *arrays, const clq_options *options,
                               clq_result **result);
/* Latency and throughput of networks, in turns, as `clquant bench --json`. Options: batch (1, or a
 * list), iterations, layers (true), peak (true: what the device can do is measured too). */
clq_status clq_session_bench(clq_session *const *sessions, size_t count, const clq_options *options,
                             clq_result **result);
/* What is in the network, as `clquant info --json`. */
clq_status clq_session_info(const clq_session *session, clq_result **result);
/* The OpenCL devices here: an array, as `clquant devices --json` but for what is measured. */
clq_status clq_devices_describe(clq_result **result);
/* One of them that is open: its dot paths and the kernels that are left out, too. */
clq_status clq_device_describe(clq_device *device, clq_result **result);

CLQ_API_END
#endif
