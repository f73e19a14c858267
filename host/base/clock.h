/* Time for measurements and for file metadata. */
#ifndef CLQ_BASE_CLOCK_H
#define CLQ_BASE_CLOCK_H

/* Seconds of the monotonic clock; only differences mean something. */
double clq_now_seconds(void);

/* The present as "2030-01-31T23:59:59Z" (UTC). */
enum { CLQ_TIMESTAMP_SIZE = 32 };
void clq_timestamp(char out[CLQ_TIMESTAMP_SIZE]);

#endif
