/* Many launches as one (host/device/chain.h): steps that each stand for a launch, and a few
 * work-groups, one a compute unit, that do their work-items one step after the other.
 *
 * The kernels of the steps are functions here, clq_chain_0 and so on, which are linked to this
 * program; CHAIN_DECLARE and CHAIN_CASES name them. A step's work-items are cut into as many shares
 * as there are groups. A group does its own share first, so that it finds what it wrote in the
 * step before in its own cache, then what others have not begun. A step is over when all its
 * work-items are done, whoever did them: a group waits only for work that another one has begun, so
 * nothing depends on how many groups run at a time. One that waits for long, as when a group's
 * thread lost its processor to another program, leaves, and the others do its share from then on.
 */
#ifndef CHAIN_DECLARE
#define CHAIN_DECLARE
#define CHAIN_CASES
#endif

#ifndef CLQ_CHAIN_LINE /* ints between two counters, which are to lie in different cache lines */
#define CLQ_CHAIN_LINE 16
#endif

#ifndef PATIENCE /* looks at a counter before a group leaves, about a millisecond */
#define PATIENCE (1 << 20)
#endif

typedef struct chain_step {
    int function;  /* clq_chain_0, ... */
    int arguments; /* the first of its arguments */
    int items;     /* work-items */
    int chunk;     /* that a group takes at a time */
    int size[3];   /* their range */
    int unused;
} chain_step;

CHAIN_DECLARE

/* Work-items first .. last - 1 of a step. item: global ids, then global sizes. */
static void run(const chain_step step, __global const ulong *arguments, int first, int last) {
    size_t item[6];
    for (int d = 0; d < 3; d++)
        item[3 + d] = step.size[d];
    for (int i = first; i < last; i++) {
        item[0] = i % step.size[0];
        item[1] = i / step.size[0] % step.size[1];
        item[2] = i / step.size[0] / step.size[1];
        switch (step.function) {
            CHAIN_CASES
        }
    }
}

/* arguments: all steps', a pointer or number each; counters: (steps, groups + 1) lines, all 0: how
 * many chunks of each share were taken, and how many work-items are done; spent: those of the
 * launch before, which are set back to 0. */
__kernel void chain(__global const chain_step *steps, int count, __global const ulong *arguments,
                    volatile __global int *counters, __global int *spent) {
    const int groups = (int)get_num_groups(0), group = (int)get_group_id(0);
    const int lines = groups + 1;
    for (int i = group; i < count * lines; i += groups)
        spent[i * CLQ_CHAIN_LINE] = 0;
    for (int s = 0; s < count; s++) {
        const chain_step step = steps[s];
        volatile __global int *taken = counters + s * lines * CLQ_CHAIN_LINE;
        volatile __global int *done = taken + groups * CLQ_CHAIN_LINE;
        int finished = 0;
        for (int g = 0; g < groups; g++) {
            const int owner = (group + g) % groups;
            const int begin = (int)((long)step.items * owner / groups);
            const int end = (int)((long)step.items * (owner + 1) / groups);
            for (;;) {
                const int first = begin + atomic_inc(taken + owner * CLQ_CHAIN_LINE) * step.chunk;
                if (first >= end)
                    break;
                const int last = min(first + step.chunk, end);
                run(step, arguments + step.arguments, first, last);
                finished += last - first;
            }
        }
        mem_fence(CLK_GLOBAL_MEM_FENCE);
        atomic_add(done, finished);
        for (int looks = 0; *done < step.items; looks++)
            if (looks == PATIENCE)
                return;
        mem_fence(CLK_GLOBAL_MEM_FENCE);
    }
}

/* Where a buffer lies, for the arguments of a chain. */
__kernel void chain_address(__global void *buffer, __global ulong *arguments, int at) {
    arguments[at] = (ulong)buffer;
}
