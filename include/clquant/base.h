/* Status codes, last error, log and the replaceable allocator and file operations.
 *
 * Every library function that can fail returns a clq_status and leaves a one-line text in
 * clq_last_error(): what failed, the values, the rule broken. The library never ends the
 * process and never prints except through the log callback. */
#ifndef CLQUANT_BASE_H
#define CLQUANT_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Around the declarations of every public header: they keep C's names in C++, and the shared
 * library, which hides everything else, exports them. */
#ifdef __cplusplus
#define CLQ_API_BEGIN _Pragma("GCC visibility push(default)") extern "C" {
#define CLQ_API_END                                                                                \
    }                                                                                              \
    _Pragma("GCC visibility pop")
#else
#define CLQ_API_BEGIN _Pragma("GCC visibility push(default)")
#define CLQ_API_END _Pragma("GCC visibility pop")
#endif

CLQ_API_BEGIN

/* The values are the command's exit codes (sysexits.h where one fits). */
typedef enum clq_status {
    CLQ_OK = 0,
    CLQ_GATE_FAILED = 1,    /* a check the caller asked for did not hold */
    CLQ_DIVERGED = 3,       /* NaN or infinity in training */
    CLQ_USAGE = 64,         /* bad flag, argument or call */
    CLQ_BAD_DATA = 65,      /* a file's content breaks a rule */
    CLQ_NO_INPUT = 66,      /* a file or folder is missing or unreadable */
    CLQ_DEVICE = 69,        /* no such device, or OpenCL failed */
    CLQ_INTERNAL = 70,      /* a bug in clquant */
    CLQ_NO_MEMORY = 71,     /* host or device memory ran out */
    CLQ_CANNOT_CREATE = 73, /* an output file or folder cannot be created */
    CLQ_IO = 74,            /* reading or writing failed part-way */
    CLQ_INTERRUPTED = 130,  /* the caller asked to stop, and it did; the command: 128 + signal */
} clq_status;

/* Of the library, like "0.1.0". Files and results name it. */
const char *clq_version(void);

/* Text of this thread's last failure; "" when none. Valid until the thread's next failure. */
const char *clq_last_error(void);

/* Sets the last error and returns `status`, for `return clq_fail(CLQ_USAGE, "...", ...)`. */
clq_status clq_fail(clq_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts "context: " in front of the last error and returns `status` unchanged, so that a caller
 * can name the file or recipe in which a lower layer failed. No effect on CLQ_OK. */
clq_status clq_fail_in(clq_status status, const char *context_format, ...)
    __attribute__((format(printf, 2, 3)));

/* Forwards a failure to the caller. */
#define CLQ_TRY(expression)                                                                        \
    do {                                                                                           \
        clq_status clq_try_ = (expression);                                                        \
        if (clq_try_ != CLQ_OK) {                                                                  \
            return clq_try_;                                                                       \
        }                                                                                          \
    } while (0)

/* Stores the result in `status` and jumps to the function's one clean-up label on failure. */
#define CLQ_GOTO(status, label, expression)                                                        \
    do {                                                                                           \
        (status) = (expression);                                                                   \
        if ((status) != CLQ_OK) {                                                                  \
            goto label;                                                                            \
        }                                                                                          \
    } while (0)

/* ---- memory ---- */

/* All host memory of the library comes from here. `reallocate(context, NULL, n)` allocates,
 * `reallocate(context, p, 0)` frees and returns NULL; NULL for n > 0 means out of memory. */
typedef struct clq_allocator {
    void *(*reallocate)(void *context, void *pointer, size_t size);
    void *context;
} clq_allocator;

/* Replaces the allocator (NULL restores the C library's). Call before any other function. */
void clq_set_allocator(const clq_allocator *allocator);

/* `count * size` zeroed bytes, 64-byte aligned is not promised; NULL (last error set) when the
 * product overflows or memory ran out. A zero-sized request returns a unique pointer. */
void *clq_calloc(size_t count, size_t size);
/* Grows or shrinks to `count * size` bytes; on NULL the old block is still the caller's. */
void *clq_realloc(void *pointer, size_t count, size_t size);
char *clq_strdup(const char *text);
char *clq_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
void clq_free(void *pointer); /* NULL is accepted */

/* ---- files ---- */

/* The system calls the library makes on files, so that tests can make the n-th one fail and
 * embedders can redirect them. Each returns what the POSIX call of that name returns and sets
 * errno. */
typedef struct clq_file_ops {
    int (*open)(const char *path, int flags, int mode);
    int64_t (*read)(int fd, void *data, size_t size);
    int64_t (*write)(int fd, const void *data, size_t size);
    int (*fsync)(int fd);
    int (*close)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, int mode);
    /* For files that another file names (ONNX's external data), which are refused where these are
     * NULL. */
    int (*openat)(int folder, const char *name, int flags);
    int64_t (*pread)(int fd, void *data, size_t size, int64_t offset);
} clq_file_ops;

/* Replaces the table (NULL restores POSIX). The table is copied. */
void clq_set_file_ops(const clq_file_ops *ops);

/* ---- log ---- */

typedef enum clq_log_level {
    CLQ_LOG_ERROR,
    CLQ_LOG_WARN,
    CLQ_LOG_INFO,
    CLQ_LOG_DEBUG
} clq_log_level;

/* Receives finished lines without a newline. */
typedef void (*clq_log_sink)(void *context, clq_log_level level, const char *line);

/* NULL restores the default sink, which writes to stderr. Default level: CLQ_LOG_WARN in the
 * library, CLQ_LOG_INFO in the command. Of the whole process: a sink is called from any thread. */
void clq_set_log(clq_log_sink sink, void *context, clq_log_level level);

/* ---- progress, and stopping ---- */

/* How far a piece of work is; texts are valid during the call. */
typedef struct clq_progress_state {
    const char *label;   /* "calibrate", "qat", ...: works may contain others */
    const char *unit;    /* what is counted: "images" */
    const char *text;    /* what else there is to say: "loss 0.25"; "": nothing */
    int64_t done, total; /* total 0: not known */
    bool ended;          /* the last call of this work */
} clq_progress_state;

/* Returns false to stop: what runs then ends with CLQ_INTERRUPTED behind its present batch, a
 * training behind a checkpoint where it has a folder. */
typedef bool (*clq_progress_sink)(void *context, const clq_progress_state *state);

/* Of all that the calling thread does from now on, instead of a bar on stderr; NULL restores that.
 * The sink is called at most ten times a second and at the end of each work, from this thread or
 * from one that works for it. */
void clq_set_progress(clq_progress_sink sink, void *context);

CLQ_API_END
#endif
