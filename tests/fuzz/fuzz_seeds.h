/* The seeds that a target has added: between fuzz.c and main.c. */
#ifndef CLQ_FUZZ_SEEDS_H
#define CLQ_FUZZ_SEEDS_H

#include <stddef.h>
#include <stdint.h>

enum { FUZZ_MOST_SEEDS = 64 };

typedef struct fuzz_seed {
    uint8_t *data;
    size_t size;
} fuzz_seed;

extern fuzz_seed fuzz_all_seeds[FUZZ_MOST_SEEDS];
extern size_t fuzz_seed_count;

#endif
