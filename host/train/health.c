#include "train/health.h"

#include <string.h>

#include "base/ranks.h"
#include "kernels/include/step_check.h"
#include "train/self_test.h"

enum {
    PARTS = 128, /* of a reduction, on any device: decides bits */
    GROUP = 128, /* as in kernels/optim/health.cl */
    MAX_PROTECTED = 8,
};

typedef struct protected_buffer {
    clq_buffer *buffer, *saved;
} protected_buffer;

struct clq_health {
    clq_device *device;
    clq_params *params;
    double clip_norm;
    clq_kernel *squares, *largest, *check, *restore;
    clq_buffer *sums;                  /* F32 (PARTS): of the gradients' squares */
    clq_buffer *input_max, *state_max; /* U32 (PARTS): bits of the largest of each */
    clq_buffer *result;                /* F32 (STEP_FIELDS) */
    protected_buffer kept[MAX_PROTECTED];
    size_t kept_count;
    float latest[STEP_FIELDS]; /* the result that clq_health_read read */
};

static clq_status open_health(clq_health *health) {
    const size_t bytes = PARTS * sizeof(uint32_t);
    CLQ_TRY(clq_kernel_get(health->device, "health_squares", NULL, &health->squares));
    CLQ_TRY(clq_kernel_get(health->device, "health_largest", NULL, &health->largest));
    CLQ_TRY(clq_kernel_get(health->device, "health_check", NULL, &health->check));
    CLQ_TRY(clq_kernel_get(health->device, "health_restore", NULL, &health->restore));
    CLQ_TRY(clq_buffer_create(health->device, bytes, &health->sums));
    CLQ_TRY(clq_buffer_create(health->device, bytes, &health->input_max));
    CLQ_TRY(clq_buffer_create(health->device, bytes, &health->state_max));
    CLQ_TRY(clq_buffer_fill(health->state_max, 0, bytes, 0));
    CLQ_TRY(clq_buffer_create(health->device, STEP_FIELDS * sizeof(float), &health->result));
    clq_buffer *states = clq_params_flat_states(health->params);
    return states ? clq_health_protect(health, states) : CLQ_OK;
}

clq_status clq_health_create(clq_device *device, clq_params *params, double clip_norm,
                             clq_health **out) {
    clq_train_self_tests_add();
    clq_health *health = clq_calloc(1, sizeof *health);
    *out = NULL;
    if (!health) {
        return CLQ_NO_MEMORY;
    }
    health->device = device;
    health->params = params;
    health->clip_norm = clip_norm;
    const clq_status status = open_health(health);
    if (status != CLQ_OK) {
        clq_health_destroy(health);
        return status;
    }
    *out = health;
    return CLQ_OK;
}

void clq_health_destroy(clq_health *health) {
    if (!health) {
        return;
    }
    for (size_t i = 0; i < health->kept_count; i++) {
        clq_buffer_release(health->kept[i].saved);
    }
    clq_buffer_release(health->sums);
    clq_buffer_release(health->input_max);
    clq_buffer_release(health->state_max);
    clq_buffer_release(health->result);
    clq_free(health);
}

clq_status clq_health_protect(clq_health *health, clq_buffer *buffer) {
    if (health->kept_count == MAX_PROTECTED) {
        return clq_fail(CLQ_INTERNAL, "more than %d buffers that a step changes", MAX_PROTECTED);
    }
    protected_buffer *kept = &health->kept[health->kept_count];
    CLQ_TRY(clq_buffer_create(health->device, clq_buffer_size(buffer), &kept->saved));
    kept->buffer = buffer;
    health->kept_count++;
    return CLQ_OK;
}

clq_buffer *clq_health_result(clq_health *health) {
    return health->result;
}

/* ---- a step ---- */

static clq_range parts_range(const clq_health *health) {
    return clq_device_get_info(health->device)->schedule == CLQ_SCHEDULE_GPU
               ? CLQ_RANGE1(PARTS * GROUP)
               : CLQ_RANGE1(PARTS);
}

