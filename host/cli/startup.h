/* How long this command takes from its start to its first result, with cold and warm kernel
 * caches. */
#ifndef CLQUANT_CLI_STARTUP_H
#define CLQUANT_CLI_STARTUP_H

#include <clquant/bench.h>

/* Runs this program again as a child, three times, with the kernel caches of clquant and of the
 * OpenCL drivers in a temporary folder: empty, as the first run left them, and as the second did
 * (clquant itself stores a CPU's programs in the second). The time is from the start of the child
 * to its first byte on standard output. argv: NULL-terminated, argv[0] included. Call it before any
 * device is opened. A child that fails gives its exit code as the status. */
clq_status clq_startup_measure(char *const argv[], clq_bench_startup *startup);

#endif
