#include "data/figures.h"

#include <math.h>
#include <stddef.h>

const char *const clq_figure_names[CLQ_FIGURES] = {"disc",     "ring", "square",  "triangle",
                                                   "cross",    "star", "stripes", "checker",
                                                   "crescent", "arrow"};
enum { DISC, RING, SQUARE, TRIANGLE, CROSS, STAR, STRIPES, CHECKER, CRESCENT, ARROW };

typedef struct point {
    double x, y;
} point;

static const point triangle[] = {{0, -1.15}, {0.996, 0.575}, {-0.996, 0.575}};
static const point arrow[] = {{1.1, 0},     {0.15, -0.85}, {0.15, -0.3}, {-1.05, -0.3},
                              {-1.05, 0.3}, {0.15, 0.3},   {0.15, 0.85}};
static const point star[] = {/* radii 1.15 and 0.46, every 36 degrees */
                             {0, -1.15},          {0.27038, -0.37215}, {1.09371, -0.35537},
                             {0.43749, 0.14215},  {0.67595, 0.93037},  {0, 0.46},
                             {-0.67595, 0.93037}, {-0.43749, 0.14215}, {-1.09371, -0.35537},
                             {-0.27038, -0.37215}};

static double larger(double a, double b) {
    return a > b ? a : b;
}

static double smaller(double a, double b) {
    return a < b ? a : b;
}

static double length(double x, double y) {
    return sqrt(x * x + y * y);
}

static double clamp01(double x) {
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static double box(double u, double v, double half_u, double half_v) {
    return larger(fabs(u) - half_u, fabs(v) - half_v);
}

/* Nearest edge, and inside when a ray crosses the outline an odd number of times. */
static double polygon(const point *p, size_t count, double u, double v) {
    double nearest = 1e9;
    int crossings = 0;
    for (size_t i = 0; i < count; i++) {
        const point a = p[i], b = p[(i + 1) % count];
        const double ex = b.x - a.x, ey = b.y - a.y, dx = u - a.x, dy = v - a.y;
        const double t = clamp01((dx * ex + dy * ey) / (ex * ex + ey * ey));
        const double rx = dx - t * ex, ry = dy - t * ey;
        nearest = smaller(nearest, rx * rx + ry * ry);
        if ((a.y <= v) != (b.y <= v) && a.x + (v - a.y) / ey * ex > u) {
            crossings++;
        }
    }
    const double distance = sqrt(nearest);
    return crossings % 2 ? -distance : distance;
}

/* Distance to bars of width `period` / 2 along v: a triangle wave. */
static double bars(double u, double period) {
    const double phase = u / period - floor(u / period); /* 0 .. 1 */
    return (fabs(phase - 0.5) - 0.25) * period;
}

double clq_figure_distance(int figure, double u, double v) {
    const double radius = length(u, v);
    switch (figure) {
    case DISC:
        return radius - 0.95;
    case RING:
        return fabs(radius - 0.72) - 0.24;
    case SQUARE:
        return box(u, v, 0.82, 0.82);
    case TRIANGLE:
        return polygon(triangle, sizeof triangle / sizeof *triangle, u, v);
    case CROSS:
        return smaller(box(u, v, 1, 0.3), box(u, v, 0.3, 1));
    case STAR:
        return polygon(star, sizeof star / sizeof *star, u, v);
    case STRIPES:
        return larger(box(u, v, 0.9, 0.9), bars(u + 0.31, 0.62)); /* three of them */
    case CHECKER: {
        const double a = bars(u, 0.9), b = bars(v, 0.9);
        return larger(box(u, v, 0.9, 0.9),
                      a * b > 0 ? smaller(fabs(a), fabs(b)) : -smaller(fabs(a), fabs(b)));
    }
    case CRESCENT:
        return larger(radius - 1, 0.8 - length(u - 0.45, v));
    default:
        return polygon(arrow, sizeof arrow / sizeof *arrow, u, v);
    }
}

double clq_coverage(double distance) {
    return clamp01(0.5 - distance);
}

void clq_turn(double turn, double *sine, double *cosine) {
    const double quarters = 4 * (turn - floor(turn));
    const int quadrant = (int)quarters;
    const double x = (quarters - quadrant) * 1.5707963267948966, y = x * x; /* 0 .. pi / 2 */
    /* Taylor series, below 1e-9 off at pi / 2. */
    const double s =
        x *
        (1 - y / 6 * (1 - y / 20 * (1 - y / 42 * (1 - y / 72 * (1 - y / 110 * (1 - y / 156))))));
    const double c =
        1 -
        y / 2 *
            (1 -
             y / 12 * (1 - y / 30 * (1 - y / 56 * (1 - y / 90 * (1 - y / 132 * (1 - y / 182))))));
    *sine = quadrant == 0 ? s : quadrant == 1 ? c : quadrant == 2 ? -s : -c;
    *cosine = quadrant == 0 ? c : quadrant == 1 ? -s : quadrant == 2 ? -c : s;
}
