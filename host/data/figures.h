/* The ten figures of the synthetic data set, as signed distances. */
#ifndef CLQ_DATA_FIGURES_H
#define CLQ_DATA_FIGURES_H

enum { CLQ_FIGURES = 10 };

extern const char *const clq_figure_names[CLQ_FIGURES];

/* Distance of (u, v) to the edge of figure `figure`, which fills about the unit disc; negative
 * inside. Uses nothing but + - * / sqrt, so it has the same bits on every machine. */
double clq_figure_distance(int figure, double u, double v);

/* Coverage of a pixel whose centre is `distance` pixels from an edge: 0 .. 1. */
double clq_coverage(double distance);

/* sin and cos of `turn` turns, by polynomials, for the same reason. */
void clq_turn(double turn, double *sine, double *cosine);

#endif
