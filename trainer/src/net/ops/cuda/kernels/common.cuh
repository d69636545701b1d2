// What all kernels share. Maps lie channels last: [B, H, W, C]. Sums are taken in an order that sizes alone decide.
#pragma once
#include <cuda_bf16.h>

typedef __nv_bfloat16 bf16;

// V values that one thread moves at a time: 16 bytes of them where alignment allows.
template <typename T, int V> struct alignas(sizeof(T) * V) Pack {
    T at[V];
};

template <typename T, int V> __device__ Pack<T, V> load(const T *from) {
    return *reinterpret_cast<const Pack<T, V> *>(from);
}

template <typename T, int V> __device__ void store(T *to, const Pack<T, V> &pack) {
    *reinterpret_cast<Pack<T, V> *>(to) = pack;
}

__device__ inline float wide(float value) { return value; }
__device__ inline float wide(bf16 value) { return __bfloat162float(value); }

template <typename T> __device__ T narrow(float value);
template <> __device__ inline float narrow<float>(float value) { return value; }
template <> __device__ inline bf16 narrow<bf16>(float value) { return __float2bfloat16(value); }

// A value held between two bounds; NaN stays NaN.
__device__ inline float clamped(float value, float low, float high) {
    value = low > value ? low : value;
    return high < value ? high : value;
}

// The gradient where the value is strictly between the bounds, else 0.
__device__ inline float passed(float gradient, float value, float low, float high) {
    return value <= low || value >= high ? 0.0f : gradient;
}

// This thread's element in a grid of one dimension.
__device__ inline unsigned here() { return blockIdx.x * blockDim.x + threadIdx.x; }

// Names a template's four uses for the host: NAME_f32_1, NAME_f32_4, NAME_bf16_1, NAME_bf16_8.
#define PACKED(NAME, PARAMETERS, ARGUMENTS)                                                                  \
    ONE_PACKED(NAME##_f32_1, NAME, float, 1, PARAMETERS, ARGUMENTS)                                          \
    ONE_PACKED(NAME##_f32_4, NAME, float, 4, PARAMETERS, ARGUMENTS)                                          \
    ONE_PACKED(NAME##_bf16_1, NAME, bf16, 1, PARAMETERS, ARGUMENTS)                                          \
    ONE_PACKED(NAME##_bf16_8, NAME, bf16, 8, PARAMETERS, ARGUMENTS)

#define ONE_PACKED(ENTRY, NAME, TYPE, WIDTH, PARAMETERS, ARGUMENTS)                                          \
    extern "C" __global__ void ENTRY(PARAMETERS(TYPE)) { NAME<TYPE, WIDTH> ARGUMENTS; }

// Names a template's two uses for the host: NAME_f32, NAME_bf16.
#define PLAIN(NAME, PARAMETERS, ARGUMENTS)                                                                   \
    ONE_PLAIN(NAME##_f32, NAME, float, PARAMETERS, ARGUMENTS)                                                \
    ONE_PLAIN(NAME##_bf16, NAME, bf16, PARAMETERS, ARGUMENTS)

#define ONE_PLAIN(ENTRY, NAME, TYPE, PARAMETERS, ARGUMENTS)                                                  \
    extern "C" __global__ void ENTRY(PARAMETERS(TYPE)) { NAME<TYPE> ARGUMENTS; }
