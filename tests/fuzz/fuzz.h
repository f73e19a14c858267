/* Fuzz targets: one file a format, fuzz_NAME.c, each with LLVMFuzzerTestOneInput and its seeds.
 *
 * The build makes of each a small program that mutates the seeds for a moment, which is the test
 * fuzz/NAME, and with clang and -DCLQ_FUZZ=ON a libFuzzer program:
 *
 *     build/fuzz_NAME                    seeds and mutations, 0.3 s; --seconds S for longer
 *     build/fuzz_NAME FILE...            runs files, such as fuzz-NAME-crash
 *     build/fuzz_NAME --seeds FOLDER     writes the seeds, a corpus to begin with
 *
 *     cmake -B build-fuzz -DCMAKE_C_COMPILER=clang -DCLQ_FUZZ=ON -DCLQ_SANITIZE=address,undefined
 *     build-fuzz/fuzz_NAME -max_len=20000 -rss_limit_mb=2048 corpus-NAME FOLDER
 *
 * A target fails by abort(), by a sanitizer's word or by not coming back. */
#ifndef CLQ_FUZZ_H
#define CLQ_FUZZ_H

#include <clquant/base.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- for the targets ---- */

/* Ends the process, with the last error, unless `condition` holds. */
void fuzz_check(bool condition, const char *what);
/* Writes the input to FOLDER/name, making folders on the way, and returns the path (a ring of 8).
 */
const char *fuzz_put(const char *name, const void *data, size_t size);
/* A scratch folder of this process; removed at its end. */
const char *fuzz_folder(void);
/* The input as a string (clq_free it), cut at its first NUL. */
char *fuzz_text(const uint8_t *data, size_t size);

/* ---- seeds ---- */

void fuzz_add(const void *data, size_t size);
void fuzz_add_text(const char *text);
void fuzz_add_file(const char *path); /* below the source folder */
/* The target's: adds them. */
void fuzz_seeds(void);

#endif
