/* Runs a target without libFuzzer: the seeds, then mutations of them, always the same ones in the
 * same order. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/rng.h"
#include "fuzz.h"
#include "fuzz_seeds.h"

enum { MOST_BYTES = 1 << 16 };

static uint8_t input[MOST_BYTES];
static size_t input_size;
static char crash_file[256];

/* Leaves the input that brought the target down. */
static void on_crash(int number) {
    const int fd = open(crash_file, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd >= 0) {
        if (write(fd, input, input_size) < 0) {
            _exit(2);
        }
        close(fd);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void run(void) {
    /* A block of its own, so that a sanitizer sees every byte read too far. */
    uint8_t *copy = malloc(input_size ? input_size : 1);
    fuzz_check(copy != NULL, "input");
    memcpy(copy, input, input_size);
    LLVMFuzzerTestOneInput(copy, input_size);
    free(copy);
}

static void take_seed(clq_rng *rng) {
    const fuzz_seed *seed =
        &fuzz_all_seeds[clq_bounded(clq_rng_next(rng), (uint32_t)fuzz_seed_count)];
    input_size = seed->size < MOST_BYTES ? seed->size : MOST_BYTES;
    memcpy(input, seed->data, input_size);
}

/* A place in the input, more often near its beginning, where headers are. */
static size_t place(clq_rng *rng) {
    const uint32_t size = (uint32_t)input_size;
    const uint32_t within = clq_rng_next(rng) & 1 ? size : size < 64 ? size : 64;
    return clq_bounded(clq_rng_next(rng), within);
}

static void insert(size_t at, const void *bytes, size_t count) {
    if (input_size + count <= MOST_BYTES) {
        memmove(input + at + count, input + at, input_size - at);
        memmove(input + at, bytes, count);
        input_size += count;
    }
}

static void mutate(clq_rng *rng) {
    static const char *const pieces[] = {
        "0",    "-1",   "1e999", "nan", "\"", ",",    "{",         "[",
        "]",    "}",    "\n",    "\r",  ":",  "null", "0.5",       "18446744073709551616",
        "\xff", "\xc3", "..",    "/",   "#",  "true", "9999999999"};
    static const uint32_t numbers[] = {0,      1,      0x7f,       0x80,        0xff,
                                       0x7fff, 0xffff, 0x7fffffff, 0x80000000u, 0xffffffffu};
    uint8_t bytes[64];
    if (input_size == 0) {
        insert(0, "x", 1);
    }
    const size_t at = place(rng);
    const uint32_t draw = clq_rng_next(rng);
    const size_t left = input_size - at, few = 1 + draw % 16 < left ? 1 + draw % 16 : left;
    switch (clq_bounded(clq_rng_next(rng), 8)) {
    case 0:
        input[at] ^= (uint8_t)(1u << draw % 8);
        break;
    case 1:
        input[at] = (uint8_t)draw;
        break;
    case 2: /* cut off, or cut out */
        input_size = draw & 32 ? at : input_size - few;
        if (!(draw & 32)) {
            memmove(input + at, input + at + few, input_size - at);
        }
        break;
    case 3: { /* twice */
        memcpy(bytes, input + at, few);
        insert(at, bytes, few);
        break;
    }
    case 4: { /* a number, little or big end first */
        const uint32_t number = numbers[draw % 10];
        const size_t width = left < 4 ? left : draw & 64 ? 4 : 2;
        for (size_t i = 0; i < width && i < left; i++) {
            input[at + i] = (uint8_t)(number >> 8 * (draw & 128 ? width - 1 - i : i));
        }
        break;
    }
    case 5: {
        const char *piece = pieces[draw % (sizeof pieces / sizeof *pieces)];
        insert(at, piece, strlen(piece));
        break;
    }
    case 6: { /* a part of another seed */
        const fuzz_seed *other = &fuzz_all_seeds[draw % fuzz_seed_count];
        const size_t size = other->size < sizeof bytes ? other->size : sizeof bytes;
        const size_t from = other->size - size ? (draw >> 8) % (other->size - size) : 0;
        insert(at, other->data + from, size);
        break;
    }
    default: /* two places change */
        memcpy(bytes, input + at, few);
        const size_t to = place(rng);
        memcpy(input + to, bytes, few < input_size - to ? few : input_size - to);
        break;
    }
}

static void run_file(const char *path) {
    void *data = NULL;
    size_t size = 0;
    fuzz_check(clq_file_read(path, MOST_BYTES, &data, &size) == CLQ_OK, path);
    memcpy(input, data, size);
    input_size = size;
    clq_free(data);
    run();
}

static void write_seeds(const char *folder) {
    fuzz_check(clq_make_dirs(folder) == CLQ_OK, folder);
    for (size_t i = 0; i < fuzz_seed_count; i++) {
        char *path = clq_format("%s/seed-%02zu", folder, i);
        fuzz_check(path && clq_file_write_atomic(path, fuzz_all_seeds[i].data,
                                                 fuzz_all_seeds[i].size) == CLQ_OK,
                   folder);
        clq_free(path);
    }
}

static long run_mutations(double seconds) {
    clq_rng rng = clq_rng_start(1, 0);
    const double end = clq_now_seconds() + seconds;
    long runs = 0;
    for (size_t i = 0; i < fuzz_seed_count; i++, runs++) {
        input_size = fuzz_all_seeds[i].size < MOST_BYTES ? fuzz_all_seeds[i].size : MOST_BYTES;
        memcpy(input, fuzz_all_seeds[i].data, input_size);
        run();
    }
    for (; clq_now_seconds() < end; runs++) {
        take_seed(&rng);
        for (uint32_t n = 1 + clq_rng_next(&rng) % 4; n > 0; n--) {
            mutate(&rng);
        }
        run();
    }
    return runs;
}

int main(int argc, char **argv) {
    const int crashes[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};
    const char *name = clq_path_basename(argv[0]);
    double seconds = 0.3;
    snprintf(crash_file, sizeof crash_file, "%.200s-crash", name);
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) {
        signal(crashes[i], on_crash);
    }
    fuzz_seeds();
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0) {
        write_seeds(argv[2]);
    } else if (argc > 1 && strcmp(argv[1], "--seconds") != 0) {
        for (int i = 1; i < argc; i++) {
            run_file(argv[i]);
        }
    } else {
        seconds = argc == 3 ? atof(argv[2]) : seconds;
        printf("%s: %zu seeds, %ld runs\n", name, fuzz_seed_count, run_mutations(seconds));
    }
    for (size_t i = 0; i < fuzz_seed_count; i++) {
        free(fuzz_all_seeds[i].data);
    }
    return 0;
}
