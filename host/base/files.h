/* Files: whole-file reads with a limit, writes that happen completely or not at all, folders and
 * paths. Every call on a file goes through the table of clq_set_file_ops. Errors name the path. */
#ifndef CLQ_BASE_FILES_H
#define CLQ_BASE_FILES_H

#include "clquant/base.h"

/* ---- reading ---- */

/* The whole file in *data (clq_free it; NUL-terminated behind `size`, so text can be used as a
 * string). Regular files only, so that no pipe or device is waited for or read without end; a pipe
 * is read, up to 2 GiB, when its path says that it is meant: /dev/stdin and /dev/fd/N.
 * CLQ_NO_INPUT when the file is missing or may not be read, CLQ_BAD_DATA for what is no file or has
 * more than max_bytes, CLQ_IO when reading fails part-way. */
clq_status clq_file_read(const char *path, size_t max_bytes, void **data, size_t *size);

/* What a format says of the first bytes (CLQ_FILE_HEAD, or the whole file if that is less) before
 * the rest is read. `size` is the file's, CLQ_UNKNOWN_SIZE when that is not known yet. */
typedef clq_status (*clq_file_check)(void *context, const char *path, const void *head,
                                     size_t head_size, uint64_t size);
enum { CLQ_FILE_HEAD = 8192 };
#define CLQ_UNKNOWN_SIZE UINT64_MAX
/* Reads the rest only if `check` says CLQ_OK. */
clq_status clq_file_read_checked(const char *path, size_t max_bytes, clq_file_check check,
                                 void *context, void **data, size_t *size);

/* A regular file that is read from its beginning, piece by piece. Errors as above. */
typedef struct clq_reader clq_reader;

clq_status clq_reader_open(const char *path, clq_reader **reader);
uint64_t clq_reader_size(const clq_reader *reader); /* CLQ_UNKNOWN_SIZE: not known */
/* *got is less than `size` only at the file's end. */
clq_status clq_reader_read(clq_reader *reader, void *data, size_t size, size_t *got);
void clq_reader_close(clq_reader *reader); /* NULL ok */

/* ---- writing ---- */

/* A file that appears at `path` complete, or not at all. The bytes go to a hidden file beside it;
 * commit makes them durable and renames. The old file stays untouched on any failure before the
 * rename, and the hidden file is removed. A device such as /dev/null, and a pipe whose path says
 * that it is meant (/dev/stdout, /dev/fd/N), is written directly; anything else that is no regular
 * file is refused, and never waited for.
 *
 * A killed process leaves its hidden files, .NAME.PID-N.tmp. While one is written it is locked
 * (flock), which tells it from one that was left: opening a writer removes what was left for the
 * same path, and clq_remove_unfinished what was left in a folder. */
typedef struct clq_writer clq_writer;

/* CLQ_CANNOT_CREATE when the file cannot be created beside `path`, or `path` is a folder, a pipe or
 * another thing that is not written to. */
clq_status clq_writer_open(const char *path, clq_writer **writer);
/* Buffered; CLQ_IO on failure, and then on every later call. */
clq_status clq_writer_write(clq_writer *writer, const void *data, size_t size);
clq_status clq_writer_printf(clq_writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
uint64_t clq_writer_size(const clq_writer *writer); /* bytes written so far */
/* Flush, fsync, rename, fsync of the folder; then frees the writer and sets *writer to NULL, on
 * failure too. CLQ_IO when any step or an earlier write failed. */
clq_status clq_writer_commit(clq_writer **writer);
/* Removes the unfinished file and frees. For the clean-up label: NULL inside is accepted, and the
 * last error stays. */
void clq_writer_abort(clq_writer **writer);

/* Removes what killed writers of FOLDER/name, or of any name (NULL), left there. */
void clq_remove_unfinished(const char *folder, const char *name);
/* For a signal handler that ends the process: removes the hidden files of all writers that are
 * open, and what else was remembered. Async-signal-safe. */
void clq_writers_abandon(void);
/* A file that such an ending shall remove, until it is forgotten; `path` stays the caller's. */
void clq_unfinished_remember(char *path);
void clq_unfinished_forget(char *path);

/* Whether a writer can be opened: a file is created beside `path`, and removed. For asking before
 * the work whose result is to be written there. */
clq_status clq_file_check_writable(const char *path);

/* open, write, commit. */
clq_status clq_file_write_atomic(const char *path, const void *data, size_t size);

/* A log-like file that grows by whole lines: each call is one write at the end, so a kill loses
 * at most the line being written. Opening ends a line that was torn so. */
typedef struct clq_appender clq_appender;

clq_status clq_appender_open(const char *path, clq_appender **appender);
/* Writes the text and a newline. */
clq_status clq_appender_line(clq_appender *appender, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
clq_status clq_appender_flush(clq_appender *appender);  /* to the disk */
clq_status clq_appender_close(clq_appender **appender); /* NULL inside is accepted */

/* ---- locks ---- */

/* What one process at a time holds: a flock on the empty file `path`, which is made for it and
 * removed with it. The file of a killed process is taken over. */
typedef struct clq_lock clq_lock;

/* CLQ_CANNOT_CREATE when the file cannot be made or, unless it shall `wait`, when another has the
 * lock: "PATH: ...". Where the file system knows no locks there is one warning, and none is held.
 */
clq_status clq_lock_take(const char *path, bool wait, clq_lock **lock);
void clq_lock_release(clq_lock **lock); /* NULL inside is accepted */

/* Removes a file; a missing one is fine. */
clq_status clq_file_remove(const char *path);

/* CLQ_BAD_DATA, "PATH: must be WANTED, is a binary file (an ONNX model, by its name)", when the
 * beginning of a file's contents has control characters, as no text has. */
clq_status clq_file_check_text(const char *path, const char *wanted, const void *data, size_t size);

/* ---- folders ---- */

/* The folder and its missing parents; an existing one is fine. */
clq_status clq_make_dirs(const char *path);
bool clq_file_exists(const char *path); /* a file or folder that can be seen */
bool clq_is_folder(const char *path);
/* CLQ_CANNOT_CREATE when `path` is there and no regular file, which a removal or a new file would
 * not replace. */
clq_status clq_file_check_replaceable(const char *path);

/* Names (without the folder) of the files and folders in it, sorted bytewise; names that begin
 * with a dot are left out. Free with clq_folder_list_free. */
clq_status clq_folder_list(const char *path, char ***names, size_t *count);
void clq_folder_list_free(char **names, size_t count);

/* ---- paths ---- */

/* folder/name, or a copy of `name` when it is absolute or `folder` is "". NULL: out of memory. */
char *clq_path_join(const char *folder, const char *name);
/* What follows the last '/', inside `path`. */
const char *clq_path_basename(const char *path);
/* All before the last '/' ("." when there is none, "/" for the root); NULL: out of memory. */
char *clq_path_folder(const char *path);
/* The base name without its last ".extension"; NULL: out of memory. */
char *clq_path_stem(const char *path);
/* Whether the base name ends in `extension` (".onnx"), in either case. */
bool clq_path_has_extension(const char *path, const char *extension);

/* ---- for files.c, writer.c and their tests ---- */

/* Whether the path names a pipe by its number, as the shell's <(...) and >(...) do. */
bool clq_is_meant_pipe(const char *path);
/* The table in use. */
const clq_file_ops *clq_file_ops_now(void);
/* The POSIX table, for tables that fall back to it. */
const clq_file_ops *clq_file_ops_posix(void);

#endif
