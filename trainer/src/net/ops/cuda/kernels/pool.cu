// Pooling over space; a thread makes one value, its channel being the fastest index.
#include "common.cuh"

// A square window over pictures; sizes are in pixels.
struct Window {
    unsigned height, width, channels, kernel, stride, top, left, out_height, out_width;
};

// The input row (or column) under a tap, or -1 where it is padding.
__device__ inline int under(unsigned position, unsigned tap, unsigned stride, unsigned before, unsigned side) {
    const int at = (int)(position * stride + tap) - (int)before;
    return at >= 0 && at < (int)side ? at : -1;
}

// The window position that has an input row (or column) under a tap, or -1 if none has.
__device__ inline int above(unsigned at, unsigned tap, unsigned stride, unsigned before, unsigned positions) {
    const int start = (int)(at + before) - (int)tap;
    if (start < 0 || start % (int)stride != 0) return -1;
    const int position = start / (int)stride;
    return position < (int)positions ? position : -1;
}

// The first maximum under every window and the tap that found it; NaN wins, and stays.
template <typename T>
__device__ void max_pool(const T *x, T *y, unsigned short *winners, Window w, unsigned count) {
    const unsigned index = here();
    if (index >= count) return;
    const unsigned channel = index % w.channels, place = index / w.channels;
    const unsigned column = place % w.out_width, row = place / w.out_width % w.out_height;
    const T *picture = x + (size_t)(place / w.out_width / w.out_height) * w.height * w.width * w.channels;
    float maximum = 0.0f;
    int winner = -1;
    for (unsigned tap = 0; tap < w.kernel * w.kernel; tap++) {
        const int line = under(row, tap / w.kernel, w.stride, w.top, w.height);
        const int pixel = under(column, tap % w.kernel, w.stride, w.left, w.width);
        if (line < 0 || pixel < 0) continue;
        const float value = wide(picture[((size_t)line * w.width + pixel) * w.channels + channel]);
        if (winner < 0 || value > maximum || value != value) {
            maximum = value;
            winner = (int)tap;
        }
    }
    y[index] = narrow<T>(maximum);
    winners[index] = (unsigned short)winner;
}

#define MAX_POOL(T) const T *x, T *y, unsigned short *winners, Window w, unsigned count
PLAIN(max_pool, MAX_POOL, (x, y, winners, w, count))

// Each pixel gathers from the windows above it that it won.
template <typename T>
__device__ void max_pool_gradient(const T *dy, const unsigned short *winners, T *dx, Window w, unsigned count) {
    const unsigned index = here();
    if (index >= count) return;
    const unsigned channel = index % w.channels, place = index / w.channels;
    const unsigned column = place % w.width, row = place / w.width % w.height;
    const size_t picture = (size_t)(place / w.width / w.height) * w.out_height * w.out_width * w.channels;
    float sum = 0.0f;
    for (unsigned tap = 0; tap < w.kernel * w.kernel; tap++) {
        const int down = above(row, tap / w.kernel, w.stride, w.top, w.out_height);
        const int across = above(column, tap % w.kernel, w.stride, w.left, w.out_width);
        if (down < 0 || across < 0) continue;
        const size_t at = picture + ((size_t)down * w.out_width + across) * w.channels + channel;
        if (winners[at] == tap) sum += wide(dy[at]);
    }
    dx[index] = narrow<T>(sum);
}

#define MAX_POOL_GRADIENT(T)                                                                                 \
    const T *dy, const unsigned short *winners, T *dx, Window w, unsigned count
PLAIN(max_pool_gradient, MAX_POOL_GRADIENT, (dy, winners, dx, w, count))

// The mean under every window; there is no padding.
template <typename T> __device__ void avg_pool(const T *x, T *y, Window w, unsigned count) {
    const unsigned index = here();
    if (index >= count) return;
    const unsigned channel = index % w.channels, place = index / w.channels;
    const unsigned column = place % w.out_width, row = place / w.out_width % w.out_height;
    const T *picture = x + (size_t)(place / w.out_width / w.out_height) * w.height * w.width * w.channels;
    float sum = 0.0f;
    for (unsigned tap = 0; tap < w.kernel * w.kernel; tap++) {
        const unsigned line = row * w.stride + tap / w.kernel, pixel = column * w.stride + tap % w.kernel;
        sum += wide(picture[((size_t)line * w.width + pixel) * w.channels + channel]);
    }
    y[index] = narrow<T>(sum / (w.kernel * w.kernel));
}

#define AVG_POOL(T) const T *x, T *y, Window w, unsigned count
PLAIN(avg_pool, AVG_POOL, (x, y, w, count))

template <typename T> __device__ void avg_pool_gradient(const T *dy, T *dx, Window w, unsigned count) {
    const unsigned index = here();
    if (index >= count) return;
    const unsigned channel = index % w.channels, place = index / w.channels;
    const unsigned column = place % w.width, row = place / w.width % w.height;
    const size_t picture = (size_t)(place / w.width / w.height) * w.out_height * w.out_width * w.channels;
    float sum = 0.0f;
    for (unsigned tap = 0; tap < w.kernel * w.kernel; tap++) {
        const int down = above(row, tap / w.kernel, w.stride, 0, w.out_height);
        const int across = above(column, tap % w.kernel, w.stride, 0, w.out_width);
        if (down < 0 || across < 0) continue;
        sum += wide(dy[picture + ((size_t)down * w.out_width + across) * w.channels + channel]);
    }
    dx[index] = narrow<T>(sum / (w.kernel * w.kernel));
}

#define AVG_POOL_GRADIENT(T) const T *dy, T *dx, Window w, unsigned count
PLAIN(avg_pool_gradient, AVG_POOL_GRADIENT, (dy, dx, w, count))

// The mean of every map, [B, C] in f32. Block: 32 channels of picture blockIdx.y, in 8 rows of threads.
template <typename T> __device__ void gap(const T *x, float *y, unsigned area, unsigned channels) {
    __shared__ float cells[8][32];
    const unsigned channel = here();
    const T *picture = x + (size_t)blockIdx.y * area * channels;
    float sum = 0.0f;
    if (channel < channels)
        for (unsigned pixel = threadIdx.y; pixel < area; pixel += 8)
            sum += wide(picture[(size_t)pixel * channels + channel]);
    cells[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || channel >= channels) return;
    double total = 0.0;
    for (unsigned row = 0; row < 8; row++) total += cells[row][threadIdx.x];
    y[(size_t)blockIdx.y * channels + channel] = total / area;
}

#define GAP(T) const T *x, float *y, unsigned area, unsigned channels
PLAIN(gap, GAP, (x, y, area, channels))

template <typename T>
__device__ void gap_gradient(const float *dy, T *dx, unsigned area, unsigned channels, unsigned count) {
    const unsigned index = here();
    if (index >= count) return;
    const unsigned channel = index % channels, picture = index / channels / area;
    dx[index] = narrow<T>(dy[(size_t)picture * channels + channel] / area);
}

#define GAP_GRADIENT(T) const float *dy, T *dx, unsigned area, unsigned channels, unsigned count
PLAIN(gap_gradient, GAP_GRADIENT, (dy, dx, area, channels, count))
