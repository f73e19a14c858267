/* Loss functions over logits (N, K): the loss of each sample, its gradient, whether it was right,
 * and the sums of all that over many batches, without a wait for the host.
 *
 * A target is a class (labels int (N)) or a distribution over the classes (soft float (N, K)), the
 * other pointer being null. A label outside 0 .. K-1 is no class: nothing is read outside the
 * arrays. */
#pragma OPENCL FP_CONTRACT OFF

/* ---- whether a sample was right ---- */

/* How many classes a sample's logits put before `target`: equal ones rank by index. NaN ranks last
 * as target and first otherwise, so that a broken network is never right. */
static inline int rank_of(__global const float *x, int K, int target) {
    int above = 0;
    if (isnan(x[target])) {
        return K;
    }
    for (int k = 0; k < K; k++) {
        const int below = x[k] < x[target] || (x[k] == x[target] && k >= target);
        above += !below && k != target;
    }
    return above;
}

static inline int largest(__global const float *p, int K) {
    int best = 0;
    for (int k = 1; k < K; k++) {
        best = p[k] > p[best] ? k : best;
    }
    return best;
}

/* The class that counts as right, -1 for none. */
static inline int target_class(__global const int *labels, __global const float *soft, int n,
                               int K) {
    if (soft) {
        return largest(soft + (long)n * K, K);
    }
    return labels[n] >= 0 && labels[n] < K ? labels[n] : -1;
}

/* ---- cross-entropy of softmax(logits) against the smoothed target ---- */

/* q_k = (1 - smoothing) * target_k + smoothing / K (Szegedy et al., 2016)
 * loss = logsumexp(x) * sum q - sum_k q_k x_k,  dx_k = (softmax(x)_k * sum q - q_k) * scale */
static inline float smoothed(__global const int *labels, __global const float *soft, int n, int k,
                             int K, float smoothing) {
    if (!soft && (labels[n] < 0 || labels[n] >= K)) {
        return 0.0f; /* no class */
    }
    const float target = soft ? soft[(long)n * K + k] : (labels[n] == k ? 1.0f : 0.0f);
    return (1.0f - smoothing) * target + smoothing / (float)K;
}

/* ---- what a teacher adds (Hinton et al., 2015) ----
 *
 * With p = softmax(teacher / T) and s = softmax(x / T), both (K),
 *   loss = (1 - weight) * cross-entropy + weight * T^2 * sum_k p_k (log p_k - log s_k)
 *   dx_k = (1 - weight) * ...           + weight * T * (s_k - p_k)                      */

static inline float largest_of(__global const float *x, int K) {
    float top = x[0];
    for (int k = 1; k < K; k++) {
        top = fmax(top, x[k]);
    }
    return top;
}

/* sum_k exp((x_k - top) / T) */
static inline float exp_sum(__global const float *x, int K, float top, float T) {
    float sum = 0.0f;
    for (int k = 0; k < K; k++) {
        sum += exp((x[k] - top) / T);
    }
    return sum;
}

/* The divergence of one sample. Adds weight * T * (s_k - p_k) * scale to its gradient, if wanted.
 */
static inline float teach(__global const float *x, __global const float *teacher,
                          __global float *gradient, int K, float weight, float T, float scale) {
    const float top = largest_of(x, K), teacher_top = largest_of(teacher, K);
    const float sum = exp_sum(x, K, top, T), teacher_sum = exp_sum(teacher, K, teacher_top, T);
    const float log_ratio = log(sum) - log(teacher_sum);
    float divergence = 0.0f;
    for (int k = 0; k < K; k++) {
        const float u = (x[k] - top) / T, v = (teacher[k] - teacher_top) / T;
        const float p = exp(v) / teacher_sum;
        divergence += p * (v - u + log_ratio);
        if (gradient) {
            gradient[k] += weight * T * (exp(u) / sum - p) * scale;
        }
    }
    return divergence;
}

/* One work-item a sample. gradient and teacher (N, K) may be null; `scale` multiplies the gradient
 * (1 / N). */
__kernel void softmax_cross_entropy_f32(__global const float *logits, __global const int *labels,
                                        __global const float *soft, __global const float *teacher,
                                        __global float *gradient, __global float *sample_loss,
                                        __global int *sample_rank, int N, int K, float smoothing,
                                        float weight, float temperature, float scale) {
    const int n = get_global_id(0);
    if (n >= N) {
        return;
    }
    __global const float *x = logits + (long)n * K;
    __global float *dx = gradient ? gradient + (long)n * K : 0;
    const float top = largest_of(x, K), sum = exp_sum(x, K, top, 1.0f);
    const float hard = teacher ? 1.0f - weight : 1.0f;
    float mass = 0.0f, cross = 0.0f;
    for (int k = 0; k < K; k++) {
        const float q = smoothed(labels, soft, n, k, K, smoothing);
        mass += q;
        cross += q * (x[k] - top);
    }
    for (int k = 0; dx && k < K; k++) {
        const float q = smoothed(labels, soft, n, k, K, smoothing);
        dx[k] = hard * (exp(x[k] - top) / sum * mass - q) * scale;
    }
    float loss = hard * (log(sum) * mass - cross);
    if (teacher) {
        loss += weight * temperature * temperature *
                teach(x, teacher + (long)n * K, dx, K, weight, temperature, scale);
    }
    sample_loss[n] = loss;
    const int target = target_class(labels, soft, n, K);
    sample_rank[n] = target < 0 ? K : rank_of(x, K, target);
}

/* ---- mean squared error over the classes; a label means its one-hot vector ---- */

/* Takes what the cross-entropy takes. With a teacher
 *   loss = (1 - weight) * mean squared error + weight * mean_k (x_k - teacher_k)^2;
 * the temperature is of no use. */
