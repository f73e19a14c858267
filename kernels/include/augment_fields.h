/* The floats that describe what happens to one image: the same on the host (host/data/augment.h)
 * and in kernels/data/augment.cl. Whole numbers are held exactly. */
#ifndef CLQ_AUGMENT_FIELDS_H
#define CLQ_AUGMENT_FIELDS_H

#define AUGMENT_DY 0   /* rows: the output's row 0 shows the image's row dy */
#define AUGMENT_DX 1   /* columns */
#define AUGMENT_FLIP 2 /* not 0: mirrored left to right, after the crop */
#define AUGMENT_FIELDS 4

#endif
