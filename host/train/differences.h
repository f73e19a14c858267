/* What two trainings differ in, in words: for a checkpoint that does not fit. */
#ifndef CLQUANT_TRAIN_DIFFERENCES_H
#define CLQUANT_TRAIN_DIFFERENCES_H

#include "base/text.h"

/* Appends "KEY is NEW, was OLD" for the first keys in which two JSON objects differ, with dotted
 * names ("train.schedule.lr"); one that is missing counts as "not set". Of a recipe, only what
 * `phase` depends on; NULL: all keys. A text that is no JSON object, or NULL, differs in nothing.
 */
void clq_train_differences(const char *was, const char *is, const char *phase, clq_text *text);

#endif
