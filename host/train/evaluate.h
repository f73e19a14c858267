/* How outputs are read as predictions. */
#ifndef CLQUANT_TRAIN_EVALUATE_H
#define CLQUANT_TRAIN_EVALUATE_H

/* How many classes stand before `label`: greater logits, and equal ones with a lower index. NaN
 * ranks last, so a broken network never counts as right. */
int clq_rank_of(const float *logits, int classes, int label);
/* The class with the greatest logit, of equal ones the first. */
int clq_predicted_class(const float *logits, int classes);

#endif
