/* The dot paths of processors that this machine may not have: clang compiles the kernels for them
 * and the intended instruction must come out, without spills in the peak loops. Skipped without
 * clang. Whether the values are right is probed where such a processor is. */
#include "support/clq_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clquant/base.h"

#define X86 "-target x86_64-linux-gnu "
#define NVIDIA "-target nvptx64-nvidia-nvcl -Xclang -target-cpu -Xclang sm_80 "
#define PTX70 "-Xclang -target-feature -Xclang +ptx70 "
#define AMD "-target amdgcn-amd-amdhsa -nogpulib "

typedef struct target {
    const char *dot, *schedule, *simd, *options;
    const char *probe; /* in the assembly of int8/dot_probe.cl */
    const char *peak;  /* in that of int8/peak.cl */
} target;

static const target targets[] = {
    {"AVX512VNNI", "CPU", "64", X86 "-march=skylake-avx512", "vpdpbusd\t%zmm", "vpdpbusd\t%zmm"},
    {"AVXVNNI", "CPU", "32", X86 "-march=haswell", "{vex}\tvpdpbusd\t%ymm",
     "{vex}\tvpdpbusd\t%ymm"},
    {"AVX2", "CPU", "32", X86 "-march=haswell", "vpmaddwd\t%ymm", "vpmaddubsw\t"},
    {"PORTABLE", "CPU", "16", X86 "-msse2", "", ""},
    {"PORTABLE", "GPU", "0", X86 "-msse2", "", ""},
    {"AVX512VNNI", "CPU", "64", X86 "-msse2 -Wno-psabi", "", ""}, /* stands aside */
    {"MMA", "GPU", "0", NVIDIA PTX70, "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32",
     "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32"},
    {"DP4A", "GPU", "0", NVIDIA PTX70, "dp4a.u32.s32", "dp4a.u32.s32"},
    {"AMD", "GPU", "0", AMD "-mcpu=gfx906", "v_dot4_i32_i8", "v_dot4_i32_i8"},
    {"AMD", "GPU", "0", AMD "-mcpu=gfx1030", "v_dot4", "v_dot4"},
};

/* The assembly of a kernel file (free it), or NULL when clang fails. */
static char *compile(const target *t, const char *file, const char *options) {
    char *command = clq_format(
        "clang -x cl %s -Xclang -finclude-default-header -O2 -Werror -DCLQ_SCHEDULE_%s=1 "
        "-DCLQ_DOT_%s=1 -DCLQ_SIMD_BYTES=%s %s -I" CLQ_SOURCE_DIR
        "/kernels/include -S -o - " CLQ_SOURCE_DIR "/kernels/%s",
        t->options, t->schedule, t->dot, t->simd, options, file);
    enum { MAX_TEXT = 1 << 20 };
    char *text = calloc(MAX_TEXT, 1);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t size = fread(text, 1, MAX_TEXT - 1, pipe);
    int result = pclose(pipe);
    if (result != 0 || size == 0) {
        print_error("%s\n", command);
        free(text);
        text = NULL;
    }
    clq_free(command);
    return text;
}

/* Accumulators live in registers: nothing touches the stack between a label and the last mnemonic
 * behind it. */
static bool loop_spills(const char *assembly, const char *mnemonic) {
    const char *label = assembly;
    for (const char *hit = strstr(assembly, mnemonic); hit; hit = strstr(hit + 1, mnemonic)) {
        for (const char *next = label; next && next < hit; next = strstr(next + 1, "\n.L")) {
            label = next;
        }
        const char *stack = strstr(label, "%rsp");
        if (stack && stack < hit) {
            return true;
        }
    }
    return false;
}

/* Whether this clang has the backend that the options ask for. */
static bool has_backend(const target *t) {
    return system(strstr(t->options, "x86_64") ? "clang -print-targets 2>&1 | grep -q x86-64"
                  : strstr(t->options, "nvptx")
                      ? "clang -print-targets 2>&1 | grep -q nvptx64"
                      : "clang -print-targets 2>&1 | grep -q amdgcn") == 0;
}

