#include "kernels/cpu/gemm.h"

#include "base/mem.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm_path.h"

#include <string.h>

enum {
    DEPTH = 384, /* eight rows of a that deep fill a quarter of a first cache */
    WORK_FLOATS = GEMM_WORK_BYTES / sizeof(float),
    PANELS = 2, /* of a, packed at a time: with AVX-512 a pair of cache lines of each k */
    ROWS_FLOATS = PANELS * DEPTH * GEMM_PACKED_ROWS_MAX,
    WIDE_FLOATS = WORK_FLOATS - ROWS_FLOATS, /* all panels of b at hand */
    FEW_USES = 2,                            /* of a part of a or b: not worth a copy */
};

_Static_assert(WIDE_FLOATS >= DEPTH * GEMM_COLUMNS_MAX, "a panel at least");
_Static_assert((int)GEMM_WORK_BYTES <= (int)CPU_POOL_SCRATCH_BYTES, "scratch");

/* A strip of columns of c and a range of k: what of b is packed at a time. */
struct strip {
    const struct gemm_path *path;
    const struct gemm *g;
    size_t column, columns, k, depth;
    float *a; /* PANELS of path->packed_rows */
    float *b; /* panels of path->columns, `depth` deep, one behind the other */
};

/* Some rows of a or columns of b as they are found, packed or not. */
struct panel {
    const float *at;
    size_t step, k_step; /* floats from one row or column to the next, and from one k to the next */
};

static const float zeros[GEMM_COLUMNS_MAX];

const struct gemm_path *const gemm_paths[GEMM_PATHS] = {
#ifdef __x86_64__
    &gemm_avx512,
    &gemm_avx2,
#endif
    &gemm_plain,
};

const struct gemm_path *gemm_path(void)
{
    for (size_t i = 0; i < ARRAY_LEN(gemm_paths); i++)
        if (gemm_paths[i]->available())
            return gemm_paths[i];
    return &gemm_plain;
}

/* Where k and column j of b, counted from the strip's, are. */
static struct gemm_part part_of_b(const struct strip *s, size_t j)
{
    const struct gemm *g = s->g;
    struct gemm_part p = { .k_step = g->b_transposed ? 1 : g->b_row,
                           .j_step = g->b_transposed ? g->b_row : 1,
                           .depth = s->depth,
                           .count = s->columns - j,
                           .factor = g->alpha };
    p.from = g->b + (s->column + j) * p.j_step + s->k * p.k_step;
    return p;
}

static struct gemm_part part_of_a(const struct strip *s, size_t i)
{
    const struct gemm *g = s->g;
    struct gemm_part p = { .k_step = g->a_transposed ? g->a_row : 1,
                           .j_step = g->a_transposed ? 1 : g->a_row,
                           .depth = s->depth,
                           .count = MIN(PANELS * s->path->packed_rows, g->M - i),
                           .factor = 1 };
    p.from = g->a + i * p.j_step + s->k * p.k_step;
    return p;
}

static bool b_in_place(const struct strip *s, size_t j)
{
    return !s->g->b_transposed && s->g->alpha == 1 && s->columns - j >= s->path->columns &&
           s->g->M <= FEW_USES * s->path->rows;
}

static bool a_in_place(const struct strip *s)
{
    return !s->g->a_transposed || s->columns <= FEW_USES * s->path->columns;
}

/* b but for what is used in place: all of it, or the last panel where that is narrow. */
static void pack_strip(const struct strip *s)
{
    size_t j = b_in_place(s, 0) ? s->columns / s->path->columns * s->path->columns : 0;
    const struct gemm_part p = part_of_b(s, j);
    s->path->pack(s->b + j * s->depth, s->path->columns, &p);
}

static struct panel panel_of_b(const struct strip *s, size_t j)
{
    if (b_in_place(s, j)) {
        const struct gemm_part p = part_of_b(s, j);
        return (struct panel){ p.from, 1, p.k_step };
    }
    return (struct panel){ s->b + j * s->depth, 1, s->path->columns };
}

/* The block of rows from the i-th on, of which those from `first` on are packed. */
static struct panel panel_of_a(const struct strip *s, size_t first, size_t i)
{
    const size_t width = s->path->packed_rows;
    if (a_in_place(s)) {
        const struct gemm_part p = part_of_a(s, i);
        return (struct panel){ p.from, p.j_step, p.k_step };
    }
    return (struct panel){ s->a + (i - first) / width * width * s->depth + (i - first) % width, 1, width };
}

/* A block's rows, by all panels of b. */
static void multiply_rows(const struct strip *s, size_t i, struct panel a)
{
    const struct gemm *g = s->g;
    const bool first = s->k == 0 && !g->add;
    struct gemm_block block = { .rows = MIN(s->path->rows, g->M - i),
                                .depth = s->depth,
                                .a = a.at,
                                .a_row_step = a.step,
                                .a_k_step = a.k_step,
                                .start_row = first ? 0 : g->c_row,
                                .c_row = g->c_row };
    for (size_t j = 0; j < s->columns; j += s->path->columns) {
        const struct panel b = panel_of_b(s, j);
        block.columns = MIN(s->path->columns, s->columns - j);
        block.b = b.at;
        block.b_step = b.k_step;
        block.c = g->c + i * g->c_row + s->column + j;
        block.start = !first ? block.c : g->bias ? g->bias + s->column + j : zeros;
        s->path->block(&block);
    }
}

