// Statistics and lines a channel: batch normalisation, scale and shift, with the activation after them.
//
// Maps are rows x channels. A block of 256 threads, blockDim.x of them across channels and the others down rows,
// takes `rows_a_part` rows; its sums go to `sums`, [channels, 2, parts], and a second kernel adds the parts.
#include "common.cuh"

// The sums of a block's threads, added down its rows.
template <int V>
__device__ void store_sums(const float (&first)[V], const float (&second)[V], double *sums, unsigned channels) {
    __shared__ float cells[256 * V * 2];
    const unsigned columns = blockDim.x * V * 2;
    for (int v = 0; v < V; v++) {
        const unsigned cell = threadIdx.y * columns + (threadIdx.x * V + v) * 2;
        cells[cell] = first[v];
        cells[cell + 1] = second[v];
    }
    __syncthreads();
    for (unsigned column = threadIdx.y * blockDim.x + threadIdx.x; column < columns; column += 256) {
        double sum = 0.0;
        for (unsigned y = 0; y < blockDim.y; y++) sum += cells[y * columns + column];
        const unsigned channel = blockIdx.x * blockDim.x * V + column / 2;
        if (channel < channels) sums[((size_t)channel * 2 + column % 2) * gridDim.y + blockIdx.y] = sum;
    }
}

// Both sums of the channel `blockIdx.x * 8 + threadIdx.y`, added over the parts by the 32 threads of its row.
__device__ inline void totals(const double *sums, unsigned parts, unsigned channels, double (&total)[2]) {
    __shared__ double cells[8][2][32];
    const unsigned channel = blockIdx.x * 8 + threadIdx.y;
    for (int k = 0; k < 2; k++) {
        double sum = 0.0;
        if (channel < channels)
            for (unsigned part = threadIdx.x; part < parts; part += 32)
                sum += sums[((size_t)channel * 2 + k) * parts + part];
        cells[threadIdx.y][k][threadIdx.x] = sum;
    }
    __syncthreads();
    for (unsigned half = 16; half > 0; half /= 2) {
        if (threadIdx.x < half)
            for (int k = 0; k < 2; k++)
                cells[threadIdx.y][k][threadIdx.x] += cells[threadIdx.y][k][threadIdx.x + half];
        __syncthreads();
    }
    for (int k = 0; k < 2; k++) total[k] = cells[threadIdx.y][k][0];
}

// Sums of x - x0 and its square, x0 being the channel's first value: squares of values far from 0 would cancel.
template <typename T, int V>
__device__ void moments(const T *x, double *sums, unsigned rows, unsigned channels, unsigned rows_a_part) {
    const unsigned column = here() * V;
    const unsigned start = blockIdx.y * rows_a_part, end = min(rows, start + rows_a_part);
    float sum[V] = {}, square[V] = {};
    if (column < channels) {
        const Pack<T, V> origin = load<T, V>(x + column);
        for (unsigned row = start + threadIdx.y; row < end; row += blockDim.y) {
            const Pack<T, V> values = load<T, V>(x + (size_t)row * channels + column);
            for (int v = 0; v < V; v++) {
                const float value = wide(values.at[v]) - wide(origin.at[v]);
                sum[v] += value;
                square[v] = fmaf(value, value, square[v]);
            }
        }
    }
    store_sums<V>(sum, square, sums, channels);
}

#define MOMENTS(T) const T *x, double *sums, unsigned rows, unsigned channels, unsigned rows_a_part
PACKED(moments, MOMENTS, (x, sums, rows, channels, rows_a_part))

// `statistics`, [5, channels]: mean, biased variance, unbiased variance, and the line y = scale x + shift.
template <typename T>
__device__ void moments_end(const T *x, const double *sums, unsigned parts, unsigned rows, unsigned channels,
                            const float *gamma, const float *beta, double eps, float *statistics) {
    double total[2];
    totals(sums, parts, channels, total);
    const unsigned channel = blockIdx.x * 8 + threadIdx.y;
    if (channel >= channels || threadIdx.x != 0) return;
    const double offset = total[0] / rows, mean = wide(x[channel]) + offset;
    const double spread = total[1] / rows - offset * offset, var = spread < 0.0 ? 0.0 : spread;
    const double scale = gamma[channel] / sqrt(var + eps);
    statistics[channel] = mean;
    statistics[channels + channel] = var;
    statistics[2 * channels + channel] = var * rows / (rows - 1.0);
    statistics[3 * channels + channel] = scale;
    statistics[4 * channels + channel] = beta[channel] - mean * scale;
}

#define MOMENTS_END(T)                                                                                       \
    const T *x, const double *sums, unsigned parts, unsigned rows, unsigned channels, const float *gamma,    \
        const float *beta, double eps, float *statistics
PLAIN(moments_end, MOMENTS_END, (x, sums, parts, rows, channels, gamma, beta, eps, statistics))

// y = act(scale x + shift).
template <typename T, int V>
__device__ void line(const T *x, T *y, const float *scale, const float *shift, unsigned rows, unsigned channels,
                     unsigned rows_a_part, float low, float high) {
    const unsigned column = here() * V;
    if (column >= channels) return;
    const Pack<float, V> a = load<float, V>(scale + column), b = load<float, V>(shift + column);
    const unsigned start = blockIdx.y * rows_a_part, end = min(rows, start + rows_a_part);
    for (unsigned row = start + threadIdx.y; row < end; row += blockDim.y) {
        const size_t at = (size_t)row * channels + column;
        const Pack<T, V> values = load<T, V>(x + at);
        Pack<T, V> results;
        for (int v = 0; v < V; v++)
            results.at[v] = narrow<T>(clamped(fmaf(wide(values.at[v]), a.at[v], b.at[v]), low, high));
        store<T, V>(y + at, results);
    }
}

