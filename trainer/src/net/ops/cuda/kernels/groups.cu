// What MC-Loss does with the groups of class-aligned maps, [B, H W, N]: the group of class i owns the channels
// starts[i] .. starts[i + 1], and class_of[n] owns channel n.
#include "common.cuh"

// The index within its group of a pixel whose maximum is a masked channel's zero: nobody receives its gradient.
#define NOBODY 0xffffffffu

// The largest of a class's kept maps at every pixel, [B, H W, c], and the channel it comes first in. NaN wins, and
// stays. A channel that is not kept counts as zeros. A negative value beside one is made NaN: its zero would beat
// it, so that masking would not drop a channel but rectify the rest, and nobody waits here to be told.
template <typename T>
__device__ void ccmp(const T *x, const unsigned *starts, const unsigned char *kept, T *y, unsigned *winners,
                     unsigned channels, unsigned classes, unsigned count) {
    const unsigned index = here();
    if (index >= count) return;
    const unsigned group = index % classes, first = starts[group], last = starts[group + 1];
    const T *pixel = x + (size_t)(index / classes) * channels;
    float maximum = 0.0f;
    unsigned winner = NOBODY;
    bool is_thinned = false, is_negative = false;
    for (unsigned channel = first; channel < last; channel++) {
        const float value = wide(pixel[channel]);
        is_negative |= value < 0.0f;
        if (!kept[channel]) {
            is_thinned = true;
            continue;
        }
        if (channel == first || value > maximum || value != value) {
            maximum = value;
            winner = channel - first;
        }
    }
    y[index] = narrow<T>(is_thinned && is_negative ? nanf("") : maximum);
    winners[index] = winner;
}

#define CCMP(T)                                                                                              \
    const T *x, const unsigned *starts, const unsigned char *kept, T *y, unsigned *winners,                  \
        unsigned channels, unsigned classes, unsigned count
PLAIN(ccmp, CCMP, (x, starts, kept, y, winners, channels, classes, count))

template <typename T>
__device__ void ccmp_gradient(const T *dy, const unsigned *winners, const unsigned *starts,
                              const unsigned *class_of, T *dx, unsigned channels, unsigned classes,
                              unsigned count) {
    const unsigned index = here();
    if (index >= count) return;
    const unsigned channel = index % channels, group = class_of[channel];
    const size_t at = (size_t)(index / channels) * classes + group;
    dx[index] = winners[at] == channel - starts[group] ? dy[at] : narrow<T>(0.0f);
}

#define CCMP_GRADIENT(T)                                                                                     \
    const T *dy, const unsigned *winners, const unsigned *starts, const unsigned *class_of, T *dx,           \
        unsigned channels, unsigned classes, unsigned count
PLAIN(ccmp_gradient, CCMP_GRADIENT, (dy, winners, starts, class_of, dx, channels, classes, count))

// A value of every thread of a block of 128, added or its largest taken, in a fixed order.
__device__ inline float sum_of_block(float value) {
    __shared__ float cells[128];
    cells[threadIdx.x] = value;
    __syncthreads();
    for (unsigned half = 64; half > 0; half /= 2) {
        if (threadIdx.x < half) cells[threadIdx.x] += cells[threadIdx.x + half];
        __syncthreads();
    }
    const float sum = cells[0];
    __syncthreads();
    return sum;
}

__device__ inline float peak_of_block(float value) {
    __shared__ float cells[128];
    cells[threadIdx.x] = value;
    __syncthreads();
    for (unsigned half = 64; half > 0; half /= 2) {
        if (threadIdx.x < half) cells[threadIdx.x] = fmaxf(cells[threadIdx.x], cells[threadIdx.x + half]);
        __syncthreads();
    }
    const float peak = cells[0];
    __syncthreads();
    return peak;
}

