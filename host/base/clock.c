#include "base/clock.h"

#include <stdio.h>
#include <time.h>

double clq_now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void clq_timestamp(char out[CLQ_TIMESTAMP_SIZE]) {
    time_t now = time(NULL);
    struct tm utc;
    if (!gmtime_r(&now, &utc) || !strftime(out, CLQ_TIMESTAMP_SIZE, "%Y-%m-%dT%H:%M:%SZ", &utc)) {
        snprintf(out, CLQ_TIMESTAMP_SIZE, "1970-01-01T00:00:00Z");
    }
}