#define LINE(T)                                                                                              \
    const T *x, T *y, const float *scale, const float *shift, unsigned rows, unsigned channels,              \
        unsigned rows_a_part, float low, float high
PACKED(line, LINE, (x, y, scale, shift, rows, channels, rows_a_part, low, high))

// Sums of dz and dz (x - mean), dz being the gradient before the activation. The same expression as in `line`
// gives the same bits, so the mask needs no output. `mean` may be null: 0.
template <typename T, int V>
__device__ void gradient_sums(const T *x, const T *dy, const float *scale, const float *shift, const float *mean,
                              double *sums, unsigned rows, unsigned channels, unsigned rows_a_part, float low,
                              float high) {
    const unsigned column = here() * V;
    const unsigned start = blockIdx.y * rows_a_part, end = min(rows, start + rows_a_part);
    float sum[V] = {}, product[V] = {};
    if (column < channels) {
        const Pack<float, V> a = load<float, V>(scale + column), b = load<float, V>(shift + column);
        Pack<float, V> centre = {};
        if (mean) centre = load<float, V>(mean + column);
        for (unsigned row = start + threadIdx.y; row < end; row += blockDim.y) {
            const size_t at = (size_t)row * channels + column;
            const Pack<T, V> values = load<T, V>(x + at), gradients = load<T, V>(dy + at);
            for (int v = 0; v < V; v++) {
                const float value = wide(values.at[v]);
                const float dz =
                    passed(wide(gradients.at[v]), fmaf(value, a.at[v], b.at[v]), low, high);
                sum[v] += dz;
                product[v] = fmaf(dz, value - centre.at[v], product[v]);
            }
        }
    }
    store_sums<V>(sum, product, sums, channels);
}

#define GRADIENT_SUMS(T)                                                                                     \
    const T *x, const T *dy, const float *scale, const float *shift, const float *mean, double *sums,        \
        unsigned rows, unsigned channels, unsigned rows_a_part, float low, float high
PACKED(gradient_sums, GRADIENT_SUMS, (x, dy, scale, shift, mean, sums, rows, channels, rows_a_part, low, high))

// Gradients of scale and shift.
extern "C" __global__ void line_end(const double *sums, unsigned parts, unsigned channels, float *dscale,
                                    float *dshift) {
    double total[2];
    totals(sums, parts, channels, total);
    const unsigned channel = blockIdx.x * 8 + threadIdx.y;
    if (channel >= channels || threadIdx.x != 0) return;
    dscale[channel] = total[1];
    dshift[channel] = total[0];
}

// Gradients of gamma and beta, and `terms`, [2, channels]: the mean of dz, and that of dz (x - mean) by the variance.
extern "C" __global__ void norm_end(const double *sums, unsigned parts, unsigned rows, unsigned channels,
                                    const float *var, double eps, float *dgamma, float *dbeta, float *terms) {
    double total[2];
    totals(sums, parts, channels, total);
    const unsigned channel = blockIdx.x * 8 + threadIdx.y;
    if (channel >= channels || threadIdx.x != 0) return;
    const double inverse = 1.0 / sqrt(var[channel] + eps);
    dgamma[channel] = total[1] * inverse;
    dbeta[channel] = total[0];
    terms[channel] = total[0] / rows;
    terms[channels + channel] = total[1] * inverse * inverse / rows;
}

// dx = scale (dz - offset - slope (x - mean)), `terms` being offset and slope; without terms dx = scale dz.
template <typename T, int V>
__device__ void line_gradient(const T *x, const T *dy, T *dx, const float *scale, const float *shift,
                              const float *mean, const float *terms, unsigned rows, unsigned channels,
                              unsigned rows_a_part, float low, float high) {
    const unsigned column = here() * V;
    if (column >= channels) return;
    const Pack<float, V> a = load<float, V>(scale + column), b = load<float, V>(shift + column);
    Pack<float, V> centre = {}, offset = {}, slope = {};
    if (terms) {
        centre = load<float, V>(mean + column);
        offset = load<float, V>(terms + column);
        slope = load<float, V>(terms + channels + column);
    }
    const unsigned start = blockIdx.y * rows_a_part, end = min(rows, start + rows_a_part);
    for (unsigned row = start + threadIdx.y; row < end; row += blockDim.y) {
        const size_t at = (size_t)row * channels + column;
        const Pack<T, V> values = load<T, V>(x + at), gradients = load<T, V>(dy + at);
        Pack<T, V> results;
        for (int v = 0; v < V; v++) {
            const float value = wide(values.at[v]);
            const float dz = passed(wide(gradients.at[v]), fmaf(value, a.at[v], b.at[v]), low, high);
            // Without terms nothing is taken off: 0 times an infinite value would be NaN.
            const float inner = terms ? dz - offset.at[v] - slope.at[v] * (value - centre.at[v]) : dz;
            results.at[v] = narrow<T>(a.at[v] * inner);
        }
        store<T, V>(dx + at, results);
    }
}

#define LINE_GRADIENT(T)                                                                                     \
    const T *x, const T *dy, T *dx, const float *scale, const float *shift, const float *mean,               \
        const float *terms, unsigned rows, unsigned channels, unsigned rows_a_part, float low, float high
PACKED(line_gradient, LINE_GRADIENT,
       (x, dy, dx, scale, shift, mean, terms, rows, channels, rows_a_part, low, high))

// running = (1 - momentum) running + momentum batch.
extern "C" __global__ void move_running(float *running, const float *batch, float momentum, unsigned channels) {
    const unsigned channel = here();
    if (channel < channels)
        running[channel] = running[channel] * (1.0f - momentum) + batch[channel] * momentum;
}
