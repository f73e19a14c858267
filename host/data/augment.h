/* Augmentation and normalisation on the device: a loader's u8 batch becomes the F32 NHWC tensor of
 * the network's input. What happens to an image is a few floats drawn on the host from (seed,
 * epoch, position), so training can be repeated and resumed to the bit on any device. */
#ifndef CLQ_DATA_AUGMENT_H
#define CLQ_DATA_AUGMENT_H

#include <clquant/data.h>
#include <clquant/device.h>

#include "kernels/include/augment_fields.h"

typedef struct clq_augment clq_augment;

typedef struct clq_augment_options {
    int batch;                   /* B: images of the output tensor */
    int height, width, channels; /* of the data set */
    /* out = (u8 / 255 - mean) / std: three float operations, in this order. */
    float mean[CLQ_MAX_CHANNELS], std[CLQ_MAX_CHANNELS];
    int crop_padding; /* random crop of the image with so many black pixels around it; 0: none */
    bool flip;        /* mirror every second image, by chance */
} clq_augment_options;

/* CLQ_USAGE: a std that is not above 0, padding out of range. */
clq_status clq_augment_create(clq_device *device, const clq_augment_options *options,
                              clq_augment **augment);
void clq_augment_destroy(clq_augment *augment); /* NULL ok */

/* Writes `batch` into out (F32 (B, H, W, C)); images past batch->count repeat the last one. With
 * `random`, crops and flips as drawn for the batch's place; without, only normalises (evaluation).
 * The launch is queued. */
clq_status clq_augment_apply(clq_augment *augment, const clq_batch *batch, bool random,
                             clq_buffer *out);

/* What clq_augment_apply does with the image at `position` of the epoch. */
void clq_augment_draw(const clq_augment_options *options, uint64_t seed, int64_t epoch,
                      int64_t position, float params[AUGMENT_FIELDS]);

/* table (channels, 256): the normalised value of each code. */
void clq_augment_table(const clq_augment_options *options, float *table);

#endif
