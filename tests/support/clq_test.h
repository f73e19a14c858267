/* What every test program includes: cmocka, fault injection, a scratch folder, reproducible random
 * data, comparators that show the first difference, and guarded buffers. */
#ifndef CLQ_TEST_H
#define CLQ_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clquant/base.h"

/* ---- statuses ---- */

/* Fails with the library's error text when `expression` is not CLQ_OK. */
#define assert_ok(expression)                                                                      \
    clq_test_assert_status((expression), CLQ_OK, #expression, __FILE__, __LINE__)
/* Fails unless `expression` has this status. */
#define assert_status(expression, expected)                                                        \
    clq_test_assert_status((expression), (expected), #expression, __FILE__, __LINE__)
/* Fails unless the last error contains `part`. */
#define assert_error_has(part) clq_test_assert_error_has((part), __FILE__, __LINE__)

void clq_test_assert_status(clq_status actual, clq_status expected, const char *expression,
                            const char *file, int line);
void clq_test_assert_error_has(const char *part, const char *file, int line);

/* Ends a test that cannot be made here, for want of what `reason` names. scripts/test repeats such
 * reasons, lines that begin with "skipped: ", at its end. */
#define clq_test_skip(reason)                                                                      \
    do {                                                                                           \
        print_message("skipped: %s\n", (reason));                                                  \
        skip();                                                                                    \
    } while (0)

/* ---- fault injection ---- */

/* Counts allocations from now on and makes the nth (1 = the next) return NULL; 0: none fails. */
void clq_test_fail_allocation(long nth);
long clq_test_allocations(void);      /* since the last clq_test_fail_allocation */
long clq_test_live_allocations(void); /* blocks got since then and not freed */
void clq_test_restore_allocator(void);

/* Counts file operations from now on and makes the nth fail with `error`; 0: none fails. An
 * operation that fails with EINTR on open, read, write or fsync must be retried by the library. */
void clq_test_fail_file_op(long nth, int error);
/* Counting as above, and every read or write moves at most 7 bytes and is first interrupted. */
void clq_test_interrupt_file_ops(void);
long clq_test_file_ops(void);   /* since then */
long clq_test_open_files(void); /* opened since then and not closed */
void clq_test_restore_file_ops(void);

/* ---- scratch folder ---- */

/* Makes a fresh folder below $TMPDIR (else /tmp); a process has one at a time. */
const char *clq_test_temp_dir(void);
/* folder/name in a static ring of 8 strings. */
const char *clq_test_temp_path(const char *name);
/* Its entries, hidden ones too: whether something was left behind. */
int clq_test_temp_entries(void);
/* A file of `size` zeros at a path; they take no room on the disk. */
void clq_test_put_zeros(const char *path, int64_t size);
void clq_test_remove_temp_dir(void); /* with all in it */

/* cmocka setup and teardown around tests that use files. */
int clq_test_setup_temp_dir(void **state);
int clq_test_teardown_temp_dir(void **state);

/* ---- locale ---- */

/* Sets a locale whose decimal point is a comma; one is made in the scratch folder when none is
 * installed. False, with the C locale: skip. setlocale(LC_ALL, "C") goes back. */
bool clq_test_comma_locale(void);

/* ---- exhaustive variants ---- */

/* Whether case `i` of a product is run: one in `of`, so that with a running number each value of
 * every factor still comes; all of them when CLQ_TEST_ALL is 1, as in the tests of the ctest label
 * "exhaustive". */
bool clq_test_takes(int i, int of);
bool clq_test_all(void); /* whether CLQ_TEST_ALL is 1 */

/* ---- random data ---- */

/* CLQ_TEST_SEED from the environment, else a fixed one. Comparators print it when they fail. */
uint64_t clq_test_seed(void);
/* `stream` names the array: another one for each in a test. */
void clq_test_fill_f32(float *data, size_t count, float low, float high, uint64_t stream);
void clq_test_fill_normal(float *data, size_t count, float deviation, uint64_t stream);
void clq_test_fill_u8(uint8_t *data, size_t count, uint8_t low, uint8_t high, uint64_t stream);
void clq_test_fill_s8(int8_t *data, size_t count, int8_t low, int8_t high, uint64_t stream);
void clq_test_fill_s32(int32_t *data, size_t count, int32_t low, int32_t high, uint64_t stream);

/* ---- comparators ---- */

/* The shape only serves the message: the first mismatch's indices. */
enum { CLQ_TEST_MAX_RANK = 6 };
typedef struct clq_test_shape {
    size_t dims[CLQ_TEST_MAX_RANK];
    int rank;
} clq_test_shape;

#define clq_test_shape_of(...)                                                                     \
    ((clq_test_shape){{__VA_ARGS__}, sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)})

size_t clq_test_shape_count(clq_test_shape shape);

/* |actual - expected| <= absolute + relative * |expected| for all; NaN only equals NaN, an infinity
 * only itself. The bool forms write a message into `out`; the assert forms fail the test. */
bool clq_test_close_f32(const float *actual, const float *expected, clq_test_shape shape,
                        double absolute, double relative, char *out, size_t out_size);
bool clq_test_equal_u8(const uint8_t *actual, const uint8_t *expected, clq_test_shape shape,
                       char *out, size_t out_size);
bool clq_test_equal_s8(const int8_t *actual, const int8_t *expected, clq_test_shape shape,
                       char *out, size_t out_size);
bool clq_test_equal_s32(const int32_t *actual, const int32_t *expected, clq_test_shape shape,
                        char *out, size_t out_size);
/* Equal bits, for "the same bits every run". */
bool clq_test_equal_bits(const void *actual, const void *expected, size_t size, char *out,
                         size_t out_size);

#define assert_close_f32(actual, expected, shape, absolute, relative)                              \
    CLQ_TEST_ASSERT(clq_test_close_f32, actual, expected, shape, absolute, relative)
#define assert_equal_u8(actual, expected, shape)                                                   \
    CLQ_TEST_ASSERT(clq_test_equal_u8, actual, expected, shape)
#define assert_equal_s8(actual, expected, shape)                                                   \
    CLQ_TEST_ASSERT(clq_test_equal_s8, actual, expected, shape)
#define assert_equal_s32(actual, expected, shape)                                                  \
    CLQ_TEST_ASSERT(clq_test_equal_s32, actual, expected, shape)
#define assert_equal_bits(actual, expected, size)                                                  \
    CLQ_TEST_ASSERT(clq_test_equal_bits, actual, expected, size)

#define CLQ_TEST_ASSERT(compare, ...)                                                              \
    do {                                                                                           \
        char clq_test_message_[256];                                                               \
        if (!compare(__VA_ARGS__, clq_test_message_, sizeof clq_test_message_)) {                  \
            fail_msg("%s", clq_test_message_);                                                     \
        }                                                                                          \
    } while (0)

/* ---- guarded buffers ---- */

/* `size` bytes of 0xA5 with 64 guard bytes on either side; 64-byte aligned. */
void *clq_test_guarded(size_t size);
/* Whether all guards are whole; writes which side was overrun. */
bool clq_test_guards_whole(const void *buffer, char *out, size_t out_size);
/* Checks the guards (failing the test) and frees. */
void clq_test_guarded_free(void *buffer);

#endif
