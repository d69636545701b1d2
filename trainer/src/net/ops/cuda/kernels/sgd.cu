// One step of gradient descent over all parameters at once.
#include "common.cuh"

// A parameter as the host writes it.
struct Update {
    float *param, *velocity;
    const float *grad;
    unsigned long long length;
    float rate, decay;
};

// Block b takes the `chunk` values that begin at `starts[b].y * chunk` of update `starts[b].x`.
extern "C" __global__ void sgd(const Update *updates, const uint2 *starts, unsigned chunk, float momentum,
                               float ahead, float along) {
    const uint2 start = starts[blockIdx.x];
    const Update update = updates[start.x];
    const unsigned long long first = (unsigned long long)start.y * chunk;
    const unsigned long long rest = update.length - first;
    const unsigned count = rest < chunk ? (unsigned)rest : chunk;
    float *param = update.param + first, *velocity = update.velocity + first;
    const float *grad = update.grad + first;
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
        const float value = param[i], g = grad[i] + update.decay * value;
        const float v = momentum * velocity[i] + g;
        velocity[i] = v;
        param[i] = value - update.rate * (along * g + ahead * v);
    }
}
