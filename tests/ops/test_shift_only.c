/* What the requantizer shift promises, looked for in the kernels' source as the preprocessor leaves
 * it: from a sum to a code there is no multiplication and no float, in any function that the end of
 * an integer convolution, an addition or an average calls. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"
#include "support/clq_test.h"

/* ---- source text ---- */

/* The source of a kernel's file behind the preprocessor: malloc'd. */
static char *preprocessed(const char *kernel, int requantizer) {
    enum { MOST = 1 << 21 };
    const char *path = clq_test_temp_path("kernel.c");
    char command[2048];
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(clq_kernel_source(kernel), file) >= 0);
    fclose(file);
    snprintf(command, sizeof command,
             "%s -E -P -w -x c -D__OPENCL_C_VERSION__=120 -D__OPENCL_VERSION__=120 "
             "-DCLQ_SCHEDULE_CPU=1 -DCLQ_DOT_PORTABLE=1 -DCLQ_SIMD_BYTES=64 "
             "-DCLQ_REQUANT=%d %s",
             CLQ_C_COMPILER, requantizer, path);
    file = popen(command, "r");
    assert_non_null(file);
    char *text = calloc(MOST, 1);
    const size_t size = fread(text, 1, MOST - 1, file);
    assert_int_equal(pclose(file), 0);
    assert_true(size > 1000 && size < MOST - 1);
    return text;
}

static bool is_name(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

/* The next whole word `name` at or behind `text`. */
static const char *find_word(const char *text, const char *name, size_t length) {
    for (const char *at = strstr(text, name); at; at = strstr(at + 1, name)) {
        if (!is_name(at[length]) && (at == text || !is_name(at[-1]))) {
            return at;
        }
    }
    return NULL;
}

/* Behind the bracket that closes the one at `open`. */
static const char *behind_bracket(const char *open) {
    int depth = 0;
    for (const char *at = open; *at; at++) {
        depth += *at == '(' || *at == '{';
        depth -= *at == ')' || *at == '}';
        if (depth == 0) {
            return at + 1;
        }
    }
    return NULL;
}

/* The body of the function that is called like the first `length` bytes of `name`, braces included:
 * malloc'd, NULL when the text defines none. */
static char *body_of(const char *text, const char *name, size_t length) {
    char *word = strndup(name, length), *body = NULL;
    for (const char *at = text; !body && (at = find_word(at, word, length)); at += length) {
        const char *open = at + length + strspn(at + length, " \n");
        const char *end = *open == '(' ? behind_bracket(open) : NULL;
        end = end ? end + strspn(end, " \n") : NULL;
        if (end && *end == '{') {
            body = strndup(end, (size_t)(behind_bracket(end) - end));
        }
    }
    free(word);
    return body;
}

/* ---- what is looked for ---- */

/* Whether the '*' stands between two operands, and not in a pointer's type or before what it points
 * to. */
static bool multiplies(const char *body, const char *star) {
    static const char *const types[] = {"char", "uchar", "int",  "uint",
                                        "long", "ulong", "void", "float"};
    const char *end = star;
    while (end > body && isspace((unsigned char)end[-1])) {
        end--;
    }
    const char *start = end;
    while (start > body && is_name(start[-1])) {
        start--;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if ((size_t)(end - start) == strlen(types[i]) &&
            memcmp(start, types[i], (size_t)(end - start)) == 0) {
            return false;
        }
    }
    return end > body && (is_name(end[-1]) || end[-1] == ')' || end[-1] == ']');
}

typedef struct finding {
    int functions, multiplications, floats;
    char visited[4096], first[64]; /* names, and where the first of either was found */
} finding;

static void inspect(const char *text, const char *name, size_t length, finding *found);

/* Every function that the body calls and the text defines. */
static void inspect_calls(const char *text, const char *body, finding *found) {
    for (const char *at = body; *at; at++) {
        if (!is_name(*at) || (at > body && is_name(at[-1]))) {
            continue;
        }
        size_t length = 0;
        while (is_name(at[length])) {
            length++;
        }
        const bool branches = (length == 2 && memcmp(at, "if", 2) == 0) ||
                              (length == 3 && memcmp(at, "for", 3) == 0) ||
                              (length == 5 && memcmp(at, "while", 5) == 0);
        if (!branches && at[length + strspn(at + length, " ")] == '(') {
            inspect(text, at, length, found);
        }
    }
}

static void inspect(const char *text, const char *name, size_t length, finding *found) {
    static const char *const products[] = {"mul24", "mad24", "mul_hi", "mad_hi", "mad", "fma"};
    static const char *const floats[] = {"float",           "float4",   "float16", "convert_float4",
                                         "convert_float16", "as_float", "rint"};
    char mark[80];
    snprintf(mark, sizeof mark, " %.*s ", (int)length, name);
    char *body = strstr(found->visited, mark) ? NULL : body_of(text, name, length);
    if (!body) {
        return;
    }
    assert_true(strlen(found->visited) + strlen(mark) < sizeof found->visited);
    strcat(found->visited, mark);
    const int before = found->multiplications + found->floats;
    for (const char *star = strchr(body, '*'); star; star = strchr(star + 1, '*')) {
        found->multiplications += multiplies(body, star);
    }
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        found->multiplications += find_word(body, products[i], strlen(products[i])) != NULL;
    }
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        found->floats += find_word(body, floats[i], strlen(floats[i])) != NULL;
    }
    if (found->multiplications + found->floats > before && !*found->first) {
        snprintf(found->first, sizeof found->first, "%.*s", (int)length, name);
    }
    found->functions++;
    inspect_calls(text, body, found);
    free(body);
}

