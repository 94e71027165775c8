#include "kernels/cpu/cpu.h"

#include <math.h>

VECTOR_CLONES void cpu_adamw(struct device *d, float *w, float *m, float *v, const float *g, size_t n,
                             const struct adamw *a)
{
    (void)d;
    float lr = a->lr, decay = a->lr * a->weight_decay, epsilon = a->epsilon, scale = a->grad_scale;
    float keep1 = a->beta1, take1 = 1 - a->beta1, correct1 = a->correct1;
    float keep2 = a->beta2, take2 = 1 - a->beta2, correct2 = a->correct2;
    for (size_t i = 0; i < n; i++) {
        float grad = g[i] * scale;
        m[i] = keep1 * m[i] + take1 * grad;
        v[i] = keep2 * v[i] + take2 * (grad * grad);
        w[i] = w[i] - decay * w[i] - lr * (m[i] * correct1) / (sqrtf(v[i] * correct2) + epsilon);
    }
}
