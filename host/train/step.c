/* One training step: batch, forward, loss, backward, check, optimizer. */
#include "train/trainer.h"

/* Of a teacher's, which any outputs may have. */
static clq_status run_output_loss(trainer *t) {
    clq_buffer *outputs[CLQ_MAX_ENDS], *teacher[CLQ_MAX_ENDS], *gradients[CLQ_MAX_ENDS];
    clq_exec *real = clq_distill_exec(t->distill);
    for (int i = 0; i < clq_exec_graph(t->exec)->output_count; i++) {
        const clq_tensor *gradient = clq_exec_output_gradient_at(t->exec, i);
        outputs[i] = gradient ? clq_exec_output_at(t->exec, i)->buffer : NULL;
        teacher[i] = clq_exec_output_at(real, i)->buffer;
        gradients[i] = gradient ? gradient->buffer : NULL;
    }
    return clq_loss_run_outputs(t->loss, outputs, teacher, gradients);
}

static clq_status run_loss(trainer *t, const clq_feed_batch *batch) {
    if (t->job->config.loss == CLQ_LOSS_OUTPUT_ERROR) {
        return run_output_loss(t);
    }
    clq_buffer *output = clq_exec_output(t->exec)->buffer;
    clq_buffer *gradient = clq_exec_output_gradient(t->exec)->buffer;
    return batch->targets ? clq_loss_run_soft(t->loss, output, batch->targets, gradient)
                          : clq_loss_run(t->loss, output, batch->device_labels, gradient);
}

clq_status clq_trainer_step_on(trainer *t, const clq_feed_batch *batch) {
    const clq_train_hooks *hooks = t->job->hooks;
    const double lr = clq_learning_rate(&t->job->config, t->step, t->steps_per_epoch);
    if (hooks && hooks->before_step) {
        CLQ_TRY(hooks->before_step(hooks->context, t->step));
    }
    CLQ_TRY(clq_health_begin(t->health, clq_exec_input(t->exec)));
    clq_exec_set_step(t->exec, (uint64_t)t->step);
    CLQ_TRY(clq_distill_run(t->distill, t->exec));
    CLQ_TRY(clq_exec_forward(t->exec));
    CLQ_TRY(run_loss(t, batch));
    CLQ_TRY(clq_reducer_begin(t->reducer));
    CLQ_TRY(clq_exec_backward(t->exec));
    CLQ_TRY(clq_reducer_finish(t->reducer));
    CLQ_TRY(clq_health_check(t->health, t->loss));
    t->stopping = clq_trainer_is_asked_to_stop(t);
    CLQ_TRY(clq_health_agree(t->health, t->job->ranks, &t->stopping));
    CLQ_TRY(clq_optimizer_step(t->optimizer, lr, t->step - t->skipped.total));
    t->step++;
    if (hooks && hooks->after_step) {
        CLQ_TRY(hooks->after_step(hooks->context, t->step));
    }
    CLQ_TRY(clq_health_restore(t->health));
    return clq_exec_load_parameters(t->exec);
}

clq_status clq_trainer_step(trainer *t) {
    clq_feed_batch batch;
    CLQ_TRY(clq_feed_fill(t->feed, t->exec, &batch));
    CLQ_TRY(clq_trainer_step_on(t, &batch));
    return clq_trainer_check(t);
}
