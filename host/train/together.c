/* What makes several ranks one training: the same start everywhere, and totals of them all. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/ranks.h"
#include "train/trainer.h"

static clq_status share_buffer(trainer *t, clq_buffer *buffer) {
    const size_t size = buffer ? clq_buffer_size(buffer) : 0;
    if (size == 0) {
        return CLQ_OK;
    }
    clq_status status = CLQ_NO_MEMORY;
    void *data = clq_calloc(size, 1);
    if (!data) {
        return status;
    }
    CLQ_GOTO(status, cleanup, clq_buffer_read(buffer, 0, size, data));
    CLQ_GOTO(status, cleanup, clq_ranks_broadcast(t->job->ranks, data, size));
    CLQ_GOTO(status, cleanup, clq_buffer_write(buffer, 0, size, data));
cleanup:
    clq_free(data);
    return status;
}

/* This rank's row of t->all_totals, which a checkpoint brought back, into the loss. */
static clq_status take_totals(trainer *t) {
    clq_buffer *own = clq_loss_totals_buffer(t->loss);
    const size_t size = clq_buffer_size(own);
    return clq_buffer_copy(own, 0, t->all_totals, (size_t)clq_ranks_rank(t->job->ranks) * size,
                           size);
}

clq_status clq_trainer_share(trainer *t) {
    if (!t->job->ranks) {
        return CLQ_OK;
    }
    if (t->step == 0) {
        CLQ_TRY(clq_trainer_gather_totals(t)); /* all_totals has no content yet */
    }
    CLQ_TRY(share_buffer(t, clq_params_flat(t->params)));
    CLQ_TRY(share_buffer(t, clq_params_flat_states(t->params)));
    for (size_t i = 0; i < t->checkpoint.buffer_count; i++) {
        CLQ_TRY(share_buffer(t, t->buffers[i].buffer));
    }
    CLQ_TRY(take_totals(t));
    return clq_exec_load_parameters(t->exec);
}

clq_status clq_trainer_share_state(trainer *t, json_t **state) {
    clq_status status = CLQ_OK;
    char *text = NULL;
    uint64_t size = 0;
    if (!t->job->ranks) {
        return CLQ_OK;
    }
    if (*state) {
        CLQ_TRY(clq_json_dump_exact(*state, &text));
        size = strlen(text) + 1;
    }
    CLQ_GOTO(status, cleanup, clq_ranks_broadcast(t->job->ranks, &size, sizeof size));
    if (size == 0 || *state) {
        CLQ_GOTO(status, cleanup, clq_ranks_broadcast(t->job->ranks, text, size));
        goto cleanup;
    }
    text = clq_calloc(size, 1);
    if (!text) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_ranks_broadcast(t->job->ranks, text, size));
    CLQ_GOTO(status, cleanup, clq_json_parse("rank 0's checkpoint", text, size - 1, state));
cleanup:
    clq_free(text);
    return status;
}

clq_status clq_trainer_gather_totals(trainer *t) {
    clq_buffer *own = clq_loss_totals_buffer(t->loss);
    const size_t size = clq_buffer_size(own);
    const size_t ranks = (size_t)clq_ranks_size(t->job->ranks);
    clq_status status = CLQ_NO_MEMORY;
    if (!t->job->ranks) {
        return CLQ_OK;
    }
    char *words = clq_calloc(1 + ranks, size);
    if (!words) {
        return status;
    }
    CLQ_GOTO(status, cleanup, clq_buffer_read(own, 0, size, words));
    CLQ_GOTO(status, cleanup, clq_ranks_gather(t->job->ranks, words, size, words + size));
    CLQ_GOTO(status, cleanup, clq_buffer_write(t->all_totals, 0, ranks * size, words + size));
cleanup:
    clq_free(words);
    return status;
}

clq_status clq_trainer_agree_to_stop(trainer *t, bool stop) {
    double votes = stop;
    CLQ_TRY(clq_ranks_sum(t->job->ranks, &votes, 1));
    t->stopping = votes > 0;
    return CLQ_OK;
}

clq_status clq_trainer_read_totals(trainer *t, clq_loss_totals *totals) {
    CLQ_TRY(clq_loss_read(t->loss, totals));
    double sums[] = {totals->loss, totals->top1, totals->top5, totals->samples};
    CLQ_TRY(clq_ranks_sum(t->job->ranks, sums, sizeof sums / sizeof *sums));
    *totals = (clq_loss_totals){sums[0], sums[1], sums[2], sums[3]};
    return CLQ_OK;
}