// h / xi of a group, [B, c] in f32, and its slope d (h/xi) / dF, [B, H W, N]. One block a group and picture.
// Each channel is made a distribution over space, p; the first largest p wins a pixel. With `won` the mass of a
// channel at the pixels it wins and `lost` the rest of its mass, h = sum won, and the slope is p lost at a pixel the
// channel wins, else -p won. `winners`, [B, H W, c], is scratch. Shared memory: 4 floats for each channel of the
// largest group.
template <typename T>
__device__ void coverage(const T *x, const unsigned *starts, float *y, T *slope, unsigned *winners,
                         unsigned channels, unsigned classes, unsigned area, float *shared) {
    const unsigned group = blockIdx.x, first = starts[group], xi = starts[group + 1] - first;
    float *peaks = shared, *shares = shared + xi, *won = shared + 2 * xi, *lost = shared + 3 * xi;
    const T *maps = x + (size_t)blockIdx.y * area * channels + first;
    unsigned *mine = winners + (size_t)blockIdx.y * area * classes + group;
    for (unsigned j = 0; j < xi; j++) {
        float peak = -INFINITY;
        for (unsigned k = threadIdx.x; k < area; k += 128)
            peak = fmaxf(peak, wide(maps[(size_t)k * channels + j]));
        peak = peak_of_block(peak);
        float sum = 0.0f;
        for (unsigned k = threadIdx.x; k < area; k += 128)
            sum += expf(wide(maps[(size_t)k * channels + j]) - peak);
        sum = sum_of_block(sum);
        if (threadIdx.x == 0) {
            peaks[j] = peak;
            shares[j] = 1.0f / sum;
        }
    }
    __syncthreads();
    for (unsigned k = threadIdx.x; k < area; k += 128) {
        float maximum = 0.0f;
        unsigned winner = 0;
        for (unsigned j = 0; j < xi; j++) {
            const float p = expf(wide(maps[(size_t)k * channels + j]) - peaks[j]) * shares[j];
            if (j == 0 || p > maximum || p != p) {
                maximum = p;
                winner = j;
            }
        }
        mine[(size_t)k * classes] = winner;
    }
    float h = 0.0f;
    for (unsigned j = 0; j < xi; j++) {
        float here = 0.0f, elsewhere = 0.0f;
        for (unsigned k = threadIdx.x; k < area; k += 128) {
            const float p = expf(wide(maps[(size_t)k * channels + j]) - peaks[j]) * shares[j];
            if (mine[(size_t)k * classes] == j)
                here += p;
            else
                elsewhere += p;
        }
        // Both are summed: 1 - won would leave rounding alone where a lone peak has all the mass.
        here = sum_of_block(here);
        elsewhere = sum_of_block(elsewhere);
        h += here;
        if (threadIdx.x == 0) {
            won[j] = here / xi;
            lost[j] = elsewhere / xi;
        }
    }
    __syncthreads();
    T *slopes = slope + (size_t)blockIdx.y * area * channels + first;
    for (unsigned index = threadIdx.x; index < area * xi; index += 128) {
        const unsigned k = index / xi, j = index % xi;
        const float p = expf(wide(maps[(size_t)k * channels + j]) - peaks[j]) * shares[j];
        const float factor = mine[(size_t)k * classes] == j ? lost[j] : -won[j];
        slopes[(size_t)k * channels + j] = narrow<T>(p * factor);
    }
    if (threadIdx.x == 0) y[blockIdx.y * classes + group] = h / xi;
}

extern "C" __global__ void coverage_f32(const float *x, const unsigned *starts, float *y, float *slope,
                                        unsigned *winners, unsigned channels, unsigned classes, unsigned area) {
    extern __shared__ float shared[];
    coverage<float>(x, starts, y, slope, winners, channels, classes, area, shared);
}

extern "C" __global__ void coverage_bf16(const bf16 *x, const unsigned *starts, float *y, bf16 *slope,
                                         unsigned *winners, unsigned channels, unsigned classes, unsigned area) {
    extern __shared__ float shared[];
    coverage<bf16>(x, starts, y, slope, winners, channels, classes, area, shared);
}

// dF = slope dy, dy being [B, c].
template <typename T>
__device__ void coverage_gradient(const T *slope, const float *dy, const unsigned *class_of, T *dx,
                                  unsigned channels, unsigned classes, unsigned area, unsigned count) {
    const unsigned index = here();
    if (index >= count) return;
    const unsigned channel = index % channels, picture = index / channels / area;
    dx[index] = narrow<T>(wide(slope[index]) * dy[picture * classes + class_of[channel]]);
}

#define COVERAGE_GRADIENT(T)                                                                                 \
    const T *slope, const float *dy, const unsigned *class_of, T *dx, unsigned channels, unsigned classes,   \
        unsigned area, unsigned count
PLAIN(coverage_gradient, COVERAGE_GRADIENT, (slope, dy, class_of, dx, channels, classes, area, count))
