/* Which numbers a key may hold: for the option, the recipe's key and the library's own check alike.
 * Each is `lowest, highest` of an inclusive range, to be put where a function takes the two. */
#ifndef CLQ_BASE_RANGES_H
#define CLQ_BASE_RANGES_H

#include <clquant/base.h>

/* CLQ_USAGE names the key, the range and the value. */
clq_status clq_in_range(const char *name, double value, double low, double high);

/* ---- networks and data ---- */

#define CLQ_IN_SIZE 1, 4096 /* height and width of a network's input */
#define CLQ_IN_CHANNELS 1, 4
#define CLQ_IN_CLASSES 1, 100000
#define CLQ_IN_INPUTS 1, 1 << 20
#define CLQ_IN_LIMIT 1, INT32_MAX      /* images or rows */
#define CLQ_IN_DATA_SIZE 0, 4096       /* 0: as it is */
#define CLQ_IN_DATA_LIMIT 0, INT32_MAX /* 0: all */
#define CLQ_IN_MEAN 0, 255             /* and not above data.range */
#define CLQ_IN_STD 1e-6, 510
#define CLQ_IN_TARGET_COLUMNS 1, 65536
#define CLQ_IN_TEST_FRACTION 0, 0.999
#define CLQ_IN_BATCH 1, 65536
#define CLQ_IN_SEED 0, INT64_MAX

/* ---- training ---- */

#define CLQ_IN_EPOCHS 1, 100000
#define CLQ_IN_QAT_EPOCHS 0, 100000 /* 0: no QAT */
#define CLQ_IN_LABEL_SMOOTHING 0, 0.999
#define CLQ_IN_LOADER_THREADS 1, 256
#define CLQ_IN_CHECKPOINT_STEPS 0, 1 << 30
#define CLQ_IN_LOG_STEPS 1, 1 << 30
#define CLQ_IN_CLIP_NORM 0, 1e6
#define CLQ_IN_MOMENTUM 0, 0.99999
#define CLQ_IN_WEIGHT_DECAY 0, 1
#define CLQ_IN_BETA1 0, 0.99999
#define CLQ_IN_BETA2 0, 0.9999999
#define CLQ_IN_EPSILON 1e-30, 1
#define CLQ_IN_EMA_DECAY 0, 0.999999
#define CLQ_IN_LR 0, 1000
#define CLQ_IN_WARMUP_EPOCHS 0, 1e6
#define CLQ_IN_FINAL_RATIO 0, 1
#define CLQ_IN_ETA_MIN 0, 1000
#define CLQ_IN_GAMMA 0, 1
#define CLQ_IN_T_0 1e-3, 1e6
#define CLQ_IN_T_MULT 1, 1000
#define CLQ_IN_MILESTONES 0, 1000000
#define CLQ_IN_DISTILL_WEIGHT 0, 1
#define CLQ_IN_TEMPERATURE 1e-3, 1e3

/* ---- augmentation ---- */

#define CLQ_IN_CROP_PADDING 0, 1024
#define CLQ_IN_ROTATION 0, 180
#define CLQ_IN_TRANSLATE 0, 1
#define CLQ_IN_JITTER 0, 100 /* brightness, contrast, saturation */
#define CLQ_IN_HUE 0, 0.5
#define CLQ_IN_PROBABILITY 0, 1
#define CLQ_IN_ALPHA 0, 100 /* of mixup and cutmix */

/* ---- quantization ---- */

#define CLQ_IN_IMAGES 1, INT32_MAX
#define CLQ_IN_AVERAGING 1e-30, 1
#define CLQ_IN_PERCENTILE 50, 100
#define CLQ_IN_OBSERVER_EPOCHS 0, 100000
#define CLQ_MOST_SHIFT 30
#define CLQ_IN_MAX_SHIFT 0, CLQ_MOST_SHIFT
#define CLQ_IN_ADAROUND 0, 1000000

/* ---- measuring ---- */

#define CLQ_IN_ITERATIONS 1, 1000000 /* of the warm-up too */
#define CLQ_IN_SECONDS 1e-3, 1e6
#define CLQ_IN_R2 -1e6, 1
#define CLQ_IN_MAX_REGRESS 0, 1e6 /* the option takes no more than 1 */

#endif
