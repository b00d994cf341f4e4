/* Elementwise operations that kernels use on large blocks: compiled for speed. */
#include "operations.h"

INTEGER_BINARIES(DEFINE_INTEGER, i32)
INTEGER_BINARIES(DEFINE_INTEGER, i64)
INTEGER_COMPARISONS(DEFINE_CMPI, i32)
BIT_BINARIES(DEFINE_INTEGER, i1)
FLOAT_BINARIES(DEFINE_FLOAT, f32, f)
FLOAT_COMPARISONS(DEFINE_CMPF, f32)

#define WIDE_NARROW(X) X(f16) X(bf16) X(f8E4M3FN) X(f8E5M2)
#define DEFINE_WIDENING(T) MAP1(convert_##T##_f32, f32, wide_##T, T, T, , a)
#define ROW_WIDENING(T) {"convert." #T ".f32", convert_##T##_f32, NULL},
WIDE_NARROW(DEFINE_WIDENING)
MAP1(convert_f32_f16, f16, narrow_f16, f32, f32, , a)
MAP1(convert_f32_bf16, bf16, narrow_bf16, f32, f32, , a)
MAP1(extsi_i32_i64, i64, , i32, i32, , a)
MAP1(trunci_i64_i32, i32, , i64, i64, , a)
MAP1(uitofp_i1_f32, f32, , i1, i1, , (float)(i32)a)
MAP1(sitofp_i32_f32, f32, , i32, i32, , (float)a)

/* A pointer moved by b elements of extra[1] bytes */
MAP2(addptr_i32, i64, , i64, i32, i64, , a + b * i->extra[1])
MAP2(addptr_i64, i64, , i64, i64, i64, , (i64)((ui64)a + (ui64)b * (ui64)i->extra[1]))

#define SELECTIONS(X) X(i8) X(i16) X(i32) X(i64)
#define DEFINE_SELECTION(T) MAP3(select_##T, T, , i1, i1, , T, , a ? b : c)
#define ROW_SELECTION(T) {"select." #T, select_##T, shade_select},
SELECTIONS(DEFINE_SELECTION)

const operation fast_operations[] = {
    INTEGER_BINARIES(ROW, i32) INTEGER_BINARIES(ROW, i64) INTEGER_COMPARISONS(ROW_CMPI, i32)
    BIT_BINARIES(ROW, i1) FLOAT_BINARIES(ROW, f32, f) FLOAT_COMPARISONS(ROW_CMPF, f32) WIDE_NARROW(ROW_WIDENING)
    SELECTIONS(ROW_SELECTION)
    {"addptr.i32", addptr_i32, NULL},
    {"addptr.i64", addptr_i64, NULL},
    {"convert.f32.f16", convert_f32_f16, NULL},
    {"convert.f32.bf16", convert_f32_bf16, NULL},
    {"extsi.i32.i64", extsi_i32_i64, NULL},
    {"trunci.i64.i32", trunci_i64_i32, NULL},
    {"uitofp.i1.f32", uitofp_i1_f32, NULL},
    {"sitofp.i32.f32", sitofp_i32_f32, NULL},
    {NULL, NULL, NULL},
};
