/* Augmentation and normalization on the device: a loader's u8 batch becomes the F32 NHWC tensor of
 * the network's input. What happens to an image is a few floats drawn on the host from (seed,
 * epoch, position), so training can be repeated and resumed to the bit on any device. The
 * arithmetic stands in kernels/data/augment.cl and kernels/include/colour.h. */
#ifndef CLQ_DATA_AUGMENT_H
#define CLQ_DATA_AUGMENT_H

#include <clquant/data.h>
#include <clquant/device.h>

#include "kernels/include/augment_fields.h"

typedef struct clq_augment clq_augment;

typedef struct clq_augment_options {
    int batch;                   /* B: images of the output tensor */
    int height, width, channels; /* of the data set */
    int out_height, out_width;   /* of the output tensor; 0: the data set's */
    /* What is shown without a random resized crop where the sizes differ: the centre, cut out (as
     * much of it as there is), or the whole image, scaled. */
    bool centre_crop;
    /* Three float operations, in this order; u8 / 255 in one, or none where the range is 255. */
    clq_normalization normalization;
    clq_augment_config config;
} clq_augment_options;

/* CLQ_USAGE: a std that is not above 0, sizes or padding out of range. */
clq_status clq_augment_create(clq_device *device, const clq_augment_options *options,
                              clq_augment **augment);
void clq_augment_destroy(clq_augment *augment); /* NULL ok */

/* Writes `batch` into out (F32 (B, OH, OW, C)); images past batch->count repeat the last one. With
 * `random`, augmented as drawn for the batch's place; without, only fitted and normalized
 * (evaluation). The launches are queued. */
clq_status clq_augment_apply(clq_augment *augment, const clq_batch *batch, bool random,
                             clq_buffer *out);

/* Whether the batch applied last is mixed, so that its labels are not all there is to say. */
bool clq_augment_is_mixed(const clq_augment *augment);
/* Its class probabilities: targets F32 (B, classes) from labels S32 (B). Queued. */
clq_status clq_augment_targets(clq_augment *augment, clq_buffer *labels, int classes,
                               clq_buffer *targets);

/* What clq_augment_apply does with the image at `position` of the epoch: all of an image's fields
 * but the partner and the mean grey, which are 0. Pure. From 16 Philox counters a position:
 *
 *   0       crop, flip, whether something is erased
 *   1       rotation, translation, scale
 *   2, 3    colour factors; the order of the colour steps, one of 24
 *   4-9     random resized crop: ten tries at a size, then its place
 *   10-15   the erased box, in the same way
 *
 * The geometry is one matrix, the inverse of (in the order in which an image goes through it) crop
 * of the padded image, resized crop within that, flip, rotation, scale, translation, with
 * torchvision's meaning of each: rotation and scale about the centre, angles counter-clockwise,
 * translation by whole pixels. */
void clq_augment_draw(const clq_augment_options *options, uint64_t seed, int64_t epoch,
                      int64_t position, float params[AUGMENT_FIELDS]);

/* What is mixed into a batch. */
typedef struct clq_mix {
    float keep;              /* weight of an image's own pixels outside of the box */
    int y, x, height, width; /* the box that shows the partner; height 0: none */
    float share;             /* weight of its own label */
} clq_mix;

/* Draws for the batch whose first image is at `position`: nothing (keep and share 1), mixup (Zhang
 * et al. 2018) or cutmix (Yun et al. 2019) with their probabilities; where these sum to more than
 * 1, in proportion. One lambda from Beta(alpha, alpha) for the batch, partners from a random
 * permutation of its `count` images. cutmix cuts a box of 1 - lambda of the height x width around a
 * random pixel, clipped to the image; the share is what is left of the image. Pure. */
void clq_mix_draw(const clq_augment_config *config, uint64_t seed, int64_t epoch, int64_t position,
                  int count, int height, int width, clq_mix *mix, uint32_t *partners);

/* table (channels, 256): the normalized value of each code, channels in the network's order. */
void clq_augment_table(const clq_augment_options *options, float *table);

#endif