static finding inspect_kernel(const char *kernel, const char *const *functions, int requantizer) {
    finding found = {.visited = " "};
    char *text = preprocessed(kernel, requantizer);
    for (; *functions; functions++) {
        char *body = body_of(text, *functions, strlen(*functions));
        assert_non_null(body);
        free(body);
        inspect(text, *functions, strlen(*functions), &found);
    }
    free(text);
    return found;
}

/* ---- tests ---- */

static const struct {
    const char *kernel, *functions[3]; /* those that make codes */
} ends[] = {
    {"conv2d_int8_tile", {"int8_code16", "int8_code4"}},
    {"conv2d_int8_winograd", {"int8_code16", "int8_code4"}},
    {"conv2d_int8_depthwise", {"depthwise_codes", "depthwise_added"}},
    {"int8_add", {"clq_add_shift16", "clq_add_shift4"}},
    {"int8_avg_pool", {"clq_mean_shift16", "clq_mean_shift4"}},
};
enum { CONVOLUTIONS = 3, ENDS = sizeof ends / sizeof *ends };

static void shift_neither_multiplies_nor_knows_floats(void **state) {
    (void)state;
    for (int i = 0; i < ENDS; i++) {
        const finding found = inspect_kernel(ends[i].kernel, ends[i].functions, 2);
        print_message("%s:%s\n", ends[i].kernel, found.visited);
        assert_true(found.functions >= 3);
        if (found.multiplications > 0 || found.floats > 0) {
            fail_msg("%s: %d multiplications, %d floats, first in %s", ends[i].kernel,
                     found.multiplications, found.floats, found.first);
        }
    }
}

/* What is looked for is found where it is. */
static void the_others_multiply(void **state) {
    (void)state;
    for (int i = 0; i < CONVOLUTIONS; i++) {
        const finding real = inspect_kernel(ends[i].kernel, ends[i].functions, 0);
        const finding fixed = inspect_kernel(ends[i].kernel, ends[i].functions, 1);
        assert_true(real.multiplications > 0 && real.floats > 0);
        assert_true(fixed.multiplications > 0);
        assert_int_equal(fixed.floats, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shift_neither_multiplies_nor_knows_floats),
        cmocka_unit_test(the_others_multiply),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
