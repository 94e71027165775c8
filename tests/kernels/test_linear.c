#include "tests/kernels/run.h"

/* Sizes around the tiles of matmul.c: 6 rows, 16 columns, 256 deep. */
static const struct row {
    const char *name;
    size_t B, I, O;
} rows[] = {
    { "one record, one input, one output", 1, 1, 1 },
    { "no records at all", 0, 3, 2 },
    { "odd sizes", 3, 7, 5 },
    { "just below a tile", 5, 255, 15 },
    { "exactly a tile", 6, 256, 16 },
    { "just above a tile", 7, 257, 17 },
    { "many inputs, two classes", 8, 700, 2 },
    { "many records", 300, 20, 33 },
    { "large", 65, 513, 130 },
};

struct layer {
    struct kernel_run r;
    struct pair x, w, bias, out, dout, dx, dw, dbias;
};

static struct layer layer_of(const struct row *row)
{
    struct layer l = { .r = run_open() };
    l.x = pair_random(&l.r, row->B * row->I, -1, 1);
    l.w = pair_random(&l.r, row->O * row->I, -1, 1);
    l.bias = pair_random(&l.r, row->O, -1, 1);
    l.dout = pair_random(&l.r, row->B * row->O, -1, 1);
    l.out = pair_new(&l.r, row->B * row->O);
    l.dx = pair_new(&l.r, row->B * row->I);
    l.dw = pair_new(&l.r, row->O * row->I);
    l.dbias = pair_new(&l.r, row->O);
    return l;
}

static void layer_done(struct layer *l)
{
    struct pair *all[] = { &l->x, &l->w, &l->bias, &l->out, &l->dout, &l->dx, &l->dw, &l->dbias };
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        pair_done(&l->r, all[i]);
    device_close(l->r.d);
}

static void forward(struct layer *l, const struct row *row)
{
    l->r.k->linear(l->r.d, l->out.dev, l->x.dev, l->w.dev, l->bias.dev, row->B, row->I, row->O);
    pair_fetch(&l->r, &l->out);
}

static void agrees_with_doubles(void **state)
{
    const struct row *row = *state;
    struct layer l = layer_of(row);
    size_t B = row->B, I = row->I, O = row->O;

    forward(&l, row);
    l.r.k->linear_backward_input(l.r.d, l.dx.dev, l.dout.dev, l.w.dev, B, I, O);
    l.r.k->linear_backward_weight(l.r.d, l.dw.dev, l.dbias.dev, l.dout.dev, l.x.dev, B, I, O);
    pair_fetch(&l.r, &l.dx);
    pair_fetch(&l.r, &l.dw);
    pair_fetch(&l.r, &l.dbias);
    for (size_t b = 0; b < B; b++)
        for (size_t o = 0; o < O; o++) {
            double sum = l.bias.host[o];
            for (size_t i = 0; i < I; i++)
                sum += (double)l.x.host[b * I + i] * l.w.host[o * I + i];
            assert_near(l.out.host[b * O + o], sum, 2e-5);
        }
    for (size_t b = 0; b < B; b++)
        for (size_t i = 0; i < I; i++) {
            double sum = 0;
            for (size_t o = 0; o < O; o++)
                sum += (double)l.dout.host[b * O + o] * l.w.host[o * I + i];
            assert_near(l.dx.host[b * I + i], sum, 2e-5);
        }
    for (size_t o = 0; o < O; o++) {
        double bias = 0;
        for (size_t b = 0; b < B; b++)
            bias += l.dout.host[b * O + o];
        assert_near(l.dbias.host[o], bias, 2e-5);
        for (size_t i = 0; i < I; i++) {
            double sum = 0;
            for (size_t b = 0; b < B; b++)
                sum += (double)l.dout.host[b * O + o] * l.x.host[b * I + i];
            assert_near(l.dw.host[o * I + i], sum, 2e-5);
        }
    }
    layer_done(&l);
}

