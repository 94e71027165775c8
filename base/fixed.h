/*
 * fixed.h - exp, ln, sin and cos whose bits never change.
 *
 * libm's own differ in the last bits between its versions and between processors (it picks fused multiply-add
 * where there is one). What ends up in a model's weights or in a seeded draw must not. These need + - * / in
 * IEEE double alone; their error is a few units in the last place.
 */
#ifndef BASE_FIXED_H
#define BASE_FIXED_H

#include <stdint.h>

double fixed_exp(double x);      /* 0 and infinity where e^x leaves the doubles; not a number stays so */
double fixed_log(double x);      /* x > 0 and finite */
double fixed_cos_turn(double v); /* cos(2 pi v), v in [0, 1) */
/* Both of x radians, |x| <= 2^20. */
void fixed_sin_cos(double x, double *out_sin, double *out_cos);
/* x^n, n >= 0, by repeated squaring. */
double fixed_power(double x, int64_t n);

#endif