static void multiply_strip(const struct strip *s)
{
    const struct gemm_path *path = s->path;
    const size_t at_once = PANELS * path->packed_rows;
    pack_strip(s);
    for (size_t first = 0; first < s->g->M; first += at_once) {
        const struct gemm_part p = part_of_a(s, first);
        if (!a_in_place(s))
            path->pack(s->a, path->packed_rows, &p);
        for (size_t i = first; i < MIN(s->g->M, first + at_once); i += path->rows)
            multiply_rows(s, i, panel_of_a(s, first, i));
    }
}

static void only_start(const struct gemm *g)
{
    for (size_t i = 0; i < g->M && !g->add; i++)
        for (size_t j = 0; j < g->N; j++)
            g->c[i * g->c_row + j] = g->bias ? g->bias[j] : 0;
}

/* The length of a step through n, at most `most`, so that all are about as long: 400 by 384 is twice 200. */
static size_t step_of(size_t n, size_t most, size_t grain)
{
    size_t steps = (n + most - 1) / most, step = (n + steps - 1) / steps;
    return MIN(most, (step + grain - 1) / grain * grain);
}

static void multiply_here(const struct gemm_path *path, const struct gemm *g, float *work)
{
    if (g->M == 0 || g->N == 0)
        return;
    if (g->K == 0) {
        only_start(g);
        return;
    }
    const size_t deep = step_of(g->K, DEPTH, 1);
    const size_t wide = step_of(g->N, WIDE_FLOATS / deep / path->columns * path->columns, path->columns);
    struct strip s = { .path = path, .g = g, .a = work, .b = work + ROWS_FLOATS };
    for (s.column = 0; s.column < g->N; s.column += wide)
        for (s.k = 0; s.k < g->K; s.k += deep) {
            s.columns = MIN(wide, g->N - s.column);
            s.depth = MIN(deep, g->K - s.k);
            multiply_strip(&s);
        }
}

void cpu_gemm_here(const struct gemm *g, void *work)
{
    multiply_here(gemm_path(), g, work);
}

/* ---- by the device's threads ---- */

struct tiles {
    const struct gemm_path *path;
    const struct gemm *g;
    size_t rows, columns, across; /* of a tile; tiles in a row of them */
};

static void one_tile(void *context, size_t i, void *scratch)
{
    const struct tiles *t = context;
    const struct gemm *g = t->g;
    size_t row = i / t->across * t->rows, column = i % t->across * t->columns;
    struct gemm part = *g;
    part.M = MIN(t->rows, g->M - row);
    part.N = MIN(t->columns, g->N - column);
    part.a += row * (g->a_transposed ? 1 : g->a_row);
    part.b += column * (g->b_transposed ? g->b_row : 1);
    part.c += row * g->c_row + column;
    if (g->bias)
        part.bias += column;
    multiply_here(t->path, &part, scratch);
}

/*
 * What a cut would cost: per k, a tile of r x c takes r c / 32 turns for its multiplications and about (r +
 * c) / 2 to bring in its a and b. A thread does its share of the tiles, rounded up, and in the end waits for
 * about a third of one: tiles do not take the same time on a machine that does other things as well.
 */
static double cost(size_t rows, size_t columns, size_t tiles, size_t threads)
{
    double tile = (double)rows * (double)columns / 32 + 0.5 * (double)(rows + columns);
    size_t turns = (tiles + threads - 1) / threads;
    return tile * ((double)turns + 0.3);
}

static struct tiles cut(const struct gemm_path *path, const struct gemm *g, size_t threads)
{
    enum { TILES_EACH = 6 }; /* of a thread, at most */
    struct tiles best = { path, g, g->M, g->N, 1 };
    double lowest = cost(g->M, g->N, 1, threads);
    for (size_t down = 1; threads > 1 && down <= TILES_EACH * threads; down++) {
        size_t rows =
            ((g->M + down - 1) / down + path->packed_rows - 1) / path->packed_rows * path->packed_rows;
        for (size_t across = 1; across <= TILES_EACH * threads / down; across++) {
            size_t columns =
                ((g->N + across - 1) / across + path->columns - 1) / path->columns * path->columns;
            size_t in_a_row = (g->N + columns - 1) / columns, tiles = (g->M + rows - 1) / rows * in_a_row;
            double c = cost(MIN(rows, g->M), MIN(columns, g->N), tiles, threads);
            if (c < lowest) {
                lowest = c;
                best = (struct tiles){ path, g, rows, columns, in_a_row };
            }
        }
    }
    return best;
}

void cpu_gemm_by(const struct gemm_path *path, struct device *d, const struct gemm *g)
{
    if (g->M == 0 || g->N == 0 || g->K == 0) {
        only_start(g);
        return;
    }
    struct tiles t = cut(path, g, cpu_threads(d));
    cpu_run(d, t.across * ((g->M + t.rows - 1) / t.rows), one_tile, &t);
}

void cpu_gemm(struct device *d, const struct gemm *g)
{
    cpu_gemm_by(gemm_path(), d, g);
}
