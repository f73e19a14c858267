#include "ops/self_test.h"

void clq_op_self_tests_add(void) {
    clq_self_tests_add(clq_op_self_tests);
    clq_self_tests_add(clq_float_self_tests);
    clq_self_tests_add(clq_rows_self_tests);
    clq_self_tests_add(clq_move_self_tests);
    clq_self_tests_add(clq_resize_self_tests);
    clq_self_tests_add(clq_quant_self_tests);
    clq_self_tests_add(clq_binary_self_tests);
    clq_self_tests_add(clq_histogram_self_tests);
    clq_self_tests_add(clq_rounding_self_tests);
}
