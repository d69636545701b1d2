// Depthwise convolution: one input map to one output map. Weights are [taps, C] in f32.
#include "common.cuh"

// A kernel over pictures; sizes are in pixels.
struct Window {
    unsigned height, width, channels, kernel_rows, kernel_columns, stride, top, left, out_height, out_width;
};

template <typename T, int V>
__device__ void depthwise(const T *x, const float *weight, T *y, Window w, unsigned packs) {
    const unsigned index = here();
    if (index >= packs) return;
    const unsigned across = w.channels / V, channel = index % across * V, place = index / across;
    const unsigned column = place % w.out_width, row = place / w.out_width % w.out_height;
    const T *picture = x + (size_t)(place / w.out_width / w.out_height) * w.height * w.width * w.channels;
    float sum[V] = {};
    for (unsigned i = 0; i < w.kernel_rows; i++) {
        const int line = (int)(row * w.stride + i) - (int)w.top;
        if (line < 0 || line >= (int)w.height) continue;
        for (unsigned j = 0; j < w.kernel_columns; j++) {
            const int pixel = (int)(column * w.stride + j) - (int)w.left;
            if (pixel < 0 || pixel >= (int)w.width) continue;
            const Pack<T, V> values = load<T, V>(picture + ((size_t)line * w.width + pixel) * w.channels + channel);
            const Pack<float, V> taps =
                load<float, V>(weight + (size_t)(i * w.kernel_columns + j) * w.channels + channel);
            for (int v = 0; v < V; v++) sum[v] = fmaf(wide(values.at[v]), taps.at[v], sum[v]);
        }
    }
    Pack<T, V> results;
    for (int v = 0; v < V; v++) results.at[v] = narrow<T>(sum[v]);
    store<T, V>(y + (size_t)index * V, results);
}

#define DEPTHWISE(T) const T *x, const float *weight, T *y, Window w, unsigned packs
PACKED(depthwise, DEPTHWISE, (x, weight, y, w, packs))

// Each pixel gathers from the positions that saw it.
template <typename T, int V>
__device__ void depthwise_data(const T *dy, const float *weight, T *dx, Window w, unsigned packs) {
    const unsigned index = here();
    if (index >= packs) return;
    const unsigned across = w.channels / V, channel = index % across * V, place = index / across;
    const unsigned column = place % w.width, row = place / w.width % w.height;
    const T *picture =
        dy + (size_t)(place / w.width / w.height) * w.out_height * w.out_width * w.channels;
    float sum[V] = {};
    for (unsigned i = 0; i < w.kernel_rows; i++) {
        const int down = (int)(row + w.top) - (int)i;
        if (down < 0 || down % (int)w.stride != 0 || down / (int)w.stride >= (int)w.out_height) continue;
        for (unsigned j = 0; j < w.kernel_columns; j++) {
            const int right = (int)(column + w.left) - (int)j;
            if (right < 0 || right % (int)w.stride != 0 || right / (int)w.stride >= (int)w.out_width) continue;
            const size_t at = (size_t)(down / (int)w.stride) * w.out_width + right / (int)w.stride;
            const Pack<T, V> values = load<T, V>(picture + at * w.channels + channel);
            const Pack<float, V> taps =
                load<float, V>(weight + (size_t)(i * w.kernel_columns + j) * w.channels + channel);
            for (int v = 0; v < V; v++) sum[v] = fmaf(wide(values.at[v]), taps.at[v], sum[v]);
        }
    }
    Pack<T, V> results;
    for (int v = 0; v < V; v++) results.at[v] = narrow<T>(sum[v]);
    store<T, V>(dx + (size_t)index * V, results);
}

#define DEPTHWISE_DATA(T) const T *dy, const float *weight, T *dx, Window w, unsigned packs
PACKED(depthwise_data, DEPTHWISE_DATA, (dy, weight, dx, w, packs))

// Sums of dy x over the positions of a part, [parts, kernel_rows, kernel_columns, C]. Block: 32 channels in 8 rows
// of threads; blockIdx.y is the part, blockIdx.z the kernel's row. COLUMNS taps of that row at a time stay in
// registers, from `blockIdx.z / kernel_rows * COLUMNS` on.
#define COLUMNS 5
template <typename T>
__device__ void depthwise_filter(const T *x, const T *dy, float *sums, Window w, unsigned positions,
                                 unsigned positions_a_part) {
    __shared__ float cells[8][32];
    const unsigned channel = here(), i = blockIdx.z % w.kernel_rows, from = blockIdx.z / w.kernel_rows * COLUMNS;
    const unsigned start = blockIdx.y * positions_a_part, end = min(positions, start + positions_a_part);
    float sum[COLUMNS] = {};
    for (unsigned position = start + threadIdx.y; channel < w.channels && position < end; position += 8) {
        const unsigned column = position % w.out_width, row = position / w.out_width % w.out_height;
        const int line = (int)(row * w.stride + i) - (int)w.top;
        if (line < 0 || line >= (int)w.height) continue;
        const size_t picture = position / w.out_width / w.out_height;
        const T *values = x + (picture * w.height + line) * w.width * w.channels + channel;
        const float gradient = wide(dy[(size_t)position * w.channels + channel]);
        for (unsigned j = 0; j < COLUMNS; j++) {
            const int pixel = (int)(column * w.stride + from + j) - (int)w.left;
            const bool is_inside = from + j < w.kernel_columns && pixel >= 0 && pixel < (int)w.width;
            if (is_inside) sum[j] = fmaf(gradient, wide(values[(size_t)pixel * w.channels]), sum[j]);
        }
    }
    for (unsigned j = 0; j < COLUMNS; j++) {
        cells[threadIdx.y][threadIdx.x] = sum[j];
        __syncthreads();
        if (threadIdx.y == 0 && channel < w.channels && from + j < w.kernel_columns) {
            float total = 0.0f;
            for (unsigned y = 0; y < 8; y++) total += cells[y][threadIdx.x];
            const size_t tap = (size_t)blockIdx.y * w.kernel_rows * w.kernel_columns + i * w.kernel_columns;
            sums[(tap + from + j) * w.channels + channel] = total;
        }
        __syncthreads();
    }
}

#define DEPTHWISE_FILTER(T)                                                                                  \
    const T *x, const T *dy, float *sums, Window w, unsigned positions, unsigned positions_a_part
PLAIN(depthwise_filter, DEPTHWISE_FILTER, (x, dy, sums, w, positions, positions_a_part))

// [parts, taps, C] to [C, taps].
extern "C" __global__ void depthwise_filter_end(const float *sums, float *dweight, unsigned parts, unsigned channels,
                                                unsigned taps) {
    const unsigned index = here();
    if (index >= channels * taps) return;
    const unsigned channel = index % channels, tap = index / channels;
    double sum = 0.0;
    for (unsigned part = 0; part < parts; part++) sum += sums[((size_t)part * taps + tap) * channels + channel];
    dweight[(size_t)channel * taps + tap] = sum;
}
