/* Learning-rate schedules against values worked out by hand, and the rules of a configuration. */
#include <math.h>

#include <clquant/train.h>

#include "support/clq_test.h"

enum { STEPS = 10 }; /* an epoch */

static clq_train_config config_of(clq_schedule_kind kind, int epochs) {
    clq_train_config config;
    clq_train_config_init(&config);
    config.epochs = epochs;
    config.schedule.kind = kind;
    config.schedule.lr = 1.0;
    return config;
}

static void assert_near(double actual, double expected) {
    if (fabs(actual - expected) > 1e-12) {
        fail_msg("%.15g instead of %.15g", actual, expected);
    }
}

static void constant_with_warmup(void **state) {
    (void)state;
    clq_train_config config = config_of(CLQ_LR_CONSTANT, 4);
    config.schedule.warmup_epochs = 1;
    assert_near(clq_learning_rate(&config, 0, STEPS), 0.1);
    assert_near(clq_learning_rate(&config, 4, STEPS), 0.5);
    assert_near(clq_learning_rate(&config, 9, STEPS), 1.0);
    assert_near(clq_learning_rate(&config, 39, STEPS), 1.0);
}

static void steps_at_milestones(void **state) {
    (void)state;
    clq_train_config config = config_of(CLQ_LR_STEP, 10);
    config.schedule.milestones[0] = 2;
    config.schedule.milestones[1] = 5;
    config.schedule.milestone_count = 2;
    assert_near(clq_learning_rate(&config, 19, STEPS), 1.0);
    assert_near(clq_learning_rate(&config, 20, STEPS), 0.1);
    assert_near(clq_learning_rate(&config, 50, STEPS), 0.01);
}

static void one_cycle_falls_as_a_cosine(void **state) {
    (void)state;
    clq_train_config config = config_of(CLQ_LR_ONE_CYCLE, 5);
    config.schedule.warmup_epochs = 1;
    config.schedule.final_ratio = 0.1;
    assert_near(clq_learning_rate(&config, 10, STEPS), 1.0);
    assert_near(clq_learning_rate(&config, 30, STEPS), 0.55); /* half-way */
    assert_near(clq_learning_rate(&config, 50, STEPS), 0.1);
}

static void cosine_ends_at_eta_min(void **state) {
    (void)state;
    clq_train_config config = config_of(CLQ_LR_COSINE, 2);
    config.schedule.eta_min = 0.2;
    assert_near(clq_learning_rate(&config, 0, STEPS), 1.0);
    assert_near(clq_learning_rate(&config, 10, STEPS), 0.6);
    assert_near(clq_learning_rate(&config, 20, STEPS), 0.2);
}

/* T_0 = 1, T_mult = 2: cycles of 1, 2, 4 epochs start at epochs 0, 1, 3. */
static void warm_restarts_lengthen(void **state) {
    (void)state;
    clq_train_config config = config_of(CLQ_LR_COSINE_RESTARTS, 7);
    config.schedule.t_0 = 1;
    config.schedule.t_mult = 2;
    assert_near(clq_learning_rate(&config, 5, STEPS), 0.5);
    assert_near(clq_learning_rate(&config, 10, STEPS), 1.0);
    assert_near(clq_learning_rate(&config, 20, STEPS), 0.5);
    assert_near(clq_learning_rate(&config, 30, STEPS), 1.0);
    assert_near(clq_learning_rate(&config, 50, STEPS), 0.5);
}

static void bad_configurations_are_named(void **state) {
    (void)state;
    clq_train_config config = config_of(CLQ_LR_CONSTANT, 0);
    assert_status(clq_train_config_check(&config), CLQ_USAGE);
    assert_error_has("epochs");
    config.epochs = 1;
    assert_ok(clq_train_config_check(&config));
    config.schedule.lr = NAN;
    assert_status(clq_train_config_check(&config), CLQ_USAGE);
    assert_error_has("schedule.lr");
    config.schedule.lr = 1;
    config.label_smoothing = 1;
    assert_status(clq_train_config_check(&config), CLQ_USAGE);
    assert_error_has("label_smoothing");
    config.label_smoothing = 0;
    config.schedule.milestones[0] = config.schedule.milestones[1] = 3;
    config.schedule.milestone_count = 2;
    assert_status(clq_train_config_check(&config), CLQ_USAGE);
    assert_error_has("milestones");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_with_warmup),
        cmocka_unit_test(steps_at_milestones),
        cmocka_unit_test(one_cycle_falls_as_a_cosine),
        cmocka_unit_test(cosine_ends_at_eta_min),
        cmocka_unit_test(warm_restarts_lengthen),
        cmocka_unit_test(bad_configurations_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