__kernel void mean_squared_error_f32(__global const float *logits, __global const int *labels,
                                     __global const float *soft, __global const float *teacher,
                                     __global float *gradient, __global float *sample_loss,
                                     __global int *sample_rank, int N, int K, float smoothing,
                                     float weight, float temperature, float scale) {
    const int n = get_global_id(0);
    if (n >= N) {
        return;
    }
    __global const float *x = logits + (long)n * K;
    const float hard = teacher ? 1.0f - weight : 1.0f;
    float sum = 0.0f;
    for (int k = 0; k < K; k++) {
        const float d = x[k] - smoothed(labels, soft, n, k, K, smoothing);
        const float e = teacher ? x[k] - teacher[(long)n * K + k] : 0.0f;
        sum += teacher ? hard * (d * d) + weight * (e * e) : d * d;
        if (gradient) {
            const float slope = teacher ? hard * d + weight * e : d;
            gradient[(long)n * K + k] = 2.0f * slope / (float)K * scale;
        }
    }
    sample_loss[n] = sum / (float)K;
    const int target = target_class(labels, soft, n, K);
    sample_rank[n] = target < 0 ? K : rank_of(x, K, target);
}

/* ---- how far outputs are from a teacher's ----
 *
 * Of one output with the numbers x and the teacher's t, both (N, M),
 *   loss_n = N * sum_m (x - t)^2 / sum_nm t^2,   dx = 2 (x - t) / sum_nm t^2
 * so that the mean of the losses is the square of the batch's relative error, whatever the unit of
 * the output is. A teacher that says nothing but zeros counts as 1. A network's outputs are added
 * up. A sample's numbers are summed in P parts. */

/* One work-item a part: its sums of (x - t)^2 and t^2 into error and power (N, P). */
__kernel void output_error_parts(__global const float *x, __global const float *teacher,
                                 __global float *error, __global float *power, int N, int M,
                                 int P) {
    const int i = get_global_id(0);
    if (i >= N * P) {
        return;
    }
    const int part = (M + P - 1) / P, first = i % P * part, end = min(first + part, M);
    const long row = (long)(i / P) * M;
    float errors = 0.0f, squares = 0.0f;
    for (int m = first; m < end; m++) {
        const float t = teacher[row + m], d = x[row + m] - t;
        errors += d * d;
        squares += t * t;
    }
    error[i] = errors;
    power[i] = squares;
}

/* Adds an output's losses to those of the outputs before it (first: there are none); total (1) is
 * what its errors are divided by. One work-item. */
__kernel void output_error_samples(__global const float *error, __global const float *power,
                                   __global float *sample_loss, __global float *total, int N, int P,
                                   int first) {
    float all = 0.0f;
    if (get_global_id(0) != 0) {
        return;
    }
    for (int i = 0; i < N * P; i++) {
        all += power[i];
    }
    all = all > 0.0f ? all : 1.0f;
    for (int n = 0; n < N; n++) {
        float sum = 0.0f;
        for (int p = 0; p < P; p++) {
            sum += error[n * P + p];
        }
        sample_loss[n] = (first ? 0.0f : sample_loss[n]) + (float)N * (sum / all);
    }
    total[0] = all;
}

/* One work-item a number of the output. */
__kernel void output_error_gradient(__global const float *x, __global const float *teacher,
                                    __global const float *total, __global float *gradient,
                                    uint count) {
    const size_t i = get_global_id(0);
    if (i < count) {
        gradient[i] = 2.0f * (x[i] - teacher[i]) / total[0];
    }
}

/* ---- samples of many rows: an image whose pixels have classes ---- */

/* The mean loss of a sample's R rows, and the part of them that ranks below 1 and 5: hits (N, 2).
 * One work-item a sample. */
__kernel void loss_of_rows(__global const float *row_loss, __global const int *row_rank,
                           __global float *sample_loss, __global float *hits, int N, int R) {
    const int n = get_global_id(0);
    if (n >= N) {
        return;
    }
    __global const float *losses = row_loss + (long)n * R;
    __global const int *ranks = row_rank + (long)n * R;
    float sum = 0.0f, lost = 0.0f;
    int top1 = 0, top5 = 0;
    for (int r = 0; r < R; r++) {
        const float add = losses[r] - lost, next = sum + add;
        lost = (next - sum) - add;
        sum = next;
        top1 += ranks[r] < 1;
        top5 += ranks[r] < 5;
    }
    sample_loss[n] = sum / (float)R;
    hits[2 * n] = (float)top1 / (float)R;
    hits[2 * n + 1] = (float)top5 / (float)R;
}

/* ---- totals ---- */

/* Adds a batch to the totals (5): the loss, what rounding lost of it (Kahan 1965), samples, top-1
 * and top-5 hits, the counts exact up to 2^24. The hits of samples of many rows are parts, (N, 2);
 * null: their ranks tell. One work-item. */
__kernel void loss_totals(__global const float *sample_loss, __global const int *sample_rank,
                          __global const float *hits, __global float *totals, int N) {
    float sum = totals[0], lost = totals[1];
    float top1 = 0.0f, top5 = 0.0f;
    if (get_global_id(0) != 0) {
        return;
    }
    for (int n = 0; n < N; n++) {
        const float add = sample_loss[n] - lost;
        const float next = sum + add;
        lost = (next - sum) - add;
        sum = next;
        top1 += hits ? hits[2 * n] : (float)(sample_rank[n] < 1);
        top5 += hits ? hits[2 * n + 1] : (float)(sample_rank[n] < 5);
    }
    totals[0] = sum;
    totals[1] = lost;
    totals[2] += (float)N;
    totals[3] += top1;
    totals[4] += top5;
}
