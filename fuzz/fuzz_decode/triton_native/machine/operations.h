/* Elementwise operations: lists of names and expressions of the operands a, b and c, for a type T.
 *
 * Narrow floats have none: they are converted to float32, computed, and rounded once.
 */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include "loops.h"

/* Integers wrap, and nothing traps. */

#define BITS(T) (8 * (int)sizeof(T))

#define INTEGER_BINARIES(X, T)                                                                                                   \
    X(addi, T, (u##T)a + (u##T)b)                                                                                                \
    X(subi, T, (u##T)a - (u##T)b)                                                                                                \
    X(muli, T, 1u * (u##T)a * (u##T)b)                                                                                           \
    X(andi, T, a &b)                                                                                                             \
    X(ori, T, a | b)                                                                                                             \
    X(xori, T, a ^ b)                                                                                                            \
    X(divsi, T, b == 0 ? -1 : b == -1 ? (T)(0 - (u##T)a) : a / b)                                                                \
    X(remsi, T, b == 0 ? a : b == -1 ? 0 : a % b)                                                                                \
    X(maxsi, T, a > b ? a : b)                                                                                                   \
    X(minsi, T, a < b ? a : b)

#define RARE_INTEGER_BINARIES(X, T)                                                                                              \
    X(maxui, T, (u##T)a > (u##T)b ? a : b)                                                                                       \
    X(minui, T, (u##T)a < (u##T)b ? a : b)                                                                                       \
    X(shli, T, (u##T)b >= BITS(T) ? 0 : (u##T)a << ((u##T)b & (BITS(T) - 1)))                                                    \
    X(shrui, T, (u##T)b >= BITS(T) ? 0 : (u##T)a >> ((u##T)b & (BITS(T) - 1)))                                                   \
    X(shrsi, T, a >> ((u##T)b >= BITS(T) ? BITS(T) - 1 : b))                                                                     \
    X(divui, T, b == 0 ? (u##T)-1 : (u##T)((u##T)a / (u##T)b))                                                                   \
    X(remui, T, b == 0 ? (u##T)a : (u##T)((u##T)a % (u##T)b))

#define BIT_BINARIES(X, T)                                                                                                       \
    X(addi, T, a ^ b) X(subi, T, a ^ b) X(muli, T, a &b) X(andi, T, a &b) X(ori, T, a | b) X(xori, T, a ^ b)                     \
    X(maxsi, T, a &b) X(minsi, T, a | b) X(maxui, T, a | b) X(minui, T, a &b) X(divui, T, a) X(divsi, T, a)                      \
    X(remui, T, a & !b) X(remsi, T, a & !b) X(shli, T, a & !b) X(shrui, T, a & !b) X(shrsi, T, a)

#define INTEGER_COMPARISONS(X, T)                                                                                                \
    X(eq, T, a == b)                                                                                                             \
    X(ne, T, a != b)                                                                                                             \
    X(slt, T, a < b)                                                                                                             \
    X(sle, T, a <= b)                                                                                                            \
    X(sgt, T, a > b)                                                                                                             \
    X(sge, T, a >= b)

#define RARE_INTEGER_COMPARISONS(X, T)                                                                                           \
    X(ult, T, (u##T)a < (u##T)b)                                                                                                 \
    X(ule, T, (u##T)a <= (u##T)b)                                                                                                \
    X(ugt, T, (u##T)a > (u##T)b)                                                                                                 \
    X(uge, T, (u##T)a >= (u##T)b)

#define BIT_COMPARISONS(X, T)                                                                                                    \
    X(eq, T, a == b) X(ne, T, a != b) X(slt, T, a > b) X(sle, T, a >= b) X(sgt, T, a < b) X(sge, T, a <= b)                      \
    X(ult, T, a < b) X(ule, T, a <= b) X(ugt, T, a > b) X(uge, T, a >= b)

#define WIDE_PRODUCTS(X)                                                                                                         \
    X(mulhiui, i32, (i32)((ui64)(ui32)a * (ui32)b >> 32))                                                                        \
    X(mulhiui, i64, (i64)((unsigned __int128)(ui64)a * (ui64)b >> 64))                                                           \
    X(mulhisi, i32, (i32)((i64)a * b >> 32))                                                                                     \
    X(mulhisi, i64, (i64)((__int128)a * b >> 64))
#define INTEGER_UNARIES(X)                                                                                                       \
    X(absi, i8, a < 0 ? 0 - (ui8)a : a) X(absi, i16, a < 0 ? 0 - (ui16)a : a)                                                    \
    X(absi, i32, a < 0 ? (i32)(0 - (ui32)a) : a) X(absi, i64, a < 0 ? (i64)(0 - (ui64)a) : a)                                    \
    X(ctpop, i32, __builtin_popcount((ui32)a)) X(ctpop, i64, __builtin_popcountll((ui64)a))                                      \
    X(ctlz, i32, a ? __builtin_clz((ui32)a) : 32) X(ctlz, i64, a ? __builtin_clzll((ui64)a) : 64)                                \
    X(cttz, i32, a ? __builtin_ctz((ui32)a) : 32) X(cttz, i64, a ? __builtin_ctzll((ui64)a) : 64)
#define WIDENINGS(X)                                                                                                             \
    X(i1, i8) X(i1, i16) X(i1, i32) X(i1, i64) X(i8, i16) X(i8, i32) X(i8, i64) X(i16, i32) X(i16, i64) X(i32, i64)
/* Floats; F is the suffix of C's functions */

#define FLOAT_BINARIES(X, T, F)                                                                                                  \
    X(addf, T, a + b)                                                                                                            \
    X(subf, T, a - b)                                                                                                            \
    X(mulf, T, a *b)                                                                                                             \
    X(divf, T, a / b)                                                                                                            \
    X(maxnumf, T, ((a > b) | (b != b)) ? a : b)                                                                                  \
    X(minnumf, T, ((a < b) | (b != b)) ? a : b)                                                                                  \
    X(maximumf, T, ((a > b) | (a != a)) ? a : b)                                                                                 \
    X(minimumf, T, ((a < b) | (a != a)) ? a : b)

#define RARE_FLOAT_BINARIES(X, T, F)                                                                                             \
    X(remf, T, fmod##F(a, b))                                                                                                    \
    X(pow, T, pow##F(a, b))                                                                                                      \
    X(atan2, T, atan2##F(a, b))                                                                                                  \
    X(hypot, T, hypot##F(a, b))                                                                                                  \
    X(fdim, T, fdim##F(a, b))                                                                                                    \
    X(copysign, T, copysign##F(a, b))                                                                                            \
    X(nextafter, T, nextafter##F(a, b))                                                                                          \
    X(remainder, T, remainder##F(a, b))

#define FLOAT_UNARIES(X, T, F)                                                                                                   \
    X(negf, T, -a) X(absf, T, fabs##F(a)) X(sqrt, T, sqrt##F(a)) X(rsqrt, T, 1 / sqrt##F(a)) X(rcp, T, 1 / a)                    \
    X(floor, T, floor##F(a)) X(ceil, T, ceil##F(a)) X(trunc, T, trunc##F(a)) X(rint, T, rint##F(a)) X(round, T, round##F(a))     \
    X(exp, T, exp##F(a)) X(exp2, T, exp2##F(a)) X(expm1, T, expm1##F(a)) X(exp10, T, pow##F(10, a))                              \
    X(log, T, log##F(a)) X(log2, T, log2##F(a)) X(log10, T, log10##F(a)) X(log1p, T, log1p##F(a)) X(logb, T, logb##F(a))         \
    X(sin, T, sin##F(a)) X(cos, T, cos##F(a)) X(tan, T, tan##F(a)) X(asin, T, asin##F(a)) X(acos, T, acos##F(a))                 \
    X(atan, T, atan##F(a)) X(sinh, T, sinh##F(a)) X(cosh, T, cosh##F(a)) X(tanh, T, tanh##F(a)) X(asinh, T, asinh##F(a))         \
    X(acosh, T, acosh##F(a)) X(atanh, T, atanh##F(a)) X(erf, T, erf##F(a)) X(erfc, T, erfc##F(a)) X(cbrt, T, cbrt##F(a))         \
    X(lgamma, T, lgamma##F(a)) X(tgamma, T, tgamma##F(a))

#define FLOAT_COMPARISONS(X, T)                                                                                                  \
    X(oeq, T, a == b)                                                                                                            \
    X(ogt, T, a > b)                                                                                                             \
    X(oge, T, a >= b)                                                                                                            \
    X(olt, T, a < b)                                                                                                             \
    X(ole, T, a <= b)                                                                                                            \
    X(une, T, a != b)

#define RARE_FLOAT_COMPARISONS(X, T)                                                                                             \
    X(one, T, (a < b) | (a > b))                                                                                                 \
    X(ord, T, (a == a) & (b == b))                                                                                               \
    X(ueq, T, !((a < b) | (a > b)))                                                                                              \
    X(ugt, T, !(a <= b))                                                                                                         \
    X(uge, T, !(a < b))                                                                                                          \
    X(ult, T, !(a >= b))                                                                                                         \
    X(ule, T, !(a > b))                                                                                                          \
    X(uno, T, (a != a) | (b != b))

#define FLOAT_TERNARIES(X, T, F)                                                                                                 \
    X(fma, T, fma##F(a, b, c))                                                                                                   \
    X(clampf, T, fmin##F(fmax##F(a, b), c))                                                                                      \
    X(clampf_nan, T, a != a ? a : fmin##F(fmax##F(a, b), c))
/* Float to integer: what is too large saturates, NaN becomes 0, as in PTX; there, 8 bits are cut from 16. */

#define SATURATED(a, LOW, HIGH, LOWEST, HIGHEST, T) (a != a ? 0 : a <= LOW ? LOWEST : a >= HIGH ? HIGHEST : (T)a)
#define FLOAT_INTEGERS(X, T)                                                                                                     \
    X(fptosi, T, i8, SATURATED(a, -0x1p15, 0x1p15, INT16_MIN, INT16_MAX, i16))                                                   \
    X(fptosi, T, i16, SATURATED(a, -0x1p15, 0x1p15, INT16_MIN, INT16_MAX, i16))                                                  \
    X(fptosi, T, i32, SATURATED(a, -0x1p31, 0x1p31, INT32_MIN, INT32_MAX, i32))                                                  \
    X(fptosi, T, i64, SATURATED(a, -0x1p63, 0x1p63, INT64_MIN, INT64_MAX, i64))                                                  \
    X(fptoui, T, i8, SATURATED(a, 0, 0x1p16, 0, UINT16_MAX, ui16))                                                               \
    X(fptoui, T, i16, SATURATED(a, 0, 0x1p16, 0, UINT16_MAX, ui16))                                                              \
    X(fptoui, T, i32, SATURATED(a, 0, 0x1p32, 0, UINT32_MAX, ui32))                                                              \
    X(fptoui, T, i64, SATURATED(a, 0, 0x1p64, 0, UINT64_MAX, ui64))

/* Definitions, and rows of a table */

#define DEFINE_INTEGER(NAME, T, EXPRESSION) MAP2(NAME##_##T, T, , T, T, T, , EXPRESSION)
#define DEFINE_FLOAT(NAME, T, EXPRESSION) MAP2(NAME##_##T, T, , T, T, T, , EXPRESSION)
#define DEFINE_CMPI(NAME, T, EXPRESSION) MAP2(cmpi_##NAME##_##T, i1, , T, T, T, , EXPRESSION)
#define DEFINE_CMPF(NAME, T, EXPRESSION) MAP2(cmpf_##NAME##_##T, i1, , T, T, T, , EXPRESSION)
#define DEFINE_UNARY(NAME, T, EXPRESSION) MAP1(NAME##_##T, T, , T, T, , EXPRESSION)
#define DEFINE_TERNARY(NAME, T, EXPRESSION) MAP3(NAME##_##T, T, , T, T, , T, , EXPRESSION)

#define ROW(NAME, T, EXPRESSION) {#NAME "." #T, NAME##_##T, NULL},
#define ROW_CMPI(NAME, T, EXPRESSION) {"cmpi." #NAME "." #T, cmpi_##NAME##_##T, NULL},
#define ROW_CMPF(NAME, T, EXPRESSION) {"cmpf." #NAME "." #T, cmpf_##NAME##_##T, NULL},

#endif