static clq_status find_largest(clq_health *health, clq_buffer *x, size_t count, clq_buffer *max) {
    return CLQ_LAUNCH(health->device, health->largest, parts_range(health), CLQ_BUF(x),
                      CLQ_U32(count), CLQ_BUF(max));
}

clq_status clq_health_begin(clq_health *health, const clq_tensor *input) {
    clq_device_set_label(health->device, "health");
    for (size_t i = 0; i < health->kept_count; i++) {
        const protected_buffer *kept = &health->kept[i];
        CLQ_TRY(clq_buffer_copy(kept->saved, 0, kept->buffer, 0, clq_buffer_size(kept->buffer)));
    }
    return find_largest(health, input->buffer, (size_t)clq_shape_count(&input->shape),
                        health->input_max);
}

clq_status clq_health_check(clq_health *health, clq_loss *loss) {
    clq_buffer *states = clq_params_flat_states(health->params);
    clq_buffer *samples = clq_loss_samples(loss);
    clq_device_set_label(health->device, "health");
    if (states) {
        CLQ_TRY(find_largest(health, states, clq_buffer_size(states) / sizeof(float),
                             health->state_max));
    }
    CLQ_TRY(CLQ_LAUNCH(health->device, health->squares, parts_range(health),
                       CLQ_BUF(clq_params_flat_gradient(health->params)),
                       CLQ_U32(clq_params_count(health->params)), CLQ_BUF(health->sums)));
    return CLQ_LAUNCH(health->device, health->check, CLQ_RANGE1(1), CLQ_BUF(health->sums),
                      CLQ_BUF(health->input_max), CLQ_BUF(health->state_max), CLQ_U32(PARTS),
                      CLQ_BUF(samples), CLQ_U32(clq_buffer_size(samples) / sizeof(float)),
                      CLQ_F32(health->clip_norm), CLQ_BUF(health->result));
}

clq_status clq_health_agree(clq_health *health, clq_ranks *ranks, bool *stop) {
    const size_t at = STEP_SCALE * sizeof(float);
    float scale;
    double votes[2]; /* against the step, for stopping */
    if (!ranks) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_buffer_read(health->result, at, sizeof scale, &scale));
    votes[0] = scale == 0;
    votes[1] = *stop;
    CLQ_TRY(clq_ranks_sum(ranks, votes, 2));
    scale = votes[0] > 0 ? 0 : scale;
    *stop = votes[1] > 0;
    return clq_buffer_write(health->result, at, sizeof scale, &scale);
}

clq_status clq_health_restore(clq_health *health) {
    clq_device_set_label(health->device, "health");
    for (size_t i = 0; i < health->kept_count; i++) {
        const protected_buffer *kept = &health->kept[i];
        const size_t words = clq_buffer_size(kept->buffer) / sizeof(uint32_t);
        CLQ_TRY(CLQ_LAUNCH(health->device, health->restore, CLQ_RANGE1(words),
                           CLQ_BUF(kept->buffer), CLQ_BUF(kept->saved), CLQ_BUF(health->result),
                           CLQ_U32(words)));
    }
    clq_device_set_label(health->device, "");
    return CLQ_OK;
}

clq_status clq_health_read(clq_health *health, clq_step_outcome *outcome) {
    CLQ_TRY(clq_buffer_read(health->result, 0, sizeof health->latest, health->latest));
    *outcome = health->latest[STEP_SCALE] == 0    ? CLQ_STEP_UNDONE
               : health->latest[STEP_BROKEN] != 0 ? CLQ_STEP_BROKEN
                                                  : CLQ_STEP_SOUND;
    return CLQ_OK;
}

double clq_health_norm(const clq_health *health) {
    return health->latest[STEP_NORM];
}

clq_status clq_health_largest(clq_health *health, clq_buffer *x, size_t count, float *largest) {
    uint32_t bits[PARTS], most = 0;
    CLQ_TRY(find_largest(health, x, count, health->input_max));
    CLQ_TRY(clq_buffer_read(health->input_max, 0, sizeof bits, bits));
    for (size_t p = 0; p < PARTS; p++) {
        most = bits[p] > most ? bits[p] : most;
    }
    memcpy(largest, &most, sizeof most);
    return CLQ_OK;
}
