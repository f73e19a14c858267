"""The shared library and what of its headers the package uses: the public C API and nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cffi

from . import errors

# As in include/clquant/*.h, without comments and attributes; a test compares them.
DECLARATIONS = """
typedef int clq_status;
typedef int clq_order;
typedef int clq_log_level;
typedef int clq_encodings_format;
typedef struct clq_device clq_device;
typedef struct clq_graph clq_graph;
typedef struct clq_arrays clq_arrays;
typedef struct clq_session clq_session;
typedef struct clq_options clq_options;
typedef struct clq_result clq_result;
typedef struct clq_shape { int rank; int64_t dim[5]; } clq_shape;
typedef struct clq_onnx_shape { const char *input; int rank; int64_t dim[8]; } clq_onnx_shape;
typedef struct clq_progress_state {
    const char *label; const char *unit; const char *text; int64_t done, total; bool ended;
} clq_progress_state;
typedef bool (*clq_progress_sink)(void *context, const clq_progress_state *state);
typedef void (*clq_log_sink)(void *context, clq_log_level level, const char *line);
typedef clq_status (*clq_arrays_fill)(void *context, int64_t first, int64_t count, float *const *values);

const char *clq_version(void);
const char *clq_last_error(void);
void clq_set_log(clq_log_sink sink, void *context, clq_log_level level);
void clq_set_progress(clq_progress_sink sink, void *context);

clq_status clq_device_open(const char *selector, clq_device **device);
void clq_device_close(clq_device *device);

clq_status clq_onnx_load_shaped(const char *path, const clq_onnx_shape *shapes, size_t count, clq_graph **graph);
clq_status clq_onnx_load_memory(const void *data, size_t size, const char *name, clq_graph **graph);
void clq_graph_destroy(clq_graph *graph);
const char *clq_graph_input_name(const clq_graph *graph, int index);
const char *clq_graph_output_name(const clq_graph *graph, int index);
const char *clq_encodings_format_name(clq_encodings_format format);
clq_status clq_encodings_save(const clq_graph *graph, clq_encodings_format format, const char *path);

clq_status clq_arrays_open(const char *path, clq_arrays **arrays);
void clq_arrays_close(clq_arrays *arrays);
clq_status clq_arrays_create(int64_t rows, clq_arrays **arrays);
clq_status clq_arrays_add(clq_arrays *arrays, const char *name, const int64_t *dims, int rank, const float *values);
clq_status clq_arrays_set_fill(clq_arrays *arrays, clq_arrays_fill fill, void *context);
clq_status clq_arrays_set_labels(clq_arrays *arrays, const char *name);
clq_status clq_arrays_set_order(clq_arrays *arrays, clq_order order);

clq_status clq_session_create(clq_device *device, const clq_graph *graph, clq_session **session);
void clq_session_destroy(clq_session *session);
const clq_graph *clq_session_graph(const clq_session *session);
clq_status clq_session_input_shape(const clq_session *session, int input, clq_order order, clq_shape *shape);
clq_status clq_session_output_shape(const clq_session *session, int output, clq_order order, clq_shape *shape);
clq_status clq_session_run(clq_session *session, clq_order order, int64_t count, const float *const *inputs,
                           float *const *outputs);
clq_status clq_session_expect(clq_session *session, uint64_t runs);
clq_status clq_options_create(clq_options **options);
void clq_options_destroy(clq_options *options);
clq_status clq_options_set(clq_options *options, const char *key, const char *value);
void clq_result_free(clq_result *result);
const char *clq_result_json(const clq_result *result);
clq_status clq_session_save(const clq_session *session, const char *path, const clq_options *options);
clq_status clq_session_ptq(const clq_session *session, const char *path, clq_arrays *arrays,
                           const clq_options *options, clq_session **quantized, clq_result **result);
clq_status clq_session_qat(const clq_session *session, const char *path, clq_arrays *arrays,
                           const clq_options *options, clq_session **quantized, clq_result **result);
clq_status clq_session_evaluate(const clq_session *session, const char *path, clq_arrays *arrays,
                                const clq_options *options, clq_result **result);
clq_status clq_session_verify(const clq_session *session, const char *path, clq_arrays *arrays,
                              const clq_options *options, clq_result **result);
clq_status clq_session_analyze(const clq_session *session, const clq_session *quantized, const char *path,
                               clq_arrays *arrays, const clq_options *options, clq_result **result);
clq_status clq_session_bench(clq_session *const *sessions, size_t count, const clq_options *options,
                             clq_result **result);
clq_status clq_session_info(const clq_session *session, clq_result **result);
clq_status clq_devices_describe(clq_result **result);
clq_status clq_device_describe(clq_device *device, clq_result **result);
"""

ffi = cffi.FFI()
ffi.cdef(DECLARATIONS)
NULL = ffi.NULL


def _find_library() -> str:
    """``CLQ_LIBRARY``, else the library in the package, else the system's of the same interface."""
    named = os.environ.get("CLQ_LIBRARY")
    if named:
        return named
    inside = Path(__file__).with_name("libclquant.so")
    return str(inside) if inside.exists() else "libclquant.so.0.1"


lib = ffi.dlopen(_find_library())
#: Whether this process has called OpenCL, and whether that was before it was forked.
used = forked = False


def text(pointer) -> str:
    """A C string; ``""`` for NULL."""
    return ffi.string(pointer).decode("utf-8", "replace") if pointer else ""


def check(status: int) -> None:
    """Raises the exception of a status that is not OK, with the library's text."""
    if status:
        raise errors.BY_STATUS.get(status, errors.InternalError)(text(lib.clq_last_error()))


@ffi.callback("clq_log_sink")
def _log(_context, level, line):
    if sys is not None and not sys.is_finalizing():
        import logging
        logger = logging.getLogger("clquant")
        logger.log((logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)[min(level, 3)], "%s", text(line))


def set_log_level(level: str) -> None:
    """What the library tells the logger ``clquant``: ``"error"``, ``"warning"``, ``"info"`` or ``"debug"``."""
    names = ("error", "warning", "info", "debug")
    if level not in names:
        raise errors.UsageError(f"level must be one of {', '.join(names)}, is {level!r}")
    lib.clq_set_log(_log, NULL, names.index(level))


set_log_level("warning")
