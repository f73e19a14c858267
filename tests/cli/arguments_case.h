/* Calls of public functions with arguments that they refuse, and what they are called with. */
#ifndef CLQ_TEST_ARGUMENTS_CASE_H
#define CLQ_TEST_ARGUMENTS_CASE_H

#include <clquant/clquant.h>

#include <string.h>

#include "support/device.h"

#define SMOOTH CLQ_SOURCE_DIR "/tests/data/tables/smooth.csv"

static clq_device *device;
static clq_dataset *table; /* 3 features, 1 target */
static clq_graph *graph;   /* float, folded, of it */

/* `call` ends in CLQ_USAGE and an error that begins with the function's name. */
#define REFUSED(call) assert_refused((call), #call, __LINE__)
/* The same, and the error names the argument. */
#define REFUSED_FOR(argument, call)                                                                \
    do {                                                                                           \
        REFUSED(call);                                                                             \
        assert_error_has(argument);                                                                \
    } while (0)
/* Zeroed options: any error will do, no crash. */
#define FAILS(call) assert_int_not_equal((call), CLQ_OK)

static inline void assert_refused(clq_status status, const char *call, int line) {
    const size_t name = strcspn(call, "(");
    if (status != CLQ_USAGE || strncmp(clq_last_error(), call, name) != 0) {
        print_error("line %d: %s: status %d, \"%s\"\n", line, call, (int)status, clq_last_error());
        fail();
    }
}

static inline int open_all(void **state) {
    (void)state;
    return clq_test_open(NULL, &device) == CLQ_OK &&
                   clq_dataset_open(SMOOTH, NULL, &table) == CLQ_OK &&
                   clq_network_build(
                       &(clq_network_options){.network = "mlp", .inputs = 3, .classes = 1},
                       &graph) == CLQ_OK
               ? 0
               : -1;
}

static inline int close_all(void **state) {
    (void)state;
    clq_graph_destroy(graph);
    clq_dataset_close(table);
    clq_device_close(device);
    return 0;
}

#endif
