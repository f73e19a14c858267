/* The floats that describe what happens to a batch's images: the same on the host
 * (host/data/augment.h) and in kernels/data/. Whole numbers are held exactly. Row 0 belongs to the
 * batch, row 1 + n to image n. */
#ifndef CLQ_AUGMENT_FIELDS_H
#define CLQ_AUGMENT_FIELDS_H

/* Of an image. A box is y, x, height, width in whole pixels; height 0: none. */
#define AUGMENT_DY 0         /* rows: the output's row 0 shows the image's row dy */
#define AUGMENT_DX 1         /* columns */
#define AUGMENT_FLIP 2       /* not 0: mirrored left to right, after the crop */
#define AUGMENT_PARTNER 3    /* number of the image it is mixed with */
#define AUGMENT_MATRIX 4     /* (2, 3): from the output's (x, y, 1) to the image's x, then y */
#define AUGMENT_BOX 10       /* of the image: what the output shows; all else is black */
#define AUGMENT_ERASE 14     /* box of the output that is 0 */
#define AUGMENT_STEPS 18     /* (4): the colour steps in their order, AUGMENT_NO_STEP at the end */
#define AUGMENT_AMOUNTS 22   /* (4): of each step: a factor, for the hue turns */
#define AUGMENT_MEAN_GREY 26 /* written on the device: what contrast is about */
#define AUGMENT_FIELDS 27

/* Colour steps. */
#define AUGMENT_NO_STEP 0
#define AUGMENT_BRIGHTNESS 1
#define AUGMENT_CONTRAST 2
#define AUGMENT_SATURATION 3
#define AUGMENT_HUE 4

/* Of the batch: an output is keep * image + (1 - keep) * partner, in the box the partner alone. */
#define AUGMENT_KEEP 0
#define AUGMENT_CUT 1   /* box of the output */
#define AUGMENT_SHARE 5 /* of the image's own label in the target */

#endif
