/* The kernels of the GPU schedule for NVIDIA, without such a device: clang and libclc compile them
 * to PTX, ptxas assembles that, and the convolutions must keep their sums in registers. Prints what
 * each takes. Skipped where clang lacks the target, or libclc or ptxas is missing. NVIDIA's driver
 * has a compiler of its own but the same assembler, so the numbers are close to its own. */
#include "support/clq_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/conv/group_tile.h"

/* ---- the tools ---- */

#define LIBCLC "/usr/lib/clc/nvptx64--nvidiacl.bc"

static const char *const architectures[] = {"sm_80", "sm_90"};

static bool run(const char *command) {
    return system(command) == 0;
}

/* ptxas, or NULL when something is missing. */
static const char *find_ptxas(void) {
    if (!run("clang -print-targets 2>&1 | grep -q nvptx64") || !run("test -f " LIBCLC)) {
        return NULL;
    }
    return run("ptxas --version >/dev/null 2>&1") ? "ptxas"
           : run("/usr/local/cuda/bin/ptxas --version >/dev/null 2>&1")
               ? "/usr/local/cuda/bin/ptxas"
               : NULL;
}

static void compile(const char *file, const char *dot, const char *options, const char *ptx) {
    char *command =
        clq_format("clang -x cl -target nvptx64-unknown-nvidiacl -Xclang -target-cpu -Xclang sm_80 "
                   "-Xclang -target-feature -Xclang +ptx70 -Xclang -finclude-default-header "
                   "-Xclang -mlink-builtin-bitcode -Xclang " LIBCLC " -O3 -Werror "
                   "-DCLQ_SCHEDULE_GPU=1 -DCLQ_SIMD_BYTES=0 -DCLQ_DOT_%s=1 %s "
                   "-I" CLQ_SOURCE_DIR "/kernels/include -S -o %s " CLQ_SOURCE_DIR "/kernels/%s",
                   dot, options, ptx, file);
    if (!run(command)) {
        fail_msg("%s", command);
    }
    clq_free(command);
}

/* Assembles, prints registers and local memory of each kernel, and returns the bytes spilled. */
static int assemble(const char *ptxas, const char *ptx, const char *architecture) {
    char *command = clq_format("%s -arch=%s -v %s -o /dev/null 2>&1", ptxas, architecture, ptx);
    char line[512];
    int spilled = 0;
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    while (fgets(line, sizeof line, pipe)) {
        const char *used = strstr(line, "Used "), *spills = strstr(line, "bytes spill stores");
        if (used) {
            print_message("    %s %s", architecture, used);
        } else if (spills) {
            spilled += atoi(strstr(line, "frame, ") + strlen("frame, "));
        } else if (strstr(line, "error") || strstr(line, "fatal")) {
            print_error("%s", line);
        }
    }
    if (pclose(pipe) != 0) {
        fail_msg("%s", command);
    }
    clq_free(command);
    return spilled;
}

static void check(const char *ptxas, const char *file, const char *dot, const char *options) {
    const char *ptx = clq_test_temp_path("kernel.ptx");
    print_message("%s %s %s\n", file, dot, options);
    compile(file, dot, options, ptx);
    static int turn;
    for (int i = 0; i < 2; i++) {
        if (clq_test_takes(turn + i, 2)) {
            assert_int_equal(assemble(ptxas, ptx, architectures[i]), 0);
        }
    }
    turn++;
}

/* ---- tests ---- */

static void check_tiles(const char *ptxas, const char *file, const char *dot,
                        const clq_group_tiles *tiles) {
    for (int i = 0; i < tiles->count; i++) {
        for (int vector = 1; vector <= 4; vector += 3) {
            if (!clq_test_takes(i + vector / 4, 4)) {
                continue; /* the tile's other loads */
            }
            char *options =
                clq_format("%s -DVEC=%d -DCLQ_REQUANT=0", tiles->list[i].options, vector);
            check(ptxas, file, dot, options);
            clq_free(options);
        }
    }
}

static void test_int8(void **state) {
    const char *ptxas = find_ptxas();
    (void)state;
    if (!ptxas) {
        clq_test_skip("clang with nvptx64, libclc or ptxas is not here");
    }
    check_tiles(ptxas, "int8/conv2d_mma.cl", "MMA", &clq_mma_group_tiles);
    check_tiles(ptxas, "int8/conv2d_group.cl", "DP4A", &clq_int8_group_tiles);
    check(ptxas, "int8/conv2d_depthwise.cl", "DP4A", "-DCLQ_REQUANT=0");
}

static void test_f32(void **state) {
    const char *ptxas = find_ptxas();
    (void)state;
    if (!ptxas) {
        clq_test_skip("clang with nvptx64, libclc or ptxas is not here");
    }
    check_tiles(ptxas, "f32/conv2d_block.cl", "DP4A", &clq_f32_group_tiles);
    check(ptxas, "f32/conv2d_block_weights.cl", "DP4A", "-DWG=16");
}

/* The rest has little to spill: it must assemble. */
static void test_others(void **state) {
    static const char *const files[] = {
        "f32/conv2d_depthwise.cl",
        "f32/conv2d_pack.cl",
        "f32/elementwise.cl",
        "f32/pool.cl",
        "f32/peak.cl",
        "int8/dot_probe.cl",
        "int8/peak.cl",
        "int8/elementwise.cl",
        "int8/pool.cl",
    };
    const char *ptxas = find_ptxas();
    (void)state;
    if (!ptxas) {
        clq_test_skip("clang with nvptx64, libclc or ptxas is not here");
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        check(ptxas, files[i], "MMA", "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_int8), cmocka_unit_test(test_f32),
                                       cmocka_unit_test(test_others)};
    return cmocka_run_group_tests_name("nvidia", tests, clq_test_setup_temp_dir,
                                       clq_test_teardown_temp_dir);
}
