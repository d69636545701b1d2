// Weights in cuDNN's order, and pictures with zeros around them.
#include "common.cuh"

// [K, C, taps] in f32 to [K, taps, C].
template <typename T>
__device__ void filter_in(const float *weight, T *filter, unsigned channels, unsigned taps, unsigned count) {
    const unsigned index = here();
    if (index >= count) return;
    const unsigned channel = index % channels, tap = index / channels % taps, k = index / channels / taps;
    filter[index] = narrow<T>(weight[((size_t)k * channels + channel) * taps + tap]);
}

#define FILTER_IN(T) const float *weight, T *filter, unsigned channels, unsigned taps, unsigned count
PLAIN(filter_in, FILTER_IN, (weight, filter, channels, taps, count))

// [K, taps, C] to [K, C, taps] in f32.
template <typename T>
__device__ void filter_out(const T *filter, float *weight, unsigned channels, unsigned taps, unsigned count) {
    const unsigned index = here();
    if (index >= count) return;
    const unsigned tap = index % taps, channel = index / taps % channels, k = index / taps / channels;
    weight[index] = wide(filter[((size_t)k * taps + tap) * channels + channel]);
}

#define FILTER_OUT(T) const T *filter, float *weight, unsigned channels, unsigned taps, unsigned count
PLAIN(filter_out, FILTER_OUT, (filter, weight, channels, taps, count))

// [B, height, width, C] to [B, out_height, out_width, C], shifted by `top` and `left` (negative: cut off), zeros where
// nothing is.
template <typename T>
__device__ void place(const T *x, T *y, unsigned channels, unsigned height, unsigned width, unsigned out_height,
                      unsigned out_width, int top, int left, unsigned count) {
    const unsigned index = here();
    if (index >= count) return;
    const unsigned channel = index % channels, at = index / channels;
    const int column = (int)(at % out_width) - left, row = (int)(at / out_width % out_height) - top;
    const size_t picture = at / out_width / out_height;
    const bool is_inside = row >= 0 && row < (int)height && column >= 0 && column < (int)width;
    y[index] = is_inside ? x[((picture * height + row) * width + column) * channels + channel] : narrow<T>(0.0f);
}

#define PLACE(T)                                                                                             \
    const T *x, T *y, unsigned channels, unsigned height, unsigned width, unsigned out_height,               \
        unsigned out_width, int top, int left, unsigned count
PLAIN(place, PLACE, (x, y, channels, height, width, out_height, out_width, top, left, count))
