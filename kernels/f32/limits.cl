/* What bounds a device besides arithmetic: reading memory, and starting a kernel. */

#if defined(CLQ_SCHEDULE_GPU)
typedef uint4 read_vector;
#define SUM(v) ((v).s0 ^ (v).s3)
#else
typedef uint16 read_vector;
#define SUM(v) ((v).s0 ^ (v).sf)
#endif
#define TOGETHER 4 /* loads that do not wait for each other */

/* data (work-groups, chunk): every work-group reads one row of it, and another one in each of the
 * repeats, so that no cache of its own helps; chunk is a multiple of TOGETHER * local size.
 * sinks (global size): keeps the work alive. */
__kernel void read_bandwidth(__global const read_vector *data, __global uint *sinks, int chunk,
                             int repeats) {
    const int step = (int)get_local_size(0), groups = (int)get_num_groups(0);
    read_vector acc[TOGETHER];
#pragma unroll
    for (int k = 0; k < TOGETHER; k++) {
        acc[k] = (read_vector)(0);
    }
    for (int r = 0; r < repeats; r++) {
        const int row = ((int)get_group_id(0) + r) % groups;
        __global const read_vector *from = data + (size_t)row * chunk;
        for (int i = (int)get_local_id(0); i < chunk; i += TOGETHER * step) {
#pragma unroll
            for (int k = 0; k < TOGETHER; k++) {
                acc[k] ^= from[i + k * step];
            }
        }
    }
    sinks[get_global_id(0)] = SUM(acc[0]) ^ SUM(acc[1]) ^ SUM(acc[2]) ^ SUM(acc[3]);
}

/* Nothing: what is left is the cost of the launch. */
__kernel void launch_nothing(__global uint *sinks) {
    (void)sinks;
}
