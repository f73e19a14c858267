#include "ops/move_node.h"

#include "ops/quantized_run.h"

clq_status clq_move_node_prepare(clq_op_run *run, const clq_move_map *map) {
    const bool trains = run->mode == CLQ_EXEC_TRAIN || run->mode == CLQ_EXEC_QAT;
    if (clq_is_code_mode(run)) {
        CLQ_TRY(clq_check_codes(run, true));
        CLQ_TRY(clq_check_shared(run));
    }
    clq_move_node *node = clq_calloc(1, sizeof *node);
    if (node == NULL) {
        return CLQ_NO_MEMORY;
    }
    run->state = node;
    CLQ_TRY(clq_move_create(run->device, map,
                            run->out.dtype == CLQ_U8 ? CLQ_MOVE_CODES : CLQ_MOVE_FLOATS,
                            &node->forward));
    return trains ? clq_move_create_back(run->device, map, &node->back) : CLQ_OK;
}

clq_status clq_move_node_forward(clq_op_run *run) {
    const clq_move_node *node = run->state;
    return clq_move_run(node->forward, run->in[0].buffer, run->out.buffer, node->fill, NULL, false);
}

clq_status clq_move_node_backward(clq_op_run *run) {
    const clq_move_node *node = run->state;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    return clq_move_run(node->back, run->grad_out.buffer, run->grad_in[0].buffer, NULL, NULL,
                        run->accumulate[0]);
}

void clq_move_node_release(clq_op_run *run) {
    clq_move_node *node = run->state;
    if (node != NULL) {
        clq_move_destroy(node->forward);
        clq_move_destroy(node->back);
        clq_buffer_release(node->fill);
        clq_buffer_release(node->real);
        clq_free(node);
    }
}