/* The promise of kernels.h for the CPU: k = 0, 1, 2, ... in single floats, whatever the tiles and vectors. */
static void sums_in_the_order_of_the_index(void **state)
{
    const struct row *row = *state;
    struct layer l = layer_of(row);
    size_t B = row->B, I = row->I, O = row->O;

    if (strcmp(device_name(l.r.d), "cpu") == 0) {
        forward(&l, row);
        for (size_t b = 0; b < B; b++)
            for (size_t o = 0; o < O; o++) {
                volatile float sum = l.bias.host[o];
                for (size_t i = 0; i < I; i++) {
                    volatile float product = l.x.host[b * I + i] * l.w.host[o * I + i];
                    sum = sum + product;
                }
                float want = sum;
                assert_memory_equal(&l.out.host[b * O + o], &want, sizeof(want));
            }
    }
    layer_done(&l);
}

/* loss = sum of out * dout, in doubles; moving one number by +-h moves the loss by 2 h times its gradient. */
static double loss(struct layer *l, const struct row *row)
{
    double sum = 0;
    forward(l, row);
    for (size_t i = 0; i < l->out.n; i++)
        sum += (double)l->out.host[i] * l->dout.host[i];
    return sum;
}

static double slope(struct layer *l, const struct row *row, struct pair *of, size_t at)
{
    const float h = 0.25f; // the loss is linear in each number: a long step costs nothing
    float kept = of->host[at], moved[2] = { kept + h, kept - h };
    double losses[2];
    for (size_t i = 0; i < 2; i++) {
        device_put(l->r.d, (float *)of->dev + at, &moved[i], sizeof(float));
        losses[i] = loss(l, row);
    }
    device_put(l->r.d, (float *)of->dev + at, &kept, sizeof(float));
    return (losses[0] - losses[1]) / ((double)moved[0] - moved[1]);
}

static void backward_is_the_slope_of_forward(void **state)
{
    const struct row *row = *state;
    struct layer l = layer_of(row);

    l.r.k->linear_backward_input(l.r.d, l.dx.dev, l.dout.dev, l.w.dev, row->B, row->I, row->O);
    l.r.k->linear_backward_weight(l.r.d, l.dw.dev, l.dbias.dev, l.dout.dev, l.x.dev, row->B, row->I, row->O);
    pair_fetch(&l.r, &l.dx);
    pair_fetch(&l.r, &l.dw);
    pair_fetch(&l.r, &l.dbias);
    for (uint64_t i = 0; i < 8 && row->B > 0; i++) {
        size_t x = rng_below(1, i, l.x.n), w = rng_below(2, i, l.w.n), b = rng_below(3, i, l.bias.n);
        assert_near(l.dx.host[x], slope(&l, row, &l.x, x), 2e-3);
        assert_near(l.dw.host[w], slope(&l, row, &l.w, w), 2e-3);
        assert_near(l.dbias.host[b], slope(&l, row, &l.bias, b), 2e-3);
    }
    layer_done(&l);
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction test;
    } checks[] = {
        { "agrees with doubles", agrees_with_doubles },
        { "sums in the order of the index", sums_in_the_order_of_the_index },
        { "backward is the slope of forward", backward_is_the_slope_of_forward },
    };
    static struct CMUnitTest tests[ARRAY_LEN(rows) * ARRAY_LEN(checks)];
    for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
        const struct row *row = &rows[i / ARRAY_LEN(checks)];
        const char *name = mem_printf("%s: %s", row->name, checks[i % ARRAY_LEN(checks)].name);
        tests[i] = (struct CMUnitTest){ name, checks[i % ARRAY_LEN(checks)].test, NULL, NULL, (void *)row };
    }
    int failed = run_everywhere(cmocka_run_group_tests(tests, NULL, NULL));
    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        free((void *)tests[i].name);
    return failed;
}