static void test_targets(void **state) {
    (void)state;
    if (system("clang --version >/dev/null 2>&1") != 0) {
        clq_test_skip("clang is not here");
    }
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        if (!has_backend(&targets[i])) {
            print_message("skipped: clang has no backend for the path %s\n", targets[i].dot);
            continue;
        }
        char *probe = compile(&targets[i], "int8/dot_probe.cl", "");
        char *peak = compile(&targets[i], "int8/peak.cl", "");
        assert_non_null(probe);
        assert_non_null(peak);
        assert_non_null(strstr(probe, targets[i].probe));
        assert_non_null(strstr(peak, targets[i].peak));
        if (targets[i].peak[0]) {
            assert_false(loop_spills(peak, targets[i].peak));
        }
        free(probe);
        free(peak);
    }
}

/* A convolution's sums stay in registers from their first step to their last, with the rows that
 * they read; and codes are packed by vectors of all widths. */
static void test_tiles(void **state) {
    static const char *const tiles[] = {"-DMR=6 -DNV=4", "-DMR=6 -DNV=2", NULL};
    static const char *const packs[] = {"vpackuswb\t%zmm", "vpackuswb\t%ymm", "vpackuswb\t%ymm"};
    (void)state;
    if (system("clang --version >/dev/null 2>&1") != 0 || !has_backend(&targets[0])) {
        clq_test_skip("clang for x86-64 is not here");
    }
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        char *codes = compile(&targets[i], "int8/requantize_peak.cl", "-Wno-psabi");
        assert_non_null(codes);
        assert_non_null(strstr(codes, packs[i]));
        assert_non_null(strstr(codes, "vcvtps2dq"));
        free(codes);
        if (tiles[i]) {
            char *options = clq_format("%s -DIN_PLACE=1 -Wno-psabi", tiles[i]);
            char *tile = compile(&targets[i], "int8/conv2d_tile.cl", options);
            assert_non_null(tile);
            assert_non_null(strstr(tile, packs[i]));
            assert_false(loop_spills(tile, targets[i].probe));
            clq_free(options);
            free(tile);
        }
    }
}

/* kernels/include/builtins.h has all that kernels use; what it lacks costs a second build. Files
 * take the variants in turn, all of them in an exhaustive test. */
static void test_builtins_are_declared(void **state) {
    (void)state;
    static const char *const variants[] = {
        "-DCLQ_SCHEDULE_CPU=1", "-DCLQ_SCHEDULE_GPU=1 -DCLQ_REQUANT=1 -DFUNCTION=GELU",
        "-DCLQ_SCHEDULE_CPU=1 -DCLQ_REQUANT=2 -DFUNCTION=POW_CONST"};
    if (system("command -v clang >/dev/null") != 0) {
        clq_test_skip("clang is not here");
    }
    for (int i = 0; i < 3; i++) {
        char *command = clq_format(
            "cd " CLQ_SOURCE_DIR "/kernels && clang -x cl -cl-no-stdinc -cl-std=CL1.2 "
            "-fsyntax-only -w -D__OPENCL_VERSION__=120 -D_OPENCL_H_=1 -DCLQ_DECLARE_BUILTINS=1 "
            "-include $(clang -print-resource-dir)/include/opencl-c-base.h "
            "-include include/builtins.h -Iinclude -DCLQ_SIMD_BYTES=64 -DCLQ_DOT_PORTABLE=1 %s "
            "$(ls */*.cl | awk 'NR %% %d == %d')",
            variants[i], clq_test_all() ? 1 : 3, clq_test_all() ? 0 : i);
        assert_int_equal(system(command), 0);
        clq_free(command);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_targets), cmocka_unit_test(test_tiles),
                                       cmocka_unit_test(test_builtins_are_declared)};
    return cmocka_run_group_tests_name("targets", tests, NULL, NULL);
}
