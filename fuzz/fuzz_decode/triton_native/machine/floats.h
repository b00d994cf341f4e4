/* Element types; narrow floats to float32 and back. Branches are selections, so that compilers vectorise the loops around these. */
#ifndef FLOATS_H
#define FLOATS_H

#include <math.h>

#include "machine.h"

typedef uint16_t f16;
typedef uint16_t bf16;
typedef float f32;
typedef double f64;
typedef uint8_t i1, ui1;
typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;
typedef uint8_t ui8;
typedef uint16_t ui16;
typedef uint32_t ui32;
typedef uint64_t ui64;
typedef uint8_t f8E4M3FN, f8E5M2, f8E4M3FNUZ, f8E5M2FNUZ;

INLINE uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
INLINE float of_bits(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
INLINE uint64_t bits_of_double(double x) { uint64_t u; memcpy(&u, &x, 8); return u; }
INLINE double double_of_bits(uint64_t u) { double x; memcpy(&x, &u, 8); return x; }

INLINE float wide_f32(f32 x) { return x; }
INLINE double wide_f64(f64 x) { return x; }
INLINE float wide_bf16(bf16 x) { return of_bits((uint32_t)x << 16); }

INLINE float wide_f16(f16 x) {
    uint32_t magnitude = x & 0x7fffu;
    uint32_t u = bits_of(of_bits(magnitude << 13) * 0x1p112f);
    u |= magnitude > 0x7bffu ? 0x7f800000u : 0u;
    return of_bits(u | (uint32_t)(x & 0x8000u) << 16);
}
INLINE float wide_f8E5M2(f8E5M2 x) { return wide_f16((f16)(x << 8)); }
INLINE float wide_f8E4M3FN(f8E4M3FN x) {
    uint32_t magnitude = x & 0x7fu;
    uint32_t u = bits_of(of_bits(magnitude << 20) * 0x1p120f);
    u = magnitude == 0x7fu ? 0x7fc00000u : u;
    return of_bits(u | (uint32_t)(x & 0x80u) << 24);
}
INLINE float wide_f8E4M3FNUZ(f8E4M3FNUZ x) {
    uint32_t u = bits_of(of_bits((x & 0x7fu) << 20) * 0x1p119f);
    return of_bits(x == 0x80u ? 0x7fc00000u : u | (uint32_t)(x & 0x80u) << 24);
}
INLINE float wide_f8E5M2FNUZ(f8E5M2FNUZ x) {
    uint32_t u = bits_of(of_bits((x & 0x7fu) << 21) * 0x1p111f);
    return of_bits(x == 0x80u ? 0x7fc00000u : u | (uint32_t)(x & 0x80u) << 24);
}

INLINE f32 narrow_f32(float x) { return x; }
INLINE f64 narrow_f64(double x) { return x; }
INLINE bf16 narrow_bf16(float x) {
    uint32_t u = bits_of(x), rounded = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
    return (bf16)((u & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : rounded);
}
INLINE f16 narrow_f16(float x) {
    uint32_t u = bits_of(x), sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
    uint32_t normal = ((magnitude + 0xfffu + (magnitude >> 13 & 1u)) >> 13) - (112u << 10);
    uint32_t subnormal = bits_of(of_bits(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t result = magnitude < 0x38800000u ? subnormal : normal;
    result = magnitude >= 0x47800000u ? 0x7c00u : result;
    result = magnitude > 0x7f800000u ? 0x7fffu : result;
    return (f16)(result | sign);
}

/* float64 to float32 such that rounding that to a narrower type equals rounding the float64: inexact results get an odd last bit. */
INLINE float to_odd(double x) {
    float y = (float)x;
    if ((double)y == x || x != x) return y;
    uint32_t u = bits_of(y);
    if (fabs((double)y) > fabs(x)) u -= 1;
    return of_bits(u | 1u);
}

/* Rounding toward zero. A finite number stays finite. */
INLINE bf16 truncate_bf16(float x) { return x != x ? 0x7fffu : (bf16)(bits_of(x) >> 16); }
INLINE f16 truncate_f16(float x) {
    uint32_t u = bits_of(x), sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 0x7fffu;
    if (magnitude == 0x7f800000u) return (f16)(0x7c00u | sign);
    if (magnitude >= 0x47800000u) return (f16)(0x7bffu | sign);
    if (magnitude < 0x38800000u) return (f16)((uint32_t)(fabsf(x) * 0x1p24f) | sign);
    return (f16)(((magnitude >> 13) - (112u << 10)) | sign);
}

/* A float8 with `mantissa` bits, this bias and this largest code: beyond it numbers saturate, as the conversions of GPUs do. */
static __attribute__((noinline, unused)) uint8_t narrow_float8(float x, int mantissa, int bias, uint32_t largest, uint32_t nan, int toward_zero, int unsigned_zero) {
    if (x != x) return (uint8_t)nan;
    float magnitude = fabsf(x), scaled, code;
    uint32_t sign = bits_of(x) >> 31 << 7, result;
    int exponent = (int)(bits_of(magnitude) >> 23) - 127;
    if (magnitude > 1e9f) {
        result = largest;
    } else if (exponent < 1 - bias) {
        scaled = ldexpf(magnitude, bias - 1 + mantissa);
        result = (uint32_t)(toward_zero ? truncf(scaled) : rintf(scaled));
    } else {
        scaled = ldexpf(magnitude, mantissa - exponent);
        code = (toward_zero ? truncf(scaled) : rintf(scaled)) - (float)(1 << mantissa);
        result = ((uint32_t)(exponent + bias) << mantissa) + (uint32_t)code;
    }
    result = result > largest ? largest : result;
    return (uint8_t)(unsigned_zero && result == 0 ? 0 : result | sign);
}
INLINE f8E4M3FN narrow_f8E4M3FN(float x) { return narrow_float8(x, 3, 7, 0x7e, 0x7f, 0, 0); }
INLINE f8E5M2 narrow_f8E5M2(float x) { return narrow_float8(x, 2, 15, 0x7b, 0x7f, 0, 0); }
INLINE f8E4M3FNUZ narrow_f8E4M3FNUZ(float x) { return narrow_float8(x, 3, 8, 0x7f, 0x80, 0, 1); }
INLINE f8E5M2FNUZ narrow_f8E5M2FNUZ(float x) { return narrow_float8(x, 2, 16, 0x7f, 0x80, 0, 1); }
INLINE f8E4M3FN truncate_f8E4M3FN(float x) { return narrow_float8(x, 3, 7, 0x7e, 0x7f, 1, 0); }
INLINE f8E5M2 truncate_f8E5M2(float x) { return narrow_float8(x, 2, 15, 0x7b, 0x7f, 1, 0); }
INLINE f8E4M3FNUZ truncate_f8E4M3FNUZ(float x) { return narrow_float8(x, 3, 8, 0x7f, 0x80, 1, 1); }
INLINE f8E5M2FNUZ truncate_f8E5M2FNUZ(float x) { return narrow_float8(x, 2, 16, 0x7f, 0x80, 1, 1); }

#endif
