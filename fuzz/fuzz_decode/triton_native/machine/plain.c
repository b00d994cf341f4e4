/* Elementwise operations that are rare, or dominated by a call: compiled in a short time. */
#include "operations.h"

#undef MAP2
#undef MAP3
#define MAP2 PLAIN2
#define MAP3 PLAIN3

INTEGER_BINARIES(DEFINE_INTEGER, i8)
INTEGER_BINARIES(DEFINE_INTEGER, i16)
INTEGER_COMPARISONS(DEFINE_CMPI, i8)
INTEGER_COMPARISONS(DEFINE_CMPI, i16)
BIT_COMPARISONS(DEFINE_CMPI, i1)
WIDE_PRODUCTS(DEFINE_INTEGER)
INTEGER_UNARIES(DEFINE_UNARY)
FLOAT_BINARIES(DEFINE_FLOAT, f64, )
FLOAT_COMPARISONS(DEFINE_CMPF, f64)
FLOAT_TERNARIES(DEFINE_TERNARY, f32, f)
FLOAT_TERNARIES(DEFINE_TERNARY, f64, )
FLOAT_UNARIES(DEFINE_UNARY, f32, f)
FLOAT_UNARIES(DEFINE_UNARY, f64, )

/* Integers to other widths; an i1 is signed, too: its 1 is -1 */
#define IS_BIT(T) ((T)-1 > 0)
#define DEFINE_EXTUI(A, T) MAP1(extui_##A##_##T, T, , A, A, , (u##A)a)
#define DEFINE_EXTSI(A, T) MAP1(extsi_##A##_##T, T, , A, A, , IS_BIT(A) ? -(T)a : (T)a)
#define DEFINE_TRUNCI(A, T) MAP1(trunci_##T##_##A, A, , T, T, , IS_BIT(A) ? a & 1 : a)
#define ROW_EXTUI(A, T) {"extui." #A "." #T, extui_##A##_##T, NULL},
#define ROW_EXTSI(A, T) {"extsi." #A "." #T, extsi_##A##_##T, NULL},
#define ROW_TRUNCI(A, T) {"trunci." #T "." #A, trunci_##T##_##A, NULL},
WIDENINGS(DEFINE_EXTUI)
WIDENINGS(DEFINE_EXTSI)
WIDENINGS(DEFINE_TRUNCI)

#define INTEGER_FLOATS(X, T) X(i1, T) X(i8, T) X(i16, T) X(i32, T) X(i64, T)
#define DEFINE_SITOFP(A, T) MAP1(sitofp_##A##_##T, T, , A, A, , (T)(IS_BIT(A) ? -(i64)a : (i64)a))
#define DEFINE_UITOFP(A, T) MAP1(uitofp_##A##_##T, T, , A, A, , (T)(u##A)a)
#define ROW_SITOFP(A, T) {"sitofp." #A "." #T, sitofp_##A##_##T, NULL},
#define ROW_UITOFP(A, T) {"uitofp." #A "." #T, uitofp_##A##_##T, NULL},
INTEGER_FLOATS(DEFINE_SITOFP, f32)
INTEGER_FLOATS(DEFINE_SITOFP, f64)
INTEGER_FLOATS(DEFINE_UITOFP, f32)
INTEGER_FLOATS(DEFINE_UITOFP, f64)

#define DEFINE_FLOAT_INTEGER(NAME, A, T, EXPRESSION) MAP1(NAME##_##A##_##T, T, , A, A, , EXPRESSION)
#define ROW_FLOAT_INTEGER(NAME, A, T, EXPRESSION) {#NAME "." #A "." #T, NAME##_##A##_##T, NULL},
FLOAT_INTEGERS(DEFINE_FLOAT_INTEGER, f32)
FLOAT_INTEGERS(DEFINE_FLOAT_INTEGER, f64)

/* Floats to other widths: convert rounds to nearest even, truncate toward zero, odd such that rounding once more is exact */
#define FLOAT8(X) X(f8E4M3FN) X(f8E5M2) X(f8E4M3FNUZ) X(f8E5M2FNUZ)
#define NARROW(X) FLOAT8(X) X(f16) X(bf16)
#define DEFINE_NARROWING(T) MAP1(convert_f32_##T, T, narrow_##T, f32, f32, , a)
#define DEFINE_TRUNCATION(T) MAP1(truncate_f32_##T, T, truncate_##T, f32, f32, , a)
#define ROW_NARROWING(T) {"convert.f32." #T, convert_f32_##T, NULL},
#define ROW_TRUNCATION(T) {"truncate.f32." #T, truncate_f32_##T, NULL},
FLOAT8(DEFINE_NARROWING)
NARROW(DEFINE_TRUNCATION)
MAP1(convert_f64_f32, f32, , f64, f64, , a)
MAP1(convert_f32_f64, f64, , f32, f32, , a)
MAP1(odd_f64_f32, f32, to_odd, f64, f64, , a)

const operation plain_operations[] = {
    INTEGER_BINARIES(ROW, i8) INTEGER_BINARIES(ROW, i16) INTEGER_COMPARISONS(ROW_CMPI, i8) INTEGER_COMPARISONS(ROW_CMPI, i16)
    BIT_COMPARISONS(ROW_CMPI, i1) WIDE_PRODUCTS(ROW) INTEGER_UNARIES(ROW) FLOAT_BINARIES(ROW, f64, ) FLOAT_COMPARISONS(ROW_CMPF, f64)
    FLOAT_TERNARIES(ROW, f32, f) FLOAT_TERNARIES(ROW, f64, ) FLOAT_UNARIES(ROW, f32, f) FLOAT_UNARIES(ROW, f64, )
    WIDENINGS(ROW_EXTUI) WIDENINGS(ROW_EXTSI) WIDENINGS(ROW_TRUNCI)
    INTEGER_FLOATS(ROW_SITOFP, f32) INTEGER_FLOATS(ROW_SITOFP, f64) INTEGER_FLOATS(ROW_UITOFP, f32) INTEGER_FLOATS(ROW_UITOFP, f64)
    FLOAT_INTEGERS(ROW_FLOAT_INTEGER, f32) FLOAT_INTEGERS(ROW_FLOAT_INTEGER, f64) FLOAT8(ROW_NARROWING) NARROW(ROW_TRUNCATION)
    {"convert.f64.f32", convert_f64_f32, NULL},
    {"convert.f32.f64", convert_f32_f64, NULL},
    {"odd.f64.f32", odd_f64_f32, NULL},
    {NULL, NULL, NULL},
};
