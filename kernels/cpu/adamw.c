#include "kernels/cpu/cpu.h"

#include <math.h>

struct update {
    float *w, *m, *v;
    const float *g;
    const struct adamw *a;
};

VECTOR_CLONES static void update_some(void *context, size_t first, size_t count)
{
    const struct update *u = context;
    const struct adamw *a = u->a;
    float *restrict w = u->w + first, *restrict m = u->m + first, *restrict v = u->v + first;
    const float *restrict g = u->g + first;
    float lr = a->lr, decay = a->lr * a->weight_decay, epsilon = a->epsilon, scale = a->grad_scale;
    float keep1 = a->beta1, take1 = 1 - a->beta1, correct1 = a->correct1;
    float keep2 = a->beta2, take2 = 1 - a->beta2, correct2 = a->correct2;
    for (size_t i = 0; i < count; i++) {
        float grad = g[i] * scale;
        m[i] = keep1 * m[i] + take1 * grad;
        v[i] = keep2 * v[i] + take2 * (grad * grad);
        w[i] = w[i] - decay * w[i] - lr * (m[i] * correct1) / (sqrtf(v[i] * correct2) + epsilon);
    }
}

void cpu_adamw(struct device *d, float *w, float *m, float *v, const float *g, size_t n,
               const struct adamw *a)
{
    struct update u = { w, m, v, g, a };
    cpu_for(d, n, update_some, &u);
}
