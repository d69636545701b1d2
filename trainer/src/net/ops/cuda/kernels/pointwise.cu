// Rectifiers and additions, over `packs` packs of values.
#include "common.cuh"

template <typename T, int V>
__device__ void rectify(const T *x, T *y, unsigned packs, float low, float high) {
    for (unsigned pack = here(); pack < packs; pack += gridDim.x * blockDim.x) {
        const size_t at = (size_t)pack * V;
        const Pack<T, V> values = load<T, V>(x + at);
        Pack<T, V> results;
        for (int v = 0; v < V; v++) results.at[v] = narrow<T>(clamped(wide(values.at[v]), low, high));
        store<T, V>(y + at, results);
    }
}

#define RECTIFY(T) const T *x, T *y, unsigned packs, float low, float high
PACKED(rectify, RECTIFY, (x, y, packs, low, high))

// dy where y is strictly between the bounds.
template <typename T, int V>
__device__ void masked(const T *y, const T *dy, T *dx, unsigned packs, float low, float high) {
    for (unsigned pack = here(); pack < packs; pack += gridDim.x * blockDim.x) {
        const size_t at = (size_t)pack * V;
        const Pack<T, V> values = load<T, V>(y + at), gradients = load<T, V>(dy + at);
        Pack<T, V> results;
        for (int v = 0; v < V; v++)
            results.at[v] = narrow<T>(passed(wide(gradients.at[v]), wide(values.at[v]), low, high));
        store<T, V>(dx + at, results);
    }
}

#define MASKED(T) const T *y, const T *dy, T *dx, unsigned packs, float low, float high
PACKED(masked, MASKED, (y, dy, dx, packs, low, high))

// act(a + b).
template <typename T, int V>
__device__ void add(const T *a, const T *b, T *y, unsigned packs, float low, float high) {
    for (unsigned pack = here(); pack < packs; pack += gridDim.x * blockDim.x) {
        const size_t at = (size_t)pack * V;
        const Pack<T, V> left = load<T, V>(a + at), right = load<T, V>(b + at);
        Pack<T, V> results;
        for (int v = 0; v < V; v++)
            results.at[v] = narrow<T>(clamped(wide(left.at[v]) + wide(right.at[v]), low, high));
        store<T, V>(y + at, results);
    }
}

#define ADD(T) const T *a, const T *b, T *y, unsigned packs, float low, float high
PACKED(add, ADD, (a, b, y, packs, low, high))
